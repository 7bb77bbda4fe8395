"""The end of a loop: it waits in bounded time for the tasks and threads that the program has begun."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from fourtuple.errors import ServiceError
from fourtuple.serving.abandon import BoundedExecutor, disown, hide, is_disowned
from fourtuple.signals import StopSignals

T = TypeVar("T")

#: What the user reads who has stopped the loop of run() or of serve_in_thread().
LOOP_STOPPED = (
    "the program has called stop() of the event loop; the server has stopped. "
    "To stop a server, call its drain() or abort()"
)
#: Seconds that a remaining task gets to end after each of its two cancellations.
TASK_SECONDS = 0.5


class Closing:
    """What a loop that an exception has left waits for when it closes: its main task alone.

    A SystemExit or KeyboardInterrupt of the program leaves the loop at once, with all its tasks. asyncio.Runner then
    cancels them all and waits without a bound. The others are hidden from it: the main task ends them.
    """

    def __init__(self) -> None:
        self._main: asyncio.Task[Any] | None = None
        #: The tasks that were hidden.
        self._hidden: set[asyncio.Task[Any]] = set()

    def begin(self) -> None:
        """Take the current task as the main task."""
        self._main = asyncio.current_task()

    @property
    def unfinished(self) -> asyncio.Task[Any] | None:
        """The main task, if it has begun and not ended."""
        return None if self._main is None or self._main.done() else self._main

    def left(self) -> None:
        """The loop was left, and is about to close."""
        main = self.unfinished
        if main is None:
            return
        for task in asyncio.all_tasks(main.get_loop()) - {main}:
            self._hidden.add(task)
            hide(task)

    def others(self) -> set[asyncio.Task[Any]]:
        """Return all tasks but the main task that have not ended, and were not disowned meanwhile."""
        found = asyncio.all_tasks() | {task for task in self._hidden if not (task.done() or is_disowned(task))}
        return found - {asyncio.current_task()}


def run_bounded(
    runner: asyncio.Runner, main: Callable[[], Coroutine[Any, Any, T]], signals: StopSignals | None = None
) -> T:
    """Run ``main()``, and bound the time that the loop and the process wait afterwards for what the program has begun.

    asyncio waits without a bound for the remaining tasks when a loop closes, and for calls of
    :func:`asyncio.to_thread`. For the latter, Python waits again when the process ends.

    If the program calls ``loop.stop()``, ``main()`` is cancelled and runs to its end. If it then ends as cancelled,
    ServiceError says what has happened.
    """
    closing = Closing()

    async def bounded() -> T:
        closing.begin()
        asyncio.get_running_loop().set_default_executor(BoundedExecutor())
        try:
            return await main()
        finally:
            await _leave_no_task(closing)

    try:
        try:
            return runner.run(bounded())
        except RuntimeError:
            task = closing.unfinished
            if task is None:  # it has raised this error itself
                raise
        result: T = _ended(task, signals)
        return result
    except (SystemExit, KeyboardInterrupt):
        if signals is not None:
            signals.loop_left = True
        closing.left()
        raise


def _ended(task: asyncio.Task[T], signals: StopSignals | None) -> T:
    """Cancel the main task of a loop that was stopped, and run the loop until the task has ended."""
    if signals is not None:
        signals.loop_stopped = True
    task.cancel()
    loop = task.get_loop()
    while not task.done():
        with suppress(Exception, asyncio.CancelledError):  # stopped again, or the task's own, which comes below
            loop.run_until_complete(task)
    try:
        return task.result()
    except asyncio.CancelledError:
        raise ServiceError(LOOP_STOPPED) from None
    except Exception as error:
        if LOOP_STOPPED not in str(error):
            error.add_note(f"fourtuple: {LOOP_STOPPED}")
        raise


async def _leave_no_task(closing: Closing) -> None:
    """Cancel all other tasks before the loop closes. asyncio also does that, but waits for them without a bound.

    A task that does not end is cancelled a second time, then reported to the loop's exception handler and abandoned.
    """
    loop = asyncio.get_running_loop()
    left = closing.others()
    cancelled: asyncio.CancelledError | None = None
    for _ in range(2):
        for task in left:
            task.cancel()
        try:
            if left:
                _, left = await asyncio.wait(left, timeout=TASK_SECONDS)
        except asyncio.CancelledError as error:  # the loop closes: one of these tasks has ended the interpreter
            cancelled = error
            left = closing.others()
    for task in left:
        disown(task)
        loop.call_exception_handler({"message": "fourtuple: a task does not end and is abandoned", "task": task})
    if cancelled is not None:
        raise cancelled
