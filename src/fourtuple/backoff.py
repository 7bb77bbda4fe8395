"""When the next attempt to connect may begin: the back-off of everything that connects again by itself.

The pause grows by a factor up to a cap. It counts from the beginning of an attempt, so an attempt that took long to
fail is not followed by a pause as well. The jitter comes after the cap: without it there, all clients of a server that
was away for long would return at the same moments. (The numbers are those of gRPC.)
"""

from __future__ import annotations

import random
from collections.abc import Callable

#: A connection that was held this many seconds has worked: after it the pauses begin again with the shortest.
WORKED_SECONDS = 10.0
#: After the loss of a connection that has worked, the first attempt waits a random time of at most this many seconds:
#: a server that restarts loses all its clients at the same moment.
LOST_SECONDS = 1.0


class Backoff:
    """The pauses between the attempts of one client. It has no clock: the caller tells the time.

    Parameters
    ----------
    first, factor, longest
        The first pause in seconds, how much longer each further one is, and the cap. Default: 0.1 s x 1.6 to 30 s.
    jitter
        The share by which a pause may be shorter or longer, at random. Default: 0.2.
    spread
        The longest random wait, in seconds, after the loss of a connection. Default: 1.
    chance
        Returns a random number from 0 to 1, without 1. Default: :func:`random.random`.
    """

    __slots__ = ("_chance", "_factor", "_first", "_jitter", "_longest", "_pause", "_spread")

    def __init__(
        self,
        *,
        first: float = 0.1,
        factor: float = 1.6,
        longest: float = 30.0,
        jitter: float = 0.2,
        spread: float = LOST_SECONDS,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._first, self._factor, self._longest, self._jitter = first, factor, longest, jitter
        self._spread = spread
        self._chance = chance
        self._pause = first

    def failed(self, began: float) -> float:
        """Return when the next attempt may begin, after one that began at ``began`` and has failed."""
        pause = min(self._pause, self._longest)
        self._pause = min(pause * self._factor, self._longest)
        return began + pause * (1 + self._jitter * (2 * self._chance() - 1))

    def lost(self, now: float) -> float:
        """Return when the next attempt may begin, after a connection that has worked was lost; begin again."""
        self.reset()
        return now + self._spread * self._chance()

    def ended(self, began: float, opened: float, now: float) -> float:
        """Return when the next attempt may begin, after a connection that was opened has ended.

        If it was held for WORKED_SECONDS, it is :meth:`lost`. Otherwise the attempt that began at ``began`` has
        :meth:`failed`: a server that takes each connection and drops it would be called without a pause.
        """
        return self.lost(now) if now - opened >= WORKED_SECONDS else self.failed(began)

    def reset(self) -> None:
        """Begin again with the shortest pause."""
        self._pause = self._first
