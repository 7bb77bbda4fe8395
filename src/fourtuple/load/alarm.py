"""A timer that is as precise as the kernel's.

Event loops wait in whole milliseconds (epoll_wait(2)); an open loop at a thousand requests a second would send most
of them late. A timerfd(2) is a descriptor that becomes readable at its moment, some 50 microseconds late.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress

from fourtuple.load.schedule import SECOND
from fourtuple.load.timerfd import open_timerfd


class Alarm:
    """Calls ``ring`` at a moment of :func:`time.perf_counter_ns`; a later :meth:`set` replaces an earlier one.

    Where there is no timerfd, the loop's own timer does it, to the millisecond.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop = loop
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self._fd = -1
        with suppress(OSError, AttributeError, ImportError):
            self._fd, self._settime = open_timerfd()
        if self._fd >= 0:
            loop.add_reader(self._fd, self._readable)

    def set(self, moment: int | None) -> None:
        """Ring at this moment, at once where it has passed; None: not at all."""
        if self._fd < 0:
            if self._timer is not None:
                self._timer.cancel()
            delay = 0.0 if moment is None else max(0, moment - time.perf_counter_ns()) / SECOND
            self._timer = None if moment is None else self._loop.call_later(delay, self._ring)
            return
        # A value of 0 disarms; the moment 0 itself has passed long ago.
        self._settime(self._fd, 0 if moment is None else max(1, moment))

    def _readable(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # it was set anew meanwhile
        self._ring()

    def close(self) -> None:
        """Let go of the timer. Idempotent."""
        self.set(None)
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
