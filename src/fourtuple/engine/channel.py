"""A channel: one connected socket, its stream, and the consumer of the stream.

The path of inbound octets::

    kernel -> recv -> Stream.received -> Consumer.readable -> (the handler takes messages from the stream)

and of outbound octets::

    (Stream.send) -> flush -> Stream.outgoing -> send -> kernel

Every decision that needs the socket is here: when to read, when to write, FIN, RST, closing.

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

import asyncio
import fcntl
import math
import os
import socket
import termios
from collections.abc import Callable
from socket import SHUT_RD, SHUT_RDWR, SHUT_WR, SO_ERROR, SOL_SOCKET
from typing import TypeAlias

from fourtuple import fast_path
from fourtuple.address import Name
from fourtuple.engine import expire
from fourtuple.engine.consumer import Consumer, Inline
from fourtuple.engine.engine import Engine
from fourtuple.engine.fields import ChannelFields
from fourtuple.engine.readiness import ERR, HUP, IN, LOSS, OUT, RDHUP, SILENCE
from fourtuple.errors import ConnectionEnded, MessageError
from fourtuple.forking import why
from fourtuple.framing import Unmapped
from fourtuple.net.sockets import adopted, reset_on_close
from fourtuple.options import Deadlines
from fourtuple.stream import Half, Path, Reason, Stream, new_id

#: After a read of at least this many octets, the decoder releases them at once. Holding fewer costs less than the call.
_LARGE = 4096
#: The most octets that one connection sends at a time: a fast peer must not delay the other connections.
_MOST_SENT = 4 * 1024 * 1024
_Socket: TypeAlias = socket.socket
_OPEN, _ENDING = Half.OPEN, Half.ENDING  # used in every turn; a global is faster than an attribute
_PLAIN, _SPECIAL = Path.PLAIN, Path.SPECIAL


class Channel(ChannelFields):
    """One connected socket on the engine."""

    __slots__ = ("_gap_timer", "deadlines", "inline")

    def __init__(
        self,
        engine: Engine,
        sock: _Socket | int,
        stream: Stream,
        deadlines: Deadlines,
        on_end: Callable[[Channel], None] | None = None,
    ) -> None:
        self.engine = engine
        #: The socket; its descriptor until :attr:`socket` is read; None when the channel has ended.
        self._socket: _Socket | int | None = sock
        self.fd = sock if isinstance(sock, int) else sock.fileno()
        self.stream = stream
        self.deadlines = deadlines
        self.on_end = on_end
        self.id = 0 if sock == -1 else new_id()  # -1: a template without a socket
        self.opened = stream.opened
        self.mask = 0
        self.detached = False
        self._crowded = False
        self._dirty = False
        self._gap_timer: asyncio.TimerHandle | None = None
        self.consumer: Consumer | None = None
        #: The consumer again, if it replies by a plain function on the loop: this shortens the turn.
        self.inline: Inline | None = None
        #: The earliest moment at which a deadline may pass; the sweep skips the channel before it.
        self.due = -math.inf

    @property
    def socket(self) -> _Socket | None:
        """The connected socket; None when the channel has ended.

        A socket accepted in C is only a descriptor until this is read: most connections never need the object.
        """
        sock = self._socket
        if isinstance(sock, int):
            sock = self._socket = adopted(sock)
        return sock

    @property
    def ended(self) -> bool:
        """Whether the channel has given up its socket: it is closed, or will be at the end of the turn."""
        return self._socket is None

    @property
    def name(self) -> Name:
        """The connection's name, taken when the connection was made."""
        return self.stream.name

    def start(self, consumer: Consumer) -> None:
        """Begin to serve the socket."""
        if self._socket is not None:  # an observer of the accept event may have ended the connection
            self.consumer = consumer
            self.engine.add(self)
            self.update()

    # -- in -----------------------------------------------------------------------------------------------

    def on_ready(self, events: int) -> None:
        """Serve the ready socket; without events, serve the work that the consumer left for this turn.

        On the path PLAIN, with nothing waiting, a read goes directly to the decoder. If it is one whole message and a
        plain function replies to it, the reply goes directly to the kernel. This is one method because calls are
        expensive in Python. ``_turn/serve.c``, if it is built, replaces this method and does the same. Every other case
        leaves at the step where it is detected.
        """
        stream = self.stream
        if events != IN or stream.path is not _PLAIN or stream.inbox or stream.outbox_size or self.mask != IN:
            self._serve(events)
            return
        sock = self._socket
        if isinstance(sock, int):
            sock = self.socket
        assert sock is not None  # without a socket the mask is 0
        try:
            data = sock.recv(stream.limits.read_size)
        except OSError as error:
            self._not_read(error)
            return
        if not data:
            self._took(data)
            return
        now, inline = self.engine.now, self.inline
        stream.feed(data, now)
        inbox = stream.inbox
        if inline is None or len(inbox) != 1 or stream.message_since is not None or inbox[0].__class__ is Unmapped:
            self._consume(len(data))
            return
        try:
            reply = inline._handle(inbox.pop())
            if len(data) >= _LARGE:
                stream.decoder.settle()
            none_or_last = reply.__class__ is not bytes and (reply is None or isinstance(reply, inline.last_words))
            # The handler may have changed anything, including its own connection.
            if none_or_last or stream.outbox_size or stream.path is not _PLAIN:
                inline.say(reply)
                self._consume()
                return
            octets = stream.framing.encode(reply)
        except BaseException as error:
            inline._failed(error)
            self._consume()
            return
        try:
            taken = sock.send(octets) if len(octets) <= _MOST_SENT else 0
        except (BlockingIOError, InterruptedError):
            taken = 0
        except OSError as error:
            self._write_failed(error)
            return
        stream.answered(octets, taken, now)
        if taken != len(octets) or stream.path is not _PLAIN:
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
        # outbox is written then, too, because a socket that is no longer watched brings no other event.
        if events & (OUT | ERR | HUP) and self._socket is not None and not self.detached:
            self.flush()
            self._after_write()

    def _read(self) -> None:
        stream, sock = self.stream, self._socket
        if isinstance(sock, int):
            sock = self.socket
        assert sock is not None
        try:
            data = sock.recv(stream.read_size)
        except OSError as error:
            self._not_read(error)
            return
        if not data or stream.closing:
            self._took(data)
            return
        stream.received(data, self.engine.now)
        self._consume(len(data))

    @property
    def has_unread(self) -> bool:
        """Whether the kernel has octets that the engine will read in its next turn."""
        if self._socket is None or self.detached or not self.mask & IN or not self.stream.wants_read:
            return False
        try:
            return any(fcntl.ioctl(self.fd, termios.FIONREAD, bytes(4)))  # tcp(7), unix(7): SIOCINQ
        except (OSError, ValueError):  # a connection in memory has no descriptor
            return False

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

    def _await_gap(self, gap_at: float) -> None:
        """Call :meth:`_silence` when the gap may be over. There is one timer at a time; reads do not restart it."""
        if self._gap_timer is None:
            self._gap_timer = self.engine.serve_later(gap_at - self.engine.time(), self, SILENCE)

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

    def _unwatch(self, events: int) -> None:
        """Stop watching for reads that are not wanted now; keep watching for a loss and for the peer's FIN.

        Reading is paused lazily, here, so that the common conversation needs no epoll_ctl(2) call. The kernel always
        reports ERR and HUP, requested or not (epoll_ctl(2)). ERR may mean that the connection is lost, which ends it
        here. HUP without an error means that both directions have ended, so there is nothing left to watch for.
        """
        stream = self.stream
        stream.paused(self.engine.now)
        if events & (ERR | HUP) and self._lost_unread():
            return
        if events & RDHUP and stream.fin_arrived() and self.consumer is not None:
            self.consumer.finished()
        if self._socket is not None and not self.detached:
            self.engine.readiness.watch(self, 0 if events & (ERR | HUP) else self.mask & OUT | self._unread)

    def _lost_unread(self) -> bool:
        """Check the socket's error (SO_ERROR, socket(7)); return whether the connection was lost and has ended."""
        sock = self.socket
        code = sock.getsockopt(SOL_SOCKET, SO_ERROR) if sock is not None else 0
        if code and self.stream.reading is _OPEN:
            # Octets received before the error wait in the kernel. A handler that continues to read gets them first.
            self._write_failed(OSError(code, os.strerror(code)))
        elif code:
            self._broken(OSError(code, os.strerror(code)))
        return bool(code)

    @property
    def _unread(self) -> int:
        """The events to watch for while nothing is read."""
        stream = self.stream
        if stream.writing is Half.BROKEN:
            return 0  # the loss is already known
        return RDHUP or LOSS if stream.reading is _OPEN and not stream.finishing and stream.layer is None else LOSS

    # -- out ----------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what the kernel takes now, up to a limit; send FIN after the last octet if it is due."""
        sock = self._socket
        if isinstance(sock, int):
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
        self.stream.fin_sent(self.engine.time())
        self.due = -math.inf
        if self.stream.write_error is not None:  # a layer failed, and its alert is sent
            self._lose(Reason.LOST)

    def _write_failed(self, error: OSError) -> None:
        """End writing. Octets that the peer sent before may wait in the kernel, so reading continues to its end."""
        if isinstance(error, ConnectionResetError | BrokenPipeError) and self.stream.reading is Half.OPEN:
            self._lose(Reason.LOST)
            self.stream.write_lost(error)
            self.update()
            self.flush_soon()  # not to write: it wakes senders that wait for the crowded outbox
        else:
            self._broken(error)

    def _after_write(self) -> None:
        """Act on a write: wake senders if the outbox is relieved, end, or change the watched events."""
        if self._socket is None:
            return
        if self._crowded and self.stream.relieved:
            self._crowded = False
            if self.consumer is not None:
                self.consumer.writable()
        self.settle()

    def expect_relief(self) -> None:
        """Call the consumer's ``writable`` once the crowded outbox is down to ``low_water``: a sender waits for it."""
        self._crowded = True

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

    def update(self) -> None:
        """Watch for the events that the stream wants. :meth:`_unwatch` stops reading lazily, at an unwanted event."""
        if self._socket is None or self.detached:
            return
        stream = self.stream
        mask = OUT if stream.outbox_size else 0
        if stream.wants_read:
            mask |= IN
            stream.resumed(self.engine.now)
            if stream.gap_at is not None:
                self._await_gap(stream.gap_at)
        elif stream.reading is Half.OPEN:
            mask |= self.mask & IN
        if not mask & IN:
            mask |= self._unread
        if mask != self.mask:
            if mask & IN and not self.mask & IN:
                self.due = -math.inf  # the deadlines of reading run again, so the sweep has to look
            self.engine.readiness.watch(self, mask)

    def flush_soon(self) -> None:
        """Write at the end of this turn or, outside of a turn, in the loop's next iteration."""
        if not self._dirty and self._socket is not None:
            self.engine.flush_soon(self)
            self._dirty = True

    def on_dirty(self) -> None:
        """Write what was sent in the meantime: the turn ends, or the loop's next iteration has come."""
        self._dirty = False
        if self._socket is None or self.detached:
            return
        self.flush()
        self._after_write()

    def consumed(self) -> None:
        """Watch for reads again if needed: the consumer took messages outside of a turn."""
        if (self.mask & IN and self.stream.gap_at is None) or self._socket is None or self.detached:
            return
        if self.stream.wants_read:
            self.update()

    def stop_at_boundary(self) -> None:
        """Read to the end of the message that has begun, but no further. Call it repeatedly until the stream closes."""
        self.stream.end_at_boundary()
        if self._socket is not None and not self.detached and not self.stream.wants_read:
            self._unwatch(0)

    def look_again(self) -> None:
        """Let the consumer look in the next turn: the readable messages have changed without an event of the socket.

        Every call that puts octets back, or changes how held octets are decoded, ends here. The kernel sends no event
        for these octets.
        """
        if self._socket is None or self.detached:
            return
        self.engine.revisit(self)
        self.consumed()

    # -- the end ------------------------------------------------------------------------------------------

    def close(self, reason: Reason = Reason.CLOSED) -> None:
        """Close after the outbox, lingering: send FIN, then discard input until the peer's FIN or the deadline."""
        if self._socket is None:
            return
        if reason.imposed:
            self._lose(reason)
        if self.detached:
            # A thread or program has the socket. shutdown(2) wakes it; it sees the end and gives the socket back.
            self.stream.because(reason)
            self._shut()
            return
        self.stream.close(reason)
        self.stream.resumed(self.engine.time())
        self.due = -math.inf
        self.flush_soon()

    def abort(self, reason: Reason = Reason.ABORTED) -> None:
        """End now, with RST (RFC 9293, 3.10.5). The octets in the outbox are lost."""
        sock = self.socket
        if sock is None:
            return
        self._lose(reason)
        error = self.stream.cause or ConnectionEnded(f"{self.name}: aborted by this side")
        reset_on_close(sock)
        if self.detached:
            # A thread waits in a call on the socket. shutdown(2) wakes it, and it gives the socket back. SHUT_WR would
            # send FIN, which looks like a regular end to the peer. So it is used only if the thread waits to write.
            self.stream.broken(error, reason, borrowed=True)
            self._shut(SHUT_RDWR if self.stream.outbox_size else SHUT_RD)
        else:
            self.stream.broken(error, reason)
            self.stream.close(reason)  # octets that were read and not delivered are discarded
            self._end()

    def _shut(self, how: int = SHUT_RDWR) -> None:
        sock = self.socket
        assert sock is not None
        try:
            sock.shutdown(how)
        except OSError:
            return

    def _lose(self, reason: Reason) -> None:
        """Tell the consumer that the connection is lost, before the tasks that wait in its calls are woken.

        After a close() by this side the connection is not lost: it ends as intended. An abort() is a loss in any case.
        """
        if self.consumer is not None and (reason is Reason.ABORTED or not self.stream.closing):
            self.consumer.lost(reason)

    def _broken(self, error: OSError) -> None:
        """End after a failure of the socket. Messages received before are delivered first."""
        self._lose(Reason.LOST)
        self.stream.lost(error)
        if self.consumer is not None and not self.stream.closing:
            self.consumer.readable()
        if not self.detached:
            self._end()

    def _end(self) -> None:
        """Unregister, then close (at the end of the turn), then tell the observers.

        If one of these steps fails, the sweep repeats it and the following ones: see :class:`DoomedChannel`.
        """
        sock = self._socket
        if sock is None:
            return
        self.due = -math.inf
        self.engine.readiness.watch(self, 0)
        self.engine.close_later(sock)
        self._socket = None
        if self._gap_timer is not None:
            self._gap_timer.cancel()
        self._tell()

    def disown(self) -> None:
        """In a forked child: drop the connection without calling anyone. It belongs to the parent."""
        sock, self._socket = self._socket, None
        self.fd, self.mask = -1, 0
        self.stream.disowned(ConnectionEnded(why(f"{self.name}: the connection")))
        if isinstance(sock, int):
            os.close(sock)
        elif sock is not None:
            sock.close()

    def _tell(self) -> None:
        """The socket is closed: call ``on_end``, then tell the consumer, whose handler may still be running."""
        self.stream.because(Reason.CLOSED)
        if self.on_end is not None:
            self.on_end(self)
            self.on_end = None
        self.leave()

    def leave(self) -> None:
        """Leave the engine, unless a handler is running; a consumer calls this when its handler has ended."""
        if self._socket is not None or not self.engine.knows(self):
            return
        try:
            done = self.consumer is None or self.consumer.closed()
        except MemoryError:
            raise  # the sweep tries again
        except BaseException:
            self.engine.discard(self)
            raise
        if done:
            self.engine.discard(self)
            consumer, self.consumer, self.inline = self.consumer, None, None  # breaks the reference cycle
            if consumer is not None:
                consumer.left()

    def forget(self) -> int | None:
        """Return the descriptor if there is no socket object for it. For an engine that is deleted but not closed."""
        sock = self._socket
        if not isinstance(sock, int):
            return None
        self._socket = None
        return sock

    # -- handing on ---------------------------------------------------------------------------------------

    def detach(self) -> _Socket:
        """Give the socket to a thread or a program: unregistered and blocking. The deadlines stay in force."""
        sock = self.socket
        assert sock is not None
        self.engine.readiness.watch(self, 0)
        self.detached = True
        sock.setblocking(True)
        return sock

    def reattach(self) -> None:
        """Take the socket back from the thread or program."""
        self.detached = False
        sock = self.socket
        if sock is None:
            return
        if self.stream.over:
            self._end()
        else:
            sock.setblocking(False)

    def hand_on(self) -> _Socket:
        """Give the socket to a program. Until the program has ended, nothing else reads from it or writes to it."""
        self.stream.handed_on()
        return self.detach()

    def take_back(self, reason: Reason = Reason.CLOSED, *, at_once: bool = False) -> None:
        """Close the connection of a program that has ended, lingering unless ``at_once``.

        The program's children may still have the socket; they lose the connection, too.
        """
        self.reattach()
        if self._socket is None:
            return
        self.stream.taken_back()
        self.close(reason)
        if at_once:
            self._shut()
            self._end()

    # -- the engine's other calls -------------------------------------------------------------------------

    def keep_to(self, deadlines: Deadlines) -> None:
        """Apply these deadlines from now on."""
        self.deadlines = deadlines
        self.due = -math.inf

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

    def __repr__(self) -> str:
        state = "closed" if self._socket is None else "detached" if self.detached else "open"
        return f"<Channel {self.id} {self.name} {state}>"


class DoomedChannel(Channel):
    """A channel that has to end because its turn raised. The sweep tries again until it has ended.

    The class is the state, as for a throttled channel; both classes have the same slots. The turn in C declines it.
    """

    __slots__ = ()

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
    # The turn calls the splitters in C directly, and looks for them in know(): they must be loaded before.
    import fourtuple.framing.splitting  # noqa: F401

    fast_path.turn.know(Channel=Channel, Stream=Stream, Engine=Engine, OPEN=Half.OPEN, MessageError=MessageError)
    fast_path.turn.know(PLAIN=Path.PLAIN, SPECIAL=Path.SPECIAL, DoomedChannel=DoomedChannel, OVERDUE=-math.inf)
