"""The retry budget: how many requests a client may repeat although the server may have carried them out already.

As in Finagle and tower: each request pays in a share (20 %), each retry takes one out, and a few per second are allowed
in any case. Payments of more than ten seconds ago do not count. If a server fails half of all requests, its load then
grows by a fifth, not without bound.
"""

from __future__ import annotations

from collections import deque

from fourtuple.options import Retries

#: Seconds for which a payment counts.
WINDOW = 10


class RetryBudget:
    """Counts requests and retries of the last :data:`WINDOW` seconds, in slots of one second."""

    def __init__(self, options: Retries) -> None:
        self._options = options
        #: ``[second, requests, retries]``, the oldest first.
        self._slots: deque[list[int]] = deque()
        self._requests = self._retries = 0

    def pay(self, now: float) -> None:
        """Note a request."""
        self._slot(now)[1] += 1
        self._requests += 1

    def left(self, now: float) -> float:
        """Return the number of retries that are allowed now."""
        self._forget(int(now))
        options = self._options
        # The second term lets a client with few requests retry at all: a share of two requests is less than one retry.
        return self._requests * options.budget_share + WINDOW * options.budget_rate - self._retries

    def take(self, now: float) -> bool:
        """Take a retry out, and return True; return False if none is left."""
        if self.left(now) < 1:
            return False
        self._slot(now)[2] += 1
        self._retries += 1
        return True

    def _slot(self, now: float) -> list[int]:
        second = int(now)
        if not self._slots or self._slots[-1][0] != second:
            self._forget(second)
            self._slots.append([second, 0, 0])
        return self._slots[-1]

    def _forget(self, second: int) -> None:
        while self._slots and self._slots[0][0] <= second - WINDOW:
            _, requests, retries = self._slots.popleft()
            self._requests -= requests
            self._retries -= retries
