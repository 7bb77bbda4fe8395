"""What becomes of a handler whose connection is lost: it is told once.

Whoever waits in a call of the connection is told by that call, which raises. Anybody else would wait on for something
that is of no use any more: the task is cancelled.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable
from typing import Any

from fourtuple.connection import Connection, is_awaited, loop_of
from fourtuple.stream import Reason

#: A handler that was told by a call, and still runs after so many seconds, is cancelled: it had time to clean up.
TOLD_SECONDS = 1.0


def tell(tasks: Iterable[asyncio.Task[Any]], connection: Connection, reason: Reason) -> None:
    """Tell the handlers of a connection that is lost; never the one that aborts it itself, which knows."""
    loop = loop_of(connection)
    running, told = asyncio.current_task(loop), is_awaited(connection)
    for task in tasks:
        if task.done() or (task is running and reason is Reason.ABORTED):
            continue
        if told or task is running:
            task.add_done_callback(functools.partial(_forget, loop.call_later(TOLD_SECONDS, task.cancel)))
        else:
            task.cancel()


def _forget(timer: asyncio.TimerHandle, _: asyncio.Task[Any]) -> None:
    timer.cancel()
