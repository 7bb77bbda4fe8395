"""The read-only attributes that both connection classes, async and blocking, have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fourtuple.four_tuple import Name
from fourtuple.framing import Framing
from fourtuple.stream import Statistics, Stream
from fourtuple.tls import TlsInfo, TlsLayer
from fourtuple.typevars import Generic, In_co, Out_contra

if TYPE_CHECKING:
    from fourtuple.proxy import ProxyHeader


class ConnectionInfo(Generic[In_co, Out_contra]):
    """Names, framing, TLS and counters of a connection, from its stream."""

    __slots__ = ()

    _stream: Stream

    @property
    def name(self) -> Name:
        """The four-tuple (or the Unix name), read when the connection was made."""
        return self._stream.name

    @property
    def transport_name(self) -> Name:
        """The name of the socket itself: the balancer's if a PROXY header has set :attr:`name` to the real client's."""
        return self._stream.transport_name

    @property
    def proxy_header(self) -> ProxyHeader | None:
        """The PROXY header with which the connection began, with all its values; None if there was none."""
        header: ProxyHeader | None = self._stream.proxy_header
        return header

    @property
    def tls(self) -> TlsInfo | None:
        """What was agreed in the TLS handshake, and the peer's identity; None on a plain connection."""
        layer = self._stream.layer
        return layer.info if isinstance(layer, TlsLayer) else None

    @property
    def framing(self) -> Framing[In_co, Out_contra]:
        """The framing in force."""
        return self._stream.framing

    @property
    def parser(self) -> Any:
        """The third-party parser that cuts the messages (of ``feed_parser`` or ``event_parser``), or ``None``.

        A handler may tell it what it sends: ``connection.send_octets(connection.parser.send(event))``.
        """
        return getattr(self._stream.decoder, "parser", None)

    @property
    def statistics(self) -> Statistics:
        """An immutable snapshot of the counters."""
        return self._stream.statistics
