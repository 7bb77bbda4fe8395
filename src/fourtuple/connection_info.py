"""What both connections, on the engine and blocking, tell of themselves."""

from __future__ import annotations

from fourtuple.address import Name
from fourtuple.framing import Framing
from fourtuple.proxy import ProxyHeader
from fourtuple.stream import Statistics, Stream
from fourtuple.tls import TlsInfo, TlsLayer
from fourtuple.typevars import Generic, In_co, Out_contra


class ConnectionInfo(Generic[In_co, Out_contra]):
    """Names, framing, TLS and counters of the stream that a connection has."""

    __slots__ = ()

    _stream: Stream

    @property
    def name(self) -> Name:
        """The four-tuple (or the Unix name), taken when the connection was made."""
        return self._stream.name

    @property
    def transport_name(self) -> Name:
        """The socket's own name: the balancer's, where a PROXY header made :attr:`name` the real client's."""
        return self._stream.transport_name

    @property
    def proxy_header(self) -> ProxyHeader | None:
        """The PROXY header that came first, with all it tells; None without one."""
        header: ProxyHeader | None = self._stream.proxy_header
        return header

    @property
    def tls(self) -> TlsInfo | None:
        """What was agreed in the TLS handshake, and who the peer is; None on a plain connection."""
        layer = self._stream.layer
        return layer.info if isinstance(layer, TlsLayer) else None

    @property
    def framing(self) -> Framing[In_co, Out_contra]:
        """How messages are cut now."""
        return self._stream.framing

    @property
    def statistics(self) -> Statistics:
        """An immutable snapshot of the counters."""
        return self._stream.statistics
