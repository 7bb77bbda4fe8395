"""The vocabulary of a blocking connection."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from fourtuple.blocking.descriptor import Alarm
from fourtuple.blocking.finished import PeerFinished
from fourtuple.blocking.octets import DONTWAIT, Octets
from fourtuple.blocking.polling import OUT, Poll, Wakes, after, clock
from fourtuple.errors import ConnectionEnded, EndOfFile, FourTupleError
from fourtuple.forking import holds, why
from fourtuple.framing import Framing, Unmapped, parse_framing
from fourtuple.net.sockets import reset_on_close
from fourtuple.net.tcpinfo import TcpInfo
from fourtuple.options import Deadlines, check_timeout
from fourtuple.stream import Half, Reason, Request, Stream, new_id
from fourtuple.tls import TlsInfo, TlsLayer
from fourtuple.tls.certificates import Certificates, TlsChoice
from fourtuple.tls.start import tls_layer
from fourtuple.typevars import Generic, In_co, L, NewIn, NewOut, Out_contra, S

#: Threads that a handler left behind have so long to leave its socket, once woken: no system call of theirs waits.
_LEAVE_SECONDS = 1.0


class PendingReply(Generic[In_co]):
    """The reply to a request that was begun; its place in the order of replies is taken."""

    __slots__ = ("_connection", "_request")

    def __init__(self, connection: BlockingConnection[In_co, Any, Any, Any], request: Request) -> None:
        self._connection = connection
        self._request = request

    @property
    def done(self) -> bool:
        """Whether the reply, or the error in its place, is there."""
        return self._request.done

    def receive(self, timeout: float | None = None) -> In_co:
        """Return the reply, waiting ``timeout`` seconds for it; errors as :meth:`BlockingConnection.receive`.

        After a :class:`~fourtuple.errors.DeadlinePassed` it can be asked again, and after a
        :class:`~fourtuple.errors.ConnectionBusy` (another thread receives now), too.
        """
        check_timeout(timeout)
        if not self._request.done:
            self._connection._wait_for(lambda: self._request.done, timeout, "reply")
        reply: In_co = self._request.result()
        return reply

    def abandon(self) -> None:
        """Give the reply up: it keeps its place, and is dropped and counted when it comes."""
        self._request.abandoned = True

    def __repr__(self) -> str:
        state = "abandoned" if self._request.abandoned else "done" if self.done else "outstanding"
        return f"<PendingReply on {self._connection.name}, {state}>"


class BlockingConnection(Octets[In_co, Out_contra], Generic[In_co, Out_contra, S, L]):
    """An *active* socket: one conversation with one peer, for code that blocks. It has no accept.

    :func:`connect` makes it, and so does the server for a plain ``def`` conversation: then the socket is lent
    (``owned=False``) and its end is the engine's business; :meth:`close` sends what is left and FIN, and the
    engine lingers.

    ``BlockingConnection[In, Out, S, L]`` says the types of the messages received and sent, of :attr:`state` and of
    :attr:`service_state`; each is ``Any`` where it is left out.
    """

    __slots__ = (
        "_certificates",
        "_on_tls",
        "host",
        "id",
        "service_state",
        "state",
    )

    def __init__(
        self,
        sock: socket.socket,
        stream: Stream,
        id: int | None = None,
        *,
        owned: bool = False,
        deadlines: Deadlines | None = None,
        clock: Callable[[], float] = clock,
        poll: Callable[[], Poll] = select.poll,
        alarm: Callable[[], Wakes] = Alarm,
        certificates: Certificates | None = None,
        on_tls: Callable[[TlsInfo], None] | None = None,
    ) -> None:
        super().__init__(
            sock, stream, owned=owned, deadlines=deadlines or Deadlines(), clock=clock, poll=poll, alarm=alarm
        )
        #: The host that a client asked for: whose certificate start_tls() expects.
        self.host: str | None = None
        #: What start_tls() uses on a server's side where it is given nothing else.
        self._certificates = certificates
        #: Told when start_tls() has succeeded.
        self._on_tls = on_tls
        #: A number unique in this process.
        self.id = new_id() if id is None else id
        #: The conversation's own: the handler may keep here what it likes.
        self.state: S = None  # type: ignore[assignment]  # until the service or the handler sets it
        #: Whatever the service's lifespan made; None for a client's.
        self.service_state: L = None  # type: ignore[assignment]
        holds(self)

    # -- names and numbers --------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether it has ended on this side: ``close()`` or ``abort()`` was called, or its socket is closed."""
        return self._descriptor is None or self._stream.closing

    @property
    def peer_finished(self) -> PeerFinished:
        """Set when the peer has finished (FIN), also behind octets that nobody has received yet."""
        return PeerFinished(self)

    def info(self) -> TcpInfo:
        """The kernel's view of this connection: round-trip time, retransmissions, windows (tcp(7), TCP_INFO).

        Raises :class:`~fourtuple.errors.ConnectionEnded` after the end, and :class:`OSError` for a Unix socket.
        """
        with self._lock:
            return TcpInfo.of(self._in_use("info()").socket)

    def fileno(self) -> int:
        """The descriptor, or -1 once closed."""
        descriptor = self._descriptor
        return -1 if descriptor is None else descriptor.socket.fileno()

    # -- receiving ----------------------------------------------------------------------------------------

    def receive(self, timeout: float | None = None) -> In_co:
        """Return the next message.

        Parameters
        ----------
        timeout
            Seconds to wait; None (the default) waits as long as it takes.

        Raises :class:`~fourtuple.errors.EndOfFile` when the peer has finished,
        :class:`~fourtuple.errors.IncompleteMessage` (or another MessageError) when its stream is broken,
        :class:`~fourtuple.errors.UnmappedMessage` in the place of a message that does not map (the next receive goes
        on behind it), :class:`~fourtuple.errors.DeadlinePassed` after ``timeout``: no octet is lost, the next receive
        goes on; :class:`~fourtuple.errors.ConnectionLost` when the network broke it,
        :class:`~fourtuple.errors.ConnectionEnded` after close() and abort(), and
        :class:`~fourtuple.errors.ConnectionBusy` beside another thread's receive or outstanding requests.
        """
        stream = self._stream
        message: In_co
        if timeout is not None:
            check_timeout(timeout)
        try:
            if stream.inbox and not stream.requested and stream.inbox[-1].__class__ is not Unmapped:
                message = stream.inbox.pop()
                return message
        except IndexError:
            pass  # another thread was faster between two of these looks, which the lock would make twice as slow
        self._check_receive()
        self._wait_for(self._readable, timeout, "receive")
        with self._lock:
            message = stream.next_message()  # behind the wait: an interrupt of that loses no message
        return message

    def receive_nowait(self) -> In_co:
        """Return the next message if it is there; raises :class:`~fourtuple.errors.WouldBlock` if not.

        The connection is as usable afterwards as before. Other errors as :meth:`receive`.
        """
        self._check_receive()
        self._begin_receiving()
        try:
            if not self._is(self._readable):
                self._flush()
                self._receive_octets(DONTWAIT)
                self._look_for_silence()
            with self._lock:
                message: In_co = self._stream.next_message()
            return message
        finally:
            self._reading.release()

    def _check_receive(self) -> None:
        with self._lock:
            self._stream.check_receive()

    def receive_exactly(self, size: int, timeout: float | None = None) -> bytes:
        """Return exactly ``size`` octets, whatever the framing.

        Raises :class:`~fourtuple.errors.IncompleteMessage` when the end of file comes before (the octets stay);
        other errors as :meth:`receive`.
        """
        return self._take(lambda: self._stream.take_exactly(size), timeout)

    def receive_until(self, separator: bytes, max_octets: int, timeout: float | None = None) -> bytes:
        """Return the octets up to and with ``separator``, whatever the framing.

        Raises :class:`~fourtuple.errors.MessageTooLong` when it is not among the first ``max_octets``; the
        octets stay. Other errors as :meth:`receive_exactly`.
        """
        return self._take(lambda: self._stream.take_until(separator, max_octets), timeout)

    def receive_some(self, max_octets: int = 65536, timeout: float | None = None) -> bytes:
        """Return whatever octets are there, at least one and at most ``max_octets``; errors as :meth:`receive`."""
        return self._take(lambda: self._stream.take_some(max_octets), timeout)

    def unread(self, octets: bytes) -> None:
        """Put octets back in front of what comes next, as many as you like; they are held until you receive them.

        After :meth:`close` and :meth:`abort` they are dropped. Raises :class:`~fourtuple.errors.ConnectionBusy` while
        another thread receives: it waits for the socket, and would not see them.
        """
        self._begin_receiving()
        try:
            with self._lock:
                self._stream.unread(octets)
        finally:
            self._reading.release()

    def change_framing(self, framing: Framing[NewIn, NewOut] | str) -> BlockingConnection[NewIn, NewOut, S, L]:
        """Cut what comes next by another framing, from the first octet of the first undelivered message on.

        Returns the same connection, for type checkers: its messages have the types of the new framing.
        Raises :class:`~fourtuple.errors.ConnectionBusy` while another thread receives, and with requests outstanding.
        """
        framing = parse_framing(framing)
        self._begin_receiving()
        try:
            with self._lock:
                self._stream.change_framing(framing)
        finally:
            self._reading.release()
        return self  # type: ignore[return-value]

    def start_tls(
        self,
        tls: TlsChoice | None = None,
        *,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> TlsInfo:
        """Go on over TLS (STARTTLS); return what was agreed when the handshake is done.

        What was sent leaves plainly before it. What the peer sent already is discarded and counted
        (``statistics.discarded``): it was plain, and anybody on the way may have written it.

        Parameters
        ----------
        tls
            :class:`~fourtuple.Tls` options, a context of your own, or None: for a client the defaults, on a
            server's side the server's certificates.
        server_hostname
            For a client: the name that the server's certificate has to have; by default the host it connected to.
        timeout
            Seconds; by default the deadline ``handshake_timeout``.

        Raises :class:`~fourtuple.errors.TlsError` (which one says why), :class:`~fourtuple.errors.DeadlinePassed`,
        :class:`~fourtuple.errors.OptionError`, and :class:`~fourtuple.errors.ConnectionBusy` with requests
        outstanding or TLS begun before. After a failed handshake the connection is of no use.
        """
        check_timeout(timeout)
        seconds = self._deadlines.handshake_timeout if timeout is None and self._owned else timeout
        return self._finish_tls(self._begin_tls(tls, server_hostname), seconds)

    def _begin_tls(self, tls: TlsChoice | None, server_hostname: str | None) -> TlsLayer:
        """Put TLS under the conversation, as :meth:`start_tls` does; nothing is written or waited for yet."""
        server_side = not self._owned
        if server_hostname is None and not server_side:
            server_hostname = self.host
        with self._lock:
            self._check_lent("start_tls")
            layer = tls_layer(
                self._stream,
                tls,
                self._clock(),
                server_side=server_side,
                server_hostname=server_hostname,
                certificates=self._certificates,
            )
            self._stream.start_tls(layer)
        return layer

    def _finish_tls(
        self, layer: TlsLayer, seconds: float | None, which: str = "handshake_timeout", until: float | None = None
    ) -> TlsInfo:
        """Wait for the end of the handshake, so many seconds or until a moment; the error names ``which`` deadline."""
        self._wait_for(lambda: layer.established or layer.error is not None, seconds, which, until)
        with suppress(FourTupleError):
            self._write_out(seconds)  # the last flight, or the alert
        if layer.error is not None:
            raise layer.error
        assert layer.info is not None
        if self._on_tls is not None:
            self._on_tls(layer.info)
        return layer.info

    def __iter__(self) -> Iterator[In_co]:
        """Iterate over the messages until the peer's end of file, or until this side has closed."""
        return self

    def __next__(self) -> In_co:
        try:
            return self.receive()
        except (EndOfFile, ConnectionEnded):
            raise StopIteration from None

    # -- sending ------------------------------------------------------------------------------------------

    def send(self, message: Out_contra, timeout: float | None = None) -> None:
        """Send one message: return when the kernel has all of it.

        Raises :class:`~fourtuple.errors.EncodeError`, :class:`~fourtuple.errors.ConnectionEnded` and
        :class:`~fourtuple.errors.ConnectionLost`, and :class:`~fourtuple.errors.DeadlinePassed` after
        ``timeout`` seconds. After that last one, what the kernel did not take stays in the outbox and goes out
        with the next call of any kind: do not send the message again. Only who sends on and on with timeouts
        that pass meets :class:`~fourtuple.errors.OutboxFull`: that message was not taken. One that waits while another
        thread closes or aborts the connection ends at once, with ConnectionEnded.

        A peer that takes nothing for the deadline ``write_timeout`` ends the connection, whatever ``timeout`` is: this
        and all later calls raise DeadlinePassed with ``which="write_timeout"``.
        """
        check_timeout(timeout)
        self._make_room(timeout)
        with self._lock:
            self._check_lent("send")
            waiting = self._stream.outbox_size
            try:
                self._stream.send(message)
            except BaseException as error:
                self._after_failed_send(error, waiting)
                raise
        self._write_out(timeout)

    def send_many(self, messages: Iterable[Out_contra], timeout: float | None = None) -> None:
        """Send several messages, all or none of them; otherwise as :meth:`send`."""
        check_timeout(timeout)
        self._make_room(timeout)
        messages = list(messages)  # whoever makes them may take their time, and the lock is for no wait
        with self._lock:
            self._check_lent("send_many")
            waiting = self._stream.outbox_size
            try:
                self._stream.send_many(messages)
            except BaseException as error:
                self._after_failed_send(error, waiting)
                raise
        self._write_out(timeout)

    def send_eof(self, timeout: float | None = None) -> None:
        """Half-close: FIN follows what was sent; receiving goes on. Idempotent; errors as :meth:`send`."""
        check_timeout(timeout)
        with self._lock:
            self._check_lent("send_eof")
            self._stream.end_writing()
        self._write_out(timeout)

    def _half_close_now(self) -> None:
        """What the engine does to a lent connection that waits in a receive: FIN, in any thread, without waiting."""
        with self._lock:
            if self._descriptor is not None:  # else the handler has just returned: what follows closes it
                self._stream.end_writing()
                self._flush()

    # -- requests -----------------------------------------------------------------------------------------

    def request(self, message: Out_contra, timeout: float | None = None) -> In_co:
        """Send a message and return the reply to it; ``timeout`` covers both.

        A request that timed out or was interrupted keeps its place: its late reply is dropped and counted.
        Errors as :meth:`send` and :meth:`receive`. :class:`~fourtuple.errors.ConnectionBusy` means that nothing was
        sent: another thread receives, or has not had its replies yet; or a message that nobody asked for has come
        before the request goes out (found by a look at the socket): :meth:`receive` takes it. One that comes later
        cannot be told from the reply.
        """
        return self.request_many([message], timeout)[0]

    def request_many(self, messages: Iterable[Out_contra], timeout: float | None = None) -> list[In_co]:
        """Send messages without waiting for each one's reply, and return all replies in order.

        Replies are read while later messages still go out, so that neither side waits for the other; no more
        is encoded ahead than ``high_water`` octets. Errors as :meth:`request`, for all of them.
        """
        check_timeout(timeout)
        begun: list[Request] = []
        until = after(timeout, self._clock)
        thread = threading.get_ident()
        within = self._asking == thread  # a request in a signal handler, or by what gives the messages
        try:
            self._begin_asking(thread)
            for message in messages:
                self._look_before_request()
                self._ask(message, begun)
                self._flush()
                if self._stream.crowded:
                    self._wait_for(lambda: begun[-1].done or not self._stream.crowded, timeout, "request", until)
                if begun[-1].error is not None:
                    break
            for request in begun:
                if not request.done:
                    self._wait_for(lambda: request.done, timeout, "request", until)  # noqa: B023  # called at once
            return [request.result() for request in begun]
        except BaseException:
            for request in begun:
                request.abandoned = True
            raise
        finally:
            if not within and self._asking == thread:
                self._asking = None

    def _begin_asking(self, thread: int) -> None:
        """Be the one whose requests are answered until ``_asking`` is None again: only close() receives beside it.

        Raises ConnectionBusy, before anything is sent, beside another thread that receives or asks.
        """
        with self._lock:
            self._begin_receiving("request")
            self._asking = thread
            self._reading.release()

    def _ask(self, message: Any, begun: list[Request]) -> None:
        """Send a request, and add its place to those begun."""
        with self._lock:
            self._check_lent("request")
            waiting = self._stream.outbox_size
            try:
                # extend(map()): nothing is between the place and the list, no interrupt either.
                begun.extend(map(self._stream.request, (message,)))
            except BaseException as error:
                self._after_failed_send(error, waiting)
                raise

    def _look_before_request(self) -> None:
        """Take in what came without being asked for, without waiting: only now is it told from a reply.

        Raises ConnectionBusy beside another thread's receive, which would take the reply.
        """
        stream = self._stream
        if stream.requested:
            return  # what comes is the reply to one of these, as far as can be told
        if not (self._receiving or stream.gap_at is not None or self._something_came()):
            return
        self._check_lent("request")
        self._begin_receiving()
        try:
            while stream.reading is Half.OPEN and not stream.unasked and stream.read_error is None:
                events = self._poll(self._clock())
                self._move(events)
                if not events & ~OUT:
                    self._look_for_silence()
                    return
        finally:
            self._reading.release()

    def begin(self, message: Out_contra, timeout: float | None = None) -> PendingReply[In_co]:
        """Send a message and return the place of its reply: several may be outstanding, answered in order.

        Errors as :meth:`send` (where the message was taken and did not leave, its late reply is dropped and counted),
        and :class:`~fourtuple.errors.ConnectionBusy` as :meth:`request`, but not beside a thread that waits for
        replies: this call waits for none.
        """
        check_timeout(timeout)
        self._make_room(timeout)
        self._look_before_request()
        begun: list[Request] = []
        try:
            self._ask(message, begun)
            self._write_out(timeout)
            return PendingReply(self, begun[0])
        except BaseException:
            for request in begun:
                request.abandoned = True
            raise

    # -- the end ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close behind what was sent, lingering so that the peer gets the last octet. Idempotent, never raises.

        Waits for the peer's FIN, at most ``linger_timeout`` seconds behind our own; what still comes is dropped.
        Other threads that wait with this connection end at once, with :class:`~fourtuple.errors.ConnectionEnded`: a
        send, whose octets this writes as far as the peer takes them within ``write_timeout``; a receive, and then
        the peer's FIN is not waited for.
        """
        with self._lock:
            if self._descriptor is None:
                return
            first = not self._stream.closing
            self._stream.close()
            self._wake_senders()
        try:
            # Where another thread ends it at the same time, nothing is left to be done.
            with suppress(ConnectionEnded):
                self._flush()
                if self._owned:
                    self._linger_alone(first)
                else:
                    self._wake_receiver()
        finally:
            # Also after a KeyboardInterrupt: who asked for the end gets it.
            self._release()

    def _linger_alone(self, first: bool) -> None:
        """Linger in the place of whoever receives: that call is woken, unless it is a close() that lingers already."""
        if not self._reading.acquire(blocking=False):
            if first:
                self._wake_receiver()
            self._reading.acquire()
        # In a signal handler, the same thread may receive below.
        receives_below, self._receiving = self._receiving, True
        try:
            self._linger()
        finally:
            self._receiving = receives_below
            self._reading.release()

    def _linger(self) -> None:
        """Write what is left, send FIN, and discard what comes until the peer's FIN or the deadline."""
        stream = self._stream
        with self._alarm() as alarm:
            while not stream.over:
                found = stream.next_deadline(self._deadlines)
                until, which, _ = found or (None, "", 0.0)
                self._move(self._poll(until, alarm))
                if until is not None and self._clock() >= until and not stream.over:
                    if which == "write_timeout":
                        reset_on_close(self._in_use("close").socket)
                    return

    def abort(self) -> None:
        """End now, with RST; what was not sent yet is lost. Idempotent, never raises.

        Other threads that wait with this connection end at once, with :class:`~fourtuple.errors.ConnectionEnded`.
        """
        with self._lock:
            if self._descriptor is None:
                return
            self._stream.broken(ConnectionEnded(f"{self.name}: aborted by this side"), Reason.ABORTED)
            self._stream.close()  # what was read and not delivered is nobody's any more
            reset_on_close(self._descriptor.socket)
            self._wake_senders()
            self._wake_receiver()
        self._release()

    def _release(self) -> None:
        """Let go of an owned descriptor: the last call that uses it closes it. A lent one is the engine's to close."""
        if self._owned and self._let_go() is not None:
            self._stream.because(Reason.CLOSED)

    def give_back(self) -> None:
        """End what a handler left behind in other threads: it has returned, and the engine has the socket again.

        Returns when they have left the socket.
        """
        descriptor = self._let_go()
        if descriptor is None:
            return
        left = threading.Event()
        descriptor.on_gone = left.set
        del descriptor
        left.wait(_LEAVE_SECONDS)

    def disown(self) -> None:
        """In a forked child: the connection is the parent's. Threads that held a lock are not there any more."""
        self._lock, self._reading = threading.RLock(), threading.RLock()
        self._receiving = False
        for alarm in self._alarms:
            alarm.close()
        self._alarms = set()
        descriptor, self._descriptor = self._descriptor, None
        self._stream.disowned(ConnectionEnded(why(f"{self.name}: the connection")))
        if descriptor is not None and self._owned:
            descriptor.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        stream = self._stream
        state = (
            "closed"
            if self._descriptor is None
            else f"reading {stream.reading.value}, writing {stream.writing.value}, "
            f"inbox {len(stream.inbox)}, outbox {stream.outbox_size}"
        )
        return f"<BlockingConnection {self.id} {self.name} {self.framing}, {state}>"


# -- for what lends a connection to a thread: what a handler does not call ---------------------------------------


def is_receiving(connection: BlockingConnection) -> bool:
    """Whether a thread waits for octets now."""
    return connection._receiving


def half_close_now(connection: BlockingConnection) -> None:
    """Send FIN behind what was sent, in any thread, without waiting."""
    connection._half_close_now()
