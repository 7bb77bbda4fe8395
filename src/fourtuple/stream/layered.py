"""Layered: octets in, through the layers between the wire and the decoder (a PROXY header, TLS), and the first of them.

::

    wire --> received() --> layer --> following layer --> ... --> the decoder: Inbound
    wire <-- outbox <------ layer <-- encoded messages:           Outbound
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fourtuple.errors import ConnectionBusy
from fourtuple.events import Reason
from fourtuple.framing import Decoder, decoder_of
from fourtuple.stream.layer import Layer
from fourtuple.stream.raw import Raw
from fourtuple.stream.state import State
from fourtuple.stream.values import NOT_YET, Half, Path

_OPEN, _PLAIN, _LAYERED, _SPECIAL = Half.OPEN, Path.PLAIN, Path.LAYERED, Path.SPECIAL


class Layered(State):
    """Passes the octets of the wire through the layers, if there are any, to the decoder."""

    __slots__ = ()

    # Fields of State that this part writes.
    decoder: Decoder
    last_activity: float
    message_since: float | None
    octets_in: int
    opened: float
    path: Path
    reading: Half

    if TYPE_CHECKING:  # what the parts on both sides of the layers do: Inbound, Unframed, Outbound, HalfClose

        def feed(self, data: bytes, now: float, take: bool) -> Any: ...
        def replenish(self, now: float | None = None) -> bool: ...
        def why_nothing(self) -> Exception: ...
        def _decode(self, data: bytes, now: float) -> None: ...
        @property
        def _reason_of_eof(self) -> Reason: ...
        def go_raw(self) -> Raw: ...
        def commit_ahead(self) -> bool: ...
        def _take_outgoing(self, layer: Layer) -> None: ...
        def _why_not_writing(self) -> Exception: ...
        def _take_fin(self, now: float) -> None: ...

    # -- octets in ----------------------------------------------------------------------------------------

    def received(self, data: bytes, now: float, take: bool = False) -> Any:
        """Take the octets of one read. As :meth:`feed`, on any path."""
        if self.path is _PLAIN:
            return self.feed(data, now, take)
        size = len(data)
        if self.path is _LAYERED:
            plain, layer = self._through(data, now), self.layer
            if plain and layer is not None and layer.error is None and not layer.ended and self.path is _LAYERED:
                self.octets_in += size - len(plain)  # feed() counts the rest
                return self.feed(plain, now, take and not layer.holding)
            self.octets_in += size
            self._passed(plain, size, now)
            return NOT_YET
        if self.tap is not None and self.layer is None:
            self.tap(self, True, data)  # before counting: a hex dump shows the offset of the first octet
        self.octets_in += size
        throttle = self.throttle  # read once, as in wants_read
        if throttle is not None:
            throttle.received(size)
        if self.layer is not None:
            self._passed(self._through(data, now), size, now)
            return NOT_YET
        self.last_activity = now
        if not self.closing:
            self._decode(data, now)
        return NOT_YET

    def _peer_finished(self, now: float) -> None:
        self._take_fin(now)
        if not self.closing:
            self.because(self._reason_of_eof)
        if self._requests:
            self.replenish(now)

    def _passed(self, plain: bytes, size: int, now: float) -> None:
        """Decode the layers' output for ``size`` octets; end if the layers have ended."""
        # A TLS record that trickles in is not activity: it must not keep an idle connection open forever.
        if plain or not self.ready:
            self.last_activity = now
        if plain:
            if self.tap is not None:
                self.tap(self, True, plain)
            if not self.closing:
                self._decode(plain, now)
        elif self.preamble == self.octets_in - size:
            self.preamble = self.octets_in
        layer = self.layer
        if layer is None:
            return
        if layer.error is not None:
            self._layer_failed(layer, layer.error)
        elif layer.ended and self.reading is _OPEN:
            self._peer_finished(now)  # close_notify; our direction stays open (RFC 8446, 6.1)

    def _through(self, data: bytes, now: float) -> bytes:
        """Pass octets of the wire through the layers; return the plain octets."""
        # One read may hold the end of a PROXY header, a ClientHello after it and more: each layer passes on what is not
        # its own. After close() nothing is decrypted any more, but a handshake is still completed: what was sent before
        # needs it.
        while data and self.layer is not None and not (self.closing and self.layer.established):
            layer, was_ready = self.layer, self.layer.established
            data = layer.received(data, now)
            if layer.has_outgoing:
                self._take_outgoing(layer)
            if not layer.done:
                if layer.established and not was_ready:
                    self.judge()
                    if not self.messages_in:
                        self.opened = now  # the deadline of the first message begins here
                return data
            self._next_layer(layer)
            self.opened = now
        return data

    def skip_layer(self, now: float) -> None:
        """End a layer that is not needed: no octet that waits in the kernel is for it."""
        layer = self.layer
        assert layer is not None
        self.last_activity = now
        layer.skip(now)
        if layer.error is not None:
            self._layer_failed(layer, layer.error)
        else:
            self._next_layer(layer)
            self.opened = now

    def record_read(self, plain: bytes, size: int, error: Exception | None, now: float) -> None:
        """Go on after the C has passed ``size`` octets, a record, to the layer and has read ``plain`` or ``error``."""
        layer = self.layer
        assert layer is not None
        layer.record_read(plain, error)
        if layer.has_outgoing:
            self._take_outgoing(layer)
        self.octets_in += size
        self._passed(plain, size, now)

    def through(self, octets: bytes) -> bytes:
        """Return what a layer makes of encoded octets, for the path LAYERED with an empty outbox."""
        layer = self.layer
        assert layer is not None
        layer.write(octets)
        octets = layer.outgoing()
        if layer.error is not None:
            self._layer_failed(layer, layer.error)
        return octets

    def _through_eof(self, now: float) -> bool:
        """Pass FIN through the layers; return whether the stream has to take it as an end of file."""
        while (layer := self.layer) is not None:
            held = layer.received_eof()
            if layer.error is not None:
                self.reading = Half.BROKEN
                self._layer_failed(layer, layer.error)
                return False
            if not layer.done:
                self.unannounced = layer.truncated
                break
            self._next_layer(layer)
            if held:
                self.octets_in -= len(held)  # received() below counts them a second time
                self.preamble = min(self.preamble, self.octets_in)
                self.received(held, now)
        return True

    def _next_layer(self, layer: Layer) -> None:
        self.layer = layer.following
        self.judge()

    def begin_with(self, layer: Layer | None) -> None:
        """Set the first layer, a PROXY header or a TLS handshake, or None. Call it before any octet passes."""
        self.layer = layer
        self.judge()
        if layer is not None and layer.has_outgoing:
            self._take_outgoing(layer)  # a client of TLS speaks first

    def start_tls(self, layer: Layer) -> None:
        """Start TLS in the conversation, after the octets already sent and before the next octet received.

        Octets that the peer sent before TLS are plain text, and an attacker on the network path may have injected
        them. They are discarded and counted, decoded or not (RFC 3207, 4.2). Raises as :meth:`send`, and
        ConnectionBusy if requests are outstanding.
        """
        if self.layer is not None:
            raise ConnectionBusy(f"{self.name}: TLS has begun already")
        if self.writing is not _OPEN:
            raise self._why_not_writing()
        if self.reading is not _OPEN:
            raise self.why_nothing()
        if self.pending:
            self.commit_ahead()
        self.discarded += len(self.go_raw().octets)
        self._raw = None  # octets are decoded again, and none are left
        self.skipped_before += self.decoder.skipped
        # A fresh decoder: the old one may hold the beginning of a message that was sent in plain text.
        self.decoder = decoder_of(self.framing)
        if self.tap is not None and self.outbox_size:
            self.tap(self, False, b"".join(self.outbox)[self._head :])
        if self.outbox_size:
            self.plain_until = self.octets_out + self.outbox_size
        self.layer = layer
        self.judge()
        self._take_outgoing(layer)
