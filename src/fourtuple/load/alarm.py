"""A timer with the precision of the kernel's timers.

Event loops wait in whole milliseconds (epoll_wait(2)), so an open loop at a thousand requests per second would send
most requests late. The descriptor of timerfd_create(2) becomes readable about 50 microseconds after its moment.
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
    """Calls ``ring`` at a moment of :func:`time.perf_counter_ns`. A later :meth:`set` replaces an earlier one.

    Without timerfd, the loop's timer is used, which is precise to a millisecond.
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
        """Ring at this moment, in nanoseconds; at once if it has passed. None disarms."""
        if self._fd < 0:
            if self._timer is not None:
                self._timer.cancel()
            delay = 0.0 if moment is None else max(0, moment - time.perf_counter_ns()) / SECOND
            self._timer = None if moment is None else self._loop.call_later(delay, self._ring)
            return
        # timerfd_settime(2): a value of 0 disarms. The moment 0 passed long ago, so 1 means the same as 0 would.
        self._settime(self._fd, 0 if moment is None else max(1, moment))

    def _readable(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return  # it was set again meanwhile
        self._ring()

    def close(self) -> None:
        """Release the timer. Idempotent."""
        self.set(None)
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
