"""How threads of a blocking client wait for each other.

It takes the place of :class:`threading.Condition`, which an interrupt can leave without its lock: a signal handler
that raises may run between the call that releases the lock and the ``try`` that takes it back. Here no thread waits
under the client's lock, and none has to take it back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

#: The longest wait, in seconds, before a thread looks for itself: an interrupt may have ended a wake() half-way.
LOOK_SECONDS = 1.0


class Changes:
    """The threads that wait for a change. A thread reserves its place under the client's lock, and waits without it."""

    def __init__(self) -> None:
        self._places: set[threading.Lock] = set()

    def place(self) -> threading.Lock:
        """Return a place. A change from now on ends the wait there, even one before the wait begins."""
        place = threading.Lock()
        place.acquire()
        self._places.add(place)
        return place

    def wait(self, place: threading.Lock, until: float | None, clock: Callable[[], float]) -> None:
        """Wait for a change, until a moment, and at most :data:`LOOK_SECONDS`. The caller must look in any case."""
        try:
            place.acquire(timeout=LOOK_SECONDS if until is None else max(0.0, min(until - clock(), LOOK_SECONDS)))
        finally:
            self._places.discard(place)

    def wake(self) -> None:
        """End all waits."""
        for place in tuple(self._places):
            with suppress(RuntimeError):  # another thread has just released it
                place.release()
            self._places.discard(place)
