"""Whether a loop still runs callbacks, asked from another thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Pulse:
    """The callbacks that another thread schedules in a loop, one after the other: it shows when one has run last.

    Parameters
    ----------
    loop
        Returns the loop; None while there is none.
    beat
        Called in the loop's thread by each callback. Default: nothing.
    """

    __slots__ = ("_alive", "_beat", "_loop", "asked", "came")

    def __init__(
        self,
        loop: Callable[[], asyncio.AbstractEventLoop | None],
        beat: Callable[[], object] | None = None,
    ) -> None:
        self._loop = loop
        self._beat = beat
        #: When the last callback was scheduled, and whether it has run.
        self.asked: float = time.monotonic()
        self.came: bool = False
        self._alive = self.asked

    def ask(self) -> bool:
        """Schedule a callback; return False if the loop is closed."""
        self.came, self.asked = False, time.monotonic()
        loop = self._loop()
        if loop is not None:
            try:
                loop.call_soon_threadsafe(self._come)
            except RuntimeError:
                return False
        return True

    def _come(self) -> None:
        if self._beat is not None:
            self._beat()
        self.came = True

    def begin(self, now: float) -> None:
        """Measure from now on."""
        self._alive = now
        self.ask()

    def silent(self, now: float) -> float:
        """Return for how many seconds the loop has run no callback, and schedule one if none waits to run."""
        if self.came:
            self._alive = now
            self.ask()
        return now - self._alive
