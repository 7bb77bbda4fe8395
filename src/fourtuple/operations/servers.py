"""One server, or several in one process, as a :class:`~fourtuple.operations.subject.Subject`."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from itertools import chain
from typing import Any

from fourtuple._version import __version__
from fourtuple.engine import Listener
from fourtuple.engine.listener import BY_REQUEST
from fourtuple.errors import AddressError, OperationError, OptionError
from fourtuple.four_tuple import FourTuple
from fourtuple.handlers import Runner
from fourtuple.net.backlog import AcceptQueue
from fourtuple.net.descriptors import connection_limit, default_connections
from fourtuple.observe.metrics import Meter
from fourtuple.observe.snapshot import Snapshot
from fourtuple.operations.measuring import LoopMeter
from fourtuple.operations.subject import Conversing, InForce, Listening, Serving, State, Status, number_of
from fourtuple.options import OF_THE_SERVER, Deadlines, Limits, Proxy, Sockets, Tls, declared, nearest
from fourtuple.printable import repr_of
from fourtuple.server import Server, core_of, lifecycle_of
from fourtuple.serving.core import ServerCore
from fourtuple.tls import TlsLayer

#: When this process started to use operations: near enough to its start, and the same for all its servers.
STARTED = time.time()

#: Counters of ServerStatistics and their metrics.
_COUNTERS = {
    "accepted": "fourtuple_connections_accepted_total",
    "probes": "fourtuple_probes_total",
    "aborted": "fourtuple_connections_aborted_total",
    "abandoned": "fourtuple_handlers_abandoned_total",
    "octets_in": "fourtuple_octets_received_total",
    "octets_out": "fourtuple_octets_sent_total",
    "messages_in": "fourtuple_messages_received_total",
    "messages_out": "fourtuple_messages_sent_total",
    "accept_failures": "fourtuple_accept_failures_total",
    "handshakes": "fourtuple_tls_handshakes_total",
    "tls_failures": "fourtuple_tls_failures_total",
    "active": "fourtuple_connections_open",
}


class Servers:
    """A :class:`~fourtuple.operations.subject.Subject` of the servers of this process, all on the running loop.

    Parameters
    ----------
    servers
        The servers. They need not be started yet.
    meters
        The meter of each server that has one, by server; it must be among the server's observers.
    loop_meter
        What measures the loop. Default: nothing does.
    listeners
        False if another process tells of the accept queues: the supervisor, which owns the sockets.
    divide
        The max_connections that each server was given, if those without one (None) divide what the limit on
        descriptors allows. Default: every server has what its limits say, and may use all descriptors.
    """

    def __init__(
        self,
        servers: Iterable[Server[Any, Any, Any, Any]],
        *,
        meters: Mapping[Server[Any, Any, Any, Any], Meter] | None = None,
        loop_meter: LoopMeter | None = None,
        listeners: bool = True,
        divide: Mapping[Server[Any, Any, Any, Any], int | None] | None = None,
    ) -> None:
        self._servers = tuple(servers)
        self._meters = dict(meters or {})
        self._loop_meter = loop_meter
        self._listeners = listeners
        self._given = dict(divide or {})
        self._drains: set[asyncio.Task[int]] = set()
        #: The drops of each listener when it was seen first: a socket may have been another process's before.
        self._first_drops: dict[Listener, int] = {}

    # -- what can be seen ---------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether every server serves, and none is suspended or draining."""
        return all(state_of(server) == "serving" for server in self._servers)

    async def status(self) -> Status:
        """Return what the servers do now."""
        states = {state_of(server) for server in self._servers}
        state: State = states.pop() if len(states) == 1 else "serving" if "serving" in states else "draining"
        return Status(
            name=", ".join(server.service.name for server in self._servers),
            version=__version__,
            pid=os.getpid(),
            started=STARTED,
            state=state,
            ready=self.ready,
            services=[_serving(server) for server in self._servers],
            listeners=[self._listening(server, each) for server in self._servers for each in server.listeners],
            workers=[],
        )

    def _listening(self, server: Server, listener: Listener) -> Listening:
        return listening(
            server.service.name, str(listener.name), listener.queue(), self._dropped(listener), sorted(listener.paused)
        )

    def _dropped(self, listener: Listener) -> int | None:
        now = listener.drops
        return None if now is None else now - self._first_drops.setdefault(listener, now)

    async def metrics(self) -> Snapshot:
        """Return all numbers."""
        return self.snapshot()

    def snapshot(self) -> Snapshot:
        """As :meth:`metrics`, at once, even when the servers have stopped, for the last snapshot of a worker."""
        made = Snapshot()
        for server in self._servers:
            self._put(made, server)
            if server in self._meters:
                self._meters[server].fill(made)
            if self._listeners:
                for listener in server.listeners:
                    put_listener(made, self._listening(server, listener))
        made.put("fourtuple_start_time_seconds", STARTED)
        if self._loop_meter is not None:
            self._loop_meter.fill(made)
        return made

    def numbers(self) -> dict[str, Any]:
        """Return what a supervisor sums over its workers, as a value of JSON: metrics and totals of one moment."""
        return {
            "metrics": self.snapshot().as_json(),
            "services": [_serving(server) for server in self._servers],
            "listeners": {
                str(listener.name): server.service.name for server in self._servers for listener in server.listeners
            },
        }

    def _put(self, made: Snapshot, server: Server) -> None:
        service, core, statistics = server.service.name, core_of(server), server.statistics
        for field, metric in _COUNTERS.items():
            made.put(metric, getattr(statistics, field), service)
        for limit, count in server.refused.items():
            made.put("fourtuple_connections_refused_total", count, service, limit)
        started = hasattr(core, "threads")
        state = state_of(server)
        made.put("fourtuple_connections_max", server.max_connections, service)
        living = chain.from_iterable(registry.living() for registry in lifecycle_of(server).registries)
        made.put("fourtuple_buffered_octets", sum(each.stream.buffered for each in living), service)
        made.put("fourtuple_threads_busy", core.threads.busy if started else 0, service)
        made.put("fourtuple_suspended", state == "suspended", service)
        made.put("fourtuple_draining", state == "draining", service)

    async def connections(self, most: int = 1000) -> list[Conversing]:
        """Return the open connections, at most so many, the oldest first."""
        found: list[Conversing] = []
        for server in self._servers:
            now = server.engine.clock()
            for runner in chain.from_iterable(registry.living() for registry in lifecycle_of(server).registries):
                if len(found) >= most:
                    return found
                found.append(_conversing(server, runner, now))
        return found

    # -- what can be done ---------------------------------------------------------------------------------

    async def suspend(self) -> None:
        """Stop accepting."""
        check_accepting("suspend", stopping=self._stopping)
        for server in self._servers:
            server.pause()

    async def resume(self) -> None:
        """Accept again."""
        check_accepting("resume", stopping=self._stopping)
        for server in self._servers:
            server.resume()

    @property
    def _stopping(self) -> bool:
        return all(server.draining.is_set() for server in self._servers)

    async def drain(self, timeout: float | None = None) -> None:
        """Begin to drain all servers; return at once."""
        for server in self._servers:
            task = asyncio.get_running_loop().create_task(server.drain(timeout))
            self._drains.add(task)
            task.add_done_callback(self._drained)

    def _drained(self, task: asyncio.Task[int]) -> None:
        self._drains.discard(task)
        task.cancelled() or task.exception()  # serve_forever() also raises it

    async def set_workers(self, count: int) -> None:
        """Raise :class:`~fourtuple.errors.OperationError`: this process is alone."""
        raise OperationError(
            f"workers {count}: this server runs in one process; start it with --workers to have several"
        )

    async def upgrade(self) -> int:
        """Raise :class:`~fourtuple.errors.OperationError`: this process is alone."""
        raise OperationError("upgrade: this server runs in one process; start it with --workers to upgrade it")

    async def limits(self) -> list[InForce]:
        """Return all limits that are in force now, of each server and of each endpoint with its own."""
        return [
            in_force(
                server.service.name,
                [str(each.name) for each in core.listeners],
                connection_limit(core.limits.max_connections),
                self._as_given(server, core),
                endpoint=core is not core_of(server),
            )
            for server in self._servers
            for core in lifecycle_of(server).groups
        ]

    def _as_given(self, server: Server, core: ServerCore) -> Limits:
        """Return the limits of a core, without a max_connections that is only a share of the descriptors."""
        whole = core is core_of(server) and server in self._given
        return core.limits.replace(max_connections=self._given[server]) if whole else core.limits

    async def set_limits(self, changes: Mapping[str, str], service: str | None = None) -> dict[str, str]:
        """Put other limits in force in every server, or in that of one service, or in none; return these limits."""
        values = read_limits(changes)
        servers = self._servers
        if service is not None:
            check_service(service, [server.service.name for server in servers])
            servers = tuple(server for server in servers if server.service.name == service)
        changed = {server: dict(values) for server in servers}
        given = dict(self._given)
        if given and "max_connections" in values:
            given |= dict.fromkeys(servers, values["max_connections"])
            default = default_connections(given.values())
            for server in [server for server, most in given.items() if most is None]:
                changed.setdefault(server, {})["max_connections"] = default
        _change_all(changed)
        self._given = given
        now = asdict(servers[0].limits) | {name: None for name, value in values.items() if value is None}
        return {name: shown(now[name]) for name in values}

    async def close(self, id: str, *, abort: bool = False) -> bool:
        """Close a connection by its id or its four-tuple."""
        runner = self._find(id)
        if runner is None:
            return False
        if abort:
            runner.abort()
        else:
            runner.connection.close()
        return True

    def _find(self, id: str) -> Runner | None:
        number = number_of(id)
        wanted = _name(id) if number is None else number
        for server in self._servers:
            for registry in lifecycle_of(server).registries:
                runner = registry.runners.get(wanted) if isinstance(wanted, int) else registry.find(wanted)
                if runner is not None:
                    return runner
        return None


def state_of(server: Server[Any, Any, Any, Any]) -> State:
    """Return what a server does now."""
    if server.stopped:
        return "stopped"
    if server.draining.is_set():
        return "draining"
    if not hasattr(core_of(server), "engine"):
        return "starting"
    return "suspended" if any(BY_REQUEST in listener.paused for listener in server.listeners) else "serving"


def check_accepting(what: str, *, stopping: bool) -> None:
    """Raise :class:`~fourtuple.errors.OperationError` for what only a server that accepts can do."""
    if stopping:
        raise OperationError(f"{what}: the server is stopping, and accepts no more connections")


def check_service(name: str, known: Iterable[str]) -> None:
    """Raise :class:`~fourtuple.errors.OperationError` for a service that a server does not have."""
    names = [each for each in known if each]
    if name not in names:
        there = nearest(name, names) or (f"; it has {', '.join(names)}" if names else "; it has one alone")
        raise OperationError(f"service {name}: the server has no such service{there}")


def listening(service: str, address: str, queue: AcceptQueue | None, drops: int | None, paused: list[str]) -> Listening:
    """Return what is told of one passive socket. ``queue`` is None where the kernel does not tell it."""
    return Listening(
        service=service,
        address=address,
        accept_queue=None if queue is None else queue.waiting,
        backlog=None if queue is None else queue.limit,
        drops=drops,
        paused=paused,
    )


def put_listener(made: Snapshot, told: Listening) -> None:
    """Put the numbers of one listener into a snapshot."""
    labels = told["service"], told["address"]
    for metric, value in (
        ("fourtuple_accept_queue", told["accept_queue"]),
        ("fourtuple_accept_queue_limit", told["backlog"]),
        ("fourtuple_accept_queue_drops_total", told["drops"]),
        ("fourtuple_accept_paused", bool(told["paused"])),
    ):
        if value is not None:
            made.put(metric, int(value), *labels)


def in_force(
    service: str, addresses: list[str], max_connections: int, limits: Limits, *, endpoint: bool = False
) -> InForce:
    """Return what is told of limits; an endpoint has only those that are not of its whole server."""
    found = {name: value for name, value in asdict(limits).items() if not endpoint or name not in OF_THE_SERVER}
    return InForce(service=service, addresses=addresses, max_connections=max_connections, limits=found)


def _change_all(changes: Mapping[Server[Any, Any, Any, Any], Mapping[str, Any]]) -> None:
    """Change limits of several servers, or of none: raises :class:`~fourtuple.errors.OperationError` then."""
    before = {server: server.limits for server in changes}
    try:
        for server, values in changes.items():
            server.change_limits(**values)
    except Exception as error:
        for server, limits in before.items():
            server.change_limits(**asdict(limits))
        if not isinstance(error, OptionError | ValueError):
            raise
        raise OperationError(str(error)) from error


def read_limits(changes: Mapping[str, str]) -> dict[str, Any]:
    """Convert limits that were given as text; raise :class:`~fourtuple.errors.OperationError` for impossible ones."""
    known = {option.name: option for option in declared(Limits)}
    values: dict[str, Any] = {}
    for given, text in changes.items():
        name = given.replace("-", "_")
        if name not in known:
            raise OperationError(f"{given}: there is no such limit{_elsewhere(name) or nearest(name, known)}")
        try:
            values[name] = known[name].convert(text)
        except OptionError as error:
            raise OperationError(str(error)) from error
    return values


def _elsewhere(name: str) -> str:
    """Return what to do with an option of another family, which does not change while the server runs."""
    for family, table in ((Deadlines, "deadlines"), (Sockets, "sockets"), (Proxy, "proxy"), (Tls, "tls")):
        for option in declared(family):
            if option.name == name:
                what = "a deadline" if family is Deadlines else f"an option of [{table}]"
                return (
                    f"; it is {what}: set it in the file, under [{table}], or by {option.flag} of fourtuple serve, "
                    "and start again, or upgrade (fourtuple upgrade)"
                )
    return ""


def shown(value: Any) -> str:
    """Return the value of an option as a user types it."""
    return "none" if value is None else str(value)


def _serving(server: Server) -> Serving:
    statistics = server.statistics  # a sum over all connections
    return Serving(
        name=server.service.name,
        framing=str(server.service.framing),
        state=state_of(server),
        connections=statistics.active,
        max_connections=server.max_connections,
        totals=asdict(statistics),
        refused=dict(server.refused),
    )


def _conversing(server: Server, runner: Runner, now: float) -> Conversing:
    stream = runner.stream
    counters = stream.statistics
    name = stream.name
    local, remote = (str(name.local), str(name.remote)) if isinstance(name, FourTuple) else (name.path, str(name))
    return Conversing(
        id=str(runner.channel.id),
        service=server.service.name,
        local=local,
        remote=remote,
        age=max(0.0, now - stream.opened),
        idle=max(0.0, now - stream.last_activity),
        messages_in=counters.messages_in,
        messages_out=counters.messages_out,
        octets_in=counters.octets_in,
        octets_out=counters.octets_out,
        inbox=counters.inbox,
        outbox=counters.outbox,
        tls=isinstance(stream.layer, TlsLayer),
    )


def _name(text: str) -> FourTuple:
    try:
        return FourTuple.parse(text)
    except AddressError as error:
        raise OperationError(f"{repr_of(text)} is neither the id nor the name of a connection: {error}") from error
