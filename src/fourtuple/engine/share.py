"""The share of the loop's time that one handler may use before other connections are served.

A handler that never really waits (it sends to a peer that keeps up, receives from an inbox that is never empty, pulls
the next reply) would block the loop for all others. Therefore its work is limited to a number of messages and of
seconds. After that, others go first: a plain handler is called again in another turn, and a coroutine waits until the
engine resumes it (:meth:`fourtuple.engine.Engine.go_behind`).

The clock is not read for every message: it is read after the first, after four more, and then after every sixteen.
When messages turn out to be slow, so that fewer than 64 take a whole share, it is read after each message, even in the
shares that follow, for a while. Code that may take long by itself reads it each time (:meth:`Share.look`).
``engine/_turn/share.c`` is the same class in C.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fourtuple import fast_path

#: The most messages between two readings of the clock: with more, slow messages would overrun the share.
_FEW = 16
#: Messages of which fewer than this take a whole share are slow.
_MANY = 64
#: After slow messages, the clock is read after each message, for the time of so many shares.
_CAREFUL = 16


class Share:
    """Counts what is left of a share.

    Parameters
    ----------
    seconds, messages
        The size of one share.
    clock
        Measures the seconds. The argument of :meth:`begin` has to come from the same clock.
    """

    __slots__ = (
        "_began",
        "_careful",
        "_careful_until",
        "_clock",
        "_count",
        "_gap",
        "_length",
        "_until",
        "left",
        "messages",
        "over",
        "seconds",
    )

    def __init__(self, seconds: float, messages: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds: float = seconds
        self.messages: int = messages
        self._clock = clock
        #: Shares that begin before this moment are careful.
        self._careful_until = -math.inf
        self.begin(0.0)

    def begin(self, now: float, seconds: float | None = None) -> None:
        """Begin a new share: another connection is served from now on, for this many seconds if they are given."""
        # Most shares are never looked at: one message is less than any share. The rest is computed at the first look.
        self._began = now
        self._length = seconds
        self._gap = 0
        #: The number of messages until :meth:`look` has to be called.
        self.left: int = 1
        #: Whether the share is known to be spent.
        self.over: bool = False

    def _open(self) -> None:
        """Compute the rest of the fields at the first look."""
        self._until = self._began + (self.seconds if self._length is None else self._length)
        self._count, self._gap = 0, 1
        #: Whether the clock is read after each message.
        self._careful = self._began < self._careful_until

    def spend(self, messages: int = 1) -> bool:
        """Count messages; return whether the share is spent."""
        self.left -= messages
        return self.left <= 0 and self.look()

    def look(self) -> bool:
        """Return whether the share is spent, by the clock, else set :attr:`left`.

        Call it when nothing is :attr:`left`, and after work that may have taken long by itself.
        """
        if self.over:
            return True
        if not self._gap:
            self._open()
        gap = self._gap
        count = self._count + gap - self.left
        rest = self.messages - count
        if rest <= 0 or self._is_late(count):
            self.left, self.over = 0, True
            return True
        self._count = count
        if self._careful:
            self.left = self._gap = 1
            return False
        gap = 4 * gap if 4 * gap < _FEW else _FEW  # not min(): a call costs too much here
        self.left = self._gap = gap if gap < rest else rest
        return False

    def _is_late(self, count: int) -> bool:
        now = self._clock()
        slow = (now - self._began) * _MANY > self.seconds * count
        if now > self._until:
            if slow:
                self._careful_until = now + _CAREFUL * self.seconds
            return True
        if slow:
            self._careful = True  # the next four might take four times as long
        return False


#: The twin in Python, even if the C runs.
Reference = Share

if not TYPE_CHECKING and fast_path.turn is not None:
    Share = fast_path.turn.Share
