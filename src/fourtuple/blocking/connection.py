"""The blocking connection."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

from fourtuple.blocking import ending
from fourtuple.blocking.descriptor import Alarm
from fourtuple.blocking.finished import PeerFinished
from fourtuple.blocking.handshake import begin_tls, finish_tls, wait_to_begin
from fourtuple.blocking.polling import Poll, Wakes, clock
from fourtuple.blocking.receiving import Receiving
from fourtuple.blocking.requests import PendingReply, Requests
from fourtuple.blocking.sending import Sending
from fourtuple.blocking.shared_socket import SharedSocket
from fourtuple.connection.info import ConnectionInfo
from fourtuple.errors import ConnectionEnded, EndOfFile
from fourtuple.forking import holds
from fourtuple.framing import Framing, Unmapped, changed_framing
from fourtuple.framing.base import Octets
from fourtuple.options import Deadlines, check_timeout
from fourtuple.stream import NOT_YET, Path, Reason, Stream, new_id
from fourtuple.tls import TlsInfo
from fourtuple.tls.certificates import Certificates, TlsChoice
from fourtuple.typevars import Generic, In_co, L, NewIn, NewOut, Out_contra, S

if TYPE_CHECKING:
    from fourtuple.net.tcpinfo import TcpInfo

_PLAIN = Path.PLAIN  # used for every message; a global is faster than an attribute


class BlockingConnection(ConnectionInfo[In_co, Out_contra], Generic[In_co, Out_contra, S, L]):
    """An *active* socket: one conversation with one peer, for code that blocks. It cannot accept.

    :func:`connect` makes it, and so does the server for a plain ``def`` conversation. There the socket is lent
    (``owned=False``), and the engine ends it: :meth:`close` sends what is left and FIN, and the engine lingers.

    ``BlockingConnection[In, Out, S, L]`` gives the types of the messages received and sent, of :attr:`state` and of
    :attr:`service_state`. A type that is left out is ``Any``.
    """

    __slots__ = (
        "__weakref__",
        "_certificates",
        "_in",
        "_on_tls",
        "_out",
        "_requests",
        "_socket",
        "_stream",
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
        """``sock`` and ``stream`` are the connection's socket and its state, ``id`` is its number (by default new).

        ``owned`` says whether closing it closes the socket. ``deadlines`` are those of this side, measured by
        ``clock``, ``poll`` and ``alarm`` wait for the socket and wake a waiting thread. ``certificates`` are those of
        :meth:`start_tls`, and ``on_tls`` is called after a handshake.
        """
        self._stream = stream
        self._socket = SharedSocket(
            sock, stream, owned=owned, deadlines=deadlines or Deadlines(), clock=clock, poll=poll, alarm=alarm
        )
        self._out = Sending(self._socket)
        self._in = Receiving(self._socket, self._out)
        self._requests = Requests(self._socket, self._out, self._in)
        #: The host to which a client connected: start_tls() expects its certificate.
        self.host: str | None = None
        #: The certificates that start_tls() uses by default on a server's side.
        self._certificates = certificates
        #: Called when start_tls() has succeeded.
        self._on_tls = on_tls
        #: A number unique in this process.
        self.id: int = new_id() if id is None else id
        #: The state of this conversation: the handler may keep any value here.
        self.state: S = None  # type: ignore[assignment]  # until the service or the handler sets it
        #: What the service's lifespan yielded; None for a client.
        self.service_state: L = None  # type: ignore[assignment]
        if not owned:
            stream.be_lent(True)
        holds(self)

    # -- names and numbers --------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the connection has ended on this side: by ``close()``, by ``abort()``, or its socket is closed."""
        return self._socket.descriptor is None or self._stream.closing

    @property
    def peer_finished(self) -> PeerFinished:
        """Set when the peer has sent FIN, even if octets before it are not received yet."""
        return PeerFinished(self._socket, self._out)

    def info(self) -> TcpInfo:
        """Return the kernel's statistics of this connection: round-trip time, retransmissions, windows.

        See tcp(7), TCP_INFO. Raises :class:`~fourtuple.errors.ConnectionEnded` after the end of the connection, and
        :class:`OSError` for a Unix socket.
        """
        from fourtuple.net.tcpinfo import TcpInfo  # imported here: few programs ask for it

        with self._socket.lock:
            return TcpInfo.of(self._socket.in_use("info()").socket)

    def fileno(self) -> int:
        """Return the descriptor, or -1 once the connection is closed."""
        descriptor = self._socket.descriptor
        return -1 if descriptor is None else descriptor.socket.fileno()

    # -- receiving ----------------------------------------------------------------------------------------

    def receive(self, timeout: float | None = None) -> In_co:
        """Return the next message.

        Parameters
        ----------
        timeout
            Seconds to wait. Default: None, which waits without a bound.

        Raises :class:`~fourtuple.errors.EndOfFile` when the peer has sent its end of file;
        :class:`~fourtuple.errors.IncompleteMessage`, or another MessageError, when the peer's stream is broken;
        :class:`~fourtuple.errors.UnmappedMessage` in place of a message that does not map (the next receive returns
        the message after it); :class:`~fourtuple.errors.DeadlinePassed` after ``timeout`` (no octet is lost, and the
        next receive goes on); :class:`~fourtuple.errors.ConnectionLost` when the network broke the connection;
        :class:`~fourtuple.errors.ConnectionEnded` after close() and abort(); and
        :class:`~fourtuple.errors.ConnectionBusy` while another thread receives or requests are outstanding.
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
            pass  # another thread took the message between these checks; a lock would make them twice as slow
        if timeout is None and (straight := self._in.receive_straight()) is not NOT_YET:
            message = straight
            return message
        self._check_receive()
        self._in.wait_for(lambda: stream.readable, timeout, "receive")
        with self._socket.lock:
            message = stream.next_message()  # after the wait, so that an interrupt of the wait loses no message
        return message

    def receive_nowait(self) -> In_co:
        """Return the next message if it has arrived; raises :class:`~fourtuple.errors.WouldBlock` if it has not.

        After WouldBlock the connection is as usable as before. Other errors as :meth:`receive`.
        """
        self._check_receive()
        held: list[threading.RLock] = []
        try:
            self._in.begin(held)
            if not self._in.readable():
                self._in.read_now()
            with self._socket.lock:
                message: In_co = self._stream.next_message()
            return message
        finally:
            if held:
                held[0].release()

    def _check_receive(self) -> None:
        with self._socket.lock:
            self._stream.check_receive()

    def receive_exactly(self, size: int, timeout: float | None = None) -> bytes:
        """Return exactly ``size`` octets; the framing does not matter.

        ``timeout`` bounds the wait, in seconds (default: no bound). Raises :class:`~fourtuple.errors.IncompleteMessage`
        when the end of file comes first (the octets stay buffered); other errors as :meth:`receive`.
        """
        return self._in.take(lambda: self._stream.take_exactly(size), timeout)

    def receive_until(self, separator: bytes, max_octets: int, timeout: float | None = None) -> bytes:
        """Return the octets up to and including ``separator``; the framing does not matter.

        ``timeout`` bounds the wait, in seconds (default: no bound). Raises :class:`~fourtuple.errors.MessageTooLong`
        when the separator is not within the first ``max_octets``; the octets stay buffered. Other errors as
        :meth:`receive_exactly`.
        """
        return self._in.take(lambda: self._stream.take_until(separator, max_octets), timeout)

    def receive_some(self, max_octets: int = 65536, timeout: float | None = None) -> bytes:
        """Return the octets that have arrived, at least one and at most ``max_octets``.

        The default, 64 KiB, is the most of one read. ``timeout`` (seconds) and errors as for :meth:`receive`.
        """
        return self._in.take(lambda: self._stream.take_some(max_octets), timeout)

    def unread(self, octets: bytes) -> None:
        """Put octets back, in front of what is received next: any number, which are held until you receive them.

        After :meth:`close` and :meth:`abort` they are dropped. Raises :class:`~fourtuple.errors.ConnectionBusy` while
        another thread receives: it waits for the socket, and would not see them.
        """
        self._in.alone(lambda: self._stream.unread(octets))

    @overload
    def change_framing(self, framing: Framing[NewIn, NewOut] | str) -> BlockingConnection[NewIn, NewOut, S, L]: ...
    @overload
    def change_framing(
        self, *, receives: Framing[NewIn, Any] | str, sends: Framing[Any, NewOut] | str
    ) -> BlockingConnection[NewIn, NewOut, S, L]: ...
    @overload
    def change_framing(self, *, receives: Framing[NewIn, Any] | str) -> BlockingConnection[NewIn, Out_contra, S, L]: ...
    @overload
    def change_framing(self, *, sends: Framing[Any, NewOut] | str) -> BlockingConnection[In_co, NewOut, S, L]: ...
    def change_framing(
        self,
        framing: Framing | str | None = None,
        *,
        receives: Framing | str | None = None,
        sends: Framing | str | None = None,
    ) -> BlockingConnection[Any, Any, S, L]:
        """Change the framing: of what comes from the first octet of the first undelivered message on, and of what is
        sent from now on. ``receives`` and ``sends`` change one direction only.

        Returns the same connection, for type checkers: its messages have the types of the new framing.
        Raises :class:`~fourtuple.errors.ConnectionBusy` while another thread receives or requests are outstanding.
        """
        changed = changed_framing(self._stream.framing, framing, receives, sends)
        self._in.alone(lambda: self._stream.change_framing(changed))
        return self

    def start_tls(
        self,
        tls: TlsChoice | None = None,
        *,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> TlsInfo:
        """Begin TLS on this connection (STARTTLS); wait for the handshake, and return what was agreed in it.

        Octets that you have sent leave in plain text before it. Octets that have come from the peer already are
        discarded and counted (``statistics.discarded``): they were plain text, which an attacker may have injected.

        Parameters
        ----------
        tls
            :class:`~fourtuple.Tls` options or an :class:`ssl.SSLContext`. Default: None, which means the default
            options for a client, and the server's certificates for a server.
        server_hostname
            For a client: the name that the server's certificate must have. Default: the ``server_hostname`` of connect,
            or the host of the address.
        timeout
            Seconds to wait, in all. Default: ``handshake_timeout``, from when what you have sent has left; until then,
            ``write_timeout`` bounds the wait.

        Raises a subclass of :class:`~fourtuple.errors.TlsError` that tells the reason,
        :class:`~fourtuple.errors.DeadlinePassed`, :class:`~fourtuple.errors.OptionError`, and
        :class:`~fourtuple.errors.ConnectionBusy` while requests are outstanding or if TLS has begun before. After a
        failed handshake the connection cannot be used any more.
        """
        check_timeout(timeout)
        seconds = self._socket.deadlines.handshake_timeout if timeout is None and self._socket.owned else timeout
        if server_hostname is None and self._socket.owned:
            server_hostname = self.host
        layer = begin_tls(self._socket, tls, server_hostname, self._certificates)
        if timeout is None:
            wait_to_begin(self._in, self._stream, layer)
        agreed = finish_tls(self._in, self._out, layer, seconds)
        if self._on_tls is not None:
            self._on_tls(agreed)
        return agreed

    def __iter__(self) -> Iterator[In_co]:
        """Iterate over the messages until the peer's end of file, or until this side has closed.

        Any other error ends this iteration; a new one goes on behind it.
        """
        # A generator, because it costs a loop less than a call of __next__() for each message.
        stream, receive_straight = self._stream, self._in.receive_straight
        while True:
            try:
                while stream.path is _PLAIN and (inbox := stream.inbox) and inbox[-1].__class__ is not Unmapped:
                    yield inbox.pop()
            except IndexError:
                pass  # another thread took it
            message = receive_straight()
            if message is NOT_YET:
                try:
                    message = self.receive()
                except (EndOfFile, ConnectionEnded):
                    return
            yield message
            del message  # it is not kept while the next one is waited for

    def __next__(self) -> In_co:
        for message in self:
            return message
        raise StopIteration

    # -- sending ------------------------------------------------------------------------------------------

    def send(self, message: Out_contra, timeout: float | None = None) -> None:
        """Send one message: return when the kernel has taken all of it.

        In a server's blocking conversation, without a ``timeout`` and while more messages of the same read are at
        hand, the message only joins what is sent before: it leaves with the replies to them, at 64 KiB, when the next
        receive would wait, or when the handler returns. A handler that computes for long with messages at hand holds
        the earlier replies back meanwhile, and an error of sending shows at a later call. What is sent while no message
        is at hand leaves at once, and all that was sent before.

        Raises :class:`~fourtuple.errors.EncodeError`, :class:`~fourtuple.errors.ConnectionEnded`,
        :class:`~fourtuple.errors.ConnectionLost`, and :class:`~fourtuple.errors.DeadlinePassed` after ``timeout``
        seconds. After DeadlinePassed, octets that the kernel did not take stay in the outbox and go out with the next
        call of any kind: do not send the message again. If you keep sending although timeouts pass,
        :class:`~fourtuple.errors.OutboxFull` is raised at last; that message is not sent. If another thread closes or
        aborts the connection while this call waits, it raises ConnectionEnded at once.

        If the peer takes no octet for ``write_timeout`` seconds, the connection ends, for any ``timeout``: this call
        and all later ones raise DeadlinePassed with ``which="write_timeout"``.
        """
        if timeout is None and self._out.send_straight(message):
            return
        check_timeout(timeout)
        self._out.make_room(timeout)
        self._out.put("send", lambda: self._stream.send(message))
        self._out.write_out(timeout)

    def send_many(self, messages: Iterable[Out_contra], timeout: float | None = None) -> None:
        """Send several messages, either all or none; ``timeout`` (seconds) and errors as for :meth:`send`.

        They are encoded when ``messages`` has been iterated to its end, so an iterator must not yield one object twice,
        changed in between.
        """
        check_timeout(timeout)
        self._out.make_room(timeout)
        messages = list(messages)  # before the lock: an iterator may be slow, and nothing may wait under the lock
        self._out.put("send_many", lambda: self._stream.send_many(messages))
        self._out.write_out(timeout)

    def send_octets(self, octets: Octets, timeout: float | None = None) -> None:
        """Send octets outside of any message, unchanged, in order with the messages; otherwise like :meth:`send`.

        The counterpart of :meth:`receive_exactly`. ``timeout`` bounds the wait, in seconds (default: no bound).
        """
        check_timeout(timeout)
        self._out.make_room(timeout)
        self._out.put("send_octets", lambda: self._stream.send_octets(octets))
        self._out.write_out(timeout)

    def send_eof(self, timeout: float | None = None) -> None:
        """Half-close: send FIN after what was sent. You can still receive. Idempotent.

        ``timeout`` (seconds) and errors as for :meth:`send`.
        """
        check_timeout(timeout)
        with self._socket.lock:
            self._socket.check_lent("send_eof")
            self._stream.end_writing()
        self._out.write_out(timeout)

    # -- requests -----------------------------------------------------------------------------------------

    def request(self, message: Out_contra, timeout: float | None = None) -> In_co:
        """Send a message and return the reply to it; ``timeout`` bounds both together, in seconds.

        A request that timed out or was interrupted keeps its place in the order: its late reply is dropped and
        counted. Errors as :meth:`send` and :meth:`receive`. :class:`~fourtuple.errors.ConnectionBusy` means that
        nothing was sent, for one of two reasons. Either another thread receives, or waits for its replies. Or an
        unrequested message has arrived before the request (the socket is checked for it); take it with
        :meth:`receive`. An unrequested message that comes later cannot be told from the reply.
        """
        return self.request_many([message], timeout)[0]

    def request_many(self, messages: Iterable[Out_contra], timeout: float | None = None) -> list[In_co]:
        """Send messages without waiting for the reply to each, and return all replies in order.

        Replies are read while later messages still go out, so that the two sides cannot block each other. At most
        ``high_water`` octets are encoded ahead. ``timeout`` bounds the whole call, in seconds (default: no bound).
        Errors as :meth:`request`, for all requests together.
        """
        return self._requests.request_many(messages, timeout)

    def begin(self, message: Out_contra, timeout: float | None = None) -> PendingReply[In_co]:
        """Send a message and return the pending reply; several may be outstanding, and replies come in order.

        ``timeout`` bounds the sending, in seconds (default: no bound). Errors as :meth:`send`; if the message stays in
        the outbox then, its late reply is dropped and counted. :class:`~fourtuple.errors.ConnectionBusy` as
        :meth:`request`, except that another thread may wait for replies: this call does not receive.
        """
        return self._requests.begin(message, timeout)

    # -- the end ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close after everything sent has been written, and linger so that the peer gets it. Idempotent, never raises.

        Waits for the peer's FIN, at most ``linger_timeout`` seconds after our FIN; octets that still come are
        discarded. Calls of this connection that wait in other threads raise
        :class:`~fourtuple.errors.ConnectionEnded` at once. This call then writes the octets of such a send, as far as
        the peer takes them within ``write_timeout``. After waking a receive, it does not wait for the peer's FIN.
        """
        ending.close(self._socket, self._out, self._in)

    def abort(self) -> None:
        """End the connection now, with RST; octets not sent yet are lost. Idempotent, never raises.

        Calls of this connection that wait in other threads raise :class:`~fourtuple.errors.ConnectionEnded` at once.
        """
        ending.abort(self._socket)

    def _disown(self) -> None:
        """In a forked child: the connection is the parent's. Threads that held the locks do not exist in the child."""
        ending.disown(self._socket, self._in)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _receiving(self) -> bool:
        return self._socket.receiving

    def __repr__(self) -> str:
        stream = self._stream
        state = (
            "closed"
            if self._socket.descriptor is None
            else f"reading {stream.reading.value}, writing {stream.writing.value}, "
            f"inbox {len(stream.inbox)}, outbox {stream.outbox_size}"
        )
        return f"<BlockingConnection {self.id} {self.name} {self.framing}, {state}>"


# -- for the code that lends a connection to a thread: handlers do not call these ---------------------------------


def is_receiving(connection: BlockingConnection) -> bool:
    """Return whether a thread waits for octets now."""
    return connection._receiving


def half_close_now(connection: BlockingConnection, reason: Reason) -> None:
    """Send FIN after what was sent, in any thread, without waiting, if its handler waits for the next message."""
    ending.half_close_now(connection._socket, connection._out, reason)


def give_back(connection: BlockingConnection) -> None:
    """End the calls that a handler left in other threads, which has returned; return when they have left the socket."""
    ending.give_back(connection._socket)
