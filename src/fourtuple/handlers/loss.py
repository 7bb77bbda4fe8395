"""Tells a handler, once, that its connection is lost.

If the handler waits in a call of the connection, that call raises. Otherwise the handler would continue with work that
is of no use any more, so its task is cancelled.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable
from typing import Any

from fourtuple.connection import Connection
from fourtuple.connection.waking import is_awaited, loop_of
from fourtuple.stream import Reason

#: A handler that was told by a call has this many seconds to clean up; then it is cancelled.
TOLD_SECONDS = 1.0


def tell(tasks: Iterable[asyncio.Task[Any]], connection: Connection, reason: Reason) -> None:
    """Tell the handlers of a lost connection, except the handler that aborts it itself."""
    loop = loop_of(connection)
    running, told = asyncio.current_task(loop), is_awaited(connection)
    for task in tasks:
        if task.done() or (task is running and reason is Reason.ABORTED):
            continue
        if told or task is running:
            # The call that it waits in raises first, which gives the handler the reason; a cancellation would hide it.
            task.add_done_callback(functools.partial(_forget, loop.call_later(TOLD_SECONDS, task.cancel)))
        else:
            task.cancel()


def _forget(timer: asyncio.TimerHandle, _: asyncio.Task[Any]) -> None:
    timer.cancel()
