"""TLS on a blocking connection: begin it, and wait for the handshake."""

from __future__ import annotations

from contextlib import suppress

from fourtuple.blocking.receiving import Receiving
from fourtuple.blocking.sending import Sending
from fourtuple.blocking.shared_socket import SharedSocket
from fourtuple.errors import FourTupleError
from fourtuple.stream import Stream
from fourtuple.tls import TlsInfo, TlsLayer
from fourtuple.tls.certificates import Certificates, TlsChoice
from fourtuple.tls.start import tls_layer


def begin_tls(
    sock: SharedSocket, tls: TlsChoice | None, server_hostname: str | None, certificates: Certificates | None = None
) -> TlsLayer:
    """Put TLS under the conversation; nothing is written or waited for yet. A lent socket is the server's side."""
    with sock.lock:
        sock.check_lent("start_tls")
        layer = tls_layer(
            sock.stream,
            tls,
            sock.clock(),
            server_side=not sock.owned,
            server_hostname=server_hostname,
            certificates=certificates,
        )
        sock.stream.start_tls(layer)
    return layer


def wait_to_begin(receiving: Receiving, stream: Stream, layer: TlsLayer) -> None:
    """Wait until the handshake can begin: what was sent before it has left, or ``write_timeout`` has ended the wait."""
    receiving.wait_for(lambda: stream.plain_until is None or layer.error is not None, None, "write_timeout")


def finish_tls(
    receiving: Receiving,
    sending: Sending,
    layer: TlsLayer,
    seconds: float | None,
    which: str = "handshake_timeout",
    until: float | None = None,
) -> TlsInfo:
    """Wait for the end of the handshake, for ``seconds`` or until a moment; errors name the deadline ``which``."""
    receiving.wait_for(lambda: layer.established or layer.error is not None, seconds, which, until)
    # With TLS 1.3 the client is done before its last flight is sent, and a failed layer has an alert to send (RFC 8446,
    # 6.2).
    with suppress(FourTupleError):
        sending.write_out(seconds)  # the last flight, or the alert
    if layer.error is not None:
        raise layer.error
    assert layer.info is not None
    return layer.info
