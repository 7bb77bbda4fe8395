"""Every exception of fourtuple. Imports nothing of it.

The tree, each with the builtin that people already catch::

    FourTupleError
    ├── AddressError (ValueError)                an address that cannot be read
    ├── OptionError (ValueError)                 an option with an impossible value
    ├── ServiceError (TypeError)                 a service declared in a way that cannot work
    ├── UnsupportedLoop (RuntimeError)           an event loop without add_reader
    ├── FramingError (ValueError)
    │   ├── FramingTextError                     a framing's text form that cannot be read
    │   ├── EncodeError                          a message the peer could not decode
    │   ├── UnmappedMessage                      a message that does not map; the stream goes on behind it
    │   └── MessageError                         the peer broke the framing
    │       ├── MessageTooLong                   more octets than max_message
    │       ├── MalformedMessage                 octets that no encoder writes
    │       ├── FramingMistake                   the framing's own code did wrong, not the peer
    │       └── IncompleteMessage (EOFError)     end of file inside a message
    ├── ConnectError (OSError)                   connect() failed; one subclass for every way
    │   ├── ConnectRefused (ConnectionRefusedError)
    │   ├── ConnectTimeout (TimeoutError)
    │   ├── ConnectReset (ConnectionResetError)
    │   ├── HostUnreachable, NetworkUnreachable
    │   ├── NameNotFound (socket.gaierror is an OSError, too)
    │   ├── NoLocalPort, LocalAddressInUse, LocalAddressUnavailable
    │   ├── ConnectForbidden (PermissionError)
    │   └── NoSuchSocket (FileNotFoundError)     a Unix path where nothing listens
    ├── ListenError (OSError)                    a passive socket could not be opened
    │   ├── ListenAddressInUse, ListenAddressUnavailable
    │   └── ListenForbidden (PermissionError)
    ├── EndOfFile (EOFError)                     the peer finished, at a message boundary
    ├── ConnectionLost (ConnectionError)         the world broke it
    │   ├── PeerReset (ConnectionResetError)
    │   ├── TlsError                             TLS failed, by the peer's doing or ours
    │   │   ├── TlsCertificateRefused            the peer's certificate does not verify
    │   │   ├── TlsAlert                         the peer refused: its alert
    │   │   ├── TlsExpected                      plain octets where TLS was expected
    │   │   ├── TlsNoAgreement                   no common version or cipher
    │   │   └── TlsTruncated (EOFError)          end of file without close_notify
    │   └── ProxyHeaderError                     a PROXY header that is missing, malformed or not believed
    ├── ConnectionEnded (ConnectionError)        *you* closed it, or half-closed it, before
    ├── ConnectionBusy (RuntimeError)            two users at once
    ├── WrongThread (RuntimeError)               called in a thread that is not its loop's
    ├── NotAwaited (TypeError, AttributeError)   a connection to be, used as a connection
    ├── OutboxFull (BufferError)                 sent on and on without waiting for the peer to read
    ├── WouldBlock (BlockingIOError)             nothing there now; try later
    ├── DeadlinePassed (TimeoutError)            a deadline, named
    └── HandlerFailed                            a handler raised; the cause is chained

Texts say what happened, to whom, the number seen, the number allowed and, where it helps, what to do.
Data stands in attributes.
"""

from __future__ import annotations

from collections.abc import Sequence

from fourtuple.printable import shortened, text_of

__all__ = [
    "FourTupleError",
    "AddressError",
    "OptionError",
    "ServiceError",
    "UnsupportedLoop",
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
    "OutboxFull",
    "WouldBlock",
    "DeadlinePassed",
    "HandlerFailed",
]


class FourTupleError(Exception):
    """The root: whatever fourtuple raises on its own account is one of these.

    All can be pickled, so that they cross process boundaries with their data.
    """

    def __reduce__(self) -> tuple[object, ...]:
        # BaseException's own would call the constructor with the text that the constructor made.
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
    """An address that cannot be read. ``text`` is what was given."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(f"cannot read address {text!r}: {why}")
        self.text = text


class OptionError(FourTupleError, ValueError):
    """An option with an impossible value."""


class ServiceError(FourTupleError, TypeError):
    """A service that is declared in a way that cannot work; found before a socket is opened."""


class UnsupportedLoop(FourTupleError, RuntimeError):
    """The event loop has no ``add_reader``: it cannot host the engine."""


# -- framing ----------------------------------------------------------------------------------------------


class FramingError(FourTupleError, ValueError):
    """Something about a framing or a message of it."""


class FramingTextError(FramingError):
    """A framing's text form (``fixed:16``) that cannot be read. ``text`` is what was given."""

    def __init__(self, text: str, why: str) -> None:
        super().__init__(f"cannot read framing {text!r}: {why}")
        self.text = text


class EncodeError(FramingError):
    """A message that the peer could not decode; nothing of it was sent."""


class UnmappedMessage(FramingError):
    """A message that is framed well and means nothing: JSON that is none, a checksum that does not fit.

    It costs itself alone: the connection is as usable as before. ``octets`` are what came of it (of an oversize one
    the first ``max_message``), the cause is what is wrong, ``whom`` names the connection.
    """

    def __init__(self, octets: bytes, error: Exception, whom: str) -> None:
        super().__init__(f"message of {len(octets)} octets does not map: {shortened(text_of(error))}")
        self.octets = octets
        self.whom = whom
        self.__cause__ = error

    def __str__(self) -> str:
        return f"{super().__str__()}, from {self.whom}"


class MessageError(FramingError):
    """The peer broke the framing: its stream cannot be cut further.

    ``whom`` names the connection once a connection saw it; a decoder alone knows no names.
    """

    whom = ""

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}, from {self.whom}" if self.whom else text


class MessageTooLong(MessageError):
    """A message larger than allowed.

    ``size`` is the number of octets announced or, where a framing announces nothing, held so far;
    ``allowed`` is ``max_message``. Or both are octets of memory, and ``allowed`` is ``max_message_memory``. Where more
    digits were announced than are read, ``size`` is what the first of them say, and ``cut`` is True.
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
    """The framing's own code did wrong, and not the peer: a function or a decoder that its author wrote.

    It names the function, what it returned or raised, and what is wanted.
    """


class IncompleteMessage(MessageError, EOFError):
    """End of file in the middle of a message.

    ``received`` counts the octets of the unfinished message; ``expected`` is its size, or ``None`` where the
    framing cannot know it.
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

    ``address`` is what was asked for, as text; ``explanation`` says what this failure means and what to look
    at; ``attempts`` holds the failures of the single addresses where several were tried.
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
    """The host answered the SYN with RST (ECONNREFUSED): nobody listens there."""

    meaning = "refused"
    explanation = (
        "The host is up and answered at once, but no socket listens at this address and port: the server is "
        "not running, listens at another port, or only at another address of the host (127.0.0.1 is not the "
        "outside address). A firewall that rejects looks the same."
    )


class ConnectTimeout(ConnectError, TimeoutError):
    """Nothing answered before the deadline (or ETIMEDOUT, when the kernel gave up first)."""

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
    """EHOSTUNREACH: a router, or this machine's neighbour table, says the host cannot be reached."""

    meaning = "host unreachable"
    explanation = (
        "The network answered for the host: it did not reply on its own link (ARP or neighbour discovery "
        "failed: it is down or not there), or a router or firewall says that it may not be reached."
    )


class NetworkUnreachable(ConnectError):
    """ENETUNREACH: this machine has no route there."""

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
    """EADDRINUSE: the local address asked for is taken."""

    meaning = "local address in use"
    explanation = (
        "The local address and port that were asked for are in use by another socket, or this exact "
        "four-tuple still waits in TIME_WAIT. Let the kernel choose the port (port 0)."
    )


class LocalAddressUnavailable(ConnectError):
    """The local address asked for does not belong to this machine."""

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
    """A passive socket could not be opened. ``address`` is what was asked for, as text."""

    meaning = "the socket could not be opened"

    def __init__(self, address: str, errno: int | None = None, detail: str = "") -> None:
        super().__init__(errno or 0, detail or self.meaning)
        self.address = address
        self.errno = errno
        self.detail = detail

    def __str__(self) -> str:
        return f"cannot listen at {self.address}: {self.meaning}" + (f" ({self.detail})" if self.detail else "")


class ListenAddressInUse(ListenError):
    """EADDRINUSE: another socket listens there. ``detail`` names its owner where that can be seen."""

    meaning = "address already in use"


class ListenAddressUnavailable(ListenError):
    """EADDRNOTAVAIL: the address belongs to no interface of this machine."""

    meaning = "this machine does not have that address"


class ListenForbidden(ListenError, PermissionError):
    """EACCES: ports below net.ipv4.ip_unprivileged_port_start need a privilege."""

    meaning = "not permitted"


# -- in conversation --------------------------------------------------------------------------------------


class EndOfFile(FourTupleError, EOFError):
    """The peer sent FIN, at a message boundary: nothing more will come."""


class ConnectionLost(FourTupleError, ConnectionError):
    """The connection broke: the peer or the network did it."""


class PeerReset(ConnectionLost, ConnectionResetError):
    """The peer sent RST: it may not have read what was sent last."""


class TlsError(ConnectionLost):
    """TLS failed: nothing more can be exchanged. ``reason`` is OpenSSL's word for it, empty where it has none."""

    def __init__(self, text: str, reason: str = "") -> None:
        super().__init__(text)
        self.reason = reason


class TlsCertificateRefused(TlsError):
    """The peer's certificate does not verify; ``reason`` says why, ``code`` is X509_V_ERR's number."""

    def __init__(self, text: str, reason: str = "", code: int = 0) -> None:
        super().__init__(text, reason)
        self.code = code


class TlsAlert(TlsError):
    """The peer refused with a fatal alert; ``alert`` is its name, as ``unknown ca`` (RFC 8446, 6)."""

    def __init__(self, text: str, reason: str = "", alert: str = "") -> None:
        super().__init__(text, reason)
        self.alert = alert


class TlsExpected(TlsError):
    """The first octets were not TLS: the peer speaks plainly at a port, or a moment, where TLS is spoken."""


class TlsNoAgreement(TlsError):
    """The two sides have no version or no cipher in common."""


class TlsTruncated(TlsError, EOFError):
    """End of file without close_notify, in mid-message or where only that ends one (``eof``, ``raw``).

    What came may not be all that the peer sent (RFC 8446, 6.1). Behind a whole message it is an end of file.
    """


class ProxyHeaderError(ConnectionLost):
    """A PROXY header that is missing, malformed, or not believed."""


class ConnectionEnded(FourTupleError, ConnectionError):
    """This side closed, half-closed, aborted or handed on the connection before."""


class ConnectionBusy(FourTupleError, RuntimeError):
    """Two users at once: two receivers, or receive() beside outstanding requests."""


class WrongThread(FourTupleError, RuntimeError):
    """A call in a thread that is not the one of the loop that it belongs to: nothing was done.

    ``whom`` says what was called and where, ``instead`` how to hand the call over.
    """

    def __init__(self, whom: str, instead: str) -> None:
        super().__init__(f"{whom}; hand it over: {instead}")
        self.whom = whom
        self.instead = instead


class NotAwaited(FourTupleError, AttributeError, TypeError):
    """What :func:`fourtuple.connect` returns was used as a connection, without ``await``; nothing was connected."""


class OutboxFull(FourTupleError, BufferError):
    """Messages were sent on and on without waiting while the peer did not read; this one was not taken.

    ``held`` is the size of the outbox in octets, ``allowed`` is ``max_outbox``.
    """

    def __init__(self, whom: str, held: int, size: int, allowed: int) -> None:
        super().__init__(
            f"{whom}: the outbox holds {held} octets and takes no more from {allowed} on (max_outbox), so not these "
            f"{size}; await send(), or skip a peer that does not read"
        )
        self.held = held
        self.allowed = allowed


class WouldBlock(FourTupleError, BlockingIOError):
    """Nothing is there now. The connection is as usable afterwards as before."""


class DeadlinePassed(FourTupleError, TimeoutError):
    """A deadline passed. ``which`` is its name as in :class:`fourtuple.Deadlines`; ``seconds`` its length."""

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
    """A handler raised. The original exception is the ``__cause__``."""
