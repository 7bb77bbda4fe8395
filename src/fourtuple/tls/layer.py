"""TLS without a socket: one layer for the engine and the blocking side, for every loop.

An :class:`ssl.SSLObject` works between two buffers. A :class:`TlsLayer` moves octets through it, and does not deal with
sockets, clocks or waiting::

    wire --> received() --> [incoming BIO] --> SSLObject.read  --> plain octets
    wire <-- outgoing() <-- [outgoing BIO] <-- SSLObject.write <-- write()

The states, as attributes that the stream reads::

    handshake --- do_handshake() is done ---> established ----- the peer's close_notify, or FIN -----> ended
        |                                         |    \\---- end(): our close_notify is written ------> finished
        |  an alert, no TLS, no agreement         |
        v                                         |
      error <-------------------------------------+       no octet passes any more; an alert may still be sent

The two directions end separately, as in TCP. The peer's close_notify ends what it sends; this side may go on sending
(RFC 8446, 6.1). Our close_notify is made by ``unwrap()``. It is called exactly once, and only when every record has
been read: if it is called with data pending, or a second time before the peer's close_notify has come, it discards what
the peer still sends (seen on Python 3.11 to 3.13).
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from typing import Any

from fourtuple import fast_path
from fourtuple.errors import (
    TlsAlert,
    TlsCertificateRefused,
    TlsError,
    TlsExpected,
    TlsNoAgreement,
    TlsTruncated,
)
from fourtuple.stream import Layer
from fourtuple.tls.info import TlsInfo, info_of
from fourtuple.tls.records import ENOUGH, Records, begins_tls

#: The most octets in one record (RFC 8446, 5.1), and so the most that one read() returns.
_RECORD = 16 * 1024
#: Ciphertext is taken out of the buffer in pieces of about this size, so that a large message is not held twice.
_PIECE = 256 * 1024

#: The end of an error's text if the server has not answered the handshake at all: a guess, unlike what is before it.
PERHAPS_PLAIN = "; perhaps it does not use TLS at this port"

# OpenSSL's names of its errors, as ssl.SSLError.reason has them.
_NO_AGREEMENT = frozenset(
    {"NO_SHARED_CIPHER", "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW", "WRONG_SSL_VERSION"}
)
#: What OpenSSL says of an alert of the peer. Those of RFC 6066 have no "alert" in it.
_ALERT = re.compile(
    r"(?:ssl/tls|sslv3|tlsv1|tlsv13) (?:alert (.+)|(unsupported extension|certificate unobtainable|unrecognized name"
    r"|bad certificate status response|bad certificate hash value))"
)
_OTHER_SPELLINGS = {"user cancelled": "user canceled"}


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
    within: bool

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
        #: What reads and writes for the C: the object below ``_ssl``, which has methods in C; else ``_ssl`` itself.
        self._session: Any = getattr(self._ssl, "_sslobj", self._ssl)
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
        if len(self._head) < ENOUGH:
            self._head += data[:16]
            if not begins_tls(self._head, self._server_side):
                self.fail(self._not_tls())
                return b""
        records, size = self._records, len(data)
        if self.within or size < 5 or size != 5 + (data[3] << 8 | data[4]):  # else: one whole record
            self.within = records.pass_over(data)
        self._incoming.write(data)
        if not self.established and not self._shake_hands():
            return b""
        plain = self._read()
        self._has_read()
        return plain

    def _has_read(self) -> None:
        # What could not be written before: during the handshake, or while the peer renegotiated.
        if self._held or self._ending:
            self._write_held()
        # Most records need no answer; one that updates the keys does (RFC 8446, 4.6.3).
        self.has_outgoing = self._outgoing.pending > 0 or bool(self._pieces)

    def record_read(self, plain: bytes, error: Exception | None) -> None:
        """Go on after the C has given the session a record, and has read ``plain`` or ``error``."""
        if error is not None:
            self._not_read(error)
        elif not plain:
            self.ended = True
        self._has_read()

    def unfinished(self) -> str:
        return f"the peer did not finish its TLS handshake{self._perhaps_plain()}"

    def _perhaps_plain(self) -> str:
        """Return a hint if the server has not answered at all: one without TLS waits for more, or hangs up."""
        return "" if self._server_side or self._head else PERHAPS_PLAIN

    def _not_tls(self) -> TlsExpected:
        text = f"{self._whom}: TLS was expected, but the peer began with {self._head[:16]!r}"
        if not self._server_side and begins_tls(self._head, server_side=True):
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
        self.info = info_of(self._ssl)
        self.established = True
        # Last: the task that it wakes reads ``info``.
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
        except ssl.SSLError as error:
            self._not_read(error)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _not_read(self, error: Exception) -> None:
        if isinstance(error, ssl.SSLWantReadError):
            return
        if isinstance(error, ssl.SSLZeroReturnError):
            self.ended = True
        else:
            self.fail(named(error, self._whom))

    def received_eof(self) -> bytes:
        """Take the FIN. Without a close_notify before it, an attacker may have sent it: see ``truncated``."""
        if self.ended or self.error is not None:
            return b""
        if self.established:
            self.ended = True
            where = "inside a TLS record" if self.within else "without close_notify"
            self.truncated = TlsTruncated(f"{self._whom}: end of file {where}, some of what was sent may be missing")
        elif self._head or not self._server_side:
            self.fail(TlsError(f"{self._whom}: end of file during the TLS handshake{self._perhaps_plain()}"))
        return b""

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


if fast_path.turn is not None:
    fast_path.turn.know(TlsLayer=TlsLayer)


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
    alert = _alert_of(error, reason)
    words = reason.replace("_", " ").lower()
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"{whom}: the peer's certificate does not verify: {error.verify_message}"
        return TlsCertificateRefused(text, reason, error.verify_code)
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return TlsCertificateRefused(f"{whom}: the peer sent no certificate, and one is required", reason)
    if alert:
        reason = reason or f"TLSV1_ALERT_{alert.replace(' ', '_').upper()}"
        return TlsAlert(f"{whom}: the peer refused with a TLS alert: {alert}", reason, alert)
    if reason in _NO_AGREEMENT:
        return TlsNoAgreement(f"{whom}: no TLS version or cipher in common: {words}", reason)
    return TlsError(f"{whom}: TLS failed: {words or error}", reason)


def _alert_of(error: Exception, reason: str) -> str:
    """Return the alert of which an error of OpenSSL tells, by its name in RFC 8446, 6; empty if it tells of none.

    Most are in ``reason``: TLSV1_ALERT_UNKNOWN_CA, SSLV3_ALERT_HANDSHAKE_FAILURE, and TLSV1_UNRECOGNIZED_NAME without
    the word. Python's table lacks some, among them no_application_protocol: then OpenSSL's words are in the text alone.
    """
    words = reason.replace("_", " ").lower()
    if not reason and isinstance(error, ssl.SSLError):
        # The text of an SSLError: "[SSL] tlsv1 alert no application protocol (_ssl.c:1006)".
        words = str(error).partition("] ")[2].partition(" (_ssl.c:")[0].lower()
    found = _ALERT.fullmatch(words)
    name = found[1] or found[2] if found else ""
    return _OTHER_SPELLINGS.get(name, name)
