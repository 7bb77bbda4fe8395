"""The share of the loop's time that one handler may use before other connections are served.

A handler that never really waits (it sends to a peer that keeps up, receives from an inbox that is never empty, pulls
the next reply) would block the loop for all others. Therefore its work is limited to a number of messages and of
seconds. After that, others go first: a plain handler is called again in another turn, and a coroutine waits until the
engine resumes it (:meth:`fourtuple.engine.Engine.go_behind`).

The clock is not read for every message: it is read after the first, after four more, and then after every sixteen.
Code that may take long by itself reads it each time (:meth:`Share.late`). ``engine/_turn/share.c`` is the same class
in C.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fourtuple import fast_path

#: The most messages between two readings of the clock: with more, slow messages would overrun the share.
_FEW = 16


class Share:
    """Counts what is left of a share.

    Parameters
    ----------
    seconds, messages
        The size of one share.
    clock
        Measures the seconds. The argument of :meth:`begin` has to come from the same clock.
    """

    __slots__ = ("_clock", "_count", "_gap", "_until", "left", "messages", "over", "seconds")

    def __init__(self, seconds: float, messages: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self.messages = messages
        self._clock = clock
        self.begin(0.0)

    def begin(self, now: float) -> None:
        """Begin a new share: another connection is served from now on."""
        self._until = now + self.seconds
        self._count = 0
        #: The number of messages until :meth:`look` has to be called.
        self.left = self._gap = 1
        #: Whether the share is known to be spent.
        self.over = False

    def spend(self, messages: int = 1) -> bool:
        """Count messages; return whether the share is spent."""
        self.left -= messages
        return self.left <= 0 and self.look()

    def look(self) -> bool:
        """Return whether the share is spent, else set :attr:`left`. Call it when nothing is :attr:`left`."""
        if self.over:
            return True
        gap = self._gap
        self._count = count = self._count + gap - self.left
        rest = self.messages - count
        if rest <= 0 or self._clock() > self._until:
            self.left, self.over = 0, True
            return True
        gap = 4 * gap if 4 * gap < _FEW else _FEW  # not min(): a call costs too much here
        self.left = self._gap = gap if gap < rest else rest
        return False

    def late(self) -> bool:
        """Return whether the share is spent, by the clock. Call it after work that may have taken long by itself."""
        if not self.over and self._clock() > self._until:
            self.left, self.over = 0, True
        return self.over


#: The twin in Python, even if the C runs.
Reference = Share

if not TYPE_CHECKING and fast_path.turn is not None:
    Share = fast_path.turn.Share
