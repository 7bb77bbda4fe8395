"""A slot for one connection: the connection is made, used, lost, and made again.

A subclass decides how the connection is used::

    open() --> dialling --> connected() --> (TLS) --> begin() ... --> ended() --.
      ^                                                                         |
      '---------- at once, or after a pause if the attempt failed --------------'
"""

from __future__ import annotations

import math
import socket

from fourtuple.engine import Channel, Consumer
from fourtuple.errors import ConnectError
from fourtuple.four_tuple import Name
from fourtuple.load.host import SlotHost
from fourtuple.load.sink import MessageSink
from fourtuple.options import Limits, Sockets
from fourtuple.proxy.header import say_header
from fourtuple.stream import Half, Reason, Stream
from fourtuple.tls import TlsLayer
from fourtuple.tls.start import tls_layer

#: Seconds before a slot tries again. Each failure in a row doubles the pause, up to the longest.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 1.0


class Slot:
    """The base class: connecting, ending, counting. Its numbers are listed under ``name``."""

    name = ""

    def __init__(self, worker: SlotHost, number: int) -> None:
        self.worker = worker
        self.number = number
        self.sockets: Sockets = worker.sockets
        self.channel: Channel | None = None
        #: Whether the connection can be used, that is, its handshake is done.
        self.ready: bool = False
        #: Whether this end has ended the connection.
        self.leaving: bool = False
        self._setbacks = 0
        self._counted_in = self._counted_out = 0

    # -- for subclasses -----------------------------------------------------------------------------------

    def consumer(self, channel: Channel) -> Consumer:
        """Make the consumer of a new connection's messages."""
        return MessageSink(channel)

    def limits(self) -> Limits:
        """The limits of a new connection's stream."""
        return self.worker.limits

    def begin(self) -> None:
        """Begin: the connection can be used, and the load has begun."""

    def counted(self, nanoseconds: int) -> None:
        """Count a connection, made in this time."""
        self.worker.meter.tally.others[f"{self.name}: opened"] += 1

    def ended(self, stream: Stream) -> None:
        """Count a connection that the peer or an error has ended."""
        why = stream.reason or Reason.LOST
        self.worker.meter.tally.others[f"{self.name}: {why.value}"] += 1

    @property
    def in_flight(self) -> int:
        """The number of requests that wait for their replies."""
        return 0

    @property
    def owed(self) -> bool:
        """Whether the peer must still send something, so that an end of file now comes too early."""
        return self.in_flight > 0

    @property
    def can_write(self) -> bool:
        """Whether you may send: the connection can be used, and its sending direction is open."""
        return self.ready and self.channel is not None and self.channel.stream.writing is Half.OPEN

    # -- opening ------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Ask for a connection."""
        if not self.worker.over:
            self.worker.dial(self)

    def connected(self, sock: socket.socket, name: Name, nanoseconds: int) -> None:
        """Take the connected socket and start the connection."""
        worker = self.worker
        if worker.over:
            worker.engine.close_later(sock)
            return
        self.counted(nanoseconds)
        self._counted_in = self._counted_out = 0
        self.leaving = False
        stream = Stream(worker.framing, name, self.limits(), worker.engine.time())
        self.channel = channel = Channel(worker.engine, sock, stream, worker.deadlines, self._ended)
        channel.start(self.consumer(channel))
        say_header(stream, worker.plan.proxy_header)
        if worker.tls_context is None:
            self._usable()
        else:
            self._start_tls(channel)
        channel.flush_soon()

    def _start_tls(self, channel: Channel) -> None:
        worker, began = self.worker, self.worker.clock()
        layer: TlsLayer = tls_layer(
            channel.stream,
            worker.tls_context,
            worker.engine.time(),
            server_side=False,
            server_hostname=worker.plan.server_hostname,
        )

        def woken() -> None:
            if layer.established:
                worker.meter.handshaking.record(worker.clock() - began)
                # Not called directly: the layer is still processing the octets of a read.
                worker.engine.loop.call_soon(self._secured, channel)

        layer.wake = woken
        channel.stream.start_tls(layer)
        channel.due = -math.inf
        channel.flush_soon()

    def _secured(self, channel: Channel) -> None:
        if self.channel is channel and not channel.stream.closing and not self.worker.stopped:
            self._usable()

    def _usable(self) -> None:
        self.ready = True
        self.worker.tried(self, None)
        if self.worker.running:
            self.begin()

    def not_connected(self, error: ConnectError) -> None:
        """Count the failure, and try again later."""
        worker = self.worker
        worker.meter.tally.connect_failures[type(error).__name__] += 1
        worker.meter.sample(str(error))
        worker.tried(self, error)
        self._again()

    def _again(self) -> None:
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self._setbacks, 10))
        self._setbacks += 1
        self.worker.later(pause, self.open)

    def worked(self) -> None:
        """Note that the connection was useful: the next one is opened without a pause."""
        self._setbacks = 0

    # -- ending -------------------------------------------------------------------------------------------

    def leave(self, how: str = "fin") -> None:
        """End the connection from this end: ``how`` is ``"fin"`` or ``"reset"``."""
        self.leaving = True
        if self.channel is not None:
            if how == "reset":
                self.channel.abort()
            else:
                self.channel.close()

    def _ended(self, channel: Channel) -> None:
        """The channel's on_end, for every reason."""
        self.count_octets()
        self.channel = None
        was_ready, self.ready = self.ready, False
        worker = self.worker
        if not self.leaving and not worker.stopped:
            error = channel.stream.read_error
            self.ended(channel.stream)
            if not was_ready:
                worker.tried(self, error)
        if not worker.over:
            if self.leaving:
                self.open()
            elif not self._setbacks and was_ready:
                self._setbacks = 1
                self.open()
            else:
                self._again()

    def count_octets(self) -> None:
        """Count the octets on the wire since the last call."""
        if self.channel is None:
            return
        stream, tally = self.channel.stream, self.worker.meter.tally
        tally.octets_in += stream.octets_in - self._counted_in
        tally.octets_out += stream.octets_out - self._counted_out
        self._counted_in, self._counted_out = stream.octets_in, stream.octets_out

    # -- for many -----------------------------------------------------------------------------------------

    def broken(self, stream: Stream) -> None:
        """Count why a connection of the load broke. An orderly end of file is not a failure."""
        tally = self.worker.meter.tally
        error = stream.read_error
        reason = stream.reason or Reason.LOST
        if error is None and reason.is_end_of_file and not self.owed:
            tally.closed_by_peer += 1
            return
        if error is None:
            kind = "EndOfFile" if reason.is_end_of_file else str(reason.value)
            left = f"with {self.in_flight} requests unanswered" if self.in_flight else "before its greeting"
            text = f"{stream.name}: the peer sent end of file {left}"
        else:
            kind, text = type(error).__name__, str(error)
        tally.failures[kind] += 1
        self.worker.meter.sample(text)
