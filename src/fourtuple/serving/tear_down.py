"""The end of a service's lifespan has a bound: it is the user's code, and a stop has to end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from fourtuple.abandon import disown
from fourtuple.errors import DeadlinePassed

#: Seconds that a tear-down has after its cancellation.
LAST_SECONDS = 1.0


async def within(seconds: float | None, tear_down: Coroutine[object, object, None]) -> None:
    """Run a tear-down, at most ``seconds``; then cancel it, and abandon it if it goes on.

    Raises what it raises, and :class:`~fourtuple.errors.DeadlinePassed` if it had to be cancelled. If the caller is
    cancelled, so is the tear-down.
    """
    task = asyncio.get_running_loop().create_task(tear_down, name="fourtuple tear-down")
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.wait({task}, timeout=LAST_SECONDS)
    assert seconds is not None
    if not task.done():
        disown(task)
        raise DeadlinePassed("tear_down_timeout", seconds, "the service's lifespan", "it ignores its cancellation")
    error = None if task.cancelled() else task.exception()
    raise DeadlinePassed("tear_down_timeout", seconds, "the service's lifespan", "it was cancelled") from error
