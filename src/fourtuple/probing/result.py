"""PURE: what a probe found, step by step. Times are seconds."""

from __future__ import annotations

from dataclasses import dataclass

from fourtuple.errors import ConnectError, FourTupleError
from fourtuple.inspector.routes import Route
from fourtuple.net.tcpinfo import TcpInfo
from fourtuple.probing.x509 import Certificate


@dataclass(frozen=True, slots=True)
class Resolved:
    """The name, resolved: ``addresses`` in the order in which they are tried. A literal address takes no time."""

    addresses: tuple[str, ...]
    seconds: float
    literal: bool
    error: ConnectError | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One address: ``started`` after the first, and what came of it. Without an error and not connected: silence."""

    address: str
    started: float
    seconds: float
    connected: bool
    error: ConnectError | None = None
    #: A listener of this machine at this address whose accept queue is full: (waiting, limit).
    full_queue: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Connected:
    """The connection that was made."""

    local: str
    remote: str
    seconds: float
    info: TcpInfo | None
    route: Route | None
    #: What a look at the other end says, if it is on this machine: True, it waits in the accept queue; None, not known.
    waits_for_accept: bool | None = None


@dataclass(frozen=True, slots=True)
class Tls:
    """The handshake of TLS, or how it failed; the certificate is there even if it was refused."""

    seconds: float
    version: str = ""
    cipher: str = ""
    alpn: str | None = None
    certificate: Certificate | None = None
    verified: bool = False
    error: FourTupleError | None = None
    #: Why OpenSSL refuses the certificate: 10 is expired, 62 another name, 18 and 19 self-signed (x509_vfy.h).
    code: int = 0


@dataclass(frozen=True, slots=True)
class Heard:
    """What came first: ``octets`` (cut to a bound), or ``end``: ``"silence"``, ``"end of file"`` or ``"reset"``.

    Both, if a whole message was waited for and only a part of it came.
    """

    seconds: float
    octets: bytes = b""
    #: Whole messages, if a framing was given.
    messages: int = 0
    end: str = ""
    error: FourTupleError | None = None
    #: Octets that were sent.
    sent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All that one probe found. What was not reached is None."""

    address: str
    resolved: Resolved | None = None
    attempts: tuple[Attempt, ...] = ()
    connected: Connected | None = None
    tls: Tls | None = None
    heard: Heard | None = None
    #: Whether an answer was expected: something was sent, or a framing was given.
    expected: bool = False
    timeout: float = 0.0
    error: FourTupleError | None = None
