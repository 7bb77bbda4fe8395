"""TLS in the middle of an async connection (STARTTLS): begin it. The stream and its layer do the rest."""

from __future__ import annotations

import math
from collections.abc import Callable

from fourtuple.engine import Channel
from fourtuple.tls import TlsLayer
from fourtuple.tls.certificates import Certificates, TlsChoice
from fourtuple.tls.start import tls_layer


def begin_tls(
    channel: Channel,
    tls: TlsChoice | None,
    *,
    server_side: bool,
    server_hostname: str | None,
    certificates: Certificates | None,
    wake: Callable[[TlsLayer], None],
) -> TlsLayer:
    """Put TLS under the conversation; ``wake`` is called with the layer when the handshake has ended."""
    layer = tls_layer(
        channel.stream,
        tls,
        channel.engine.time(),
        server_side=server_side,
        server_hostname=server_hostname,
        certificates=certificates,
    )
    layer.wake = lambda: wake(layer)
    channel.stream.start_tls(layer)
    channel.due = -math.inf
    channel.flush_soon()
    channel.look_again()
    return layer
