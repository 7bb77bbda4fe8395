"""Several observers as one, and several taps."""

from __future__ import annotations

from typing import Any

from fourtuple import events
from fourtuple.stream import Tap


def each_of(*observers: events.Observer) -> events.Observer:
    """One observer that calls several, in order."""

    def call(event: events.Event) -> None:
        for observer in observers:
            observer(event)

    return call


def each_tap(*taps: Tap) -> Tap:
    """One tap that calls several, in order."""

    def tap(*seen: Any) -> None:
        for each in taps:
            each(*seen)

    return tap
