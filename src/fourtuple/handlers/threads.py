"""A bounded pool of threads for blocking handlers.

The standard library's executor has an unbounded queue and joins its threads at exit, so that one handler that sleeps
for ever would keep the process alive. Here the threads are daemons, and the jobs that wait for a thread are known.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

#: The time between two attempts to tell the loop that a job is done, while there is no memory for the call.
_AGAIN_SECONDS = 0.05


class Job:
    """The work of a thread, and the functions to call before and after it."""

    __slots__ = ("ended", "future", "ready", "work")

    def __init__(
        self,
        work: Callable[[], Any],
        future: asyncio.Future[Any],
        ready: Callable[[], bool] | None,
        ended: Callable[[], None] | None,
    ) -> None:
        self.work: Callable[[], Any] = work
        self.future: asyncio.Future[Any] = future
        self.ready: Callable[[], bool] | None = ready
        self.ended: Callable[[], None] | None = ended


class Threads:
    """At most ``limit`` threads, started as they are needed.

    ``on_full`` is called on the loop when no thread is free for another job, because the last one was taken or no more
    can be started (:attr:`shortage` tells which). ``on_free`` is called when a thread is free again.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limit: int,
        on_full: Callable[[], None],
        on_free: Callable[[], None],
    ) -> None:
        self._loop = loop
        self.limit: int = limit
        self._on_full = on_full
        self._on_free = on_free
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        #: The jobs that wait for a thread, the next one first.
        self._waiting: dict[asyncio.Future[Any], Job] = {}
        self._started: list[threading.Thread] = []
        self._full = False
        #: Why the latest thread could not be started, while jobs wait for one.
        self._no_thread: Exception | None = None
        self.busy: int = 0

    def run(
        self,
        work: Callable[[], Any],
        *,
        ready: Callable[[], bool] | None = None,
        ended: Callable[[], None] | None = None,
    ) -> asyncio.Future[Any]:
        """Run ``work`` in a thread, now or when one is free; the future gets its outcome.

        Cancelling the future cancels a job that still waits; a running job continues. ``ready`` is called on the loop
        when a thread is free for the job, and returns whether the job is still needed. ``ended`` is called on the loop
        when no thread runs the job any more. A cancelled future cannot tell that, because its thread may still run.
        """
        future: asyncio.Future[Any] = self._loop.create_future()
        future.add_done_callback(self._given_up)
        self._waiting[future] = Job(work, future, ready, ended)
        with suppress(MemoryError):  # the sweep tries again
            self.look()
        return future

    def change_limit(self, limit: int) -> None:
        """Allow more or fewer threads. Running jobs continue to their end."""
        self.limit = limit
        self.look()

    def look(self) -> None:
        """Give waiting jobs to free or new threads. Called for a new job, at the end of a job, and at each sweep."""
        while self._waiting and self._has_free():
            self._dispatch(next(iter(self._waiting.values())))
        if not self._waiting:
            self._no_thread = None
        full = self.busy >= self.limit or self._no_thread is not None
        if full is not self._full:
            (self._on_full if full else self._on_free)()
            self._full = full

    def _has_free(self) -> bool:
        if self.busy >= self.limit:
            return False
        if self.busy < len(self._started):
            return True
        try:
            thread = threading.Thread(target=self._work, name=f"fourtuple-{len(self._started) + 1}", daemon=True)
            thread.start()
        except Exception as error:  # pids.max, RLIMIT_NPROC or no memory for its stack: try again later
            self._no_thread = error
            return False
        self._started.append(thread)
        self._no_thread = None
        return True

    def _dispatch(self, job: Job) -> None:
        """Give a job to a free thread, unless the job is no longer needed."""
        try:
            if not job.future.done() and job.ready is not None and not job.ready():
                job.future.cancel()
        except Exception as error:
            _resolve(job.future, None, error)
        if job.future.done():
            self._drop(job)
        else:
            self._jobs.put(job)
            self.busy += 1
            del self._waiting[job.future]

    def _given_up(self, future: asyncio.Future[Any]) -> None:
        job = self._waiting.get(future)
        if job is not None:
            self._drop(job)
            self.look()

    def _drop(self, job: Job) -> None:
        if self._waiting.pop(job.future, None) is not None and job.ended is not None:
            job.ended()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            result, error = None, None
            try:
                result = job.work()
            except BaseException as raised:
                error = raised
            if not self._tell_loop(job, result, error):
                return
            del job, result, error

    def _tell_loop(self, job: Job, result: Any, error: BaseException | None) -> bool:
        """Pass the outcome to the loop, from a thread; False if the loop is closed."""
        while True:
            try:
                self._loop.call_soon_threadsafe(self._done, job, result, error)
            except RuntimeError:
                return False
            except MemoryError:
                time.sleep(_AGAIN_SECONDS)
            else:
                return True

    def _done(self, job: Job, result: Any, error: BaseException | None) -> None:
        self.busy -= 1
        try:
            _resolve(job.future, result, error)
        finally:
            try:
                if job.ended is not None:
                    job.ended()
            finally:
                self.look()

    @property
    def full(self) -> bool:
        """Whether no thread is free for another job."""
        return self._full

    @property
    def waiting(self) -> int:
        """The number of jobs that wait for a thread."""
        return len(self._waiting)

    @property
    def shortage(self) -> str:
        """The reason why no thread is free, with numbers."""
        if self._no_thread is None:
            return f"max_threads reached: {self.busy} threads are busy"
        waiting = len(self._waiting)
        return f"no thread can be started ({self._no_thread}): {self.busy} are busy, {waiting} handlers wait for one"

    def close(self) -> None:
        """Let each thread end after its job; cancel the jobs that wait for a thread."""
        for future in list(self._waiting):
            future.cancel()
        for _ in self._started:
            self._jobs.put(None)

    async def join(self, timeout: float) -> bool:
        """Wait for the threads to end, at most ``timeout`` seconds; return whether they did.

        It does not wait for running jobs: the caller has already done that.
        """
        deadline = self._loop.time() + timeout
        while alive := sum(thread.is_alive() for thread in self._started):
            if alive <= self.busy or self._loop.time() >= deadline:
                return False
            await asyncio.sleep(0.002)
        return True

    def __repr__(self) -> str:
        return f"<Threads {self.busy} of {self.limit} busy, {len(self._waiting)} jobs waiting>"


def _resolve(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(fit_for_a_future(error))


def fit_for_a_future(error: BaseException) -> BaseException:
    """Return an exception with which a coroutine can be resumed.

    StopIteration and GeneratorExit have another meaning in a coroutine, as in a generator (PEP 479).
    """
    if not isinstance(error, StopIteration | GeneratorExit):
        return error
    fit = RuntimeError(f"a handler raised {type(error).__name__}")
    fit.__cause__ = error
    return fit
