"""TLS without a socket: one layer for the engine and the blocking side, for every loop.

An :class:`ssl.SSLObject` works between two buffers. A :class:`TlsLayer` moves octets through it, and does not deal with
sockets, clocks or waiting::

    wire --> received() --> [incoming BIO] --> SSLObject.read  --> plain octets
    wire <-- outgoing() <-- [outgoing BIO] <-- SSLObject.write <-- write()

The two directions end separately, as in TCP. The peer's close_notify ends what it sends; this side may go on sending
(RFC 8446, 6.1). Our close_notify is made by ``unwrap()``. It is called exactly once, and only when every record has
been read: if it is called with data pending, or a second time before the peer's close_notify has come, it discards what
the peer still sends (seen on Python 3.11 to 3.13).
"""

from __future__ import annotations

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

#: The content types that a first record can have: a handshake, or a server's alert that refuses it (RFC 8446, 5.1).
HANDSHAKE = 0x16
_ALERT = 0x15
#: The most octets in one record (RFC 8446, 5.1), and so the most that one read() returns.
_RECORD = 16 * 1024
#: Ciphertext is taken out of the buffer in pieces of about this size, so that a large message is not held twice.
_PIECE = 256 * 1024

#: How many octets tell whether a connection begins with TLS: a record's header, and the type of handshake message.
_ENOUGH = 6
#: The most octets in a record that is not encrypted (RFC 8446, 5.1).
_LONGEST = 1 << 14

_CLIENT_HELLO, _SERVER_HELLO, _HELLO_REQUEST = 1, 2, 0

_NO_AGREEMENT = frozenset(
    {"NO_SHARED_CIPHER", "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW", "WRONG_SSL_VERSION"}
)


@dataclass(frozen=True, slots=True)
class TlsInfo:
    """What was agreed in the handshake, and the peer's identity.

    ``certificate`` is the peer's certificate as :meth:`ssl.SSLSocket.getpeercert` returns it if it was verified, and
    None otherwise; ``der`` is the same certificate encoded, verified or not. ``version`` and ``cipher`` are named as
    :mod:`ssl` does (``TLSv1.3``); ``alpn`` is the application protocol, None if none was agreed. ``sni`` is the name
    that the client asked for.
    """

    version: str
    cipher: str
    alpn: str | None
    sni: str | None
    certificate: dict[str, Any] | None
    der: bytes | None = field(repr=False)  # a thousand octets, unreadable

    @property
    def subject(self) -> str | None:
        """The subject of a verified peer, such as ``CN=device-7,O=Example``; None if the peer is not verified."""
        if self.certificate is None:
            return None
        parts = [pair for group in self.certificate.get("subject", ()) for pair in group]
        return ",".join(f"{_SHORT.get(key, key)}={_escaped(value)}" for key, value in reversed(parts))

    @property
    def common_name(self) -> str | None:
        """The common name in the subject of a verified peer; None if there is none."""
        groups = (self.certificate or {}).get("subject", ())
        return next((str(value) for group in groups for key, value in group if key == "commonName"), None)

    @property
    def names(self) -> tuple[str, ...]:
        """The alternative names of a verified peer, such as ``DNS:device-7.example`` or ``URI:spiffe://...``."""
        return tuple(f"{kind}:{value}" for kind, value in (self.certificate or {}).get("subjectAltName", ()))

    @property
    def fingerprint(self) -> str | None:
        """The SHA-256 of the peer's certificate in hexadecimal, verified or not; None if it sent no certificate."""
        import hashlib  # imported here: few handlers ask for it

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
    """Return a value in the text form of a name (RFC 4514, 2.4), escaped: its commas do not begin another part."""
    return "".join(f"\\{each}" if each in '\\,+"<>;=' else each for each in value)


class TlsLayer(Layer):
    """One TLS session between the wire and a stream.

    ``whom`` names the peer in error texts. ``now`` is the moment from which the handshake's deadline counts. ``wake``
    is called once, when the handshake is done or has failed.
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

    ended: bool
    error: Exception | None
    finished: bool
    has_outgoing: bool
    holding: int
    truncated: Exception | None

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
        #: The peer's first octets, until they are enough to tell whether they are TLS.
        self._head = b""
        self.wake = wake
        self.info: TlsInfo | None = None
        if not server_side:
            self._shake_hands()

    # -- in -----------------------------------------------------------------------------------------------

    def received(self, data: bytes, now: float) -> bytes:
        """Take octets from the wire; return the plain octets of the completed records. Check ``error`` afterwards."""
        self.has_outgoing = True
        if self.error is not None or self.ended:
            return b""
        if len(self._head) < _ENOUGH:
            self._head += data[:16]
            if not _begins_tls(self._head, self._server_side):
                self.fail(self._not_tls())
                return b""
        records, size = self._records, len(data)
        if records.within or size < 5 or size != 5 + (data[3] << 8 | data[4]):  # else: one whole record
            records.pass_over(data)
        self._incoming.write(data)
        if not self.established and not self._shake_hands():
            return b""
        plain = self._read()
        if self._held or self._ending:
            self._write_held()
        # Most records need no answer; one that updates the keys does (RFC 8446, 4.6.3).
        self.has_outgoing = self._outgoing.pending > 0 or bool(self._pieces)
        return plain

    def _not_tls(self) -> TlsExpected:
        text = f"{self._whom}: TLS was expected, but the peer began with {self._head[:16]!r}"
        if not self._server_side and _begins_tls(self._head, server_side=True):
            text += ", as this side did: it echoes plain text"
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
        """Read all whole records that have arrived."""
        chunks: list[bytes] = []
        try:
            while chunk := self._ssl.read(_RECORD):
                # This ends the loop as SSLWantReadError would, without the cost of an exception. One read() returns
                # octets of one record: after fewer than the most, that record has no rest.
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
        """Take the FIN. Without a close_notify before it, an attacker may have sent it: see ``truncated``."""
        if self.ended or self.error is not None:
            return b""
        if self.established:
            self.ended = True
            where = "inside a TLS record" if self.within else "without close_notify"
            self.truncated = TlsTruncated(f"{self._whom}: end of file {where}, some of what was sent may be missing")
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
        """Send close_notify after what was written: now, or when the handshake is done."""
        self._ending = True
        if self.established:
            self._write_held()
        elif not self._held:
            self.finished = True  # nothing was written, and during a handshake there is no close_notify

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
            return  # the peer renegotiates (TLS 1.2): this is called again at its next octets
        except ssl.SSLError as error:
            self.fail(named(error, self._whom))
            return
        if self._ending and not self.finished and self.error is None:
            self.finished = True
            try:
                self._ssl.unwrap()
            except ssl.SSLError:
                pass  # our close_notify is written in any case; SSLWantReadError: the peer's has not come yet

    def outgoing(self) -> bytes:
        """Return the octets to send now: ciphertext, the handshake's flights, alerts."""
        if not self._pieces:
            return self._outgoing.read()
        pieces, self._pieces = self._pieces, []
        if self._outgoing.pending:
            pieces.append(self._outgoing.read())
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    # -- the end ------------------------------------------------------------------------------------------

    def fail(self, error: Exception) -> None:
        """Let nothing pass any more, and wake the caller that waits for the handshake."""
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

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """OpenSSL's side of the session, for code that reads the certificate or the cipher from it."""
        return self._ssl

    def _wake(self) -> None:
        wake, self.wake = self.wake, None
        if wake is not None:
            wake()


class Records:
    """Finds the ends of records in a TLS stream (RFC 8446, 5.1): a header's last two of five octets have the length."""

    __slots__ = ("_head", "_left", "within")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        #: Whether the octets so far end inside a record.
        self.within: bool = False

    def pass_over(self, data: bytes) -> None:
        """Take octets from the wire."""
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
    """Return whether a client (if ``server_side``) or a server may begin TLS with these octets, however few.

    One octet is not enough: a peer that echoes begins with the same octet as this side, and OpenSSL would wait for the
    rest of its own record.
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

    0x16 begins a TLS handshake. As text it is the control character SYN, with which no text protocol begins. As the
    first octet of a four-octet length it means more than 369 MB. ``secure(now)`` makes the TLS layer.
    """

    __slots__ = ("_secure",)

    following: Layer | None

    def __init__(self, secure: Callable[[float], TlsLayer]) -> None:
        super().__init__(None)
        self._secure = secure

    def received(self, data: bytes, now: float) -> bytes:
        """Check the first octet. All octets are passed on to the layer or stream that follows."""
        self.done = True
        if data[0] == HANDSHAKE:
            self.following = self._secure(now)
        return data


def named(error: Exception, whom: str) -> TlsError:
    """Return an error of OpenSSL as a TlsError.

    Its text and its attributes say all that the original said. So the original is its context and not its cause: a
    program that does not catch it prints one traceback.
    """
    found = _named(error, whom)
    found.__context__, found.__suppress_context__ = error, True
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
        return TlsAlert(f"{whom}: the peer refused with a TLS alert: {alert}", reason, alert)
    if reason in _NO_AGREEMENT:
        return TlsNoAgreement(f"{whom}: no TLS version or cipher in common: {words}", reason)
    return TlsError(f"{whom}: TLS failed: {words or error}", reason)


def _info(session: ssl.SSLObject) -> TlsInfo:
    cipher = session.cipher()
    return TlsInfo(
        version=session.version() or "",
        cipher=cipher[0] if cipher else "",
        alpn=session.selected_alpn_protocol(),
        # A server's context stores the name in the object; a client's object has the name that it asked for.
        sni=getattr(session, "sni", None) or session.server_hostname,
        certificate=session.getpeercert() or None,
        der=session.getpeercert(binary_form=True),
    )
