"""The share of the loop that whoever is at work may take before the others have their turn.

A handler that never really waits (it sends to a peer that keeps up, receives from an inbox that is never empty, pulls
the next reply) would keep the loop for itself. So what it does is counted: at the most so many messages, and so many
seconds. Whoever has had that goes behind the others: a plain handler is visited again in another turn, a coroutine
waits until the engine lets it go on (:meth:`fourtuple.engine.Engine.go_behind`).

The clock is not asked at every message: after the first one, four messages later, and then after every sixteen. What
may take long by itself asks it each time (:meth:`Share.late`). The same stands in C in ``engine/_turn/share.c``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from fourtuple import fast_path

#: Between two looks at the clock, at the most so many messages: of slow ones too many would pass unseen.
_FEW = 16


class Share:
    """What is left of a share: messages until the next look, and how it stands at that.

    Parameters
    ----------
    seconds, messages
        What one share is.
    clock
        Measures the seconds; the one of :meth:`begin`.
    """

    __slots__ = ("_clock", "_count", "_gap", "_until", "left", "messages", "over", "seconds")

    def __init__(self, seconds: float, messages: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self.messages = messages
        self._clock = clock
        self.begin(0.0)

    def begin(self, now: float) -> None:
        """Somebody else is at work from now on."""
        self._until = now + self.seconds
        self._count = 0
        #: Messages until :meth:`look` is to be called.
        self.left = self._gap = 1
        #: Whether all is spent, as far as is known.
        self.over = False

    def spend(self, messages: int = 1) -> bool:
        """Count messages; return whether the share is spent."""
        self.left -= messages
        return self.left <= 0 and self.look()

    def look(self) -> bool:
        """With nothing :attr:`left`: return whether the share is spent, else :attr:`left` says when to look again."""
        if self.over:
            return True
        gap = self._gap
        self._count = count = self._count + gap - self.left
        rest = self.messages - count
        if rest <= 0 or self._clock() > self._until:
            self.left, self.over = 0, True
            return True
        gap = 4 * gap if 4 * gap < _FEW else _FEW  # no min(): a call is what costs here
        self.left = self._gap = gap if gap < rest else rest
        return False

    def late(self) -> bool:
        """Return whether the share is spent, by the clock: behind what may have taken long by itself."""
        if not self.over and self._clock() > self._until:
            self.left, self.over = 0, True
        return self.over


#: The twin in Python, whatever runs.
Reference = Share

if not TYPE_CHECKING and fast_path.turn is not None:
    Share = fast_path.turn.Share
