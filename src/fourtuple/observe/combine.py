"""Several observers as one observer, and several taps as one tap."""

from __future__ import annotations

from typing import Any

from fourtuple import events
from fourtuple.errors.base import interrupts
from fourtuple.stream import Tap


def each_of(*observers: events.Observer) -> events.Observer:
    """Return one observer that calls all ``observers``, in order. Then it raises the first error that one raised.

    KeyboardInterrupt and SystemExit go before other errors.
    """

    def call(event: events.Event) -> None:
        failed: BaseException | None = None
        for observer in observers:
            try:
                observer(event)
            except BaseException as error:
                if failed is None or (interrupts(error) and not interrupts(failed)):
                    failed = error
        if failed is not None:
            raise failed

    return call


def each_tap(*taps: Tap) -> Tap:
    """Return one tap that calls all ``taps``, in order."""

    def tap(*seen: Any) -> None:
        for each in taps:
            each(*seen)

    return tap
