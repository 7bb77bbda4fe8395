"""Every exception of fourtuple.

The tree, each class with the built-in exception that it also is::

    FourTupleError
    ├── AddressError (ValueError)                an address that cannot be read
    ├── OptionError (ValueError)                 an option with an impossible value
    ├── FilterError (ValueError)                 a filter over sockets that cannot be read
    ├── ServiceError (TypeError)                 an invalid declaration of a service
    ├── UnsupportedLoop (RuntimeError)           an event loop without add_reader
    ├── SupervisorError (RuntimeError)           a supervisor cannot do what it was asked to do
    │   └── WorkerNotStarted                     a worker ended before it accepted connections
    ├── ChannelError (ConnectionError)           another process of this server has ended, or failed at a request
    ├── FramingError (ValueError)
    │   ├── FramingTextError                     a framing's text form that cannot be read
    │   ├── EncodeError                          a message that the peer could not decode
    │   ├── UnmappedMessage                      a message that does not map; the stream goes on after it
    │   └── MessageError                         the peer broke the framing
    │       ├── MessageTooLong                   more octets than max_message
    │       ├── MalformedMessage                 octets that no encoder writes
    │       ├── FramingMistake                   a mistake in the framing's code, not of the peer
    │       └── IncompleteMessage (EOFError)     end of file inside a message
    ├── ConnectError (OSError)                   connect() failed; one subclass for every reason
    │   ├── ConnectRefused (ConnectionRefusedError)
    │   ├── ConnectTimeout (TimeoutError)
    │   ├── ConnectReset (ConnectionResetError)
    │   ├── HostUnreachable, NetworkUnreachable
    │   ├── NameNotFound (socket.gaierror is an OSError, too)
    │   ├── NoLocalPort, LocalAddressInUse, LocalAddressUnavailable
    │   ├── ConnectForbidden (PermissionError)
    │   └── NoSuchSocket (FileNotFoundError)     a Unix path that does not exist
    ├── ListenError (OSError)                    a passive socket could not be opened
    │   ├── ListenAddressInUse, ListenAddressUnavailable
    │   └── ListenForbidden (PermissionError)
    ├── EndOfFile (EOFError)                     end of file at a message boundary
    ├── ConnectionLost (ConnectionError)         the peer or the network broke the connection
    │   ├── PeerReset (ConnectionResetError)
    │   ├── TlsError                             TLS failed, on either side
    │   │   ├── TlsCertificateRefused            the peer's certificate does not verify
    │   │   ├── TlsAlert                         the peer refused with an alert
    │   │   ├── TlsExpected                      plain octets where TLS was expected
    │   │   ├── TlsNoAgreement                   no common version or cipher
    │   │   └── TlsTruncated (EOFError)          end of file without close_notify
    │   ├── ProxyHeaderError                     a PROXY header that is missing, malformed or not trusted
    │   └── UnexpectedMessage                    a client's server sent a message that answers no request
    ├── ConnectionEnded (ConnectionError)        *you* closed or half-closed it before
    ├── ConnectionBusy (RuntimeError)            two users at once
    ├── WrongThread (RuntimeError)               called in another thread than its loop's
    ├── NotAwaited (TypeError, AttributeError)   an async connect() that was not awaited
    ├── TooManyTimers (RuntimeError)             a connection has no room for another timer
    ├── OutboxFull (BufferError)                 sent too much without waiting for the peer to read
    ├── WouldBlock (BlockingIOError)             it would have to wait now; try later
    ├── DeadlinePassed (TimeoutError)            a deadline passed; it is named
    ├── HandlerFailed                            a handler raised; the cause is chained
    ├── HandlerMistake (TypeError)               a handler returned something else than it has to
    ├── NotConnected (ConnectionError)           a client has no connection now, and must not wait for one
    ├── PermanentFailure (ConnectionError)       greet said that no later attempt can succeed
    ├── TooManyWaiting (BufferError)             too many requests of a client wait for a connection
    ├── PushConsumerDied (RuntimeError)          no code of the program consumes the pushes any more
    └── OperationError (RuntimeError)            an operation on a running server that cannot be done

Every error that a request of a client raises has a ``fate``: see :class:`Fate`.

Texts say what happened, on which connection, the number seen, the number allowed and, if it helps, what to do. The data
is in attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from fourtuple.printable import shortened, text_of

__all__ = [
    "FourTupleError",
    "AddressError",
    "OptionError",
    "FilterError",
    "ServiceError",
    "UnsupportedLoop",
    "SupervisorError",
    "WorkerNotStarted",
    "ChannelError",
    "FramingError",
    "FramingTextError",
    "EncodeError",
    "UnmappedMessage",
    "MessageError",
    "MessageTooLong",
    "MalformedMessage",
    "FramingMistake",
    "IncompleteMessage",
    "ConnectError",
    "ConnectRefused",
    "ConnectTimeout",
    "ConnectReset",
    "HostUnreachable",
    "NetworkUnreachable",
    "NameNotFound",
    "NoLocalPort",
    "LocalAddressInUse",
    "LocalAddressUnavailable",
    "ConnectForbidden",
    "NoSuchSocket",
    "ListenError",
    "ListenAddressInUse",
    "ListenAddressUnavailable",
    "ListenForbidden",
    "EndOfFile",
    "ConnectionLost",
    "PeerReset",
    "TlsError",
    "TlsCertificateRefused",
    "TlsAlert",
    "TlsExpected",
    "TlsNoAgreement",
    "TlsTruncated",
    "ProxyHeaderError",
    "ConnectionEnded",
    "ConnectionBusy",
    "WrongThread",
    "NotAwaited",
    "TooManyTimers",
    "OutboxFull",
    "WouldBlock",
    "DeadlinePassed",
    "HandlerFailed",
    "HandlerMistake",
    "UnexpectedMessage",
    "NotConnected",
    "PermanentFailure",
    "TooManyWaiting",
    "PushConsumerDied",
    "OperationError",
    "Fate",
]


class Fate(StrEnum):
    """What may have happened to a request that failed: ``error.fate`` of the errors that a client's request raises."""

    #: No octet of it was given to the kernel, and no TLS record of it was made: the server has not seen it.
    NOT_SENT = "not_sent"
    #: Some of its octets were given to the kernel: the server may have carried it out, or not.
    PERHAPS_SENT = "perhaps_sent"
    #: Its reply came, and the error is about the reply.
    ANSWERED = "answered"


class FourTupleError(Exception):
    """The base class of all exceptions that fourtuple raises itself.

    All can be pickled, so that they can be sent to other processes with their data.
    """

    #: What may have happened to the request of a client that raised this error; None for other errors.
    fate: Fate | None = None

    def __reduce__(self) -> tuple[object, ...]:
        # BaseException.__reduce__ would call the constructor with the text that the constructor made.
        data = dict(self.__dict__)
        if isinstance(self, OSError) and self.errno is not None:
            data |= {"errno": self.errno, "strerror": self.strerror}
        return _rebuilt, (type(self), self.args, data)


def _rebuilt(kind: type[FourTupleError], arguments: tuple[object, ...], data: dict[str, object]) -> FourTupleError:
    error = kind.__new__(kind)
    error.args = arguments
    for name, value in data.items():
        setattr(error, name, value)
    return error


class AddressError(FourTupleError, ValueError):
    """An address that cannot be read; ``text`` is what was given."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(f"cannot read address {text!r}: {why}")
        self.text = text


class OptionError(FourTupleError, ValueError):
    """An option with an impossible value."""


class FilterError(FourTupleError, ValueError):
    """A filter over sockets that cannot be read; ``text`` is what was given, ``at`` is where reading stopped."""

    def __init__(self, text: str, at: int, why: str) -> None:
        super().__init__(f"cannot read filter {shortened(text)!r} at character {at + 1}: {why}")
        self.text = text
        self.at = at


class ServiceError(FourTupleError, TypeError):
    """A service that is declared or used in an invalid way; it is checked before a socket is opened."""


class UnsupportedLoop(FourTupleError, RuntimeError):
    """The event loop has no ``add_reader``: it cannot host the engine."""


class SupervisorError(FourTupleError, RuntimeError):
    """A supervisor cannot do what it was asked to do; its workers go on as before."""


class WorkerNotStarted(SupervisorError):
    """A worker ended, or took too long, before it accepted connections; ``code`` is its exit code, None if it has none.

    The worker itself has printed why.
    """

    def __init__(self, slot: int, why: str, code: int | None = None) -> None:
        super().__init__(f"worker {slot} did not start: {why}")
        self.slot = slot
        self.why = why
        self.code = code


class ChannelError(FourTupleError, ConnectionError):
    """A request to another process of this server has failed there, or that process has ended."""


# -- framing ----------------------------------------------------------------------------------------------


class FramingError(FourTupleError, ValueError):
    """An error of a framing, or of a message in it."""


class FramingTextError(FramingError):
    """A framing's text form (``fixed:16``) that cannot be read; ``text`` is what was given."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(f"cannot read framing {text!r}: {why}")
        self.text = text


class EncodeError(FramingError):
    """A message that the peer could not decode; no octet of it was sent."""


class UnmappedMessage(FramingError):
    """A message that is framed correctly but cannot be mapped to a value: invalid JSON, or a wrong checksum.

    Only this message is lost: the connection is as usable as before. ``octets`` are those of the message (the first
    ``max_message`` of one that is too long), ``__cause__`` is the error, and ``whom`` names the connection.
    """

    def __init__(self, octets: bytes, error: Exception, whom: str) -> None:
        super().__init__(f"message of {len(octets)} octets does not map: {shortened(text_of(error))}")
        self.octets = octets
        self.whom = whom
        self.__cause__ = error

    def __str__(self) -> str:
        return f"{super().__str__()}, from {self.whom}"


class MessageError(FramingError):
    """The peer broke the framing: its stream cannot be cut into messages any further.

    ``whom`` names the connection. It is empty if a decoder is used without a connection.
    """

    whom = ""

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}, from {self.whom}" if self.whom else text


class MessageTooLong(MessageError):
    """A message larger than allowed.

    ``size`` is the number of octets announced or, if the framing announces no size, held so far; ``allowed`` is
    ``max_message``. Or both are octets of memory, and ``allowed`` is ``max_message_memory``. If the announced number
    has more digits than are read, ``size`` is the number in the digits that were read, and ``cut`` is True.
    """

    def __init__(
        self,
        size: int,
        allowed: int,
        what: str = "message",
        *,
        announced: bool = True,
        cut: bool = False,
        unit: str = "octets",
        option: str = "",
    ) -> None:
        verb = "announces" if announced else "has reached"
        dots, named = "..." if cut else "", f" ({option})" if option else ""
        super().__init__(f"{what} {verb} {size}{dots} {unit}, no more than {allowed} are allowed{named}")
        self.size = size
        self.allowed = allowed
        self.cut = cut


class MalformedMessage(MessageError):
    """Octets that no encoder of this framing writes."""


class FramingMistake(MessageError):
    """A mistake in the framing's code, not of the peer: in a function or a decoder that its author wrote.

    The text names the function, what it returned or raised, and what is expected.
    """


class IncompleteMessage(MessageError, EOFError):
    """End of file in the middle of a message.

    ``received`` counts the octets of the unfinished message. ``expected`` is its size, or ``None`` if the framing does
    not know it.
    """

    def __init__(self, received: int, expected: int | None, what: str = "message") -> None:
        if expected is None:
            text = f"end of file inside a {what}: received {received} octets and no end of it"
        else:
            text = f"end of file inside a {what}: expected {expected} octets, received {received}"
        super().__init__(text)
        self.received = received
        self.expected = expected


# -- opening ----------------------------------------------------------------------------------------------


class ConnectError(FourTupleError, OSError):
    """``connect()`` failed.

    ``address`` is the address that was given, as text. ``explanation`` says what this failure means and what to check.
    ``attempts`` has the failures of the single addresses, if several were tried.
    """

    meaning = "the connection could not be made"
    explanation = ""

    def __init__(
        self,
        address: str,
        errno: int | None = None,
        detail: str = "",
        attempts: Sequence[ConnectError] = (),
    ) -> None:
        super().__init__(errno or 0, detail or self.meaning)
        self.address = address
        self.errno = errno
        self.detail = detail
        self.attempts = tuple(attempts)

    def __str__(self) -> str:
        text = f"cannot connect to {self.address}: {self.meaning}"
        if self.detail:
            text += f" ({self.detail})"
        if len(self.attempts) > 1:
            text += "; tried " + ", ".join(f"{each.address}: {each.meaning}" for each in self.attempts)
        return text


class ConnectRefused(ConnectError, ConnectionRefusedError):
    """The host answered the SYN with RST (ECONNREFUSED): no socket listens there."""

    meaning = "refused"
    explanation = (
        "The host is up and answered at once, but no socket listens at this address and port: the server is "
        "not running, listens at another port, or only at another address of the host (127.0.0.1 is not the "
        "outside address). A firewall that rejects looks the same."
    )


class ConnectTimeout(ConnectError, TimeoutError):
    """No answer came before the deadline (or ETIMEDOUT: the kernel gave up first)."""

    meaning = "no answer in time"
    explanation = (
        "Nothing answered the SYN: the host is down, a firewall drops packets without a word, the route back "
        "is broken, or the server's accept queue is full (then the kernel drops the SYN, and a later attempt "
        "may succeed)."
    )


class ConnectReset(ConnectError, ConnectionResetError):
    """The connection was made and reset at once."""

    meaning = "reset at once"
    explanation = (
        "The handshake succeeded and the peer then sent RST before anything was exchanged: a server that "
        "died or closed with its accept queue filled, a balancer without a live server behind it, or an "
        "address filter of the server's."
    )


class HostUnreachable(ConnectError):
    """EHOSTUNREACH: a router, or this machine's neighbour table, reports that the host cannot be reached."""

    meaning = "host unreachable"
    explanation = (
        "The network answered for the host: it did not reply on its own link (ARP or neighbour discovery "
        "failed: it is down or not there), or a router or firewall says that it may not be reached."
    )


class NetworkUnreachable(ConnectError):
    """ENETUNREACH: this machine has no route to the network."""

    meaning = "network unreachable"
    explanation = (
        "This machine has no route to that network, so nothing was sent: there is no default route, the "
        "interface is down, or the address is IPv6 and this machine has no IPv6."
    )


class NameNotFound(ConnectError):
    """The name could not be resolved to an address."""

    meaning = "name not found"
    explanation = (
        "No connection was tried: the name does not exist, has no address of the wanted family, or the name "
        "server did not answer."
    )


class NoLocalPort(ConnectError):
    """EADDRNOTAVAIL on connect: no free local port towards this address."""

    meaning = "no local port left"
    explanation = (
        "Every port of the local range (net.ipv4.ip_local_port_range) is in use towards this very address, "
        "most of them perhaps in TIME_WAIT. Keep connections instead of opening one per request, connect "
        "from several local addresses, or widen the range."
    )


class LocalAddressInUse(ConnectError):
    """EADDRINUSE: the requested local address is in use."""

    meaning = "local address in use"
    explanation = (
        "The local address and port that were asked for are in use by another socket, or this exact "
        "four-tuple still waits in TIME_WAIT. Let the kernel choose the port (port 0)."
    )


class LocalAddressUnavailable(ConnectError):
    """The requested local address does not belong to this machine."""

    meaning = "local address not available"
    explanation = "The local address that was asked for belongs to no interface of this machine."


class ConnectForbidden(ConnectError, PermissionError):
    """EPERM or EACCES: not allowed."""

    meaning = "not permitted"
    explanation = (
        "A local rule forbids it: a firewall on this machine, a broadcast address as the target, the "
        "permissions of a Unix socket's path, or a local port below 1024 without the privilege."
    )


class NoSuchSocket(ConnectError, FileNotFoundError):
    """A Unix socket path that does not exist."""

    meaning = "no such socket"
    explanation = "No file stands at this path: the server is not running, or it listens at another path."


class ListenError(FourTupleError, OSError):
    """A passive socket could not be opened; ``address`` is the address that was given, as text."""

    meaning = "the socket could not be opened"

    def __init__(self, address: str, errno: int | None = None, detail: str = "") -> None:
        super().__init__(errno or 0, detail or self.meaning)
        self.address = address
        self.errno = errno
        self.detail = detail

    def __str__(self) -> str:
        return f"cannot listen at {self.address}: {self.meaning}" + (f" ({self.detail})" if self.detail else "")


class ListenAddressInUse(ListenError):
    """EADDRINUSE: another socket listens there; ``detail`` names its process if it can be found."""

    meaning = "address already in use"


class ListenAddressUnavailable(ListenError):
    """EADDRNOTAVAIL: the address belongs to no interface of this machine."""

    meaning = "this machine does not have that address"


class ListenForbidden(ListenError, PermissionError):
    """EACCES: a port below net.ipv4.ip_unprivileged_port_start needs a privilege."""

    meaning = "not permitted"


# -- in conversation --------------------------------------------------------------------------------------


class EndOfFile(FourTupleError, EOFError):
    """The peer sent FIN at a message boundary: no more messages will come."""


class ConnectionLost(FourTupleError, ConnectionError):
    """The peer or the network broke the connection."""


class PeerReset(ConnectionLost, ConnectionResetError):
    """The peer sent RST: it may not have read the last messages."""


class TlsError(ConnectionLost):
    """TLS failed, and nothing more can be exchanged; ``reason`` is OpenSSL's name of the error, or empty."""

    def __init__(self, text: str, reason: str = "") -> None:
        super().__init__(text)
        self.reason = reason


class TlsCertificateRefused(TlsError):
    """The peer's certificate does not verify; ``reason`` says why, and ``code`` is the number of X509_V_ERR."""

    def __init__(self, text: str, reason: str = "", code: int = 0) -> None:
        super().__init__(text, reason)
        self.code = code


class TlsAlert(TlsError):
    """The peer refused with a fatal alert; ``alert`` is its name, such as ``unknown ca`` (RFC 8446, 6)."""

    def __init__(self, text: str, reason: str = "", alert: str = "") -> None:
        super().__init__(text, reason)
        self.alert = alert


class TlsExpected(TlsError):
    """The first octets were not TLS: the peer sent plain text to a port, or at a moment, that expects TLS."""


class TlsNoAgreement(TlsError):
    """The two sides have no TLS version or no cipher in common."""


class TlsTruncated(TlsError, EOFError):
    """End of file without close_notify, inside a message or in a framing that an end of file ends (``eof``, ``raw``).

    Octets that the peer sent may be missing (RFC 8446, 6.1). After a whole message it is an ordinary end of file.
    """


class ProxyHeaderError(ConnectionLost):
    """A PROXY header that is missing, malformed, or not trusted."""


class ConnectionEnded(FourTupleError, ConnectionError):
    """This side has closed, half-closed, aborted or handed on the connection."""


class ConnectionBusy(FourTupleError, RuntimeError):
    """Two users at once: two calls that receive, or receive() while requests are outstanding."""


class WrongThread(FourTupleError, RuntimeError):
    """A call in another thread than that of the loop to which the object belongs: it did nothing.

    ``whom`` says what was called and where; ``instead`` says how to make the call in the loop's thread.
    """

    def __init__(self, whom: str, instead: str) -> None:
        super().__init__(f"{whom}; hand it over: {instead}")
        self.whom = whom
        self.instead = instead


class NotAwaited(FourTupleError, AttributeError, TypeError):
    """The result of :func:`fourtuple.connect` was used without ``await``: nothing was connected."""


class TooManyTimers(FourTupleError, RuntimeError):
    """A connection has as many timers as it may have; ``allowed`` is their number."""

    def __init__(self, whom: str, allowed: int) -> None:
        super().__init__(f"{whom} has {allowed} timers, no more are allowed; cancel() those that are not needed")
        self.allowed = allowed


class OutboxFull(FourTupleError, BufferError):
    """Too many messages were sent without waiting while the peer did not read; this one was not taken.

    ``held`` is the size of the outbox in octets, and ``allowed`` is ``max_outbox``.
    """

    def __init__(self, whom: str, held: int, size: int, allowed: int) -> None:
        super().__init__(
            f"{whom}: the outbox holds {held} octets and takes no more from {allowed} on (max_outbox), so not these "
            f"{size}; await send(), or skip a peer that does not read"
        )
        self.held = held
        self.allowed = allowed


class WouldBlock(FourTupleError, BlockingIOError):
    """The call would have to wait: nothing has arrived yet, or the loop is behind. The connection is usable."""


class DeadlinePassed(FourTupleError, TimeoutError):
    """A deadline passed; ``which`` is its name as in :class:`fourtuple.Deadlines`, and ``seconds`` its length."""

    def __init__(self, which: str, seconds: float, whom: str = "", detail: str = "") -> None:
        text = f"{which} deadline of {seconds:g} s passed"
        if whom:
            text += f" on {whom}"
        if detail:
            text += f": {detail}"
        super().__init__(text)
        self.which = which
        self.seconds = seconds


class HandlerFailed(FourTupleError):
    """A handler raised an exception, which is the ``__cause__``."""


class HandlerMistake(FourTupleError, TypeError):
    """A handler returned something else than it has to. The text names it, what it returned, and what is wanted."""


# -- clients that stay connected --------------------------------------------------------------------------


class UnexpectedMessage(ConnectionLost):
    """The server of a client sent a message that answers no request, or that no key function can read.

    The client has closed the connection: any later reply on it could be that of another request.
    """


class NotConnected(FourTupleError, ConnectionError):
    """A client has no connection now, and this call does not wait for one; the cause is the last failure, if any."""


class PermanentFailure(FourTupleError, ConnectionError):
    """Raise it in a client's ``greet`` if no later attempt can succeed, for example for a wrong password.

    The client then stops connecting, and raises it to all requests, until ``expire()`` tells it to try again.
    """


class TooManyWaiting(FourTupleError, BufferError):
    """Too many requests of a client wait for a connection already; ``waiting`` and ``allowed`` are the numbers."""

    def __init__(self, whom: str, waiting: int, allowed: int) -> None:
        super().__init__(
            f"{waiting} requests wait for a connection to {whom}, no more than {allowed} are allowed (max_waiting); "
            "send fewer at once, or allow more connections (max_connections)"
        )
        self.waiting = waiting
        self.allowed = allowed


class PushConsumerDied(FourTupleError, RuntimeError):
    """The code that consumed a client's pushes has ended, or has raised (``__cause__``)."""


class OperationError(FourTupleError, RuntimeError):
    """An operation on a running server cannot be done, such as to set the number of workers without a supervisor."""
