"""Keeps the slots filled: starts workers, starts them again when they die, and lends their queues meanwhile.

::

             start                   one octet on the pipe
    empty ---------> starting ---------------------------> serving ---- dies ----> empty
      ^                 |                                     |
      |   ends, or is   |                                     | a successor is ready
      +----- late ------+                                     v
                                                          draining ---> ended, or killed after its deadline
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

from fourtuple.errors import ChannelError, WorkerNotStarted
from fourtuple.events import Observer
from fourtuple.options import Deadlines, Processes
from fourtuple.supervisor import events
from fourtuple.supervisor.channel import Answer
from fourtuple.supervisor.plan import Lifetime
from fourtuple.supervisor.process import Command, Worker, ending_of, signal_of, start_worker
from fourtuple.supervisor.slots import Slot, Slots

#: Workers that start at once. More would only slow each other down.
STARTS_AT_ONCE = 4
#: Seconds that a slot may be without a worker before a sibling gets its passive sockets.
LEND_AFTER = 1.0
#: Seconds beyond a worker's own deadlines for its drain, or its abort, and its tear-down, before it is killed.
KILL_AFTER = 5.0
#: Seconds without an answer at the deadline of its drain after which a worker is killed: its loop is held.
HELD_AFTER = 2.0
#: The exit code of a worker that had to abort conversations or handlers.
ABORTED = 1


class Filling:
    """Starts and ends the workers of all slots."""

    def __init__(
        self,
        slots: Slots,
        command: Command,
        processes: Processes,
        deadlines: Deadlines,
        observer: Observer,
        answer: Callable[[Worker], Answer],
    ) -> None:
        self._slots = slots
        self._command = command
        self._processes = processes
        #: The deadlines of workers that are started from now on.
        self.deadlines = deadlines
        self._observer = observer
        self._answer = answer
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        #: One for each worker that drains: :meth:`close` does not end these.
        self._watching: set[asyncio.Task[None]] = set()
        #: Workers that were asked to stop, and have not ended.
        self.draining: set[Worker] = set()
        #: No worker is started any more.
        self.stopping: bool = False
        #: The workers that had to abort something, or were killed.
        self.unclean: int = 0
        #: Called with each worker that has ended.
        self.on_ended: Callable[[Worker], object] = lambda worker: None
        #: Called with each worker that was started: what it is told then, it knows before it accepts.
        self.on_started: Callable[[Worker], object] = lambda worker: None

    def soon(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a coroutine as a task that :meth:`close` cancels."""
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def close(self) -> None:
        """Start no more workers."""
        self.stopping = True
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()

    # -- starting -----------------------------------------------------------------------------------------

    async def fill(self, slots: Sequence[Slot]) -> None:
        """Start the workers of these slots: the first one alone, so that an error is shown once; then the others."""
        if not slots:
            return
        await self._fill(slots[0])
        turn = asyncio.Semaphore(STARTS_AT_ONCE)

        async def start(slot: Slot) -> None:
            async with turn:
                await self._fill(slot)

        starting = [self.soon(start(slot)) for slot in slots[1:]]
        try:
            await asyncio.gather(*starting)
        except BaseException:
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)
            raise

    async def _fill(self, slot: Slot) -> None:
        async with slot.lock:
            if slot.worker is None:
                self.install(slot, await self.start(slot))

    async def start(self, slot: Slot) -> Worker:
        """Start a worker for a slot; return it when it accepts connections. The slot's lock must be held.

        Raises :class:`~fourtuple.errors.WorkerNotStarted`.
        """
        if self.stopping:
            raise WorkerNotStarted(slot.number, "the supervisor stops")
        try:
            worker = self._spawn(slot)
        except OSError as error:
            raise WorkerNotStarted(slot.number, error.strerror or str(error)) from error
        slot.starting = worker
        self.on_started(worker)
        limit = self._processes.start_timeout
        try:
            async with asyncio.timeout(limit):
                # shield(): a timeout cancels what is awaited, and the future belongs to the worker, which sets it
                # later.
                ready = await asyncio.shield(worker.ready)
                # One that has died in the same turn in which it was ready has not started either.
                code = None if ready and worker.alive else await asyncio.shield(worker.ended)
        except TimeoutError:
            worker.kill()
            # SIGKILL cannot be refused (signal(7)), so this wait is short.
            await asyncio.shield(worker.ended)
            raise WorkerNotStarted(slot.number, f"it was not ready within start_timeout, {limit:g} s") from None
        except asyncio.CancelledError:
            # It may be ready in the next moment, and would accept connections that no slot knows of.
            self.end(worker)
            raise
        finally:
            slot.starting = None
        if code is not None:
            how = ending_of(code)
            raise WorkerNotStarted(
                slot.number, how if signal_of(code) is None else f"it was {how} before it was ready", code
            )
        worker.ready_at = self._loop.time()
        self._observer(events.WorkerReady(slot.number, worker.pid, worker.ready_at - worker.began))
        return worker

    def _spawn(self, slot: Slot) -> Worker:
        worker = start_worker(
            self._command,
            slot.number,
            self._slots.share(slot),
            [(str(place.address), place.label, place.socket_of(slot.number)) for place in self._slots.places],
            now=self._loop.time(),
            answer=self._answer,
            on_end=self._ended,
        )
        worker.deadlines = self.deadlines
        return worker

    def install(self, slot: Slot, worker: Worker, why: str = "") -> Worker | None:
        """Let a worker that is ready serve a slot; return the one that served it before, which still does."""
        old, slot.worker = slot.worker, worker
        slot.lifetime = Lifetime.drawn(
            self._processes.recycle_messages,
            self._processes.recycle_after,
            self._processes.recycle_jitter,
            random.random(),
        )
        slot.hurry.clear()
        self.take_back(slot)
        self._slots.steer()
        if old is not None:
            self._observer(events.WorkerReplaced(slot.number, old.pid, worker.pid, why))
        return old

    # -- dying, and starting again ------------------------------------------------------------------------

    def _ended(self, worker: Worker) -> None:
        """A process has ended, for whatever reason."""
        slot = self._slots.find(worker.slot)
        code = worker.ended.result()
        self.on_ended(worker)
        if worker in self.draining:
            self.draining.discard(worker)
            self.unclean += worker.killed or code == ABORTED
            self._observer(events.WorkerEnded(worker.slot, worker.pid, ending_of(code)))
        for other in self._slots:
            if other.lent_to is worker:
                other.lent_to = None
                self.soon(self._lend(other))
        if slot is None or slot.worker is not worker:
            return
        slot.worker = None
        self._slots.steer()
        now = self._loop.time()
        slot.not_before = slot.backoff.ended(worker.began, worker.ready_at or now, now)
        if self.stopping or slot.leaving:
            return
        self._observer(events.WorkerDied(worker.slot, worker.pid, ending_of(code), max(0.0, slot.not_before - now)))
        self.soon(self._revive(slot))
        self.soon(self._lend_later(slot))

    async def _revive(self, slot: Slot) -> None:
        while slot.worker is None and not (slot.leaving or self.stopping):
            with suppress(TimeoutError):
                async with asyncio.timeout_at(slot.not_before):
                    await slot.hurry.wait()
            slot.hurry.clear()
            async with slot.lock:
                if slot.worker is not None or slot.leaving or self.stopping:
                    return
                began = self._loop.time()
                try:
                    self.install(slot, await self.start(slot))
                except WorkerNotStarted as error:
                    slot.not_before = slot.backoff.failed(began)
                    left = max(0.0, slot.not_before - self._loop.time())
                    self._observer(events.WorkerNotReady(slot.number, error.why, left))

    # -- lending ------------------------------------------------------------------------------------------

    async def _lend_later(self, slot: Slot) -> None:
        await asyncio.sleep(LEND_AFTER)
        await self._lend(slot)

    async def _lend(self, slot: Slot) -> None:
        """Hand the passive sockets of a slot without a working worker to a sibling."""
        places = [place for place in self._slots.places if not place.shared]
        if slot.serving or slot.lent_to is not None or self.stopping or not places:
            return
        sibling = self._slots.sibling(slot)
        if sibling is None:
            return  # they wait for the next worker
        slot.lent_to = sibling
        fds = [place.socket_of(slot.number).fileno() for place in places]
        labels = [place.label for place in places]
        try:
            await sibling.channel.request("borrow", fds=fds, slot=slot.number, labels=labels)
        except ChannelError:
            if slot.lent_to is sibling:
                slot.lent_to = None
        else:
            self._observer(events.QueueLent(slot.number, sibling.slot))

    def lend(self, slot: Slot) -> None:
        """Hand the passive sockets of a slot to a sibling, now."""
        self.soon(self._lend(slot))

    def take_back(self, slot: Slot) -> None:
        """Let the sibling close its copies: the slot has a worker again."""
        if slot.lent_to is not None:
            slot.lent_to.channel.tell("give_back", slot=slot.number)
            slot.lent_to = None

    # -- ending -------------------------------------------------------------------------------------------

    def end(self, worker: Worker, times: int = 1) -> None:
        """Ask a worker to stop: to drain, or, with ``times`` 2, to abort. It is killed if it exceeds its deadline."""
        if not worker.alive:
            return
        first = worker not in self.draining
        self.draining.add(worker)
        worker.stop(times)
        drain, tear_down = worker.deadlines.drain_timeout if times == 1 else 0.0, worker.deadlines.tear_down_timeout
        if drain is not None and tear_down is not None and (first or times > 1):
            deadline = drain + tear_down
            late = self._loop.call_later(deadline + KILL_AFTER, self._kill, worker, deadline + KILL_AFTER)
            worker.ended.add_done_callback(lambda _: late.cancel())
        if drain is not None and (first or times > 1):
            watching = self._loop.create_task(self._watch_drain(worker, drain))
            self._watching.add(watching)
            watching.add_done_callback(self._watching.discard)

    async def _watch_drain(self, worker: Worker, drain: float) -> None:
        """Kill a worker at the end of its drain if its loop is held: it aborts nothing then, and may never do it.

        One that answers ends by itself. One that has drained is in its tear-down, which has a deadline of its own.
        """
        await asyncio.wait([worker.ended], timeout=max(0.0, drain - HELD_AFTER))
        if not worker.alive or worker.report.drained:
            return
        answer = asyncio.ensure_future(worker.channel.request("ping"))
        await asyncio.wait([answer, worker.ended], timeout=HELD_AFTER)
        if not answer.done():
            answer.cancel()
            if worker.alive and not worker.report.drained:
                self._kill(worker, max(drain, HELD_AFTER))
        elif not answer.cancelled():
            answer.exception()  # it has ended, or user code has closed the channel

    def _kill(self, worker: Worker, seconds: float) -> None:
        self._observer(events.WorkerKilled(worker.slot, worker.pid, seconds))
        worker.kill()
