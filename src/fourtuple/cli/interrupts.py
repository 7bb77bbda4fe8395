"""Runs a command's coroutine so that Ctrl-C ends it cleanly at any moment."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from fourtuple.cli.failure import Exit
from fourtuple.cli.standard_files import leave_output, tell_last
from fourtuple.printable import printable
from fourtuple.signals import StopSignals, stop_signals

if TYPE_CHECKING:
    from fourtuple.serving.run import LoopFactory

T = TypeVar("T")

#: Seconds that non-daemon threads may take to end before a message is printed.
_PATIENCE_SECONDS = 0.5

#: Makes the coroutine to run; called when the loop runs.
Main = Callable[[StopSignals], Coroutine[Any, Any, T]]


def run_until_interrupted(main: Main[T], loop_factory: LoopFactory | None = None) -> T:
    """Run ``main(signals)``; the first SIGINT or SIGTERM cancels it and ends the command, the third does so at once.

    asyncio alone raises KeyboardInterrupt in any code that runs before its handler is installed: while the loop is
    made, or in an ``__del__``, where it is lost. The exit code is 128 plus the signal's number.
    """

    async def interruptible(signals: StopSignals) -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        cancel = task.cancel
        with signals.heard_by(lambda: loop.call_soon_threadsafe(cancel)):
            if signals.count:
                raise asyncio.CancelledError
            return await main(signals)

    return run_counting(interruptible, loop_factory)


def wait_for_threads(signals: StopSignals) -> None:
    """Wait for the threads of the user's code, as Python does, and print that; a second signal ends the wait."""
    patience = time.monotonic() + _PATIENCE_SECONDS
    told = False
    while threads := [
        each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon
    ]:
        threads[0].join(0.05)
        if not told and time.monotonic() > patience:
            told = True
            names = ", ".join(printable(thread.name) for thread in threads)
            tell_last(f"fourtuple: still waiting for threads of the service: {names}; Ctrl-C ends them")
        if told and signals.count > 1:
            leave_output()
            sys.stderr.flush()
            os._exit(Exit.FAILED)


def run_counting(main: Main[T], loop_factory: LoopFactory | None = None) -> T:
    """Run ``main(signals)``, which handles signals itself; if it is cancelled, the command ends."""
    with stop_signals() as signals:
        try:
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                return runner.run(main(signals))
        except asyncio.CancelledError:
            if signals.first is None:
                raise
            sys.exit(128 + signals.first)
