"""TLS without a socket: one pump for the engine and the blocking side, whatever the loop.

An :class:`ssl.SSLObject` stands between two buffers; a :class:`TlsLayer` moves octets through it, and decides
nothing about sockets, clocks or waiting::

    wire --> received() --> [incoming BIO] --> SSLObject.read  --> plain octets
    wire <-- outgoing() <-- [outgoing BIO] <-- SSLObject.write <-- write()

The two directions end apart, as those of TCP do. The peer's close_notify is the end of what it says; it does not
stop us (RFC 8446, 6.1). Our own is made by ``unwrap()``, called exactly once and only with every record read:
called with data pending, or again before the peer's close_notify came, it throws away what the peer still sends
(seen on Python 3.11 to 3.13).
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from fourtuple.errors import (
    TlsAlert,
    TlsCertificateRefused,
    TlsError,
    TlsExpected,
    TlsNoAgreement,
    TlsTruncated,
)
from fourtuple.stream import Layer

#: The content types that a first record can have: a handshake, or the alert of a server that refuses (RFC 8446, 5.1).
HANDSHAKE = 0x16
_ALERT = 0x15
#: The most that one record holds (RFC 8446, 5.1), and so the most that one read() returns.
_RECORD = 16 * 1024
#: Ciphertext is taken out of the buffer in pieces of about this size, so that a large message is not held twice.
_PIECE = 256 * 1024

#: Octets that tell whether a conversation begins with TLS: the header of a record, and the kind of handshake message.
_ENOUGH = 6
#: A record that is not encrypted may be this long (RFC 8446, 5.1).
_LONGEST = 1 << 14

_CLIENT_HELLO, _SERVER_HELLO, _HELLO_REQUEST = 1, 2, 0

_NO_AGREEMENT = frozenset(
    {"NO_SHARED_CIPHER", "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW", "WRONG_SSL_VERSION"}
)


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """What was agreed in the handshake, and who the peer is.

    ``certificate`` is the peer's as :meth:`ssl.SSLSocket.getpeercert` gives it: only where it was verified, None
    otherwise. ``sni`` is the name that the client asked for.
    """

    version: str
    cipher: str
    alpn: str | None
    sni: str | None
    certificate: dict[str, Any] | None
    der: bytes | None = field(repr=False)  # a thousand octets that nobody reads

    @property
    def subject(self) -> str | None:
        """The verified peer's subject: ``CN=device-7,O=Example``; None without one."""
        if self.certificate is None:
            return None
        parts = [pair for group in self.certificate.get("subject", ()) for pair in group]
        return ",".join(f"{_SHORT.get(key, key)}={_escaped(value)}" for key, value in reversed(parts))

    @property
    def common_name(self) -> str | None:
        """The common name in the verified peer's subject; None without one."""
        groups = (self.certificate or {}).get("subject", ())
        return next((str(value) for group in groups for key, value in group if key == "commonName"), None)

    @property
    def names(self) -> tuple[str, ...]:
        """The verified peer's alternative names: ``DNS:device-7.example``, ``URI:spiffe://...``."""
        return tuple(f"{kind}:{value}" for kind, value in (self.certificate or {}).get("subjectAltName", ()))

    @property
    def fingerprint(self) -> str | None:
        """SHA-256 of the peer's certificate in hexadecimal, verified or not; None without one."""
        return hashlib.sha256(self.der).hexdigest() if self.der else None


_SHORT = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
    "domainComponent": "DC",
    "userId": "UID",
}


def _escaped(value: str) -> str:
    """A value in the text form of a name (RFC 4514, 2.4): its commas do not look like the next part."""
    return "".join(f"\\{each}" if each in '\\,+"<>;=' else each for each in value)


class TlsLayer(Layer):
    """One TLS session between the wire and a stream.

    ``whom`` is the peer in the texts of errors; ``now`` when the handshake's deadline begins. ``wake`` is called
    once, when the handshake is done or has failed.
    """

    deadline = "handshake_timeout"

    __slots__ = (
        "_ending",
        "_head",
        "_held",
        "_incoming",
        "_outgoing",
        "_pieces",
        "_records",
        "_server_side",
        "_ssl",
        "_whom",
        "info",
        "wake",
    )

    def __init__(
        self,
        context: ssl.SSLContext,
        now: float,
        *,
        server_side: bool,
        server_hostname: str | None = None,
        whom: str = "",
        wake: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(now)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self._server_side = server_side
        self._whom = whom
        #: Plain octets that wait for the end of the handshake.
        self._held: list[bytes | memoryview] = []
        self._pieces: list[bytes] = []
        self._ending = False
        self._records = Records()
        #: What the peer began with, until there is enough of it to tell whether that is TLS.
        self._head = b""
        self.wake = wake
        self.info: TlsInfo | None = None
        if not server_side:
            self._shake_hands()

    # -- in -----------------------------------------------------------------------------------------------

    def received(self, data: bytes, now: float) -> bytes:
        """Take octets of the wire; return the plain ones that they complete. Look at ``error`` afterwards."""
        self.has_outgoing = True
        if self.error is not None or self.ended:
            return b""
        if len(self._head) < _ENOUGH:
            self._head += data[:16]
            if not _begins_tls(self._head, self._server_side):
                self.fail(self._not_tls())
                return b""
        records, size = self._records, len(data)
        if records.within or size < 5 or size != 5 + (data[3] << 8 | data[4]):  # else it is one whole record, as usual
            records.pass_over(data)
        self._incoming.write(data)
        if not self.established and not self._shake_hands():
            return b""
        plain = self._read()
        if self._held or self._ending:
            self._write_held()
        # The usual record wants no answer; one that updates the keys does (RFC 8446, 4.6.3).
        self.has_outgoing = self._outgoing.pending > 0 or bool(self._pieces)
        return plain

    def _not_tls(self) -> TlsExpected:
        text = f"{self._whom}: TLS was expected, the peer began with {self._head[:16]!r}"
        if not self._server_side and _begins_tls(self._head, server_side=True):
            text += ", as this side did: it speaks plainly and says again what it was told"
        return TlsExpected(text)

    def _shake_hands(self) -> bool:
        """Go on with the handshake; return whether it is done."""
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except (ssl.SSLError, ValueError) as error:
            self.fail(named(error, self._whom))
            return False
        self.info = _info(self._ssl)
        self.established = True
        self._wake()
        return True

    def _read(self) -> bytes:
        """Read until the engine wants more: whole records, all of them."""
        chunks: list[bytes] = []
        try:
            while chunk := self._ssl.read(_RECORD):
                # The same as SSLWantReadError would say, without the cost of an exception. One read() returns what one
                # record has: of less than the most there is no rest.
                if not self._incoming.pending and (len(chunk) < _RECORD or not self._ssl.pending()):
                    if not chunks:
                        return chunk
                    chunks.append(chunk)
                    break
                chunks.append(chunk)
            else:
                self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            self.fail(named(error, self._whom))
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def received_eof(self) -> bytes:
        """Take the FIN. Without a close_notify before it anybody on the way may have sent it: see ``truncated``."""
        if self.ended or self.error is not None:
            return b""
        if self.established:
            self.ended = True
            where = "inside a TLS record" if self.within else "without close_notify"
            self.truncated = TlsTruncated(f"{self._whom}: end of file {where}, what came may not be all that was sent")
        elif self._head or not self._server_side:
            self.fail(TlsError(f"{self._whom}: end of file during the TLS handshake"))
        return b""

    @property
    def within(self) -> bool:
        return self._records.within

    # -- out ----------------------------------------------------------------------------------------------

    def write(self, octets: bytes) -> None:
        """Take plain octets; they are encrypted now, or when the handshake is done."""
        self._held.append(octets)
        self.holding += len(octets)
        if self.established:
            self._write_held()

    def end(self) -> None:
        """Say close_notify behind what was written: at once, or when the handshake is done."""
        self._ending = True
        if self.established:
            self._write_held()
        elif not self._held:
            self.finished = True  # nothing was said, and in a handshake there is no close_notify

    def _write_held(self) -> None:
        held = self._held
        try:
            while held:
                # One record at a time: Python enables partial writes.
                octets = held[0]
                count = self._ssl.write(octets)
                self.holding -= count
                if count == len(octets):
                    del held[0]
                else:
                    held[0] = memoryview(octets)[count:]
                if self._outgoing.pending >= _PIECE:
                    self._pieces.append(self._outgoing.read())
        except ssl.SSLWantReadError:
            return  # a peer that renegotiates (TLS 1.2): its next octets bring us back here
        except ssl.SSLError as error:
            self.fail(named(error, self._whom))
            return
        if self._ending and not self.finished and self.error is None:
            self.finished = True
            try:
                self._ssl.unwrap()
            except ssl.SSLError:
                pass  # SSLWantReadError: ours is written, the peer's has not come. Anything else: ours is written.

    def outgoing(self) -> bytes:
        """What is to be sent now: ciphertext, the handshake's flights, alerts."""
        if not self._pieces:
            return self._outgoing.read()
        pieces, self._pieces = self._pieces, []
        if self._outgoing.pending:
            pieces.append(self._outgoing.read())
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # -- the end ------------------------------------------------------------------------------------------

    def fail(self, error: Exception) -> None:
        """Nothing passes any more; whoever waits for the handshake is told."""
        if self.error is None:
            self.error = error
            self.finished = True
            self._held.clear()
            self.holding = 0
            self._wake()

    def let_go(self) -> None:
        self._held.clear()
        self._pieces.clear()
        self._incoming.read()
        self._outgoing.read()
        self.holding, self.wake = 0, None

    def _wake(self) -> None:
        wake, self.wake = self.wake, None
        if wake is not None:
            wake()


class Records:
    """Where the records of a TLS stream end (RFC 8446, 5.1): five octets, the last two of which say how many follow."""

    __slots__ = ("_head", "_left", "within")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        #: Whether the octets so far end inside a record.
        self.within = False

    def pass_over(self, data: bytes) -> None:
        """Take octets of the wire."""
        if self._head:
            data = self._head + data
            self._head = b""
        at, end = self._left, len(data)
        while at + 5 <= end:
            at += 5 + (data[at + 3] << 8 | data[at + 4])
        self._left = max(0, at - end)
        if at < end:
            self._head = data[at:]
        self.within = at != end


def _begins_tls(head: bytes, server_side: bool) -> bool:
    """Whether a client (seen from the server's side) or a server may begin with these octets; as few as there are.

    One octet does not do: a peer that echoes what it is told begins as we did, and OpenSSL would wait for the rest of
    its own record.
    """
    alert = head[0] == _ALERT and not server_side
    if head[0] != HANDSHAKE and not alert:
        return False
    if len(head) > 1 and head[1] != 3:
        return False
    if len(head) > 4 and not 0 < (head[3] << 8 | head[4]) <= _LONGEST:
        return False
    hellos = (_CLIENT_HELLO,) if server_side else (_SERVER_HELLO, _HELLO_REQUEST)
    return alert or len(head) < _ENOUGH or head[5] in hellos


class FirstOctet(Layer):
    """TLS and plain conversations at one port: the first octet decides.

    0x16 begins a TLS handshake; as text it is the control character SYN, with which no protocol of people begins,
    and as the first octet of a length it stands for more than 22 MB. ``secure(now)`` makes the TLS layer.
    """

    __slots__ = ("_secure",)

    def __init__(self, secure: Callable[[float], TlsLayer]) -> None:
        super().__init__(None)
        self._secure = secure

    def received(self, data: bytes, now: float) -> bytes:
        """Look at the first octet; all of them are for what follows."""
        self.done = True
        if data[0] == HANDSHAKE:
            self.following = self._secure(now)
        return data


def named(error: Exception, whom: str) -> TlsError:
    """What OpenSSL says, as one of our errors; the original is its cause."""
    found = _named(error, whom)
    found.__cause__ = error
    return found


def _named(error: Exception, whom: str) -> TlsError:
    reason = getattr(error, "reason", None) or ""
    words = reason.replace("_", " ").lower()
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"{whom}: the peer's certificate does not verify: {error.verify_message}"
        return TlsCertificateRefused(text, reason, error.verify_code)
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return TlsCertificateRefused(f"{whom}: the peer sent no certificate, and one is required", reason)
    if "ALERT_" in reason:
        alert = reason.partition("ALERT_")[2].replace("_", " ").lower()
        return TlsAlert(f"{whom}: the peer refused, its TLS alert says: {alert}", reason, alert)
    if reason in _NO_AGREEMENT:
        return TlsNoAgreement(f"{whom}: no TLS version or cipher in common: {words}", reason)
    return TlsError(f"{whom}: TLS failed: {words or error}", reason)


def _info(session: ssl.SSLObject) -> TlsInfo:
    cipher = session.cipher()
    return TlsInfo(
        version=session.version() or "",
        cipher=cipher[0] if cipher else "",
        alpn=session.selected_alpn_protocol(),
        # A server's context notes the name in the object; a client's object has the one that it asked for.
        sni=getattr(session, "sni", None) or session.server_hostname,
        certificate=session.getpeercert() or None,
        der=session.getpeercert(binary_form=True),
    )
