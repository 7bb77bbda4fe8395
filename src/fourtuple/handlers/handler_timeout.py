"""Ends handlers that take longer than ``handler_timeout``, by a sweep on the engine's clock, as for all deadlines."""

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

    It has its own timer while a handler runs: the engine's sweep stops when there is no connection, but a handler may
    run longer than its connection.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        #: The moment by which each handler has to end. ``asyncio.Timeout`` distinguishes a timeout from a cancellation.
        self._at_work: dict[asyncio.Timeout, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def bound(self, work: Awaitable[T], seconds: float, whom: str, what: str) -> T:
        """Await ``work``. Raises :class:`~fourtuple.errors.DeadlinePassed` if it takes more than ``seconds``."""
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
        """End the handlers whose deadline has passed."""
        for timeout, until in self._at_work.items():
            if until <= now and timeout.when() is None:
                # Now: asyncio.Timeout counts by the loop's clock, the deadlines by the engine's, and a test may have
                # injected that.
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
        """Cancel the timer: no more handlers will run."""
        if self._timer is not None:
            self._timer.cancel()
