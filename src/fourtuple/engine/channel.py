"""A channel: one connected socket, its stream, and who consumes the stream.

The way of the octets, in::

    kernel -> recv -> Stream.received -> Consumer.readable -> (the handler takes messages from the stream)

and out::

    (Stream.send) -> flush -> Stream.outgoing -> send -> kernel

Everything a stream cannot decide without its socket is here: when to read, when to write, FIN, RST, closing.
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

#: What is held of a smaller read costs less than to let go of it.
_LARGE = 4096
#: Octets that one connection sends in one go: a peer that is as fast as we are must not hold the others up.
_MOST_SENT = 4 * 1024 * 1024
_Socket: TypeAlias = socket.socket
_OPEN, _ENDING = Half.OPEN, Half.ENDING  # looked up in every turn
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
        #: The socket; its descriptor until somebody asks for an object; None when this has ended.
        self._socket: _Socket | int | None = sock
        self.fd = sock if isinstance(sock, int) else sock.fileno()
        self.stream = stream
        self.deadlines = deadlines
        self.on_end = on_end
        self.id = 0 if sock == -1 else new_id()  # what has no socket is a template, and no connection
        self.opened = stream.opened
        self.mask = 0
        self.detached = False
        self._crowded = False
        self._dirty = False
        self._gap_timer: asyncio.TimerHandle | None = None
        self.consumer: Consumer | None = None
        #: The consumer once more, where it replies by a plain function on the loop: then turns are short.
        self.inline: Inline | None = None
        #: The earliest moment at which a deadline may pass; the sweep passes over the channel before.
        self.due = -math.inf

    @property
    def socket(self) -> _Socket | None:
        """The connected socket; None when the channel has ended.

        One that was accepted in C is a descriptor until somebody asks: most come and go without.
        """
        sock = self._socket
        if isinstance(sock, int):
            sock = self._socket = adopted(sock)
        return sock

    @property
    def ended(self) -> bool:
        """Whether the socket is closed, or handed on."""
        return self._socket is None

    @property
    def name(self) -> Name:
        """The connection's name, taken when it was made."""
        return self.stream.name

    def start(self, consumer: Consumer) -> None:
        """Begin to serve the socket."""
        if self._socket is not None:  # else whoever heard that it was accepted has ended it
            self.consumer = consumer
            self.engine.add(self)
            self.update()

    # -- in -----------------------------------------------------------------------------------------------

    def on_ready(self, events: int) -> None:
        """Serve what is ready; with no events, what the consumer left for this turn.

        A read on the plain path, with nothing waiting, goes straight to the decoder. If it is one whole message, and a
        plain function replies to it, the reply goes straight to the kernel: here, in one piece, because in Python calls
        are what costs. ``_turn/serve.c``, which takes this method's place where it was built, does the same. Whatever
        else comes up goes on from the step where it shows.
        """
        stream = self.stream
        if events != IN or stream.path is not _PLAIN or stream.inbox or stream.outbox_size or self.mask != IN:
            self._serve(events)
            return
        sock = self._socket
        if isinstance(sock, int):
            sock = self.socket
        assert sock is not None  # or the mask would be 0
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
            # The handler may have done anything, to its own connection too.
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
        """Serve what is ready, whatever it is."""
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
        # The kernel tells of an error (ERR) a moment before a reset socket is writable (tcp_reset() in tcp_input.c):
        # what waits in the outbox is tried then, too, because a socket that is not watched brings no other event.
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
        """The peer's FIN, or what it still sends to a connection that closes."""
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
        """The time of the framing's gap may be over; a loop that was held up is no silence of the peer."""
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
        """Look again when the gap may be over: one timer at a time, which reads in between do not touch."""
        if self._gap_timer is None:
            self._gap_timer = self.engine.serve_later(gap_at - self.engine.time(), self, SILENCE)

    def _consume(self, size: int = _LARGE) -> None:
        """Let the consumer have what came, by a read of this size."""
        if self.consumer is not None:
            if self.stream.path is _SPECIAL:
                self._tell_what_ended(self.consumer)
            self._dirty = True  # what is sent now is written by settle(), and needs no other visit
            self.consumer.readable()
            self._dirty = False
            if size >= _LARGE and not self.stream.inbox:
                self.stream.decoder.settle()
        self.settle()

    def _tell_what_ended(self, consumer: Consumer) -> None:
        """Behind a read: it brought the end of file, or a layer failed, through which nothing passes any more."""
        if self.stream.write_error is not None:
            self._lose(Reason.LOST)
        if self.stream.reading is not _OPEN:
            consumer.finished()

    def _unwatch(self, events: int) -> None:
        """Reading is not wanted now: watch for nothing but what must not be missed meanwhile.

        It is paused lazily, here, so that the usual conversation pays no epoll_ctl. That the connection is lost is told
        whether asked for or not (ERR, epoll_ctl(2)), and may end it; HUP without an error says that both directions
        have ended, and that there is nothing to wait for.
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
        """The kernel says that something is wrong: whether the connection is lost, and has ended for it."""
        sock = self.socket
        code = sock.getsockopt(SOL_SOCKET, SO_ERROR) if sock is not None else 0
        if code and self.stream.reading is _OPEN:
            # What came before waits in the kernel, for a handler that reads on: then it is found to end there.
            self._write_failed(OSError(code, os.strerror(code)))
        elif code:
            self._broken(OSError(code, os.strerror(code)))
        return bool(code)

    @property
    def _unread(self) -> int:
        """What to watch for while nothing is read."""
        stream = self.stream
        if stream.writing is Half.BROKEN:
            return 0  # it is lost, as is known
        return RDHUP or LOSS if stream.reading is _OPEN and not stream.finishing and stream.layer is None else LOSS

    # -- out ----------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Write what the kernel takes now, within bounds; FIN behind the last octet where it is due."""
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
        """The usual turn sent a part of these, with the outbox empty: keep the rest until the kernel takes more."""
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
        if self.stream.write_error is not None:  # behind the alert of a layer that failed
            self._lose(Reason.LOST)

    def _write_failed(self, error: OSError) -> None:
        """The peer takes nothing any more. What it sent before it went may wait in the kernel: read on to the end."""
        if isinstance(error, ConnectionResetError | BrokenPipeError) and self.stream.reading is Half.OPEN:
            self._lose(Reason.LOST)
            self.stream.write_lost(error)
            self.update()
            self.flush_soon()  # Not to write: whoever waits for a crowded outbox need not wait any more.
        else:
            self._broken(error)

    def _after_write(self) -> None:
        """The outbox may be relieved, the end may be reached, the interest may have changed."""
        if self._socket is None:
            return
        if self._crowded and self.stream.relieved:
            self._crowded = False
            if self.consumer is not None:
                self.consumer.writable()
        self.settle()

    def expect_relief(self) -> None:
        """Somebody waits for the crowded outbox: tell the consumer once it is down to the low mark."""
        self._crowded = True

    def settle(self) -> None:
        """Bring socket and stream into line: write, end, adjust what is watched."""
        if self._socket is None or self.detached:
            return
        stream = self.stream
        if stream.outbox_size or stream.writing is _ENDING:
            self.flush()
        if self._crowded and stream.relieved:
            # Who waits for this is told at the turn's end: now, somebody is at work. It may be the only sign, because
            # the kernel's own (EPOLLOUT) comes later than it takes octets again, and an empty outbox asks for none.
            self.flush_soon()
        if stream.path is not _SPECIAL and self.mask == IN and not stream.outbox_size:
            return  # more is welcome, as before
        if self._socket is None:
            return
        if stream.over:
            self._end()
        else:
            self.update()

    def update(self) -> None:
        """Watch for what the stream wants; reading is unwatched lazily, by the event that is not wanted."""
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
                self.due = -math.inf  # the deadlines of reading run again
            self.engine.readiness.watch(self, mask)

    def flush_soon(self) -> None:
        """Write at the end of this turn, or in the loop's next: whatever the sender waits for."""
        if not self._dirty and self._socket is not None:
            self.engine.flush_soon(self)
            self._dirty = True

    def on_dirty(self) -> None:
        """The turn ends, or the loop has come round: write what was sent meanwhile."""
        self._dirty = False
        if self._socket is None or self.detached:
            return
        self.flush()
        self._after_write()

    def consumed(self) -> None:
        """The consumer took messages outside of a turn: perhaps another read is welcome."""
        if (self.mask & IN and self.stream.gap_at is None) or self._socket is None or self.detached:
            return
        if self.stream.wants_read:
            self.update()

    def stop_at_boundary(self) -> None:
        """Read to the end of the message that has begun, and no further. Call it again until the stream closes."""
        self.stream.end_at_boundary()
        if self._socket is not None and not self.detached and not self.stream.wants_read:
            self._unwatch(0)

    def look_again(self) -> None:
        """What is readable was changed, and not by the socket: the consumer looks at it in the next turn.

        Every call that puts octets back, or has those that are held cut in another way, ends here: no event of the
        kernel would come for them.
        """
        if self._socket is None or self.detached:
            return
        self.engine.revisit(self)
        self.consumed()

    # -- the end ------------------------------------------------------------------------------------------

    def close(self, reason: Reason = Reason.CLOSED) -> None:
        """Close behind the outbox, lingering: FIN, then discard what comes until the peer's FIN or the deadline."""
        if self._socket is None:
            return
        if reason.imposed:
            self._lose(reason)
        if self.detached:
            # The stream is the borrower's: wake it; it sees the end, and gives the socket back.
            self.stream.because(reason)
            self._shut()
            return
        self.stream.close(reason)
        self.stream.resumed(self.engine.time())
        self.due = -math.inf
        self.flush_soon()

    def abort(self, reason: Reason = Reason.ABORTED) -> None:
        """End now, with RST: what is in the outbox is lost."""
        sock = self.socket
        if sock is None:
            return
        self._lose(reason)
        error = self.stream.cause or ConnectionEnded(f"{self.name}: aborted by this side")
        reset_on_close(sock)
        if self.detached:
            # Somebody's thread is inside the socket: shutdown(2) wakes it, the thread gives the socket back. Only
            # a writer needs the half that sends FIN: to the peer, that would look like an end in good order.
            self.stream.broken(error, reason, borrowed=True)
            self._shut(SHUT_RDWR if self.stream.outbox_size else SHUT_RD)
        else:
            self.stream.broken(error, reason)
            self.stream.close(reason)  # what was read and not delivered is nobody's any more
            self._end()

    def _shut(self, how: int = SHUT_RDWR) -> None:
        sock = self.socket
        assert sock is not None
        try:
            sock.shutdown(how)
        except OSError:
            return

    def _lose(self, reason: Reason) -> None:
        """Tell the consumer that the connection is lost, before those who wait in its calls are woken.

        Behind a close() of ours it is not: that is how it ends. An abort() ends it all the same.
        """
        if self.consumer is not None and (reason is Reason.ABORTED or not self.stream.closing):
            self.consumer.lost(reason)

    def _broken(self, error: OSError) -> None:
        """The socket failed: name it, deliver what came before, end."""
        self._lose(Reason.LOST)
        self.stream.lost(error)
        if self.consumer is not None and not self.stream.closing:
            self.consumer.readable()
        if not self.detached:
            self._end()

    def _end(self) -> None:
        """Unregister, then close (at the end of the turn), then tell.

        Where one of these steps fails, the sweep takes it again, and those behind it: see :class:`DoomedChannel`.
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
        """In a forked child: the connection is the parent's. Nobody is told."""
        sock, self._socket = self._socket, None
        self.fd, self.mask = -1, 0
        self.stream.disowned(ConnectionEnded(why(f"{self.name}: the connection")))
        if isinstance(sock, int):
            os.close(sock)
        elif sock is not None:
            sock.close()

    def _tell(self) -> None:
        """The socket is closed: tell whoever counts, then the consumer, which may have a handler at work."""
        self.stream.because(Reason.CLOSED)
        if self.on_end is not None:
            self.on_end(self)
            self.on_end = None
        self.leave()

    def leave(self) -> None:
        """Leave the engine, unless a handler is at work; whoever has one at work calls this when it has ended."""
        if self._socket is not None or not self.engine.knows(self):
            return
        try:
            done = self.consumer is None or self.consumer.closed()
        except MemoryError:
            raise  # the sweep asks again
        except BaseException:
            self.engine.discard(self)
            raise
        if done:
            self.engine.discard(self)
            consumer, self.consumer, self.inline = self.consumer, None, None  # which would refer to each other for ever
            if consumer is not None:
                consumer.left()

    def forget(self) -> int | None:
        """The engine is gone, unclosed: give up the descriptor, where the socket never became an object."""
        sock = self._socket
        if not isinstance(sock, int):
            return None
        self._socket = None
        return sock

    # -- handing on ---------------------------------------------------------------------------------------

    def detach(self) -> _Socket:
        """Give the socket to a thread or a program: unregistered, then blocking. The deadlines stay watched."""
        sock = self.socket
        assert sock is not None
        self.engine.readiness.watch(self, 0)
        self.detached = True
        sock.setblocking(True)
        return sock

    def reattach(self) -> None:
        """The borrower is done with the socket: it is ours again."""
        self.detached = False
        sock = self.socket
        if sock is None:
            return
        if self.stream.over:
            self._end()
        else:
            sock.setblocking(False)

    def hand_on(self) -> _Socket:
        """Give the socket to a program, which writes to it and reads from it: until it has ended, nobody else does."""
        self.stream.handed_on()
        return self.detach()

    def take_back(self, reason: Reason = Reason.CLOSED, *, at_once: bool = False) -> None:
        """The program has ended, and who else has the socket still loses it: close it, lingering unless ``at_once``."""
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
        """These deadlines from now on."""
        self.deadlines = deadlines
        self.due = -math.inf

    def on_due(self, now: float) -> None:
        """A deadline may have passed; or the socket is closed, and the handler may have ended meanwhile."""
        if self._socket is None:
            self._tell()
            return
        if self.consumer is None and not self.stream.closing:
            self.abort(Reason.HANDLER_ERROR)  # it could not begin
            return
        if self.stream.closing and not self.detached:
            self.settle()  # or it was to be written, and watched, when there was no memory for that
        expire.look(self, now)

    def on_failure(self, error: BaseException) -> None:
        """Serving this channel raised: end it."""
        self.__class__ = DoomedChannel
        try:
            self.on_due(self.engine.now)
        except BaseException:
            if self._socket is not None:
                self.engine.add(self)  # for the sweep, if it had not even begun
            raise

    def on_slow(self, seconds: float) -> None:
        """Pass it on to whoever knows the handler's name."""
        if self.consumer is not None:
            self.consumer.slow(seconds)

    def __repr__(self) -> str:
        state = "closed" if self._socket is None else "detached" if self.detached else "open"
        return f"<Channel {self.id} {self.name} {state}>"


class DoomedChannel(Channel):
    """A channel whose turn raised, and which therefore ends: the sweep tries it again until it has ended.

    The class is the state, as of a throttled channel: it has the same slots. The turn in C declines it.
    """

    __slots__ = ()

    def on_ready(self, events: int) -> None:
        """Nothing is served any more."""
        self.on_due(self.engine.now)

    def on_due(self, now: float) -> None:
        """What the end lacks may be possible now."""
        self.due = -math.inf
        if self._socket is None:
            self._tell()
        else:
            self.abort(Reason.HANDLER_ERROR)


if fast_path.turn is not None:
    fast_path.turn.know(Channel=Channel, Stream=Stream, Engine=Engine, OPEN=Half.OPEN, MessageError=MessageError)
    fast_path.turn.know(PLAIN=Path.PLAIN, SPECIAL=Path.SPECIAL, DoomedChannel=DoomedChannel, OVERDUE=-math.inf)
