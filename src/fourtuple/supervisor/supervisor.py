"""The supervisor: it owns the passive sockets, and keeps worker processes at them. It never imports the user's code."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fourtuple.address import Address
from fourtuple.errors import ListenError, OptionError, SupervisorError, WorkerNotStarted
from fourtuple.events import Observer
from fourtuple.net.beside import check_beside
from fourtuple.net.given import check_given, named
from fourtuple.observe.log import log_failures
from fourtuple.options import Deadlines, Processes, Sockets, check_whole
from fourtuple.supervisor import events
from fourtuple.supervisor.changes import Changes
from fourtuple.supervisor.channel import Answer
from fourtuple.supervisor.heartbeat import Heartbeat
from fourtuple.supervisor.listen_address import ListenAddress
from fourtuple.supervisor.places import Place, open_places
from fourtuple.supervisor.process import Command, Worker, this_command
from fourtuple.supervisor.respawning import Filling
from fourtuple.supervisor.seat import Handover
from fourtuple.supervisor.slots import Slots
from fourtuple.supervisor.upgrade import Link, Successor, taken_over

#: Seconds that :meth:`Supervisor.ask` waits for a worker: one that is stopped or held must not stop the others.
ASK_TIMEOUT = 2.0


class Supervisor:
    """Serves with several worker processes, on the running loop.

    ::

        starting --- all workers are ready ---> serving --- drain(), abort() ---> stopping ---> stopped
           |                                     |  ^                                ^
           |  one does not start                 |  |  it does not start             |
           v                                     v  |                                |
        stopped                    upgrade(): the successor starts --- it is ready --+

    Parameters
    ----------
    addresses
        Where to listen; an :class:`~fourtuple.supervisor.listen_address.ListenAddress` has options of its own.
    processes, sockets, deadlines
        The options. ``processes.workers`` is the number of workers; None counts as 1.
    observer
        Called with each event of :mod:`fourtuple.supervisor.events`.
    command
        What starts a worker. Default: the command line of this process.
    handover
        What the supervisor of the old program has handed to this one.
    """

    def __init__(
        self,
        *addresses: str | Address | ListenAddress,
        processes: Processes | None = None,
        sockets: Sockets | None = None,
        deadlines: Deadlines | None = None,
        observer: Observer | None = None,
        command: Command | None = None,
        handover: Handover | None = None,
    ) -> None:
        self.processes: Processes = processes or Processes()
        sockets = sockets or Sockets()
        self.listen_on: tuple[ListenAddress, ...] = tuple(
            each if isinstance(each, ListenAddress) else ListenAddress(Address.parse(each), sockets)
            for each in addresses
        )
        self.deadlines: Deadlines = deadlines or Deadlines()
        self.observer: Observer = log_failures if observer is None else observer
        self.command: Command = command or this_command()
        self._handover = handover
        self._link: Link | None = None
        #: Where the supervisor before this one listened, and this one does not.
        self._dropped: list[Place] = []
        self.slots: Slots = Slots([])
        self._filling: Filling
        self._heartbeat: Heartbeat
        self._changes: Changes
        self._successor: Successor | None = None
        self._stopping: asyncio.Task[None] | None = None
        #: The address that is being opened, or could not be.
        self.opening: ListenAddress | None = None
        self.stopped: asyncio.Event = asyncio.Event()
        self._aborting = False
        #: Whether accept is suspended, including in workers started later, and after an upgrade.
        self.suspended: bool = handover is not None and handover.suspended
        #: What the workers may ask of the supervisor, by name: ``answer(worker, arguments, descriptors)``.
        self.answers: dict[str, Callable[[Worker, dict[str, Any], list[int]], Any]] = {"report": self._reported}
        #: Called with each worker that has ended.
        self.on_ended: list[Callable[[Worker], object]] = []
        #: Called with each worker that was started. What it is told then, it knows before it accepts.
        self.on_started: list[Callable[[Worker], object]] = []
        #: Called when a new supervisor takes over, with its process id.
        self.on_handed_over: Callable[[int], object] = lambda pid: None

    # -- beginning ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the passive sockets and start all workers; return when they accept connections.

        Raises a :class:`~fourtuple.errors.ListenError`, or :class:`~fourtuple.errors.WorkerNotStarted` if one worker
        does not start: then all are stopped, and no socket stays open.
        """
        count = self.processes.workers or 1
        self._filling = Filling(
            self.slots, self.command, self.processes, self.deadlines, self.observer, self._answer_for
        )
        self._filling.on_ended = self._worker_ended
        self._filling.on_started = self._worker_started
        grace = self.processes.handshake_grace
        self._changes = Changes(self.slots, self._filling, self.observer, grace, lambda: self.stopping)
        self._heartbeat = Heartbeat(self.slots, self._filling, self.observer, self._changes.recycle)
        async with self._changes.lock:
            self.slots.places, numbers = self._open(count)
            self.slots.steering = self._link is None  # the old supervisor steers until it has handed over
            try:
                for number in numbers:
                    self.slots.adopt(number)
                await self._filling.fill(list(self.slots))
                if self._link is not None:
                    await self._link.take_over()
            except BaseException:
                await self._give_up()
                raise
            self.slots.steering = True
            self.slots.steer(always=True)
            for place in (*self.slots.places, *self._dropped):
                place.own_file()
            self._close_dropped()
        self._heartbeat.start()
        if len(self.slots) != count:
            self._filling.soon(self._change_after_upgrade(count))

    def _open(self, count: int) -> tuple[list[Place], list[int]]:
        """Return the places, and the slots whose sockets are open there."""
        numbers = list(range(1, count + 1))
        places: list[Place] = []
        left: Sequence[ListenAddress] = self.listen_on
        if self._handover is not None:
            taken = taken_over(self._handover, self.listen_on)
            self._link, places, left, self._dropped = taken.link, taken.places, taken.left, taken.dropped
            if self._link is None:  # no worker accepts what waits there
                self._end_dropped()
            groups = [place.order.slots for place in places if place.order is not None]
            numbers = sorted(groups[0]) if groups else list(range(1, self._handover.workers + 1))
        try:
            left = [replace(wanted, address=each) for wanted in left for each in named(wanted.address)]
            check_given([wanted.address for wanted in left])
            check_beside([(wanted.address, wanted.sockets) for wanted in left])
            for wanted in left:
                self.opening = wanted
                opened = open_places(wanted.address, numbers, wanted.sockets)
                for place in opened:
                    place.belong_to(wanted)
                places += opened
        except BaseException:
            for place in places:
                place.close()
            self._close_dropped()
            raise
        for place in places:
            if place.shared:
                why = "a Unix socket" if place.name.is_unix else "a socket that was opened by another program"
                self.observer(events.SocketShared(place.name, why))
        return places, numbers

    def abort_start(self) -> None:
        """Let a start that was cancelled end sooner: its workers abort, and are killed if they do not end."""
        self._aborting = True
        self._abort_workers()

    async def _give_up(self) -> None:
        """The start has failed: leave nothing behind. A cancellation meanwhile is one of :meth:`abort_start`."""
        self._filling.close()
        for slot in self.slots:
            if slot.worker is not None:
                self._filling.end(slot.worker)
        # In a task of its own: a caller that is cancelled a second time must not leave its workers behind.
        ended = asyncio.get_running_loop().create_task(self._all_ended())
        while not ended.done():
            try:
                await asyncio.wait({ended})
            except asyncio.CancelledError:
                self.abort_start()
        self._close_places()
        if self._link is not None:
            self._link.close()

    async def _change_after_upgrade(self, count: int) -> None:
        """The upgraded program wants another number of workers than the old one had."""
        try:
            await self.set_workers(count)
        except (WorkerNotStarted, ListenError) as error:
            self.observer(events.RollAbandoned(str(error)))

    # -- what can be seen ---------------------------------------------------------------------------------

    @property
    def addresses(self) -> tuple[Address, ...]:
        """The addresses at which the workers listen, with the ports that the kernel chose."""
        return tuple(place.name for place in self.slots.places)

    @property
    def workers(self) -> Mapping[int, int]:
        """The process ids of the workers that serve, by slot."""
        return {slot.number: slot.worker.pid for slot in self.slots if slot.worker is not None}

    @property
    def stopping(self) -> bool:
        """Whether it stops, or has stopped."""
        return self._stopping is not None

    @property
    def upgrading(self) -> bool:
        """Whether a new supervisor has been started, and has not taken over yet."""
        return self._successor is not None and not self._successor.has_taken_over

    @property
    def unclean(self) -> int:
        """How many workers had to abort conversations or handlers when they were stopped, or were killed."""
        return self._filling.unclean

    async def ask(self, op: str, **arguments: Any) -> dict[int, Any]:
        """Ask all workers that serve; return their answers by slot, without those that failed or did not answer."""
        asked = [slot.worker for slot in self.slots if slot.worker is not None]
        return {worker.slot: reply for worker, reply in (await self._ask(asked, op, arguments)).items()}

    async def ask_each(self, op: str, **arguments: Any) -> dict[Worker, Any]:
        """As :meth:`ask`, including the workers that drain."""
        asked = {slot.worker for slot in self.slots if slot.worker is not None} | self._filling.draining
        return await self._ask([worker for worker in asked if worker.ready_at is not None], op, arguments)

    async def _ask(self, workers: Sequence[Worker], op: str, arguments: dict[str, Any]) -> dict[Worker, Any]:
        replies = await asyncio.gather(
            *(worker.channel.request(op, timeout=ASK_TIMEOUT, **arguments) for worker in workers),
            return_exceptions=True,
        )
        found = zip(workers, replies, strict=True)
        return {worker: reply for worker, reply in found if not isinstance(reply, BaseException)}

    async def order(self, op: str, **arguments: Any) -> None:
        """Have all workers do something: those that serve, now, and those that start, before they accept."""
        for slot in self.slots:
            if slot.starting is not None:
                slot.starting.channel.tell(op, **arguments)
        await self.ask(op, **arguments)

    # -- changing -----------------------------------------------------------------------------------------

    async def roll(self, why: str = "by request") -> bool:
        """Replace all workers, one by one; return whether all were replaced.

        A new worker is ready before the old one drains, and the old one has ended before the next is replaced. If a
        new worker does not start, the roll ends there, and the old workers go on. A roll that is asked for while
        another one runs follows it, once however often it is asked for.
        """
        return await self._changes.roll(why)

    async def set_workers(self, count: int) -> None:
        """Change the number of workers; return when the new ones accept connections, and the removed ones have ended.

        Raises :class:`~fourtuple.errors.OptionError` for a number that is not possible, and
        :class:`~fourtuple.errors.WorkerNotStarted` if a new worker does not start; then the number is as before.
        """
        check_whole("workers", count, 1)
        self.processes = self.processes.replace(workers=count)
        await self._changes.resize(count)

    def change_deadlines(self, deadlines: Deadlines) -> None:
        """Take other deadlines, for workers that are started from now on."""
        self.deadlines = deadlines
        self._filling.deadlines = deadlines

    # -- what workers tell --------------------------------------------------------------------------------

    def _answer_for(self, worker: Worker) -> Answer:
        def answer(op: str, arguments: dict[str, Any], fds: list[int]) -> Any:
            if op not in self.answers:
                raise OptionError(f"{op}: the supervisor has no such operation")
            return self.answers[op](worker, arguments, fds)

        return answer

    def _reported(self, worker: Worker, arguments: dict[str, Any], _fds: list[int]) -> None:
        self._heartbeat.reported(worker, arguments)

    def _worker_ended(self, worker: Worker) -> None:
        for call in self.on_ended:
            call(worker)

    def _worker_started(self, worker: Worker) -> None:
        for call in self.on_started:
            call(worker)

    # -- upgrading ----------------------------------------------------------------------------------------

    async def upgrade(self) -> int:
        """Start the program again, and hand the listeners to it; return the process id of the new supervisor.

        When its workers accept connections, the workers of this one drain, and this one ends. If it does not start,
        everything goes on as before. Raises :class:`~fourtuple.errors.SupervisorError` in that case, and while another
        upgrade runs.
        """
        if self._successor is not None or self._stopping is not None:
            what = "an upgrade" if self._successor is not None else "a stop"
            raise SupervisorError(f"no upgrade: {what} is under way already")
        self._successor = successor = Successor(self.command, self.slots, suspended=self.suspended)
        try:
            async with self._changes.lock:
                pid = successor.begin()
                self.observer(events.UpgradeBegun(pid))
                limit = self.processes.start_timeout
                # It starts a first worker, and then all others.
                await successor.ready(None if limit is None else 2 * limit + 10.0)
                self.slots.steering = False
                # First: the service manager has to know the new process before that one tells it anything.
                self.on_handed_over(pid)
                successor.hand_over()
        except (SupervisorError, OSError) as error:
            self._successor = None
            self.observer(events.UpgradeAbandoned(str(error)))
            raise
        except BaseException:
            self._successor = None
            successor.end()
            raise
        self.observer(events.UpgradeDone(pid))
        self.begin_stop()
        return pid

    # -- stopping -----------------------------------------------------------------------------------------

    def begin_stop(self) -> None:
        """Begin to drain all workers; :meth:`wait` returns when they have ended."""
        if self._stopping is None:
            self._stopping = asyncio.get_running_loop().create_task(self._stop())

    async def drain(self) -> None:
        """Stop gracefully: all workers drain, within ``drain_timeout``."""
        self.begin_stop()
        await self.wait()

    async def abort(self) -> None:
        """Stop now: all workers abort their connections."""
        self._aborting = True  # the stop may not have asked the workers yet
        self.begin_stop()
        self._abort_workers()
        await self.wait()

    def _abort_workers(self) -> None:
        for worker in list(self._filling.draining):
            if worker.stops < 2:
                self._filling.end(worker, 2)

    async def wait(self) -> None:
        """Return when the supervisor has stopped."""
        await self.stopped.wait()

    async def _stop(self) -> None:
        self.observer(events.Stopping(len(self.workers)))
        self._heartbeat.stop()
        self._filling.close()
        self.slots.steering = False
        if self._successor is not None and not self._successor.has_taken_over:
            self._successor.end()
        # The passive sockets close when the workers have closed theirs: nothing waits at a socket without a worker.
        self._close_places()
        for slot in self.slots:
            for worker in (slot.worker, slot.starting):
                if worker is not None:
                    self._filling.end(worker, 2 if self._aborting else 1)
        await self._all_ended()
        self.observer(events.Stopped(self.unclean))
        self.stopped.set()

    async def _all_ended(self) -> None:
        await asyncio.sleep(0)  # starts that were cancelled hand their workers over to be ended
        if self._aborting:
            self._abort_workers()
        while self._filling.draining:
            await asyncio.wait([worker.ended for worker in self._filling.draining])

    def _close_places(self) -> None:
        for place in self.slots.places:
            place.close()
        self._close_dropped()

    def _close_dropped(self) -> None:
        """Close what the supervisor before this one had, and this one has not; with its file, once that is ours."""
        for place in self._dropped:
            place.close()
        self._dropped.clear()

    def _end_dropped(self) -> None:
        for place in self._dropped:
            if not place.address.is_given:
                place.own_file()
                place.end()
        self._close_dropped()
