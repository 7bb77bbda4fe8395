"""An observer that makes a test fail if its handlers raise."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from fourtuple import events


class Witness:
    """Passes events on, and records the errors of handlers."""

    def __init__(self, observer: Callable[[events.Event], None] | None, may_raise: Any) -> None:
        self._observer = observer
        self._may_raise = may_raise
        self._lock = threading.Lock()
        self.errors: list[BaseException] = []

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.HandlerRaised) and not isinstance(event.error, self._may_raise):
            with self._lock:
                self.errors.append(event.error)
        if self._observer is not None:
            self._observer(event)


def raise_all(errors: Sequence[BaseException]) -> None:
    """Raise an :class:`ExceptionGroup` of the errors, if there are any."""
    if errors:
        raise BaseExceptionGroup("handlers of the test's servers raised", errors)
