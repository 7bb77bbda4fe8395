"""A supervisor with its workers as a :class:`~fourtuple.operations.subject.Subject`: what can be operated."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any, cast

from fourtuple._version import __version__
from fourtuple.engine.listener import BY_REQUEST
from fourtuple.errors import ListenError, OperationError, OptionError, SupervisorError, WorkerNotStarted
from fourtuple.net.backlog import drops
from fourtuple.net.descriptors import DEFAULT_MAX_CONNECTIONS
from fourtuple.net.passive import accept_queue_of
from fourtuple.observe.snapshot import Snapshot
from fourtuple.operations.servers import (
    check_accepting,
    check_service,
    in_force,
    listening,
    put_listener,
    read_limits,
    shown,
)
from fourtuple.operations.subject import Conversing, InForce, Listening, State, Status, number_of
from fourtuple.operations.subject import Worker as WorkerStatus
from fourtuple.options import Limits
from fourtuple.supervisor.listen_address import service_of
from fourtuple.supervisor.numbers import Numbers
from fourtuple.supervisor.process import Worker
from fourtuple.supervisor.supervisor import Supervisor


class Supervised:
    """The workers of a supervisor, operated together.

    Counters never become smaller: the last numbers of each worker that has ended are kept. Those of a worker that was
    killed are at most one second old.
    """

    def __init__(self, supervisor: Supervisor, limits: Mapping[str, Limits]) -> None:
        self._supervisor = supervisor
        #: The limits of each whole service, and of each endpoint with its own, by its label.
        self._limits = dict(limits)
        self._started = time.time()
        self._monotonic = time.monotonic()
        self._upgrade: asyncio.Future[int] | None = None
        #: The limits that were changed while serving: for workers that are started later.
        self._changes: dict[str | None, dict[str, Any]] = {None: {}}
        self._deaths = 0
        self._numbers: Numbers[Worker] = Numbers()
        self._drops: dict[tuple[str, int], int] = {}
        supervisor.answers["last"] = self._take
        supervisor.on_ended.append(self._ended)
        supervisor.on_started.append(self._begin)

    # -- numbers ------------------------------------------------------------------------------------------

    def _take(self, worker: Worker, arguments: dict[str, Any], _fds: list[int]) -> None:
        self._numbers.take(worker, arguments)

    def _ended(self, worker: Worker) -> None:
        self._deaths += not worker.stops
        self._numbers.ended(worker)

    async def collect(self) -> None:
        """Ask all workers for their numbers, and keep them for the case that a worker is killed."""
        for worker, told in (await self._supervisor.ask_each("numbers")).items():
            if worker.alive:
                self._numbers.take(worker, told)

    async def metrics(self) -> Snapshot:
        """Return all numbers, summed over the workers."""
        await self.collect()
        own = Snapshot()
        for told in self._listening():
            put_listener(own, told)
        states = [worker["state"] for worker in self._workers()]
        for state in sorted(set(states)):
            own.put("fourtuple_workers", states.count(state), state)
        own.put("fourtuple_worker_deaths_total", self._deaths)
        own.put("fourtuple_start_time_seconds", self._started)
        return self._numbers.snapshot(own)

    # -- what it is doing ---------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether a worker serves, and nothing stops or suspends them."""
        supervisor = self._supervisor
        return bool(supervisor.workers) and not supervisor.suspended and not supervisor.stopping

    async def status(self) -> Status:
        """Return what the workers do now. The totals are those of :meth:`metrics`."""
        await self.collect()
        services = self._numbers.services([slot.worker for slot in self._supervisor.slots if slot.worker is not None])
        state: State = (
            "draining" if self._supervisor.stopping else "suspended" if self._supervisor.suspended else "serving"
        )
        return Status(
            name=", ".join(service["name"] for service in services),
            version=__version__,
            pid=os.getpid(),
            started=self._started,
            state=state,
            ready=self.ready,
            services=services,
            listeners=list(self._listening()),
            workers=self._workers(),
        )

    def _workers(self) -> list[WorkerStatus]:
        found = []
        for slot in self._supervisor.slots:
            worker = slot.worker
            status = WorkerStatus(
                slot=slot.number,
                pid=None,
                state="starting" if slot.starting is not None else "down",
                connections=0,
                started=None,
            )
            if worker is not None:
                status["pid"] = worker.pid
                status["state"] = "leaving" if slot.leaving else "ready" if worker.report.responsive else "silent"
                status["connections"] = worker.report.connections
                status["started"] = self._started + (worker.began - self._monotonic)
            found.append(status)
        return found

    def _listening(self) -> Iterable[Listening]:
        paused = [BY_REQUEST] if self._supervisor.suspended else []
        for place in self._supervisor.slots.places:
            address = str(place.name)
            for slot, sock in place.sockets.items():
                if sock.fileno() < 0:
                    continue  # it was closed: the supervisor stops, and still answers
                dropped = None if place.name.is_unix else drops(sock)
                if dropped is not None:
                    dropped -= self._drops.setdefault((address, slot or 0), dropped)
                service = place.service or self._numbers.service_at.get(address, "")
                yield listening(service, address, accept_queue_of(sock), dropped, paused)

    async def connections(self, most: int = 1000) -> list[Conversing]:
        """Return the open connections of all workers, the oldest first; an id is ``SLOT/ID``."""
        found: list[Conversing] = []
        for slot, told in (await self._supervisor.ask("connections", most=most)).items():
            for each in cast(list[Conversing], told):
                each["id"] = f"{slot}/{each['id']}"
                found.append(each)
        return sorted(found, key=lambda each: -each["age"])[:most]

    # -- what can be done ---------------------------------------------------------------------------------

    async def suspend(self) -> None:
        """Stop accepting in all workers, including those started later."""
        self._check_accepting("suspend")
        self._supervisor.suspended = True
        await self._supervisor.order("suspend")

    async def resume(self) -> None:
        """Accept again."""
        self._check_accepting("resume")
        self._supervisor.suspended = False
        await self._supervisor.order("resume")

    def _check_accepting(self, what: str) -> None:
        check_accepting(what, stopping=self._supervisor.stopping)
        if self._supervisor.upgrading:
            raise OperationError(f"{what}: an upgrade is under way; ask the new program when it has taken over")

    def _begin(self, worker: Worker) -> None:
        """A new worker is as the others are, before it accepts its first connection."""
        if self._supervisor.suspended:
            worker.channel.tell("suspend")
        for service, changes in self._changes.items():
            if changes:
                worker.channel.tell("limits", service=service, changes=changes)

    async def drain(self, timeout: float | None = None) -> None:
        """Begin to stop all workers; return at once."""
        if timeout is not None:
            raise OperationError("drain: a supervisor's workers take drain_timeout, no other time can be given")
        self._supervisor.begin_stop()

    async def set_workers(self, count: int) -> None:
        """Change the number of workers; return when they serve, and the removed ones have ended."""
        self._check_accepting("workers")
        try:
            await self._supervisor.set_workers(count)
        except (OptionError, WorkerNotStarted, ListenError) as error:
            raise OperationError(str(error)) from error

    async def upgrade(self) -> int:
        """Start the program again and hand the listeners to it; return its process id when it has taken over.

        The upgrade goes on if the caller does not wait for its end.
        """
        self._upgrade = asyncio.ensure_future(self._supervisor.upgrade())
        try:
            return await asyncio.shield(self._upgrade)
        except (SupervisorError, OSError) as error:
            raise OperationError(str(error)) from error

    def take_limits(self, limits: Mapping[str, Limits]) -> None:
        """Note the limits of the configuration as it was read again; those that were changed stay in force.

        Raises :class:`~fourtuple.errors.OptionError` if they do not fit together; then nothing has changed.
        """
        before, self._limits = self._limits, dict(limits)
        try:
            for service, changes in self._changes.items():
                self._limits |= self._changed(service, changes)
        except OptionError:
            self._limits = before
            raise

    def _note(self, service: str | None, values: dict[str, Any]) -> None:
        """Keep changes for later workers: those of all services come first, and replace what one alone had before."""
        if service is None:
            for changes in self._changes.values():
                for name in values:
                    changes.pop(name, None)
        self._changes.setdefault(service, {}).update(values)

    def _changed(self, service: str | None, changes: Mapping[str, Any]) -> dict[str, Limits]:
        chosen = [name for name in self._services if service in (None, name)]
        return {name: self._limits[name].replace(**changes) for name in chosen}

    @property
    def _services(self) -> list[str]:
        """The labels of the services: endpoints with limits of their own keep them."""
        return [label for label in self._limits if label == service_of(label)]

    async def limits(self) -> list[InForce]:
        """Return all limits that are in force now, of whole services and of whole endpoints."""
        most = {each["name"]: each["max_connections"] for each in (await self.status())["services"]}
        found = []
        for label, limits in self._limits.items():
            endpoint = label not in self._services
            name = service_of(label) or next(iter(most), "")  # the only service of a command line has no label
            allowed = DEFAULT_MAX_CONNECTIONS if endpoint else most.get(name, 0)
            if limits.max_connections is not None:
                allowed = limits.max_connections
            places = [
                str(place.name)
                for place in self._supervisor.slots.places
                if label == (place.label if place.label in self._limits else service_of(place.label))
            ]
            found.append(in_force(name, places, allowed, limits, endpoint=endpoint))
        return found

    async def set_limits(self, changes: Mapping[str, str], service: str | None = None) -> dict[str, str]:
        """Put other limits of whole services in force; each worker gets its share."""
        values = read_limits(changes)
        if service is not None:
            check_service(service, self._services)
        try:
            changed = self._changed(service, values)
        except OptionError as error:
            raise OperationError(str(error)) from error
        self._limits |= changed
        self._note(service, values)
        await self._supervisor.order("limits", service=service, changes=values)
        return {name: shown(value) for name, value in values.items()}

    async def close(self, id: str, *, abort: bool = False) -> bool:
        """Close a connection: ``SLOT/ID``, or its four-tuple."""
        slot, _, number = id.rpartition("/")
        if slot:
            place = number_of(slot)
            found = None if place is None else self._supervisor.slots.find(place)
            if found is None or found.worker is None:
                return False
            return bool(await found.worker.channel.request("close", timeout=2.0, id=number, abort=abort))
        if number_of(id) is not None:
            raise OperationError(f"close {id}: also give the number of the worker, as in 1/{id}")
        return any((await self._supervisor.ask("close", id=id, abort=abort)).values())


async def collecting(subject: Supervised, seconds: float = 1.0) -> None:
    """Collect the numbers regularly, until it is cancelled."""
    while True:
        await subject.collect()
        await asyncio.sleep(seconds)
