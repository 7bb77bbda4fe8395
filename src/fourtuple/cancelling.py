"""A CancelledError without a request: a function of the program raised it, or awaited something that was cancelled."""

from __future__ import annotations

import asyncio


def on_request(error: BaseException) -> bool:
    """Return whether ``error`` is a CancelledError because something has cancelled the current task.

    Without such a request (:meth:`asyncio.Task.cancelling`) it is an error like any other, of the function that raised
    it. A loop that got it would take the task that called the function for a cancelled one.
    """
    if not isinstance(error, asyncio.CancelledError):
        return False
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
