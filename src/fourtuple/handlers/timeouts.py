"""Handlers that take longer than ``handler_timeout``: ended by a sweep, on the engine's clock, as all deadlines are."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fourtuple.engine import Engine
from fourtuple.engine.engine import SWEEP_SECONDS
from fourtuple.errors import DeadlinePassed

T = TypeVar("T")


class HandlerTimeouts:
    """Ends handlers that take too long.

    While one is at work it has a timer of its own: the engine's sweep rests where there is no connection, and a
    handler may outlast its peer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        #: When each has to be done. asyncio's own object: it tells a deadline from a cancellation.
        self._at_work: dict[asyncio.Timeout, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def bound(self, work: Awaitable[T], seconds: float, whom: str, what: str) -> T:
        """Await ``work``; raises :class:`~fourtuple.errors.DeadlinePassed` where that takes more than ``seconds``."""
        timeout = asyncio.timeout(None)
        self._at_work[timeout] = self._engine.time() + seconds
        self._look_again_later()
        try:
            async with timeout:
                return await work
        except TimeoutError:
            if timeout.expired():
                raise DeadlinePassed("handler_timeout", seconds, whom, what) from None
            raise
        finally:
            del self._at_work[timeout]

    def look(self, now: float) -> None:
        """End those whose time is up."""
        for timeout, until in self._at_work.items():
            if until <= now and timeout.when() is None:
                timeout.reschedule(self._engine.loop.time())

    def _look_again_later(self) -> None:
        if self._timer is None:
            self._timer = self._engine.loop.call_later(SWEEP_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self.look(self._engine.time())
        if self._at_work:
            self._look_again_later()

    def close(self) -> None:
        """No more is to come: forget the timer."""
        if self._timer is not None:
            self._timer.cancel()
