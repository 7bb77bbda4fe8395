"""The end of the tasks that an async client has made: they are cancelled, or their loop was closed."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from fourtuple.errors.base import interrupts
from fourtuple.serving.abandon import disown

#: Seconds that close() waits for ``greet`` and ``on_push``, and again after it has cancelled them once more.
_END_SECONDS = 0.5


async def end_of(tasks: set[asyncio.Task[None]], whom: object) -> None:
    """Wait for tasks that were cancelled. One that goes on is cancelled again, then reported and abandoned."""
    for _ in range(2):
        if tasks:
            _, tasks = await asyncio.wait(tasks, timeout=_END_SECONDS)
        for task in tasks:
            task.cancel()
    for task in tasks:
        disown(task)
        text = f"fourtuple: client of {whom}: a function ignores its cancellation by close(), and is abandoned"
        task.get_loop().call_exception_handler({"message": text, "task": task})


def let_go(task: asyncio.Task[None]) -> None:
    """End a task whose loop was closed: it cannot be cancelled, so its coroutine is closed. What it holds, goes.

    What ``greet`` or ``on_push`` raises there has no one to be told to, as after a cancellation by close().
    """
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # it stays pending, whatever is done
    steps = task.get_coro()
    if task.done() or not isinstance(steps, Coroutine):
        return
    try:
        steps.close()
    except BaseException as error:
        if interrupts(error):
            raise
