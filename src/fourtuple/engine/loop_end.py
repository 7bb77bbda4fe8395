"""How the end of an event loop is found: a loop has no hook for it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable

#: Seconds until a timer that is never reached: three years.
_NEVER = 1e8


class LoopEnd:
    """Calls a function once, when a loop is closed.

    A loop that is closed drops all its callbacks, and with them the last reference to one that nothing else refers to.
    uvloop does the same.

    Parameters
    ----------
    loop
        The loop.
    callback
        A callback that the loop has, and to which nothing else refers: a bound method that was made for it.
    closed
        Called in :meth:`asyncio.loop.close`, or not at all if it goes away together with the loop.
    timer
        Returns the timer that has the callback, if it is there for this alone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        callback: Callable[..., object],
        closed: Callable[[], None],
        timer: Callable[[], asyncio.TimerHandle | None] = lambda: None,
    ) -> None:
        self._loop = loop
        self._closed = closed
        self._timer = timer
        self._callback: weakref.ref[Callable[..., object]] | None = weakref.ref(callback, self._dropped)

    def _dropped(self, _callback: weakref.ref[Callable[..., object]]) -> None:
        if self._loop.is_closed():
            self._closed()

    def forget(self) -> None:
        """Call nothing any more."""
        self._callback = None
        self._closed = _nothing
        timer = self._timer()
        if timer is not None:
            timer.cancel()


def loop_end_by_timer(loop: asyncio.AbstractEventLoop, closed: Callable[[], None]) -> LoopEnd:
    """Return the LoopEnd of a loop that keeps none of our callbacks: a timer has one, which is never called."""

    def never(_kept: Callable[[], None] = closed) -> None:  # so the loop keeps the engine
        pass

    return LoopEnd(loop, never, closed, _without_keeping(loop.call_later(_NEVER, never)))


def _without_keeping(timer: asyncio.TimerHandle) -> Callable[[], asyncio.TimerHandle | None]:
    """Return a reference to a timer that does not keep its callback when the loop drops it."""
    try:
        return weakref.ref(timer)
    except TypeError:  # that of uvloop, which drops its callback itself when the loop is closed
        return lambda: timer


def _nothing() -> None:
    pass
