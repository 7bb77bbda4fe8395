"""The blocking connection and client: the vocabulary of a connection, without an event loop.

Octets only move here; what they mean is decided by the :class:`~fourtuple.stream.Stream`, as in the engine::

    receive()  ->  _wait_for()  ->  _pull()  ->  recv(2)   (one system call where there is no timeout)
    send()     ->  _write_out() ->  _flush() ->  send(2)   (at once; poll(2) only for what the kernel did not take)

What a timeout left in the outbox goes out with whatever is called next, also while that waits to receive.

One thread may receive while another one sends. A KeyboardInterrupt loses nothing: the waiting is done in
recv(2) and poll(2), which have taken nothing when a signal ends them, and what a system call did bring is
stored before Python looks for signals. One that comes while the stream takes it in ends the connection.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from fourtuple import connecting
from fourtuple.address import Address, Name
from fourtuple.certificates import Certificates, TlsChoice
from fourtuple.errors import (
    ConnectionBusy,
    ConnectionEnded,
    ConnectionLost,
    DeadlinePassed,
    EndOfFile,
    FourTupleError,
    WouldBlock,
)
from fourtuple.framing import Framing, Unmapped, parse_framing
from fourtuple.introducing import HeaderChoice, check_tls, host_of, say_header, tls_layer, tls_wanted
from fourtuple.options import Deadlines, Limits, Reconnect, Sockets
from fourtuple.proxy import ProxyHeader
from fourtuple.sockets import reset_on_close
from fourtuple.stream import Half, Reason, Request, Statistics, Stream, new_id
from fourtuple.tcpinfo import TcpInfo
from fourtuple.tls import TlsInfo, TlsLayer

T = TypeVar("T")

#: The clock of deadlines and of the stream's stamps.
clock = time.monotonic

_IN = select.POLLIN
_OUT = select.POLLOUT
_DONTWAIT = socket.MSG_DONTWAIT


class Poll(Protocol):
    """What waits for sockets: poll(2), not select(2), which knows no descriptor above 1023."""

    def register(self, fd: Any, eventmask: int, /) -> None:
        """Wait for these events of a descriptor, or of what has one."""

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """Wait for the first event, at most so many milliseconds; return the descriptors that have any, and which."""


#: What a deadline that passed leaves behind.
_AFTERWARDS = {
    "receive": "nothing was lost, receive again",
    "request": "its late reply will be dropped",
    "reply": "it is still outstanding, receive again",
    "handshake_timeout": "the peer did not finish its TLS handshake",
}


def connect(
    address: Address | str,
    framing: Framing | str,
    *,
    timeout: float | None = 10.0,
    local_address: Address | str | None = None,
    sockets: Sockets | None = None,
    limits: Limits | None = None,
    deadlines: Deadlines | None = None,
    reconnect: Reconnect | None = None,
    tls: TlsChoice | None = None,
    server_hostname: str | None = None,
    proxy_header: HeaderChoice | None = None,
) -> BlockingConnection:
    """Connect to an address and return the connection.

    Parameters
    ----------
    address
        ``"host:port"``, ``"[v6]:port"``, ``"unix:/path"`` or an :class:`~fourtuple.Address`. All addresses of
        a name are tried, the families in turn, the next one beside the last after 0.25 s (RFC 8305).
    framing
        How messages are cut, as a value or as text: ``"line"``, ``"fixed:16"``.
    timeout
        Seconds for each attempt, all addresses included. Ten: a SYN that was lost is sent again after 1, 3 and
        7 s. None waits for the kernel to give up, which takes minutes.
    local_address
        Where to connect from: a literal address, with or without a port.
    sockets, limits
        Options of the socket and of the conversation.
    deadlines
        Of these, ``write_timeout`` and ``linger_timeout`` bound :meth:`BlockingConnection.close`.
    reconnect
        How many attempts, and the pauses between them. One by default: an error shows at once.
    tls
        True for the defaults, :class:`~fourtuple.Tls` options or a context of your own: returns when the handshake
        is done, which ``handshake_timeout`` bounds.
    server_hostname
        The name that the server's certificate has to have; by default the host of the address.
    proxy_header
        Say first who connects, as a balancer does: 1 or 2 (or True) for this socket's own name in that version, or
        a :class:`~fourtuple.proxy.ProxyHeader`. Only for servers that expect it.

    Raises :class:`~fourtuple.errors.ConnectError`, one subclass for every way to fail;
    :class:`~fourtuple.errors.TlsError` (which one says why) and :class:`~fourtuple.errors.DeadlinePassed` for a
    handshake that fails;
    :class:`~fourtuple.errors.AddressError`, :class:`~fourtuple.errors.FramingTextError` and
    :class:`~fourtuple.errors.OptionError` for arguments that cannot work, before or instead of connecting.
    """
    framing = parse_framing(framing)
    check_tls(tls)
    connected = connecting.run(
        connecting.connecting(
            address, timeout=timeout, local_address=local_address, sockets=sockets, reconnect=reconnect
        )
    )
    connected.socket.setblocking(True)
    stream = Stream(framing, connected.name, limits or Limits(), clock())
    connection = BlockingConnection(connected.socket, stream, owned=True, deadlines=deadlines)
    connection.host = host_of(address)
    try:
        say_header(stream, proxy_header)
        if tls_wanted(tls):
            connection.start_tls(tls, server_hostname=server_hostname)
        else:
            connection._write_out(timeout)
    except BaseException:
        connection.abort()
        raise
    return connection


def wait(connections: Iterable[BlockingConnection], timeout: float | None = None) -> list[BlockingConnection]:
    """Wait until at least one connection has something for ``receive()``; return those that have.

    That is a message, the end of file, or an error: ``receive()`` will not block. Messages that are decoded
    already count, which select(2) on the sockets would not see; part of a message does not. What is left in
    outboxes goes out meanwhile. Returns ``[]`` after ``timeout`` seconds, and for no connections at all.
    """
    watched = list(connections)
    if not watched:
        return []
    clock = watched[0]._clock
    until = _after(timeout, clock)
    while True:
        ready = [each for each in watched if each._stream.readable]
        waiting = [each for each in watched if not each._stream.readable]
        # With one ready, the others still get a look that does not wait: nobody is served twice before them.
        if waiting and _pump(waiting, clock() if ready else until):
            ready = [each for each in watched if each._stream.readable]
        if ready or (until is not None and clock() >= until):
            return ready


def _pump(waiting: Sequence[BlockingConnection], until: float | None) -> bool:
    """Move octets of whichever connections can, after waiting for the first; return whether any could."""
    poll = waiting[0]._new_poll()
    by_fd = {each.fileno(): each for each in waiting}
    for fd, each in by_fd.items():
        poll.register(fd, _IN | (_OUT if each._stream.outbox_size else 0))
    gaps = [each._stream.gap_at for each in waiting if each._stream.gap_at is not None]
    moved = poll.poll(_milliseconds(_earlier(until, min(gaps, default=None)), waiting[0]._clock))
    for fd, events in moved:
        by_fd[fd]._move(events)
        if events & ~_OUT:
            del by_fd[fd]
    for each in by_fd.values():
        each._look_for_silence()
    return bool(moved or gaps)


def _after(timeout: float | None, clock: Callable[[], float]) -> float | None:
    return None if timeout is None else clock() + timeout


def _earlier(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)


def _milliseconds(until: float | None, clock: Callable[[], float]) -> int | None:
    """For poll(2); rounded up: one that ends a little early would be called again for nothing."""
    return None if until is None else int(max(0.0, until - clock()) * 1000 + 0.999)


class PendingReply:
    """The reply to a request that was begun; its place in the order of replies is taken."""

    __slots__ = ("_connection", "_request")

    def __init__(self, connection: BlockingConnection, request: Request) -> None:
        self._connection = connection
        self._request = request

    @property
    def done(self) -> bool:
        """Whether the reply, or the error in its place, is there."""
        return self._request.done

    def receive(self, timeout: float | None = None) -> Any:
        """Return the reply, waiting ``timeout`` seconds for it; errors as :meth:`BlockingConnection.receive`.

        After a :class:`~fourtuple.errors.DeadlinePassed` it can be asked again.
        """
        self._connection._wait_for(lambda: self._request.done, timeout, "reply")
        return self._request.result()

    def abandon(self) -> None:
        """Give the reply up: it keeps its place, and is dropped and counted when it comes."""
        self._request.abandoned = True

    def __repr__(self) -> str:
        state = "abandoned" if self._request.abandoned else "done" if self.done else "outstanding"
        return f"<PendingReply on {self._connection.name}, {state}>"


class BlockingConnection:
    """An *active* socket: one conversation with one peer, for code that blocks. It has no accept.

    :func:`connect` makes it, and so does the server for a plain ``def`` conversation: then the socket is lent
    (``owned=False``) and its end is the engine's business; :meth:`close` sends what is left and FIN, and the
    engine lingers.
    """

    __slots__ = (
        "__weakref__",
        "_arrived",
        "_clock",
        "_deadlines",
        "_new_poll",
        "_owned",
        "_reading",
        "_socket",
        "_stream",
        "_taken",
        "_torn_in",
        "_torn_out",
        "_writing",
        "certificates",
        "host",
        "id",
        "on_tls",
        "receiving",
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
    ) -> None:
        self._clock = clock
        self._new_poll = poll
        self._socket: socket.socket | None = sock
        self._stream = stream
        self._owned = owned
        self._deadlines = deadlines or Deadlines()
        #: The host that a client asked for: whose certificate start_tls() expects.
        self.host: str | None = None
        #: What start_tls() uses on a server's side where it is given nothing else.
        self.certificates: Certificates | None = None
        #: Told when start_tls() has succeeded.
        self.on_tls: Callable[[TlsInfo], None] | None = None
        #: A number unique in this process.
        self.id = new_id() if id is None else id
        #: Whether a thread waits in a receive now.
        self.receiving = False
        #: The conversation's own: the handler may keep here what it likes.
        self.state: Any = None
        #: Whatever the service's lifespan made; None for a client's.
        self.service_state: Any = None
        # Reentrant: a signal handler may close a connection that its own thread receives from.
        self._reading = threading.RLock()
        self._writing = threading.RLock()
        # What the last system calls brought, until the stream has it; and whether that was interrupted.
        self._arrived: list[bytes] = []
        self._taken: list[int] = []
        self._torn_in = self._torn_out = False

    # -- names and numbers --------------------------------------------------------------------------------

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
    def framing(self) -> Framing:
        """How messages are cut now."""
        return self._stream.framing

    @property
    def statistics(self) -> Statistics:
        """An immutable snapshot of the counters."""
        return self._stream.statistics

    @property
    def closed(self) -> bool:
        """Whether this side has closed or aborted it."""
        return self._socket is None or self._stream.closing

    def info(self) -> TcpInfo:
        """The kernel's view of this connection: round-trip time, retransmissions, windows (tcp(7), TCP_INFO).

        Raises :class:`~fourtuple.errors.ConnectionEnded` after the end, and :class:`OSError` for a Unix socket.
        """
        return TcpInfo.of(self._open_socket("info()"))

    def fileno(self) -> int:
        """The descriptor, or -1 once closed."""
        return self._socket.fileno() if self._socket is not None else -1

    # -- receiving ----------------------------------------------------------------------------------------

    def receive(self, timeout: float | None = None) -> Any:
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
        if stream.inbox and stream.inbox[-1].__class__ is not Unmapped:
            return stream.inbox.pop()
        stream.check_receive()
        self._wait_for(self._readable, timeout, "receive")
        return stream.next_message()

    def receive_nowait(self) -> Any:
        """Return the next message if it is there; raises :class:`~fourtuple.errors.WouldBlock` if not.

        The connection is as usable afterwards as before. Other errors as :meth:`receive`.
        """
        self._stream.check_receive()
        self._begin_receiving()
        try:
            if not self._stream.readable:
                self._flush()
                self._receive_octets(_DONTWAIT)
                self._look_for_silence()
            return self._stream.next_message()
        finally:
            self._reading.release()

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
        """Put octets back in front of what comes next."""
        self._stream.unread(octets)

    def change_framing(self, framing: Framing | str) -> None:
        """Cut what comes next by another framing, from the first octet of the first undelivered message on."""
        with self._writing:
            self._stream.change_framing(parse_framing(framing))

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
        server_side = not self._owned
        if server_hostname is None and not server_side:
            server_hostname = self.host
        with self._writing:
            layer = tls_layer(
                self._stream,
                tls,
                self._clock(),
                server_side=server_side,
                server_hostname=server_hostname,
                certificates=self.certificates,
            )
            self._stream.start_tls(layer)
        seconds = self._deadlines.handshake_timeout if timeout is None and self._owned else timeout
        self._wait_for(lambda: layer.established or layer.error is not None, seconds, "handshake_timeout")
        with suppress(FourTupleError):
            self._write_out(seconds)  # the last flight, or the alert
        if layer.error is not None:
            raise layer.error
        assert layer.info is not None
        if self.on_tls is not None:
            self.on_tls(layer.info)
        return layer.info

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the messages until the peer's end of file, or until this side has closed."""
        return self

    def __next__(self) -> Any:
        try:
            return self.receive()
        except (EndOfFile, ConnectionEnded):
            raise StopIteration from None

    # -- sending ------------------------------------------------------------------------------------------

    def send(self, message: Any, timeout: float | None = None) -> None:
        """Send one message: return when the kernel has all of it.

        Raises :class:`~fourtuple.errors.EncodeError`, :class:`~fourtuple.errors.ConnectionEnded` and
        :class:`~fourtuple.errors.ConnectionLost`, and :class:`~fourtuple.errors.DeadlinePassed` after
        ``timeout`` seconds. After that last one, what the kernel did not take stays in the outbox and goes out
        with the next call of any kind: do not send the message again. Only who sends on and on with timeouts
        that pass meets :class:`~fourtuple.errors.OutboxFull`: that message was not taken.
        """
        self._make_room(timeout)
        with self._writing:
            self._stream.send(message)
        self._write_out(timeout)

    def send_many(self, messages: Iterable[Any], timeout: float | None = None) -> None:
        """Send several messages, all or none of them; otherwise as :meth:`send`."""
        self._make_room(timeout)
        with self._writing:
            self._stream.send_many(messages)
        self._write_out(timeout)

    def send_eof(self, timeout: float | None = None) -> None:
        """Half-close: FIN follows what was sent; receiving goes on. Idempotent; errors as :meth:`send`."""
        with self._writing:
            self._stream.end_writing()
        self._write_out(timeout)

    def half_close_now(self) -> None:
        """What the engine does to a lent connection that waits in a receive: FIN, in any thread, without waiting."""
        with self._writing:
            self._stream.end_writing()
            self._flush()

    # -- requests -----------------------------------------------------------------------------------------

    def request(self, message: Any, timeout: float | None = None) -> Any:
        """Send a message and return the reply to it; ``timeout`` covers both.

        A request that timed out or was interrupted keeps its place: its late reply is dropped and counted.
        Errors as :meth:`send` and :meth:`receive`.
        """
        return self.request_many([message], timeout)[0]

    def request_many(self, messages: Iterable[Any], timeout: float | None = None) -> list[Any]:
        """Send messages without waiting for each one's reply, and return all replies in order.

        Replies are read while later messages still go out, so that neither side waits for the other; no more
        is encoded ahead than ``high_water`` octets. Errors as :meth:`request`, for all of them.
        """
        begun: list[Request] = []
        until = _after(timeout, self._clock)
        try:
            for message in messages:
                with self._writing:
                    begun.append(self._stream.request(message))
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

    def begin(self, message: Any, timeout: float | None = None) -> PendingReply:
        """Send a message and return the place of its reply: several may be outstanding, answered in order.

        Errors as :meth:`send`.
        """
        self._make_room(timeout)
        with self._writing:
            pending = PendingReply(self, self._stream.request(message))
        self._write_out(timeout)
        return pending

    # -- the end ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close behind what was sent, lingering so that the peer gets the last octet. Idempotent, never raises.

        Waits for the peer's FIN, at most ``linger_timeout`` seconds behind our own; what still comes is dropped.
        Another thread's receive is woken, with :class:`~fourtuple.errors.ConnectionEnded`; then nothing lingers.
        """
        if self._socket is None:
            return
        try:
            with self._writing:
                self._stream.close()
            self._flush()
            if self._owned and self._reading.acquire(blocking=False):
                try:
                    self._linger()
                finally:
                    self._reading.release()
        finally:
            # Also after a KeyboardInterrupt: who asked for the end gets it.
            self._release()

    def _linger(self) -> None:
        """Write what is left, send FIN, and discard what comes until the peer's FIN or the deadline."""
        stream = self._stream
        while not stream.over and self._socket is not None:
            found = stream.next_deadline(self._deadlines)
            until, which, _ = found or (None, "", 0.0)
            self._move(self._poll(until))
            if until is not None and self._clock() >= until and not stream.over:
                if which == "write_timeout":
                    reset_on_close(self._socket)
                return

    def abort(self) -> None:
        """End now, with RST; what was not sent yet is lost. Idempotent, never raises."""
        sock = self._socket
        if sock is None:
            return
        self._stream.broken(ConnectionEnded(f"{self.name}: aborted by this side"), Reason.ABORTED)
        reset_on_close(sock)
        self._release()

    def _release(self) -> None:
        """Close an owned descriptor; a lent one is the engine's to close."""
        if not self._owned or self._socket is None:
            return
        sock, self._socket = self._socket, None
        if not self._reading.acquire(blocking=False):
            # Another thread waits on this descriptor: wake it before its number can mean another socket.
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            self._reading.acquire()
        self._reading.release()
        sock.close()
        self._stream.because(Reason.CLOSED)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- octets in ----------------------------------------------------------------------------------------

    def _readable(self) -> bool:
        return self._stream.readable

    def _take(self, take: Callable[[], T], timeout: float | None) -> T:
        """Call ``take`` until it does not raise WouldBlock."""
        taken: list[T] = []

        def ready() -> bool:
            try:
                taken.append(take())
            except WouldBlock:
                return False
            return True

        self._wait_for(ready, timeout, "receive")
        return taken[0]

    def _wait_for(
        self, ready: Callable[[], bool], timeout: float | None, which: str, until: float | None = None
    ) -> None:
        """Move octets until ``ready()``, at most ``timeout`` seconds (or until the moment ``until``)."""
        self._begin_receiving()
        try:
            if ready():
                return
            if until is None:
                until = _after(timeout, self._clock)
            self.receiving = True
            while True:
                self._pull(until)
                if ready():
                    return
                if until is not None and self._clock() >= until:
                    raise self._late(which, timeout or 0.0)
        finally:
            self.receiving = False
            self._reading.release()

    def _begin_receiving(self) -> None:
        """Be the one that receives. Whoever calls this releases ``_reading``."""
        if not self._reading.acquire(blocking=False):
            raise ConnectionBusy(f"{self.name}: another thread receives already")

    def _late(self, which: str, seconds: float) -> DeadlinePassed:
        detail = _AFTERWARDS[which]
        held = self._stream.decoder.buffered
        if held:
            detail = f"{held} octets of an unfinished message are held; {detail}"
        return DeadlinePassed(which, seconds, str(self.name), detail)

    def _pull(self, until: float | None) -> None:
        """Wait for one event and serve it: octets that came, or room for those that wait to go."""
        self._resume()
        if self._stream.outbox_size or self._stream.fin_due:
            self._flush()
        gap_at = self._stream.gap_at
        if self._stream.outbox_size or until is not None or gap_at is not None:
            events = self._poll(_earlier(until, gap_at))
            self._move(events)
            if not events & ~_OUT:
                self._look_for_silence()
        else:
            self._receive_octets(0)

    def _move(self, events: int) -> None:
        """Serve what poll(2) said."""
        if events & _OUT or self._stream.fin_due:
            self._flush()
        if events & ~_OUT:
            self._receive_octets(_DONTWAIT)

    def _receive_octets(self, flags: int) -> None:
        """One recv(2), and the stream takes what it brought."""
        stream = self._stream
        if self._arrived or self._torn_in:
            self._take_in()
            return
        try:
            # extend(map()) rather than append(recv()): nothing is between the call and the list, no signal either.
            self._arrived.extend(map(self._open_socket("receive").recv, (stream.limits.read_size,), (flags,)))
        except BlockingIOError:
            return
        except OSError as error:
            # Otherwise the stream knows already why: the engine aborts a lent socket by shutdown(2).
            if stream.reading is Half.OPEN:
                stream.lost(error)
            return
        self._take_in()

    def _take_in(self) -> None:
        stream = self._stream
        if self._torn_in:
            stream.broken(ConnectionLost(f"{self.name}: an interrupt came while octets were taken in"))
            return
        self._torn_in = True
        data = self._arrived.pop()
        now = self._clock()
        if stream.reading is not Half.OPEN:
            pass  # ended meanwhile, by the engine or another thread: their reason stays
        elif stream.layer is not None:
            # TLS answers what it reads, and an SSLObject is for one thread at a time.
            with self._writing:
                stream.received(data, now) if data else stream.received_eof(now)
        elif data:
            stream.received(data, now)
        else:
            stream.received_eof(now)
        if not self._owned:
            stream.paused(now)
        self._torn_in = False

    def _look_for_silence(self) -> None:
        """Nothing is there to be read: if the framing's gap is over, that ends a message."""
        stream = self._stream
        if stream.gap_at is None or not stream.wants_read or self._clock() < stream.gap_at or self._torn_in:
            return
        self._torn_in = True  # as in _take_in(): an interrupt must not lose the message unseen
        stream.silence(self._clock())
        self._torn_in = False

    def _resume(self) -> None:
        """Waiting again: the engine's deadlines for the peer run, which do not while a handler is at work."""
        if not self._owned:
            self._stream.resumed(self._clock())

    # -- octets out ---------------------------------------------------------------------------------------

    def _make_room(self, timeout: float | None) -> None:
        """Whoever has all the time waits for what is left of earlier messages, rather than for an OutboxFull."""
        if timeout is None and self._stream.outbox_size:
            self._write_out(None)

    def _write_out(self, timeout: float | None) -> None:
        """Write until the outbox is empty, at most ``timeout`` seconds."""
        until = _after(timeout, self._clock)
        while not self._flush():
            self._poll(until, reading=False)
            if until is not None and self._clock() >= until:
                waiting = self._stream.outbox_size
                raise DeadlinePassed(
                    "send",
                    timeout or 0.0,
                    str(self.name),
                    f"{waiting} octets wait in the outbox and leave with the next call, do not send them again",
                )
        if self._stream.write_error is not None:
            raise self._stream.write_error

    def _flush(self) -> bool:
        """Write what the kernel takes now, and FIN behind the last octet where it is due.

        Returns whether nothing is left to write: because it was written, or because it never can be.
        """
        stream = self._stream
        with self._writing:
            try:
                if self._taken or self._torn_out:
                    self._count_out()
                while stream.outbox_size:
                    chunk = stream.outgoing()
                    self._taken.extend(map(self._open_socket("send").send, (chunk,), (_DONTWAIT,)))
                    if self._count_out() < len(chunk):
                        break
                if stream.fin_due:
                    self._open_socket("send").shutdown(socket.SHUT_WR)
                    stream.fin_sent(self._clock())
            except BlockingIOError:
                stream.sent(0, self._clock())
            except OSError as error:
                # What the peer sent before it broke can still be read: only writing has ended.
                stream.write_lost(error)
            return not stream.outbox_size

    def _count_out(self) -> int:
        if self._torn_out:
            self._stream.broken(ConnectionLost(f"{self.name}: an interrupt came while sent octets were counted"))
            return 0
        self._torn_out = True
        count = self._taken.pop()
        self._stream.sent(count, self._clock())
        self._torn_out = False
        return count

    # -- the socket ---------------------------------------------------------------------------------------

    def _poll(self, until: float | None, *, reading: bool = True) -> int:
        """Wait for octets to come, and for room where octets wait to go; return what poll(2) says, 0 for the time."""
        events = _OUT if self._stream.outbox_size else 0
        if reading and self._stream.reading is Half.OPEN:  # an end of file that was read stays readable for ever
            events |= _IN
        poll = self._new_poll()
        poll.register(self._open_socket("poll"), events)
        ready = poll.poll(_milliseconds(until, self._clock))
        return ready[0][1] if ready else 0

    def _open_socket(self, what: str) -> socket.socket:
        if self._socket is None:
            raise ConnectionEnded(f"{self.name}: {what} after the connection ended")
        return self._socket

    def __repr__(self) -> str:
        stream = self._stream
        state = (
            "closed"
            if self._socket is None
            else f"reading {stream.reading.value}, writing {stream.writing.value}, "
            f"inbox {len(stream.inbox)}, outbox {stream.outbox_size}"
        )
        return f"<BlockingConnection {self.id} {self.name} {self.framing}, {state}>"
