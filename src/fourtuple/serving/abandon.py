"""Abandoning what does not end: tasks that swallow their cancellation, and threads that do not return."""

from __future__ import annotations

import asyncio
import functools
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

#: What a loop calls with an error that nothing else gets.
Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]

#: Seconds that a closing loop waits for running calls of :func:`asyncio.to_thread`.
EXECUTOR_SECONDS = 0.5


class _Keeper:
    """Holds the disowned tasks, and keeps them even when the interpreter ends.

    If the last reference to a task went away, its coroutine would be closed, in whichever thread that happens. A
    coroutine that swallows its cancellation may also swallow that, and then run in a circle without a loop in which it
    could wait. An interpreter that ends clears its modules, but not the references of a daemon thread.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._lock = threading.Lock()
        self._nothing_left = threading.Event()
        self._thread: threading.Thread | None = None

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold a task until it is done."""
        with self._lock:
            self._tasks.add(task)
            if self._thread is None:
                self._nothing_left.clear()
                self._thread = threading.Thread(target=self._hold, name="fourtuple-abandoned", daemon=True)
                self._thread.start()
        task.add_done_callback(self._done)

    def keeps(self, task: asyncio.Task[Any]) -> bool:
        """Return whether a task was disowned, and is not done."""
        with self._lock:
            return task in self._tasks

    def _hold(self) -> None:
        self._nothing_left.wait()

    def _done(self, task: asyncio.Task[Any]) -> None:
        with self._lock:
            self._tasks.discard(task)
            if not self._tasks and self._thread is not None:
                self._nothing_left.set()
                self._thread.join()
                self._thread = None


_keeper = _Keeper()


def is_disowned(task: asyncio.Task[Any]) -> bool:
    """Return whether a task was disowned, and is not done."""
    return _keeper.keeps(task)


def hide(task: asyncio.Task[Any]) -> None:
    """Hide a task from :func:`asyncio.all_tasks`. The caller keeps it, and ends or disowns it in bounded time.

    A loop that closes begins to wait for all tasks at once, without a bound. To disown one of them is too late then.
    """
    # The function is documented, for task implementations.
    asyncio.tasks._unregister_task(task)


def disown(task: asyncio.Task[Any]) -> None:
    """Remove a task that does not end from those that a closing loop cancels and waits for without a bound."""
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # already reported
    hide(task)
    _keeper.keep(task)
    loop = task.get_loop()
    before = loop.get_exception_handler()
    if not isinstance(before, _Quiet):
        loop.set_exception_handler(_Quiet(before))


class _Quiet:
    """A loop's exception handler that says nothing of the generators of disowned tasks.

    A loop that closes also closes all async generators, and reports those that run: that of the task's own code, and
    each that waits for it.
    """

    def __init__(self, before: Handler | None) -> None:
        self._before = before

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if getattr(context.get("asyncgen"), "ag_running", False):
            return
        if self._before is None:
            loop.default_exception_handler(context)
        else:
            self._before(loop, context)


class BoundedExecutor(ThreadPoolExecutor):
    """A default executor for loops whose threads cannot keep the process: they are daemons, and shutdown is bounded.

    The standard library's executor joins its threads without a bound, when the loop closes and again when the
    interpreter ends: one call of ``asyncio.to_thread()`` that never returns would keep the process running.
    """

    def __init__(self) -> None:
        super().__init__()
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._workers: list[threading.Thread] = []
        self._free = 0
        self._over = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run ``fn(*args, **kwargs)`` in a thread."""
        future: Future[T] = Future()
        with self._lock:
            if self._over:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._calls.put((future, lambda: fn(*args, **kwargs)))
            if self._free:
                self._free -= 1
            elif len(self._workers) < self._max_workers:
                worker = threading.Thread(target=self._work, name=f"asyncio_{len(self._workers)}", daemon=True)
                worker.start()
                self._workers.append(worker)
        return future

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            future, run = call
            answer: Callable[[], object] = int  # does nothing: for a cancelled future
            if future.set_running_or_notify_cancel():
                try:
                    answer = functools.partial(future.set_result, run())
                except BaseException as error:
                    answer = functools.partial(future.set_exception, error)
            with self._lock:
                self._free += 1  # before the answer: code that waits for it may submit the next call
            answer()
            del call, future, run, answer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with ``wait``, give running calls EXECUTOR_SECONDS to return."""
        with self._lock:
            self._over = True
        if cancel_futures:
            self._cancel_all()
        for _ in self._workers:
            self._calls.put(None)
        until = time.monotonic() + EXECUTOR_SECONDS
        for worker in self._workers if wait else ():
            worker.join(max(0.0, until - time.monotonic()))

    def _cancel_all(self) -> None:
        while True:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                return
            if call is not None:
                call[0].cancel()
