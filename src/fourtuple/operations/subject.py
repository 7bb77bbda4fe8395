"""What can be operated: one server, several in one process, or a supervisor with its workers.

The control socket, the page of metrics and the dashboard know only a :class:`Subject`. All results are values of JSON,
because a supervisor gets them from other processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, TypedDict

from fourtuple.observe.snapshot import Snapshot

State = Literal["starting", "serving", "suspended", "draining", "stopped"]


def number_of(text: str) -> int | None:
    """Return the number of a connection or worker in a request; None for a text that is not one."""
    # Length first: int() raises an error for thousands of digits.
    return int(text) if len(text) < 20 and text.isascii() and text.isdigit() else None


class Listening(TypedDict):
    """One listener of one service. Numbers are None where the kernel does not say."""

    service: str
    address: str
    accept_queue: int | None
    backlog: int | None
    drops: int | None
    #: Why accept pauses here; empty while it does not.
    paused: list[str]


class Serving(TypedDict):
    """One service, in all workers."""

    name: str
    framing: str
    state: State
    connections: int
    max_connections: int
    #: The counters of :class:`fourtuple.ServerStatistics`, and refused connections by limit.
    totals: dict[str, int]
    refused: dict[str, int]


class Worker(TypedDict):
    """One worker process of a supervisor. ``started`` is in seconds since 1970."""

    slot: int
    pid: int | None
    state: str
    connections: int
    started: float | None


class Status(TypedDict):
    """What ``fourtuple status`` prints. ``started`` is in seconds since 1970."""

    name: str
    version: str
    pid: int
    started: float
    state: State
    ready: bool
    services: list[Serving]
    listeners: list[Listening]
    #: Empty without a supervisor.
    workers: list[Worker]


class Conversing(TypedDict):
    """One open connection. Times are seconds."""

    #: What ``fourtuple close`` takes: ``17``, or ``2/17`` for connection 17 of the worker in slot 2.
    id: str
    service: str
    local: str
    remote: str
    age: float
    idle: float
    messages_in: int
    messages_out: int
    octets_in: int
    octets_out: int
    inbox: int
    outbox: int
    tls: bool


class InForce(TypedDict):
    """The limits of one service, or of an endpoint with limits of its own, which has its addresses alone."""

    service: str
    addresses: list[str]
    #: How many connections may be open, in all workers: also where ``limits`` has none for it.
    max_connections: int
    #: Every limit that holds here, by name, of all workers together. None is no limit.
    limits: dict[str, Any]


class Subject(Protocol):
    """What can be operated.

    A call that cannot be done raises :class:`~fourtuple.errors.OperationError`, whose text goes to the user.
    """

    @property
    def ready(self) -> bool:
        """Whether new connections should be sent here: it serves, and is neither suspended nor draining."""

    async def status(self) -> Status:
        """Return what it does now."""

    async def metrics(self) -> Snapshot:
        """Return all numbers, summed over its workers."""

    async def suspend(self) -> None:
        """Stop accepting; new connections wait in the kernel's accept queue. Idempotent."""

    async def resume(self) -> None:
        """Accept again. Idempotent."""

    async def drain(self, timeout: float | None = None) -> None:
        """Begin to stop, as SIGTERM does; return at once. Seconds, or None for ``drain_timeout``."""

    async def set_workers(self, count: int) -> None:
        """Have so many workers; return when they serve."""

    async def upgrade(self) -> int:
        """Start the program again, and hand its listeners over; return the new process id when it has taken over."""

    async def limits(self) -> list[InForce]:
        """Return all limits that are in force now, of each service and of each endpoint with its own."""

    async def set_limits(self, changes: Mapping[str, str], service: str | None = None) -> dict[str, str]:
        """Put other limits in force, given as text as on the command line; return those limits as they are now.

        They are those of one service, or of all.
        """

    async def connections(self, most: int = 1000) -> list[Conversing]:
        """Return the open connections, at most so many, the oldest first."""

    async def close(self, id: str, *, abort: bool = False) -> bool:
        """Close a connection, after what was sent, or abort it; return whether there was one with this id or name."""


def as_json(value: Any) -> Any:
    """Return what a call of a subject has returned as a value of JSON: for a channel between processes."""
    return value.as_json() if isinstance(value, Snapshot) else value
