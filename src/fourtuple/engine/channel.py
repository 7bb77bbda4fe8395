"""A channel: one connected socket, its stream, and the consumer of the stream.

The path of inbound octets::

    kernel -> recv -> Stream.received -> Consumer.readable -> (the handler takes messages from the stream)

and of outbound octets::

    (Stream.send) -> flush -> Stream.outgoing -> send -> kernel

Every decision that needs the socket is made here and in the parts of a channel, each of which knows those below it::

    Channel        channel.py         the path of a message; events, deadlines and failures
    Watching       watching.py        the events for which the socket is watched
    Lending        lending.py         the socket given to a thread or a program
    Ending         ending.py          close, abort, loss, and the steps of the end
    ChannelState   channel_state.py   the fields, which all parts share

The states of a channel::

    new --- start() ---> open --- detach(), hand_on() -----> detached: a thread or a program has the socket
                         |  ^                                   |
                         |  +------- reattach(), take_back() ---+    (the stream may be over by then)
                         |
                         |  the stream is over, abort(), a socket error, linger_timeout
                         v
                       ended      _end(): unregister, close at the end of the turn, call on_end
                         |
                         |  no handler is running any more: leave()
                         v
                        left      the engine forgets the channel; Consumer.left() is called

If serving a channel raises, it becomes a :class:`DoomedChannel`, which the sweep tries to end until it has ended.
"""

from __future__ import annotations

import math
from operator import attrgetter
from socket import MSG_PEEK, SHUT_WR
from typing import Any

from fourtuple import fast_path
from fourtuple.engine import expire
from fourtuple.engine.channel_state import Socket
from fourtuple.engine.consumer import Consumer
from fourtuple.engine.engine import Engine
from fourtuple.engine.readiness import ERR, HUP, IN, OUT, RDHUP, SILENCE
from fourtuple.engine.watching import Watching
from fourtuple.errors import MessageError
from fourtuple.stream import NOT_YET, Half, Layer, Path, Reason, Stream

#: After a read of at least this many octets, the decoder releases them at once. Holding fewer costs less than the call.
_LARGE = 4096
#: The most octets that one connection sends at a time: a fast peer must not delay the other connections.
_MOST_SENT = 4 * 1024 * 1024
_OPEN, _ENDING = Half.OPEN, Half.ENDING  # used in every turn; a global is faster than an attribute
_PLAIN, _LAYERED, _SPECIAL = Path.PLAIN, Path.LAYERED, Path.SPECIAL


class Channel(Watching):
    """One connected socket on the engine."""

    __slots__ = ()

    # Fields of ChannelState that this part writes.
    consumer: Consumer | None
    due: float

    def start(self, consumer: Consumer) -> None:
        """Begin to serve the socket."""
        if self._socket is not None:  # an observer of the accept event may have ended the connection
            self.consumer = consumer
            self.engine.add(self)
            self.update()

    # -- in -----------------------------------------------------------------------------------------------

    def on_ready(self, events: int) -> None:
        """Serve the ready socket; without events, serve the work that the consumer left for this turn.

        On the paths PLAIN and LAYERED, with nothing waiting, a read goes directly to the decoder. If it is one whole
        message and a plain function replies to it, the reply goes directly to the kernel. This is one method because
        calls are expensive in Python. ``_turn/serve.c``, if it is built, replaces this method for both paths and does
        the same. Every other case leaves at the step where it is detected.
        """
        stream = self.stream
        path = stream.path
        if events != IN or path is _SPECIAL or stream.inbox or stream.outbox_size or self.mask != IN:
            self._serve(events)
            return
        sock: Any = self._socket
        if type(sock) is int:  # isinstance() costs more than all other conditions
            sock = self.socket
        try:
            data = sock.recv(stream.limits.read_size)
        except OSError as error:
            self._not_read(error)
            return
        if not data:
            self._took(data)
            return
        now, inline = self.engine.now, self.inline
        take = inline is not None
        message = stream.feed(data, now, take) if path is _PLAIN else stream.received(data, now, take)
        if inline is None or message is NOT_YET:
            self._consume(len(data))
            return
        try:
            reply = inline._handle(message)
            if len(data) >= _LARGE:
                stream.decoder.settle()
            # The handler may have changed anything, including its own connection.
            if (
                (reply.__class__ is not bytes and (reply is None or isinstance(reply, inline.last_words)))
                or stream.outbox_size
                or stream.path is not path
            ):
                inline.say(reply)
                self._consume()
                return
            octets = stream.framing.encode(reply)
            if path is _LAYERED:
                octets = stream.through(octets)
        except BaseException as error:
            inline._failed(error)
            self._consume()
            return
        try:
            # A larger reply goes through the outbox, which sends it in parts over several turns.
            taken = sock.send(octets) if len(octets) <= _MOST_SENT else 0
        except (BlockingIOError, InterruptedError):
            taken = 0
        except OSError as error:
            self._write_failed(error)
            return
        if not stream.answered(octets, taken, now):
            self.settle()

    def _serve(self, events: int) -> None:
        """Serve any events, in the general case."""
        if self._socket is None or self.detached:
            return
        if not events:
            self._consume()
            return
        if events & SILENCE:
            self._silence()
            return
        if events & (IN | ERR | HUP | RDHUP):
            if self.stream.wants_read:
                self._read()
            else:
                self._unwatch(events)
        # For a reset, the kernel reports ERR a moment before the socket is writable (tcp_reset() in tcp_input.c). The
        # outbox is also written then, because a socket that is no longer watched brings no other event.
        if events & (OUT | ERR | HUP) and self._socket is not None and not self.detached:
            self.flush()
            self._after_write()

    def _read(self) -> None:
        stream, sock = self.stream, self.socket
        assert sock is not None
        try:
            layer = stream.layer
            data = sock.recv(stream.read_size) if layer is None or not layer.peeks else self._own_octets(sock, layer)
        except OSError as error:
            self._not_read(error)
            return
        if data is None:
            stream.skip_layer(self.engine.now)
            self._consume()
            return
        if not data or stream.closing:
            self._took(data)
            return
        stream.received(data, self.engine.now)
        self._consume(len(data))

    def _own_octets(self, sock: Socket, layer: Layer) -> bytes | None:
        """Read what is for the layer, and nothing after it; None if nothing is. Empty for the end of file."""
        # A program that gets the socket afterwards reads it by itself: what follows the layer's octets must stay in the
        # kernel.
        seen: bytes = sock.recv(self.stream.read_size, MSG_PEEK)
        size = layer.own(seen) if seen else 0
        return sock.recv(size) if size else None if seen else seen

    def _not_read(self, error: OSError) -> None:
        if not isinstance(error, BlockingIOError | InterruptedError):
            self._broken(error)

    def _took(self, data: bytes) -> None:
        """Take the peer's FIN, or octets that arrive while the connection closes."""
        stream, now = self.stream, self.engine.now
        if data:
            stream.received(data, now)
        else:
            stream.received_eof(now)
        if not stream.closing:
            self._consume()
            return
        if not data and self.consumer is not None:
            self.consumer.finished()
        if stream.over:
            self._end()

    def _silence(self) -> None:
        """End the message if the framing's gap is over. First read: a delayed loop is not silence of the peer."""
        self._gap_timer = None
        stream, now = self.stream, self.engine.now
        if stream.gap_at is None or not stream.wants_read:
            return
        if stream.gap_at <= now:
            self._read()
            if self._socket is None or self.detached or stream.gap_at is None or not stream.wants_read:
                return
            if stream.gap_at <= now:
                stream.silence(now)
                self._consume()
                return
        self._await_gap(stream.gap_at)

    def _consume(self, size: int = _LARGE) -> None:
        """Let the consumer take what a read of this size brought."""
        if self.consumer is not None:
            if self.stream.path is _SPECIAL:
                self._tell_what_ended(self.consumer)
            self._dirty = True  # settle() below writes what is sent now, so flush_soon() has nothing to do
            self.consumer.readable()
            self._dirty = False
            if size >= _LARGE and not self.stream.inbox:
                self.stream.decoder.settle()
        self.settle()

    def _tell_what_ended(self, consumer: Consumer) -> None:
        """Tell the consumer, after a read, of the end of file or of a failed layer."""
        if self.stream.write_error is not None:
            self._lose(Reason.LOST)
        if self.stream.reading is not _OPEN:
            consumer.finished()

    # -- out ----------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what the kernel takes now, up to a limit; send FIN after the last octet if it is due."""
        sock: Any = self._socket
        if type(sock) is int:
            sock = self.socket
        if sock is None or self.detached:
            return
        stream, engine = self.stream, self.engine
        now = engine.now if engine.in_turn else engine.clock()
        left = _MOST_SENT
        try:
            while stream.outbox_size and left > 0:
                outbox = stream.outbox
                chunk = outbox[0] if len(outbox) == 1 and not stream._head else stream.outgoing()
                count = sock.send(chunk if len(chunk) <= left else memoryview(chunk)[:left])
                stream.sent(count, now)
                left -= count
        except (BlockingIOError, InterruptedError):
            stream.sent(0, now)
        except OSError as error:
            self._write_failed(error)
            return
        if stream.outbox_size:
            if stream.crowded:
                self._crowded = True
        elif stream.writing is _ENDING and stream.fin_due:
            self._send_fin()

    def undersent(self, octets: bytes, taken: int, now: float) -> None:
        """Keep the octets that the kernel did not take. The fast path calls it, with the outbox empty."""
        self.stream.undersent(octets, taken, now)
        self.settle()

    def _send_fin(self) -> None:
        sock = self.socket
        assert sock is not None
        try:
            sock.shutdown(SHUT_WR)
        except OSError as error:
            self._write_failed(error)
            return
        # FIN has left, behind all octets: linger_timeout begins.
        self.stream.fin_sent(self.engine.time())
        self.due = -math.inf
        if self.stream.write_error is not None:  # a layer failed, and its alert is sent
            self._lose(Reason.LOST)

    def _after_write(self) -> None:
        """Act on a write: wake senders if the outbox is relieved, end, or change the watched events."""
        if self._socket is None:
            return
        if self._crowded and self.stream.relieved:
            self._crowded = False
            if self.consumer is not None:
                self.consumer.writable()
        self.settle()

    def settle(self) -> None:
        """Make the socket match the stream: write, end, or change the watched events."""
        if self._socket is None or self.detached:
            return
        stream = self.stream
        if stream.outbox_size or stream.writing is _ENDING:
            self.flush()
        if self._crowded and stream.relieved:
            # Senders that wait are woken at the end of the turn, because a handler may be running now. This may be the
            # only notification: the kernel reports EPOLLOUT later than it accepts octets again, and an empty outbox is
            # not watched for EPOLLOUT at all.
            self.flush_soon()
        if stream.path is not _SPECIAL and self.mask == IN and not stream.outbox_size:
            return  # the watched events stay as they are
        if self._socket is None:
            return
        if stream.over:
            self._end()
        else:
            self.update()

    def on_dirty(self) -> None:
        """Write what was sent in the meantime: the turn ends, or the loop's next iteration has come."""
        self._dirty = False
        if self._socket is None or self.detached:
            return
        self.flush()
        self._after_write()

    # -- the engine's other calls -------------------------------------------------------------------------

    def on_due(self, now: float) -> None:
        """End the channel if a deadline has passed; if the socket is closed, try to leave the engine again."""
        if self._socket is None:
            self._tell()
            return
        if self.consumer is None and not self.stream.closing:
            self.abort(Reason.HANDLER_ERROR)  # its start failed
            return
        if self.stream.closing and not self.detached:
            self.settle()  # repeats a write or a change of watched events that failed for lack of memory
        expire.look(self, now)

    def on_failure(self, error: BaseException) -> None:
        """End the channel: serving it raised."""
        self.__class__ = DoomedChannel
        try:
            self.on_due(self.engine.now)
        except BaseException:
            if self._socket is not None:
                self.engine.add(self)  # so that the sweep finds a channel that had not started yet
            raise

    def on_slow(self, seconds: float) -> None:
        """Tell the consumer, which knows the handler's name."""
        if self.consumer is not None:
            self.consumer.slow(seconds)


class DoomedChannel(Channel):
    """A channel that has to end because its turn raised. The sweep tries again until it has ended.

    The class is the state, as for a throttled channel; both classes have the same slots. The turn in C declines it.
    """

    __slots__ = ()

    # Fields of ChannelState that this part writes.
    due: float

    def on_ready(self, events: int) -> None:
        """Serve nothing: only try to end."""
        self.on_due(self.engine.now)

    def on_due(self, now: float) -> None:
        """Repeat the steps of the end that failed."""
        self.due = -math.inf
        if self._socket is None:
            self._tell()
        else:
            self.abort(Reason.HANDLER_ERROR)


if fast_path.turn is not None:
    fast_path.turn.know(PLAIN=Path.PLAIN, LAYERED=Path.LAYERED, SPECIAL=Path.SPECIAL, OPEN=Half.OPEN)
    fast_path.turn.know(sizes_of=attrgetter("read_size", "max_batch", "high_water"))
    fast_path.turn.know(Channel=Channel, Stream=Stream, Engine=Engine, MessageError=MessageError)
