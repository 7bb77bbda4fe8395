"""What happened: the vocabulary of observers.

The library logs nothing inline. It calls an observer, any callable that takes one :class:`Event`; the console,
JSON logging and metrics are observers. An observer runs where the event happens and must not block.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, TypeAlias

from fourtuple.address import Address, Name

__all__ = [
    "Reason",
    "Statistics",
    "Event",
    "Listening",
    "Accepted",
    "Refused",
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
    "Observer",
]


class Reason(Enum):
    """Why a conversation ended. The first reason stays."""

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
        """Whether a connection that is closed for it is closed over its handler's head, and not by its wish."""
        return self in (Reason.DEADLINE, Reason.LIMIT, Reason.MESSAGE_ERROR, Reason.HANDLER_ERROR)

    @property
    def by_peer(self) -> bool:
        """Whether the peer, or the way to it, ended it."""
        return self in (Reason.PEER_CLOSED, Reason.NO_CLOSE_NOTIFY, Reason.RESET, Reason.LOST)

    @property
    def is_end_of_file(self) -> bool:
        """Whether the peer sent its end of file first."""
        return self in (Reason.PEER_CLOSED, Reason.NO_CLOSE_NOTIFY)


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counters of one connection at one moment.

    Octets are those of the peer and of us on the wire; messages count when they are decoded or encoded.
    ``late_replies`` are replies to requests that had been given up, ``outbox`` and ``inbox`` what waits now;
    ``discarded`` are the plain octets that start_tls() threw away.
    """

    octets_in: int
    octets_out: int
    messages_in: int
    messages_out: int
    late_replies: int
    inbox: int
    outbox: int
    discarded: int = 0


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, just now: an observer that wants the time looks at its clock."""

    #: The event's name in logs: that of its class in kebab case, as ``handler-raised`` of :class:`HandlerRaised`.
    kind: ClassVar[str] = "event"

    def __init_subclass__(cls) -> None:
        cls.kind = re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()


@dataclass(frozen=True, slots=True)
class Listening(Event):
    """A passive socket is open. ``backlog`` is what the kernel holds, ``asked`` what was asked for."""

    address: Address
    backlog: int
    asked: int


@dataclass(frozen=True, slots=True)
class Accepted(Event):
    """A connection was accepted; behind a balancer, when its PROXY header has named the real client.

    ``transport`` is the name of the socket itself where it is another one.
    """

    id: int
    name: Name
    transport: Name | None = None


@dataclass(frozen=True, slots=True)
class Refused(Event):
    """A connection was accepted and turned away.

    ``limit`` is the name of the option that was exceeded (or ``vanished``: the peer was gone already, and had no
    name any more; ``failed``: there was no memory for it, or making it raised); ``why`` has the numbers.
    """

    name: Name | None
    limit: str
    why: str


@dataclass(frozen=True, slots=True)
class TlsStarted(Event):
    """A TLS handshake is done, in the beginning or by start_tls().

    What was agreed; ``sni`` is the name that the client asked for, ``subject`` the verified client's. Empty for none.
    """

    id: int
    name: Name
    version: str
    cipher: str
    alpn: str
    sni: str
    subject: str


@dataclass(frozen=True, slots=True)
class TlsFailed(Event):
    """TLS broke a connection, in the handshake or later; ``error`` has the reason."""

    id: int
    name: Name
    error: Exception


@dataclass(frozen=True, slots=True)
class CertificatesRead(Event):
    """The files of TLS were read again: who comes from now on sees them."""


@dataclass(frozen=True, slots=True)
class CertificatesFailed(Event):
    """The files of TLS were to be read again and cannot be used; those read before stay in force."""

    error: Exception


@dataclass(frozen=True, slots=True)
class AcceptPaused(Event):
    """Accept pauses at ``address``; the kernel's queue is the waiting room. ``why`` names the limit."""

    address: Address
    why: str


@dataclass(frozen=True, slots=True)
class AcceptResumed(Event):
    """Accept goes on at ``address``."""

    address: Address


@dataclass(frozen=True, slots=True)
class AcceptDelayed(Event):
    """Connections come faster than ``accept_rate``: they wait in the kernel's queue. Told once a minute at most."""

    why: str


@dataclass(frozen=True, slots=True)
class AcceptFailed(Event):
    """accept(2) failed with ``error``. ``fatal``: this listener is closed; otherwise it goes on by itself."""

    address: Address
    error: OSError
    fatal: bool


@dataclass(frozen=True, slots=True)
class MessageFailed(Event):
    """The peer broke the framing, or sent what does not map to a service that has no decision for it."""

    id: int
    name: Name
    error: Exception


@dataclass(frozen=True, slots=True)
class MessageUnmapped(Event):
    """A message does not map, and the service decides: its ``unmapped`` hook, or the conversation that received it.

    Without a decision it is a :class:`MessageFailed`.
    """

    id: int
    name: Name
    error: Exception


@dataclass(frozen=True, slots=True)
class HandlerRaised(Event):
    """A handler raised; it cost its own connection."""

    id: int
    name: Name
    handler: str
    error: BaseException


@dataclass(frozen=True, slots=True)
class ProgramEnded(Event):
    """The program that had the connection has ended; ``status`` is its exit status, or minus the signal's number."""

    id: int
    name: Name
    program: str
    status: int


@dataclass(frozen=True, slots=True)
class HandlerSlow(Event):
    """A handler held the loop for ``seconds``."""

    id: int
    name: Name
    handler: str
    seconds: float


@dataclass(frozen=True, slots=True)
class LoopHeld(Event):
    """One call has held the loop for ``seconds``, and still does; ``handler`` is its function.

    ``stack`` has lines: where it is now, the innermost call last. This event alone is told in another thread, that of
    the watchdog: the loop's own is held. An observer must not touch what belongs to the loop then.
    """

    handler: str
    seconds: float
    stack: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HandlerAbandoned(Event):
    """The server stops without a handler: it did not end when it was cancelled, nor did its thread come back."""

    id: int
    name: Name
    handler: str


@dataclass(frozen=True, slots=True)
class DeadlineMissed(Event):
    """A deadline passed; ``error`` names it."""

    id: int
    name: Name
    error: Exception


@dataclass(frozen=True, slots=True)
class LimitExceeded(Event):
    """A connection is aborted because of the option ``limit``; ``why`` has the numbers."""

    id: int
    name: Name
    limit: str
    why: str


@dataclass(frozen=True, slots=True)
class AlarmRaised(Event):
    """The number ``gauge`` is ``value``, ``threshold`` or more."""

    gauge: str
    value: int
    threshold: int


@dataclass(frozen=True, slots=True)
class Closed(Event):
    """A connection ended.

    ``probe``: it came and went without an octet of the conversation, behind a PROXY header and a TLS handshake too, as
    the health checks of balancers do.
    """

    id: int
    name: Name
    reason: Reason
    statistics: Statistics
    seconds: float
    probe: bool

    @property
    def side(self) -> str:
        """Who ended it: ``"peer"`` (or the network between), or ``"server"``."""
        return "peer" if self.reason.by_peer else "server"


@dataclass(frozen=True, slots=True)
class Draining(Event):
    """The server stops: it accepts what already waits and lets conversations end.

    ``timeout``: after so many seconds it has stopped, whatever its connections do; None for no bound.
    """

    connections: int
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Drained(Event):
    """The server has stopped.

    ``aborted`` conversations were cut, at the deadline or by a second signal; ``abandoned`` handlers did not end when
    they were cancelled.
    """

    aborted: int
    abandoned: int = 0


Observer: TypeAlias = Callable[[Event], None]
