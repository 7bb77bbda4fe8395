"""The end of an event loop, which tells no one of it."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable


class LoopEnd:
    """Calls a function once, when a loop is closed.

    A loop has no hook for that. But a loop that is closed drops all its callbacks, and with them the last reference to
    one that nothing else refers to. uvloop does the same.

    Parameters
    ----------
    loop
        The loop.
    callback
        A callback that the loop has, and to which nothing else refers: a bound method that was made for it.
    closed
        Called in :meth:`asyncio.loop.close`, or not at all if it goes away together with the loop.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, callback: Callable[..., object], closed: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._closed = closed
        self._callback: weakref.ref[Callable[..., object]] | None = weakref.ref(callback, self._dropped)

    def _dropped(self, _callback: weakref.ref[Callable[..., object]]) -> None:
        if self._loop.is_closed():
            self._closed()

    def forget(self) -> None:
        """Call nothing any more."""
        self._callback = None
        self._closed = _nothing


def _nothing() -> None:
    pass
