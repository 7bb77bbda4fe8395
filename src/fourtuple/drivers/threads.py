"""A bounded pool of threads for handlers that block.

The standard library's executor queues without a bound and joins its threads at exit, so that one handler that
sleeps for ever would keep the process alive; here a job gets a thread or is told that there is none.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any


class Threads:
    """At most ``limit`` threads, started as they are needed.

    ``on_full`` and ``on_free`` are called on the loop when the last thread is taken and when one is free again.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limit: int,
        on_full: Callable[[], None],
        on_free: Callable[[], None],
    ) -> None:
        self._loop = loop
        self.limit = limit
        self._on_full = on_full
        self._on_free = on_free
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._waiting: deque[tuple[Callable[[], Any], asyncio.Future[Any]]] = deque()
        self._started: list[threading.Thread] = []
        self.busy = 0

    def run(self, job: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run ``job`` in a thread, now or when one is free; the future has its outcome."""
        future: asyncio.Future[Any] = self._loop.create_future()
        if self.busy >= self.limit:
            self._waiting.append((job, future))
        else:
            self._dispatch(job, future)
        return future

    def change_limit(self, limit: int) -> None:
        """Allow more threads, or fewer: those at work go on to the end of their jobs."""
        was_full, self.limit = self.busy >= self.limit, limit
        while self._waiting and self.busy < limit:
            job, future = self._waiting.popleft()
            if not future.done():
                self._dispatch(job, future)
        is_full = self.busy >= limit
        if is_full and not was_full:
            self._on_full()
        elif was_full and not is_full:
            self._on_free()

    def forget(self, future: asyncio.Future[Any]) -> None:
        """Cancel a job that still waits for a thread; one at work goes on."""
        for waiting in self._waiting:
            if waiting[1] is future:
                self._waiting.remove(waiting)
                future.cancel()
                return

    def _dispatch(self, job: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        if self.busy == len(self._started):
            thread = threading.Thread(target=self._work, name=f"fourtuple-{len(self._started) + 1}", daemon=True)
            thread.start()
            self._started.append(thread)
        self.busy += 1
        self._jobs.put((job, future))
        if self.busy == self.limit:
            self._on_full()

    def _work(self) -> None:
        while (task := self._jobs.get()) is not None:
            job, future = task
            result, error = None, None
            try:
                result = job()
            except BaseException as raised:
                error = raised
            try:
                self._loop.call_soon_threadsafe(self._done, future, result, error)
            except RuntimeError:
                return  # The loop is closed: nobody waits for the outcome.
            del job, future, task, result, error

    def _done(self, future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        self.busy -= 1
        if not future.done():
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(_fit_for_a_future(error))
        while self._waiting and self.busy < self.limit:
            job, waiting = self._waiting.popleft()
            if not waiting.done():
                self._dispatch(job, waiting)
                return
        if self.busy == self.limit - 1:
            self._on_free()

    def close(self) -> None:
        """Let the threads end when their jobs do; jobs that wait for a thread are cancelled."""
        for _, future in self._waiting:
            future.cancel()
        self._waiting.clear()
        for _ in self._started:
            self._jobs.put(None)

    async def join(self, timeout: float) -> bool:
        """Wait for the threads to end, at most ``timeout`` seconds; return whether they did.

        Those at work are not waited for: who stops has done so.
        """
        deadline = self._loop.time() + timeout
        while alive := sum(thread.is_alive() for thread in self._started):
            if alive <= self.busy or self._loop.time() >= deadline:
                return False
            await asyncio.sleep(0.002)
        return True

    def __repr__(self) -> str:
        return f"<Threads {self.busy} of {self.limit} busy, {len(self._waiting)} jobs waiting>"


def _fit_for_a_future(error: BaseException) -> BaseException:
    """What a coroutine can be resumed with: these two mean something else there, as in a generator (PEP 479)."""
    if not isinstance(error, StopIteration | GeneratorExit):
        return error
    fit = RuntimeError(f"a handler raised {type(error).__name__}")
    fit.__cause__ = error
    return fit
