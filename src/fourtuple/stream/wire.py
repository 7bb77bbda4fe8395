"""What the wire brings: octets and the FIN, on their way through the layers to the decoder."""

from __future__ import annotations

from typing import Any

from fourtuple.address import Name
from fourtuple.errors import ConnectionBusy, ConnectionEnded
from fourtuple.events import Reason
from fourtuple.framing import decoder_of
from fourtuple.stream.layer import Layer
from fourtuple.stream.raw import Raw
from fourtuple.stream.values import Half


class Wire(Raw):
    """Take what a socket read, straight or through layers."""

    __slots__ = ()

    def received(self, data: bytes, now: float) -> None:
        """Take what one read brought."""
        if self.layer is not None:
            self._through(data, now)
            return
        if self.tap is not None:
            self.tap(self, True, data)
        self.octets_in += len(data)
        throttle = self.throttle
        if throttle is not None:
            throttle.received(len(data))
        self.last_activity = now
        if self.closing:
            return
        if self._raw is None and self._requests is None:
            self._split(data, now)  # the usual
        else:
            self._decode(data, now)

    def received_eof(self, now: float) -> None:
        """Take the peer's FIN."""
        if self.reading is not Half.OPEN:
            return
        if self.layer is not None:
            if self.closing:
                # Whoever waits for a handshake waits in vain, because of this side.
                self.layer.fail(ConnectionEnded(f"{self.name}: closed before the handshake was done"))
            elif not self._through_eof(now):
                return
        if self.writing is Half.BROKEN and self.write_error is not None:
            # The kernel reports a reset once; a write had it, and what reads like an end of file is none.
            self.broken(self.write_error, Reason.RESET)
            return
        self._peer_finished(now)

    def _peer_finished(self, now: float) -> None:
        self.reading = Half.ENDED
        self.last_activity = now
        self.message_since = None
        if not self.closing:
            self.because(self._reason_of_eof)
        if self._requests:
            self.replenish(now)

    # -- layers ---------------------------------------------------------------------------------------------

    def _through(self, data: bytes, now: float) -> None:
        """Let the layers take what the wire brought, and the decoder what they make of it."""
        self.octets_in += len(data)
        throttle = self.throttle
        if throttle is not None:
            throttle.received(len(data))
        self._passed(self._plain(data, now), len(data), now)

    def came_through(self, layer: Layer, plain: bytes, size: int, now: float) -> None:
        """Take what an established layer, asked by the usual turn, made of the ``size`` octets of one read."""
        if layer.has_outgoing:
            self._take_outgoing(layer)
        self._passed(plain, size, now)

    def _passed(self, plain: bytes, size: int, now: float) -> None:
        """Decode what the layers made of ``size`` octets; end where they ended."""
        # A record that comes octet by octet is no activity: it must not keep an idle connection for ever.
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
        elif layer.ended and self.reading is Half.OPEN:
            self._peer_finished(now)  # close_notify: our own direction stays open

    def _plain(self, data: bytes, now: float) -> bytes:
        while data and self.layer is not None and not (self.closing and self.layer.established):
            layer, was_ready = self.layer, self.layer.established
            data = layer.received(data, now)
            if layer.has_outgoing:
                self._take_outgoing(layer)
            if not layer.done:
                if layer.established and not was_ready and not self.messages_in:
                    self.opened = now  # the first message has its time from here on
                return data
            self.layer = layer.following
            self.opened = now
        return data

    def _through_eof(self, now: float) -> bool:
        """Tell the layers of the FIN; return whether it is a plain end of file."""
        while (layer := self.layer) is not None:
            held = layer.received_eof()
            if layer.error is not None:
                self._layer_failed(layer, layer.error)
                self.reading = Half.BROKEN
                return False
            if not layer.done:
                self.unannounced = layer.truncated
                break
            self.layer = layer.following
            if held:
                self.octets_in -= len(held)  # they come a second time
                self.preamble = min(self.preamble, self.octets_in)
                self.received(held, now)
        return True

    def start_tls(self, layer: Layer) -> None:
        """Put TLS under the conversation, behind what was sent and before the next octet that comes.

        What the peer sent before is plain, and anybody on the way may have written it: it is discarded and
        counted (RFC 3207, 4.2), decoded or not. Raises as :meth:`send`; with requests outstanding, ConnectionBusy.
        """
        if self.layer is not None:
            raise ConnectionBusy(f"{self.name}: TLS has begun already")
        if self.writing is not Half.OPEN:
            raise self._why_not_writing()
        if self.reading is not Half.OPEN:
            raise self.why_nothing()
        if self.pending:
            self.commit_ahead()
        raw = self.go_raw()
        self.discarded += len(raw)
        raw.clear()
        self._raw = None  # all is decoded again, and who asks whether something is left need not look there
        self.decoder = decoder_of(self.framing)
        self.raw_mode = False
        if self.tap is not None and self.outbox_size:
            self.tap(self, False, b"".join(self.outbox)[self._head :])
        self.layer = layer
        self._take_outgoing(layer)

    def introduced(self, header: Any, name: Name | None) -> None:
        """Take the PROXY header, and the name in it where it has one."""
        self.proxy_header = header
        if name is not None:
            self._transport_name, self._name = self.name, name

    @property
    def transport_name(self) -> Name:
        """The name of the socket itself; :attr:`name` is the real client's where a PROXY header named it."""
        return self._transport_name or self.name
