"""The end of a service's lifespan has a bound: it is the user's code, and a stop has to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress

from fourtuple.errors import DeadlinePassed
from fourtuple.serving.abandon import disown, hide

#: Seconds that a tear-down has after its cancellation.
LAST_SECONDS = 1.0


class TearDown:
    """One tear-down under way: the user's code in a task of its own, because such code may ignore a cancellation."""

    def __init__(self, run: Callable[[], Coroutine[object, object, None]]) -> None:
        self._run = run
        self._begun = False
        #: Whether it had to be cancelled.
        self._late = False
        self._task = self._start()

    def _start(self) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._main(), name="fourtuple tear-down")
        hide(task)  # within() ends it; a loop that closes would wait for it without a bound
        return task

    async def _main(self) -> None:
        self._begun = True
        await self._run()

    async def within(self, seconds: float | None) -> None:
        """Let it run, at most ``seconds``; then cancel it, and abandon it if it goes on.

        Raises what it raises, and :class:`~fourtuple.errors.DeadlinePassed` if it had to be cancelled. If the caller is
        cancelled, so is the tear-down, but not before it has begun.
        """
        cancelled: asyncio.CancelledError | None = None
        while not self._task.done():
            try:
                await asyncio.wait({self._task}, timeout=seconds)
            except asyncio.CancelledError as error:
                cancelled = error
            if self._task.done() and not self._begun:  # a loop that closes cancels tasks before their first step
                self._task = self._start()
            elif self._begun:
                break
        if not self._task.done():
            await self._end()
        if cancelled is not None:
            raise cancelled
        if self._task.done() and not self._late:
            return self._task.result()
        assert seconds is not None
        detail = "it was cancelled" if self._task.done() else "it ignores its cancellation"
        raised = self._task.exception() if self._task.done() and not self._task.cancelled() else None
        raise DeadlinePassed("tear_down_timeout", seconds, "the service's lifespan", detail) from raised

    async def _end(self) -> None:
        """Cancel it, and abandon it if it goes on."""
        self._late = True
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait({self._task}, timeout=LAST_SECONDS)
        if not self._task.done():
            disown(self._task)
