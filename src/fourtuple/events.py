"""Events: the values that tell observers what happened.

The library writes no logs itself. It calls an observer, which is any callable that takes one :class:`Event`; the
console, JSON logging and metrics are observers. An observer is called in the thread in which the event happens, and
must not block.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, TypeAlias, TypeVar, dataclass_transform

from fourtuple.address import Address, Name

__all__ = [
    "Reason",
    "Statistics",
    "Event",
    "Listening",
    "Operating",
    "Accepted",
    "Refused",
    "DialFailed",
    "TlsStarted",
    "TlsFailed",
    "CertificatesRead",
    "CertificatesFailed",
    "AcceptPaused",
    "AcceptResumed",
    "AcceptDelayed",
    "AcceptFailed",
    "MessageFailed",
    "MessageUnmapped",
    "HandlerRaised",
    "ProgramEnded",
    "HandlerSlow",
    "LoopHeld",
    "HandlerAbandoned",
    "DeadlineMissed",
    "LimitExceeded",
    "AlarmRaised",
    "Closed",
    "Draining",
    "Drained",
    "ClientStateChanged",
    "ClientConnected",
    "ClientConnectFailed",
    "ClientDisconnected",
    "ClientRetried",
    "Reconnected",
    "PushesDropped",
    "PushConsumerFailed",
    "ClientStatistics",
    "Observer",
]


E = TypeVar("E")


class Reason(Enum):
    """Why a connection ended; the first reason is kept."""

    PEER_CLOSED = "closed by peer"
    NO_CLOSE_NOTIFY = "closed by peer without close_notify"
    CLOSED = "closed"
    RESET = "reset by peer"
    LOST = "lost"
    ABORTED = "aborted"
    MESSAGE_ERROR = "message error"
    TLS_ERROR = "TLS error"
    PROXY_ERROR = "PROXY header error"
    HANDLER_ERROR = "handler error"
    DEADLINE = "deadline"
    DRAINED = "drained"
    HANDED_ON = "handed on"
    REFUSED = "refused"
    LIMIT = "limit"

    @property
    def imposed(self) -> bool:
        """Whether a connection closed for this reason is closed by the server and not by its handler."""
        return self in (Reason.DEADLINE, Reason.LIMIT, Reason.MESSAGE_ERROR, Reason.HANDLER_ERROR)

    @property
    def by_peer(self) -> bool:
        """Whether the peer, or the network between, ended the connection."""
        return self in (Reason.PEER_CLOSED, Reason.NO_CLOSE_NOTIFY, Reason.RESET, Reason.LOST)

    @property
    def is_end_of_file(self) -> bool:
        """Whether the peer sent its end of file first."""
        return self in (Reason.PEER_CLOSED, Reason.NO_CLOSE_NOTIFY)


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters of one connection at one moment.

    ``octets_in`` and ``octets_out`` count octets on the wire. Messages are counted when they are decoded or encoded.
    ``late_replies`` counts replies to requests that had been given up. ``inbox`` and ``outbox`` are the messages and
    octets that wait now. ``discarded`` counts octets that were not decoded: plain ones before start_tls(), and those
    that waited for a rate when the connection was lost or closed.
    """

    octets_in: int
    octets_out: int
    messages_in: int
    messages_out: int
    late_replies: int
    inbox: int
    outbox: int
    discarded: int = 0


@dataclass_transform(frozen_default=True)
def _event(cls: type[E]) -> type[E]:
    """Make a frozen dataclass that takes ``repr()``, ``==`` and ``hash()`` from :class:`Event`.

    :func:`dataclasses.dataclass` would compile these for each event: a third of the time to import a server.
    """
    return dataclass(frozen=True, slots=True, repr=False, eq=False)(cls)


@_event
class Event:
    """Something that has just happened; an observer that needs the time reads its own clock."""

    #: The event's name in logs: the name of its class in kebab case, such as ``handler-raised`` for
    #: :class:`HandlerRaised`.
    kind: ClassVar[str] = "event"
    #: The names of the fields, in order: :func:`dataclasses.dataclass` sets it.
    __match_args__: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls) -> None:
        cls.kind = re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    def _values(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__match_args__)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__qualname__}({values})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Event) or other.__class__ is not self.__class__:
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())


@_event
class Listening(Event):
    """A listener is open; ``backlog`` is the kernel's limit of its accept queue, ``asked`` the option's value."""

    address: Address
    backlog: int
    asked: int


@_event
class Operating(Event):
    """A server can be operated: ``what`` is ``control`` (the socket of the commands) or ``http`` (/metrics and others).

    ``address`` has the port that the kernel chose.
    """

    what: str
    address: Address


@_event
class Accepted(Event):
    """A connection was accepted; behind a balancer, its PROXY header has named the real client.

    ``transport`` is the name of the socket itself, if it differs from ``name``.
    """

    id: int
    name: Name
    transport: Name | None = None


@_event
class Refused(Event):
    """A connection was accepted and then refused.

    ``limit`` is the name of the option that was exceeded, or ``vanished`` (the peer had reset the connection already,
    so that it has no name), or ``draining`` (a socket was given to a server that stops), or ``failed`` (there was no
    memory for it, or making it raised). ``why`` has the numbers.
    """

    name: Name | None
    limit: str
    why: str


@_event
class DialFailed(Event):
    """A call of :meth:`fourtuple.Server.dial` made no connection. The next one follows in ``seconds``.

    ``failures`` counts those since the last connection that worked.
    """

    address: Address
    error: Exception
    failures: int
    seconds: float


@_event
class TlsStarted(Event):
    """A TLS handshake is done, at the beginning of a connection or by start_tls().

    The fields have what was agreed. ``sni`` is the name that the client asked for, ``subject`` that of the verified
    client. A text is empty if there is no value.
    """

    id: int
    name: Name
    version: str
    cipher: str
    alpn: str
    sni: str
    subject: str


@_event
class TlsFailed(Event):
    """A connection has failed by a TLS error, in the handshake or later; ``error`` has the reason."""

    id: int
    name: Name
    error: Exception


@_event
class CertificatesRead(Event):
    """The certificate files were read again; new connections use them."""


@_event
class CertificatesFailed(Event):
    """The certificate files were read again and cannot be used; those read before stay in force."""

    error: Exception


@_event
class AcceptPaused(Event):
    """Accept pauses at ``address``: new connections wait in the accept queue; ``why`` names the limit."""

    address: Address
    why: str


@_event
class AcceptResumed(Event):
    """Accept goes on at ``address``."""

    address: Address


@_event
class AcceptDelayed(Event):
    """Connections come faster than ``accept_rate`` and wait in the accept queue; reported once a minute at most."""

    why: str


@_event
class AcceptFailed(Event):
    """accept(2) failed with ``error``; if ``fatal``, the listener is closed, otherwise it goes on by itself."""

    address: Address
    error: OSError
    fatal: bool


@_event
class MessageFailed(Event):
    """The peer broke the framing, or sent a message that does not map and that the service does not handle."""

    id: int
    name: Name
    error: Exception


@_event
class MessageUnmapped(Event):
    """A message does not map, and the service decides: its ``unmapped`` hook, or the conversation that received it.

    If the service does not decide, a :class:`MessageFailed` is reported instead.
    """

    id: int
    name: Name
    error: Exception


@_event
class HandlerRaised(Event):
    """A handler raised an exception; its connection is closed."""

    id: int
    name: Name
    handler: str
    error: BaseException


@_event
class ProgramEnded(Event):
    """The program that had the connection has ended; ``status`` is its exit status, or the negative signal number."""

    id: int
    name: Name
    program: str
    status: int


@_event
class HandlerSlow(Event):
    """A handler held the loop for ``seconds``."""

    id: int
    name: Name
    handler: str
    seconds: float


@_event
class LoopHeld(Event):
    """One call has held the loop for ``seconds``, and still does; ``handler`` is its function.

    ``stack`` has the lines of its stack, the innermost call last. Only this event is reported in another thread, that
    of the watchdog, because the loop's thread is held: the observer must not use objects of the loop then.
    """

    handler: str
    seconds: float
    stack: tuple[str, ...]


@_event
class HandlerAbandoned(Event):
    """The server stops although a handler still runs: it did not end when cancelled, or its thread did not return."""

    id: int
    name: Name
    handler: str


@_event
class DeadlineMissed(Event):
    """A deadline passed; ``error`` names it."""

    id: int
    name: Name
    error: Exception


@_event
class LimitExceeded(Event):
    """A connection is aborted because of the option ``limit``; ``why`` has the numbers."""

    id: int
    name: Name
    limit: str
    why: str


@_event
class AlarmRaised(Event):
    """The number ``gauge`` has reached ``threshold``; it is ``value``."""

    gauge: str
    value: int
    threshold: int


@_event
class Closed(Event):
    """A connection ended.

    ``probe`` means that it ended without an octet of the conversation, like the health checks of balancers. A PROXY
    header and a TLS handshake do not count.
    """

    id: int
    name: Name
    reason: Reason
    statistics: Statistics
    seconds: float
    probe: bool

    @property
    def side(self) -> str:
        """Which side ended it: ``"peer"`` (also for the network between) or ``"server"``."""
        return "peer" if self.reason.by_peer else "server"


@_event
class Draining(Event):
    """The server begins to stop: it accepts connections already queued, and lets conversations end.

    After ``timeout`` seconds it has stopped in any case; None means no bound.
    """

    connections: int
    timeout: float | None = None


@_event
class Drained(Event):
    """The server has stopped.

    ``aborted`` counts connections that were aborted, at the deadline or by a second signal. ``abandoned`` counts
    handlers that did not end when they were cancelled.
    """

    aborted: int
    abandoned: int = 0


@_event
class ClientStateChanged(Event):
    """A client's state is now ``state``; it was ``was``.

    States are ``new``, ``connecting``, ``greeting``, ``ready``, ``waiting`` (for ``seconds``, to the next attempt),
    ``failed`` (greet raised PermanentFailure), ``draining`` and ``closed``.
    """

    address: str
    state: str
    was: str
    seconds: float = 0.0


@_event
class ClientConnected(Event):
    """A client has made a connection, and greeted; ``attempts`` counts the attempts that it took."""

    address: str
    connection: str
    attempts: int


@_event
class ClientConnectFailed(Event):
    """An attempt of a client to connect or to greet has failed; the next is at the earliest in ``pause`` seconds.

    ``pause`` is None if there is no next one: greet raised PermanentFailure.
    """

    address: str
    error: Exception
    attempt: int
    pause: float | None


@_event
class ClientDisconnected(Event):
    """A connection of a client has ended.

    ``why`` is ``peer`` (end of file), ``error``, ``unexpected`` (a message that answers no request), ``check``,
    ``abandoned``, ``idle``, ``age``, ``requests``, ``expired``, ``fresh`` (it made room for a new one) or ``closed``.
    """

    address: str
    connection: str
    why: str
    error: Exception | None = None


@_event
class ClientRetried(Event):
    """A client repeats a request; ``fate`` says what may have happened to it, ``error`` why it failed."""

    address: str
    fate: str
    error: Exception


@_event
class Reconnected(Event):
    """A client that takes pushes is connected again: pushes since ``gap_since`` (seconds since 1970) may be missing."""

    address: str
    gap_since: float
    seconds: float


@_event
class PushesDropped(Event):
    """The inbox of pushes was full: the oldest are dropped; reported for the first one after room was found."""

    address: str
    waiting: int


@_event
class PushConsumerFailed(Event):
    """The function ``on_push`` of a client raised, or the consumer of its ``pushes()`` ended without closing it."""

    address: str
    error: BaseException | None


@dataclass(frozen=True, slots=True)
class ClientStatistics:
    """Counters of a client at one moment.

    ``open`` connections are ``in_use`` (a request waits for a reply there) or ``idle``. ``waiting`` requests wait for a
    connection now; ``wait_count`` have waited, for ``wait_seconds`` together. ``closed_*`` count connections by the
    reason of their end. ``late_replies`` counts replies to requests that had been given up, ``abandoned`` those that
    are still owed. ``retry_budget`` is the number of retries of ``perhaps_sent`` requests that are allowed now.
    """

    open: int = 0
    in_use: int = 0
    idle: int = 0
    waiting: int = 0
    abandoned: int = 0
    wait_count: int = 0
    wait_seconds: float = 0.0
    requests: int = 0
    replies: int = 0
    late_replies: int = 0
    connects: int = 0
    connects_failed: int = 0
    retried_not_sent: int = 0
    retried_perhaps_sent: int = 0
    retries_refused: int = 0
    retry_budget: int = 0
    closed_peer: int = 0
    closed_error: int = 0
    closed_unexpected: int = 0
    closed_check: int = 0
    closed_abandoned: int = 0
    closed_idle: int = 0
    closed_age: int = 0
    closed_requests: int = 0
    closed_expired: int = 0
    closed_fresh: int = 0
    closed_closed: int = 0
    pings: int = 0
    pushes: int = 0
    pushes_waiting: int = 0
    pushes_dropped: int = 0
    gaps: int = 0


Observer: TypeAlias = Callable[[Event], None]
