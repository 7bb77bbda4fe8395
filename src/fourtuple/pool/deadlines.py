"""The moments at which something is due, the earliest first."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Deadlines(Generic[T]):
    """A heap of moments with what is due then.

    Nothing is taken out before its time, because that would be slow. ``needed`` tells whether an entry still counts.
    When most entries do not, they are all removed at once, so that a busy client does not hold the deadlines of
    requests that were answered long ago.
    """

    def __init__(self, needed: Callable[[T], bool]) -> None:
        self._heap: list[tuple[float, int, T]] = []
        self._number = itertools.count()
        self._needed = needed
        self._sweep_at = 64

    def add(self, moment: float, what: T) -> None:
        """Note that something is due at a moment."""
        if len(self._heap) >= self._sweep_at:
            self._heap = [each for each in self._heap if self._needed(each[2])]
            heapq.heapify(self._heap)
            self._sweep_at = max(64, 2 * len(self._heap))
        heapq.heappush(self._heap, (moment, next(self._number), what))

    def next(self) -> float | None:
        """Return the earliest moment that still counts; None if there is none."""
        while self._heap and not self._needed(self._heap[0][2]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop(self, now: float) -> T | None:
        """Take out something that is due; None if nothing is."""
        moment = self.next()
        return None if moment is None or moment > now else heapq.heappop(self._heap)[2]

    def __len__(self) -> int:
        return len(self._heap)
