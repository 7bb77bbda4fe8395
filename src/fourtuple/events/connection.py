"""Events of one connection, from accept to its end, and of its handler."""

from __future__ import annotations

from fourtuple.errors import DeadlinePassed, MessageError, TlsError, UnmappedMessage
from fourtuple.events.base import Event, event
from fourtuple.events.ending import Reason, Statistics
from fourtuple.four_tuple import Name


@event
class Accepted(Event):
    """A connection was accepted; behind a balancer, its PROXY header has named the real client.

    ``transport`` is the name of the socket itself, if it differs from ``name``.

    ``id`` and ``name`` are those of the connection: its number, unique in the process, and its four-tuple.
    """

    id: int
    name: Name
    transport: Name | None = None


@event
class TlsStarted(Event):
    """A TLS handshake is done, at the beginning of a connection or by start_tls().

    The fields have what was agreed. ``sni`` is the name that the client asked for, ``subject`` that of the verified
    client. A text is empty if there is no value.

    ``id`` and ``name`` are those of the connection. ``version``, ``cipher`` and ``alpn`` (the protocol) are as in
    :class:`~fourtuple.tls.TlsInfo`.
    """

    id: int
    name: Name
    version: str
    cipher: str
    alpn: str
    sni: str
    subject: str


@event
class TlsFailed(Event):
    """A connection has failed by a TLS error, in the handshake or later; ``error`` has the reason.

    ``id`` and ``name`` are those of the connection.
    """

    id: int
    name: Name
    error: TlsError


@event
class MessageFailed(Event):
    """The peer broke the framing, or sent a message that does not map and that the service does not handle.

    Or the framing's own code has a mistake. ``id`` and ``name`` are those of the connection. ``error`` says what is
    wrong with the message; its ``__cause__`` is what a function of the framing raised.
    """

    id: int
    name: Name
    error: MessageError | UnmappedMessage


@event
class MessageUnmapped(Event):
    """A message does not map, and the service decides: its ``unmapped`` hook, or the conversation that received it.

    If the service does not decide, a :class:`MessageFailed` is reported instead.

    ``id`` and ``name`` are those of the connection. ``error`` says why it does not map.
    """

    id: int
    name: Name
    error: UnmappedMessage


@event
class HandlerRaised(Event):
    """A handler raised an exception; its connection is closed.

    ``id`` and ``name`` are those of the connection. ``handler`` names the function, ``error`` is what it raised.
    """

    id: int
    name: Name
    handler: str
    error: BaseException


@event
class ProgramEnded(Event):
    """The program that had the connection has ended; ``status`` is its exit status, or the negative signal number.

    ``id`` and ``name`` are those of the connection. ``program`` is its name.
    """

    id: int
    name: Name
    program: str
    status: int


@event
class HandlerSlow(Event):
    """A handler held the loop for ``seconds``.

    ``id`` and ``name`` are those of the connection. ``handler`` names the function.
    """

    id: int
    name: Name
    handler: str
    seconds: float


@event
class HandlerAbandoned(Event):
    """The server stops although a handler still runs: it did not end when cancelled, or its thread did not return.

    ``id`` and ``name`` are those of the connection. ``handler`` names the function.
    """

    id: int
    name: Name
    handler: str


@event
class DeadlineMissed(Event):
    """A deadline passed; ``error`` names it.

    ``id`` and ``name`` are those of the connection.
    """

    id: int
    name: Name
    error: DeadlinePassed


@event
class LimitExceeded(Event):
    """A connection is aborted because of the option ``limit``; ``why`` has the numbers.

    ``id`` and ``name`` are those of the connection.
    """

    id: int
    name: Name
    limit: str
    why: str


@event
class Closed(Event):
    """A connection ended.

    ``probe`` means that it ended without an octet of the conversation, like the health checks of balancers. A PROXY
    header and a TLS handshake do not count.

    ``id`` and ``name`` are those of the connection. ``reason`` says why it ended, ``statistics`` what it counted; it
    was open for ``seconds``.
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
