"""A bounded pool of threads for blocking handlers.

The standard library's executor has an unbounded queue and joins its threads at exit, so that one handler that sleeps
forever would keep the process alive. Here the threads are daemons, and the jobs that wait for a thread are known.

To wake a thread, and to wake the loop, costs more than a short job. So while jobs are short, one woken thread takes all
that are queued, and tells the loop once, behind the last of them. One of them may be slow after all. So after a
millisecond the loop takes what has ended, and wakes a thread for each job that is still queued.

The way of a job::

    start() --> waiting --- a thread is free, and it is still needed ---> queued --> in a thread --> over --> finish()
                   |                                                   (busy: counted against the limit)
                   +--- give_up(), no longer needed, close() ---> drop()
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol

#: The time between two attempts to tell the loop that a job is done, while there is no memory for the call.
_AGAIN_SECONDS = 0.05
#: Seconds after which the loop looks at jobs that are queued behind others.
_LOOK_SECONDS = 0.001
#: Jobs are short while they take less than this on average, in seconds. A long one counts as at most _MOST_SECONDS.
_SHORT_SECONDS = 0.00025
_MOST_SECONDS = 0.01


class Job(Protocol):
    """The work of a thread."""

    @property
    def many(self) -> bool:
        """Whether the job is made of parts, so that :meth:`look_in` is of use."""

    def needed(self) -> bool:
        """Return whether the job is still to be done, when a thread is free for it. Called on the loop."""

    def __call__(self) -> None:
        """Do the work. Never raises. Called in a thread."""

    def look_in(self) -> None:
        """Take the outcome of the parts so far: the job takes long. Called on the loop."""

    def finish(self) -> None:
        """Take the outcome. Called on the loop, when no thread runs the job any more."""

    def drop(self) -> None:
        """The job was given up before it began. Called on the loop."""


class Call:
    """A job that is one call, whose outcome a future gets."""

    __slots__ = ("_ended", "_error", "_future", "_ready", "_result", "_work")

    many = False

    def __init__(
        self,
        work: Callable[[], Any],
        future: asyncio.Future[Any],
        ready: Callable[[], bool] | None,
        ended: Callable[[], None] | None,
    ) -> None:
        self._work = work
        #: None at the end: the traceback of its exception may hold this job.
        self._future: asyncio.Future[Any] | None = future
        self._ready = ready
        self._ended = ended
        self._result: Any = None
        self._error: BaseException | None = None

    def needed(self) -> bool:
        future = self._future
        assert future is not None
        try:
            if not future.done() and self._ready is not None and not self._ready():
                future.cancel()
        except Exception as error:
            _resolve(future, None, error)
        return not future.done()

    def __call__(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error

    def look_in(self) -> None:
        """Do nothing: there is one outcome."""

    def finish(self) -> None:
        result, error, future = self._result, self._error, self._future
        self._result = self._error = self._future = None
        try:
            if future is not None:
                _resolve(future, result, error)
        finally:
            del result, error, future
            self._end()

    def drop(self) -> None:
        future, self._future = self._future, None
        if future is not None:
            future.cancel()
        self._end()

    def _end(self) -> None:
        if self._ended is not None:
            self._ended()


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
        #: The jobs that wait until fewer are busy, the next one first.
        self._waiting: dict[Job, None] = {}
        #: The jobs for the threads, each of which is counted in ``busy``; and those that no thread runs any more.
        self._queue: deque[Job] = deque()
        self._over: deque[Job] = deque()
        #: Whether a thread was woken that takes what is queued; and whether the loop was told to take what is over.
        self._called = self._told = False
        #: The locks of the threads that sleep: releasing one wakes its thread.
        self._sleeping: list[threading.Lock] = []
        self._started: list[threading.Thread] = []
        #: How long jobs have taken lately, in seconds.
        self._average = 0.0
        #: Jobs of several parts, and how often the loop has looked while they ran.
        self._looked: dict[Job, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._full = self._closed = False
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
        job = Call(work, future, ready, ended)
        # A future calls this through the loop, so give_up() never runs within the cancel() of a caller.
        future.add_done_callback(lambda _: self.give_up(job))
        self.start(job)
        return future

    def start(self, job: Job) -> None:
        """Run a job in a thread, now or when one is free."""
        self._waiting[job] = None
        with suppress(MemoryError):  # the sweep tries again
            self.look()

    def give_up(self, job: Job) -> None:
        """Drop a job that still waits. One that runs continues."""
        if job in self._waiting:
            self._drop(job)
            self.look()

    def change_limit(self, limit: int) -> None:
        """Allow more or fewer threads. Running jobs continue to their end."""
        self.limit = limit
        self.look()

    def look(self) -> None:
        """Give waiting jobs to free or new threads. Called for a new job, at the end of a job, and at each sweep."""
        while self._waiting and self._has_free():
            self._dispatch(next(iter(self._waiting)))
        if not self._waiting:
            self._no_thread = None
        full = self.busy >= self.limit or self._no_thread is not None
        if full is not self._full:
            # The flag follows the call: if that raises, the next look calls it again.
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
        if not job.needed():
            self._drop(job)
            return
        self._queue.append(job)
        # Counted when it is queued and not when a thread takes it: otherwise the next dispatch would count on the same
        # thread.
        self.busy += 1
        self._waiting.pop(job, None)
        if job.many:
            self._looked[job] = 0
        if self._average >= _SHORT_SECONDS or not self._called:
            self._called = True
            self._wake()
        if self._timer is None:
            self._timer = self._loop.call_later(_LOOK_SECONDS, self._look_in)

    def _drop(self, job: Job) -> None:
        self._waiting.pop(job, None)
        job.drop()

    def _wake(self) -> None:
        """Wake a thread, if one sleeps. One that is just started looks at the queue by itself."""
        try:
            self._sleeping.pop().release()
        except IndexError:
            pass

    def _look_in(self) -> None:
        """Take what is over, and what slow jobs have done; wake a thread for each job that is still queued."""
        self._timer = None
        self._called = False  # the thread that was woken may be in a slow job
        for job in list(self._looked):
            self._looked[job] += 1
            if self._looked[job] > 1:  # it has run for a millisecond at least
                del self._looked[job]
                job.look_in()
        for _ in range(len(self._queue)):
            self._wake()
        if self._queue or self._looked:
            self._timer = self._loop.call_later(_LOOK_SECONDS, self._look_in)
        self._collect()

    # -- in the threads -----------------------------------------------------------------------------------

    def _work(self) -> None:
        wake = threading.Lock()
        wake.acquire()
        while (job := self._next(wake)) is not None:
            began = monotonic()
            job()
            took = monotonic() - began
            # An exponential average over about 16 jobs. Threads may overwrite each other's value: it only steers how
            # they are woken.
            self._average += (min(took, _MOST_SECONDS) - self._average) / 16
            self._over.append(job)
            del job
            # While something is queued, the loop's look is due as well.
            if not (self._queue and self._average < _SHORT_SECONDS) and not self._tell_loop():
                return

    def _next(self, wake: threading.Lock) -> Job | None:
        """Return the next job, if need be after a sleep; None at the end. Called in a thread."""
        while True:
            try:
                return self._queue.popleft()
            except IndexError:
                pass
            if self._closed:
                return None
            # Before the queue is looked at again: a job queued after that look finds no thread called, and wakes this
            # one. The list of sleepers is changed before the look for the same reason.
            self._called = False
            self._sleeping.append(wake)
            if self._queue or self._closed:  # something came in the meantime
                try:
                    self._sleeping.remove(wake)
                except ValueError:  # it has been released, or is about to be
                    wake.acquire()
            else:
                wake.acquire()

    def _tell_loop(self) -> bool:
        """Let the loop take what is over, from a thread; False if the loop is closed."""
        while not self._told:
            # Before the call: a job that ends after _collect() has begun finds False, and tells the loop again. None is
            # left behind.
            self._told = True
            try:
                self._loop.call_soon_threadsafe(self._collect)
            except RuntimeError:
                return False
            except MemoryError:
                self._told = False
                time.sleep(_AGAIN_SECONDS)
            else:
                break
        return True

    # -- on the loop --------------------------------------------------------------------------------------

    def _collect(self) -> None:
        """Finish the jobs that are over."""
        self._told = False
        try:
            while self._over:
                job = self._over.popleft()
                self.busy -= 1
                self._looked.pop(job, None)
                job.finish()
        finally:
            if self._over:  # a job has raised, which must not hold the others
                self._loop.call_soon(self._collect)
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
        for job in list(self._waiting):
            self._drop(job)
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for _ in self._started:
            self._wake()

    async def join(self, timeout: float) -> bool:
        """Wait for the threads to end, at most ``timeout`` seconds; return whether they did.

        It does not wait for running jobs: the caller has already done that.
        """
        deadline = self._loop.time() + timeout
        while alive := sum(thread.is_alive() for thread in self._started):
            # All threads that are alive are in a job.
            if alive <= self.busy or self._loop.time() >= deadline:
                return False
            # Polled: Thread.join() would block the loop, and an idle thread ends as soon as it is woken.
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
