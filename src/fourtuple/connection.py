"""What a handler holds: one conversation with one peer, on the engine.

The blocking side has the same vocabulary: :class:`fourtuple.BlockingConnection`.
"""

from __future__ import annotations

import asyncio
import math
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeAlias, TypeVar

from fourtuple import fast_path
from fourtuple.connection_info import ConnectionInfo
from fourtuple.engine import Channel
from fourtuple.engine.eager_future import EagerFuture
from fourtuple.engine.fields import ConnectionFields
from fourtuple.engine.readiness import IN
from fourtuple.errors import ConnectionBusy, ConnectionEnded, DeadlinePassed, EndOfFile
from fourtuple.framing import Framing, Unmapped, parse_framing
from fourtuple.net.tcpinfo import TcpInfo
from fourtuple.options import check_timeout
from fourtuple.server_handle import ServerHandle
from fourtuple.stream import NOT_YET, Half, Nothing, Stream
from fourtuple.tls import TlsInfo, TlsLayer
from fourtuple.tls.certificates import TlsChoice
from fourtuple.tls.start import tls_layer
from fourtuple.typevars import Generic, In_co, L, NewIn, NewOut, Out_contra, S

T = TypeVar("T")


class Done:
    """An awaitable with nothing to wait for: what send() returns while the peer keeps up."""

    __slots__ = ()

    if TYPE_CHECKING:

        def __await__(self) -> Generator[Any, None, None]: ...

    else:
        # An iterator over nothing, made without a call of Python: it is awaited at every message.
        __await__ = ().__iter__


if not TYPE_CHECKING and fast_path.turn is not None:
    Done = fast_path.turn.Done

DONE = Done()

#: Errors of one connection's calls that a handler may catch before the next one waits for its turn.
_MANY_FAILURES = 16


class _Relief:
    """What send() returns when the outbox is crowded: awaiting it is the backpressure."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __await__(self) -> Generator[Any, None, None]:
        return self._connection._relieved().__await__()


class _OthersFirst:
    """What send() returns to a handler that has had its share of the loop: awaiting it lets the others go first."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __await__(self) -> Generator[Any, None, None]:
        return self._connection._behind_others().__await__()


class _Failed:
    """What send() returns to a handler that catches error after error, and has had its share of the loop.

    Awaiting it lets the others go first, and then raises: see :meth:`Connection._failed`.
    """

    __slots__ = ("_connection", "_error")

    def __init__(self, connection: Connection, error: Exception) -> None:
        self._connection = connection
        self._error: Exception | None = error

    def __await__(self) -> Generator[Any, None, NoReturn]:
        error, self._error = self._error, None
        yield from self._connection._behind_others().__await__()
        if error is None:
            raise RuntimeError("cannot reuse an already awaited send")
        raise error

    def __del__(self) -> None:
        if self._error is not None:
            warnings.warn(f"a call that failed was never awaited: {self._error}", RuntimeWarning, stacklevel=2)


class _Handshake:
    """What start_tls() returns: awaiting it waits for the end of the handshake."""

    __slots__ = ("_connection", "_layer")

    def __init__(self, connection: Connection, layer: TlsLayer) -> None:
        self._connection = connection
        self._layer = layer

    def __await__(self) -> Generator[Any, None, TlsInfo]:
        return self._connection._shaken(self._layer).__await__()


class _End:
    """What close() returns: awaiting it waits until the connection has ended."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __await__(self) -> Generator[Any, None, None]:
        return self._connection.wait_closed().__await__()


#: What a call returns that sends: awaiting it is the backpressure.
Sent: TypeAlias = Done | _Relief | _OthersFirst | _Failed


class Connection(ConnectionInfo[In_co, Out_contra], ConnectionFields, Generic[In_co, Out_contra, S, L]):
    """An active socket: one conversation with one peer. It has no accept.

    A connection belongs to its loop's thread; :meth:`fourtuple.Server.call_soon` is the door for other threads. In
    these, every method raises :class:`~fourtuple.errors.WrongThread`, with nothing done; attributes can be read.
    Several tasks may send (each message stays whole, in the order of the calls); one may receive at a time.

    ``Connection[In, Out, S, L]`` says the types of the messages received and sent, of :attr:`state` and of
    :attr:`service_state`; each is ``Any`` where it is left out.
    """

    __slots__ = (
        "__weakref__",
        "_closed",
        "_failures",
        "_finished",
        "_handshakes",
        "_senders",
        "host",
        "server",
        "service_state",
        "state",
    )

    def __init__(
        self,
        channel: Channel,
        *,
        server: ServerHandle[Connection[In_co, Out_contra, S, L]] | None = None,
        service_state: Any = None,
    ) -> None:
        self._channel = channel
        self._stream: Stream = channel.stream
        self._receiver: EagerFuture | None = None
        self._senders: list[asyncio.Future[None]] | None = None
        self._closed: asyncio.Future[None] | None = None
        self._finished: asyncio.Event | None = None
        #: Calls that raised, since whoever made them last let others go first.
        self._failures = 0
        self._handshakes: list[asyncio.Future[None]] | None = None
        #: The host that a client asked for: whose certificate start_tls() expects.
        self.host: str | None = None
        #: The server this connection belongs to; None for a client's.
        self.server = server
        #: Whatever the service's lifespan made.
        self.service_state: L = service_state
        #: The conversation's own: the handler may keep here what it likes.
        self.state: S = None  # type: ignore[assignment]  # until the service or the handler sets it

    # -- names and numbers --------------------------------------------------------------------------------

    @property
    def id(self) -> int:
        """A number unique in this process."""
        return self._channel.id

    @property
    def closed(self) -> bool:
        """Whether it has ended on this side: ``close()`` or ``abort()`` was called, or its socket is closed."""
        return self._channel.ended or self._stream.closing

    @property
    def draining(self) -> asyncio.Event:
        """Set when the server stops: an event that a conversation can look at or await. Never set for a client."""
        return self.server.draining if self.server is not None else asyncio.Event()

    @property
    def peer_finished(self) -> asyncio.Event:
        """Set when the peer has finished (FIN): an event that a conversation can look at or await.

        It is set when the FIN arrives, also behind octets that are not received yet (without the nested readiness it
        may take a quarter of a second), and over TLS when the peer's close_notify is read. The peer can be answered all
        the same: it may have half-closed, and wait for the reply. Also set when the connection has ended.
        """
        if self._finished is None:
            self._finished = asyncio.Event()
            if self._channel.ended or self._stream.peer_finished:
                self._finished.set()
        return self._finished

    def info(self) -> TcpInfo:
        """The kernel's view of this connection: round-trip time, retransmissions, windows (tcp(7), TCP_INFO).

        Raises :class:`~fourtuple.errors.ConnectionEnded` after the end, and :class:`OSError` for a Unix socket.
        """
        self._check_thread("info")  # elsewhere, the descriptor's number may mean another socket before it is asked
        sock = self._channel.socket
        if sock is None:
            raise ConnectionEnded(f"{self.name}: info() after the connection ended")
        return TcpInfo.of(sock)

    def _check_thread(self, call: str, *, awaited: bool = False) -> None:
        engine = self._channel.engine
        if threading.get_ident() != engine.thread:
            plain, loop = "loop.call_soon_threadsafe", "loop"
            if self.server is not None:
                plain, loop = "server.call_soon", "server.loop"
            engine.check_thread(
                str(self.name),
                f"connection.{call}",
                f"asyncio.run_coroutine_threadsafe(connection.{call}(...), {loop}); {plain}() is for plain functions"
                if awaited
                else f"{plain}(connection.{call}, ...)",
            )

    # -- receiving ----------------------------------------------------------------------------------------

    async def receive(self, timeout: float | None = None) -> In_co:
        """Return the next message.

        Parameters
        ----------
        timeout
            Seconds to wait; None (the default) waits as long as the connection's deadlines let it live.

        Raises :class:`~fourtuple.errors.EndOfFile` when the peer has finished,
        :class:`~fourtuple.errors.IncompleteMessage` (or another MessageError) when its stream is broken,
        :class:`~fourtuple.errors.UnmappedMessage` in the place of a message that does not map (the next receive goes
        on behind it), :class:`~fourtuple.errors.DeadlinePassed` after ``timeout``: no octet is lost, whoever
        receives next gets the message; :class:`~fourtuple.errors.ConnectionLost` when the network broke it, and
        :class:`~fourtuple.errors.ConnectionBusy` for a second receiver or beside outstanding requests.
        """
        message: In_co
        if timeout is None and (message := self._at_hand()) is not NOT_YET:
            return message
        return await self._receive(self._stream.take_message, timeout)

    def receive_nowait(self) -> In_co:
        """Return the next message if it is there; raises :class:`~fourtuple.errors.WouldBlock` if not.

        The connection is as usable afterwards as before. Other errors as :meth:`receive`.
        """
        self._check_sole_receiver()
        message: In_co | Nothing = self._take(self._stream.next_message)
        assert message is not NOT_YET  # it raises WouldBlock instead
        return message

    async def receive_exactly(self, size: int, timeout: float | None = None) -> bytes:
        """Return exactly ``size`` octets, whatever the framing; errors as :meth:`receive`."""
        return await self._receive(lambda: self._stream.take_exactly(size), timeout)

    async def receive_until(self, separator: bytes, max_octets: int, timeout: float | None = None) -> bytes:
        """Return the octets up to and with ``separator``.

        Raises :class:`~fourtuple.errors.MessageTooLong` when it is not among the first ``max_octets``; the octets
        stay. Other errors as :meth:`receive`.
        """
        return await self._receive(lambda: self._stream.take_until(separator, max_octets), timeout)

    async def receive_some(self, max_octets: int = 65536, timeout: float | None = None) -> bytes:
        """Return whatever octets are there, at least one and at most ``max_octets``; errors as :meth:`receive`."""
        return await self._receive(lambda: self._stream.take_some(max_octets), timeout)

    def unread(self, octets: bytes) -> None:
        """Put octets back in front of what comes next, as many as you like: they are handled as if they had just come.

        They count as buffered, so ``max_buffered`` and ``max_buffered_per_connection`` bound them. After
        :meth:`close` nothing is received any more, and they are dropped.
        """
        self._check_thread("unread")
        self._stream.unread(octets)
        self._channel.look_again()

    def __aiter__(self) -> AsyncIterator[In_co]:
        return self

    async def __anext__(self) -> In_co:
        message: In_co
        if (message := self._at_hand()) is not NOT_YET:
            return message
        try:
            return await self._receive(self._stream.take_message)
        except (EndOfFile, ConnectionEnded):  # the peer has finished, or this side has
            raise StopAsyncIteration from None

    def _at_hand(self) -> Any:
        """The next message, where it is there and that is all; else NOT_YET, and :meth:`_receive` decides.

        Of a read of many messages, each is had by this alone.
        """
        stream, channel, receiver = self._stream, self._channel, self._receiver
        engine, inbox = channel.engine, stream.inbox
        share = engine.share
        if (
            not inbox
            or inbox[-1].__class__ is Unmapped
            or share.left <= 1  # the clock is to be looked at
            or stream._requests
            or (receiver is not None and receiver.waiting)
            or threading.get_ident() != engine.thread
        ):
            return NOT_YET
        share.left -= 1
        message = inbox.pop()
        if not inbox:
            channel.consumed()
        return message

    async def _receive(self, take: Callable[[], T | Nothing], timeout: float | None = None) -> T:
        """What everything that receives does: wait until ``take`` gives something, or raises.

        ``take`` is one of the stream's: what there is to receive is decided there.
        """
        if self._had_its_share():
            await self._behind_others()
        check_timeout(timeout)
        self._check_sole_receiver()
        while (got := self._take(take)) is NOT_YET:
            if timeout is not None:
                return await self._receive_within(take, timeout)
            await self._waiter()
        return got

    async def _receive_within(self, take: Callable[[], T | Nothing], timeout: float) -> T:
        """Wait as :meth:`_receive`, for so many seconds."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    await self._waiter()
                    if (got := self._take(take)) is not NOT_YET:
                        return got
        except TimeoutError as error:
            if isinstance(error, DeadlinePassed):
                raise
            raise DeadlinePassed("receive", timeout, str(self.name), "nothing was lost, receive again") from None

    def _take(self, take: Callable[[], T | Nothing]) -> T | Nothing:
        """What ``take`` gives; then perhaps another read is welcome, or a gap has to be waited for."""
        try:
            return take()
        finally:
            self._channel.consumed()

    def _next(self) -> Any:
        """The next message, or NOT_YET: what the twins in C ask."""
        return self._take(self._stream.take_message)

    def _check_sole_receiver(self) -> None:
        if threading.get_ident() != self._channel.engine.thread:
            self._check_thread("receive", awaited=True)
        if self._receiver is not None and self._receiver.waiting:
            raise ConnectionBusy(f"{self.name}: somebody else receives already")
        if self._stream._requests:
            self._stream.check_receive()

    def _waiter(self) -> EagerFuture:
        """What to wait for until something arrives; one for all the connection's life."""
        channel, receiver = self._channel, self._receiver
        if not channel.mask & IN:
            channel.consumed()
        if receiver is None:
            receiver = self._receiver = EagerFuture(channel.engine.loop)
        return receiver

    def _had_its_share(self) -> bool:
        """Count one more await; return whether whoever awaits has had its share of the loop.

        In another thread, where whatever comes next raises WrongThread, nothing is counted.
        """
        engine = self._channel.engine
        return threading.get_ident() == engine.thread and engine.share.spend()

    def _behind_others(self) -> EagerFuture:
        """What a task waits for that has had its share of the loop: that the others have had their turn."""
        engine = self._channel.engine
        waiter = EagerFuture(engine.loop)
        engine.go_behind(self._channel, waiter)
        return waiter

    def _others_first(self) -> _OthersFirst:
        return _OthersFirst(self)

    def _failed(self, error: Exception) -> _Failed:
        """A call that is to be awaited fails: raise its error, and count that as a message.

        Nothing is awaited then, and who catches the error and goes on, again and again, would keep the loop for itself.
        So a task that does, and has had its share, is given what raises the error when it is awaited, behind others.
        """
        self._failures += 1
        over, loop = self._had_its_share(), self._channel.engine.loop
        if not over or self._failures < _MANY_FAILURES or asyncio.current_task(loop) is None:
            raise error
        self._failures = 0
        return _Failed(self, error)

    # -- sending ------------------------------------------------------------------------------------------

    def send(self, message: Out_contra) -> Sent:
        """Send one message; await the result for backpressure.

        The message is taken at the call, in the order of the calls, and leaves no later than the loop's next
        turn, whatever the caller waits for next. ``await connection.send(m)`` waits while the peer does not keep
        up; a plain ``def`` handler cannot await and need not: the outbox is bounded by ``max_outbox``.

        Raises :class:`~fourtuple.errors.EncodeError`, :class:`~fourtuple.errors.ConnectionEnded`,
        :class:`~fourtuple.errors.ConnectionLost`, :class:`~fourtuple.errors.OutboxFull`; then nothing was taken.
        A task that catches these again and again gets some when it awaits the result, once others had their turn.
        """
        stream, channel = self._stream, self._channel
        if threading.get_ident() != channel.engine.thread:
            self._check_thread("send")
        try:
            stream.send(message)
        except Exception as error:
            return self._failed(error)
        if not channel._dirty:
            channel.flush_soon()
        share = channel.engine.share
        share.left = left = share.left - 1
        over = left <= 0 and share.look()
        if (stream.outbox_size >= stream.limits.high_water or stream.layer is not None) and stream.crowded:
            return _Relief(self)
        return _OthersFirst(self) if over else DONE

    def send_many(self, messages: Iterable[Out_contra]) -> Sent:
        """Send several messages, all or none of them; otherwise as :meth:`send`."""
        self._check_thread("send_many")
        messages = messages if isinstance(messages, list) else list(messages)
        try:
            self._stream.send_many(messages)
        except Exception as error:
            return self._failed(error)
        self._channel.flush_soon()
        return self._done(len(messages))

    def _done(self, messages: int = 1) -> Sent:
        """What to wait for behind so many messages."""
        over = self._channel.engine.share.spend(messages or 1)  # a call that sends nothing takes its time, too
        if self._stream.crowded:
            return _Relief(self)
        return _OthersFirst(self) if over else DONE

    async def _relieved(self) -> None:
        """Wait until the outbox is down to its low mark; behind the others, where it is that at once."""
        self._check_thread("send", awaited=True)
        self._channel.flush()
        if not self._stream.crowded and self._channel.engine.share.late():
            await self._behind_others()
        while self._stream.crowded:
            self._channel.expect_relief()
            waiter = self._channel.engine.loop.create_future()
            if self._senders is None:
                self._senders = []
            self._senders.append(waiter)
            await waiter
        if self._stream.write_error is not None:
            raise self._stream.write_error.with_traceback(None)

    async def request(self, message: Out_contra, timeout: float | None = None) -> In_co:
        """Send a message and return the reply to it; several tasks may have requests outstanding, in order.

        A request that timed out or was cancelled keeps its place: its late reply is dropped and counted. Errors
        as :meth:`send` and :meth:`receive`. :class:`~fourtuple.errors.ConnectionBusy` means that nothing was sent:
        another task receives, or a message that nobody asked for has come before the request goes out, and
        :meth:`receive` takes it. One that comes later cannot be told from the reply.
        """
        self._check_thread("request", awaited=True)
        if self._had_its_share():
            await self._behind_others()
        check_timeout(timeout)
        while not self._stream.requested and not self._stream.unasked and self._channel.has_unread:
            await asyncio.sleep(0)  # the engine reads it in the loop's next turn
        arrived: asyncio.Future[None] = self._channel.engine.loop.create_future()

        def wake() -> None:
            if not arrived.done():
                arrived.set_result(None)

        if self._receiving and self._stream.writing is Half.OPEN:  # else it has ended, which the next call says
            raise ConnectionBusy(f"{self.name}: somebody else receives already")
        request = self._stream.request(message, wake)
        self._channel.flush_soon()
        try:
            async with asyncio.timeout(timeout):
                await arrived
        except TimeoutError:
            request.abandoned = True
            if timeout is None:
                raise
            raise DeadlinePassed("request", timeout, str(self.name), "its late reply will be dropped") from None
        except BaseException:
            request.abandoned = True
            raise
        reply: In_co = request.result()
        return reply

    def send_eof(self) -> Sent:
        """Half-close: FIN follows what was sent; receiving goes on. Idempotent."""
        self._check_thread("send_eof")
        self._stream.end_writing()
        self._channel.flush_soon()
        return self._done()

    # -- changing -----------------------------------------------------------------------------------------

    def change_framing(self, framing: Framing[NewIn, NewOut] | str) -> Connection[NewIn, NewOut, S, L]:
        """Cut what comes next by another framing, beginning with the first octet of the first undelivered message.

        Returns the same connection, for type checkers: its messages have the types of the new framing.
        """
        self._check_thread("change_framing")
        self._stream.change_framing(parse_framing(framing))
        self._channel.look_again()
        return self  # type: ignore[return-value]

    def start_tls(self, tls: TlsChoice | None = None, *, server_hostname: str | None = None) -> _Handshake | _Failed:
        """Go on over TLS (STARTTLS); await the result for the end of the handshake and what was agreed.

        It takes effect at once: what was sent leaves plainly before it, what is sent from now on is encrypted and
        waits for the handshake, which ``handshake_timeout`` bounds. What the peer sent already is discarded and
        counted (``statistics.discarded``): it was plain, and anybody on the way may have written it.

        Parameters
        ----------
        tls
            :class:`~fourtuple.Tls` options, a context of your own, or None: for a client the defaults, on a
            server's side the server's certificates.
        server_hostname
            For a client: the name that the server's certificate has to have; by default the host it connected to.

        Raises :class:`~fourtuple.errors.OptionError`, and :class:`~fourtuple.errors.ConnectionBusy` with requests
        outstanding or TLS begun before; awaiting it, :class:`~fourtuple.errors.TlsError` (which one says why) and
        :class:`~fourtuple.errors.DeadlinePassed`. After a failed handshake the connection is of no use.
        """
        self._check_thread("start_tls")
        try:
            return _Handshake(self, self._start_tls(tls, server_hostname))
        except Exception as error:
            return self._failed(error)

    def _start_tls(self, tls: TlsChoice | None, server_hostname: str | None) -> TlsLayer:
        server_side = self.server is not None
        layer = tls_layer(
            self._stream,
            tls,
            self._channel.engine.time(),
            server_side=server_side,
            server_hostname=server_hostname if server_side else server_hostname or self.host,
            certificates=self.server.certificates if self.server is not None else None,
        )
        layer.wake = lambda: self._secured(layer)
        self._stream.start_tls(layer)
        self._channel.due = -math.inf
        self._channel.flush_soon()
        self._channel.look_again()
        return layer

    def _secured(self, layer: TlsLayer) -> None:
        if layer.info is not None and self._channel.consumer is not None:
            self._channel.consumer.secured()
        waiters, self._handshakes = self._handshakes, None
        for waiter in waiters or ():
            if not waiter.done():
                waiter.set_result(None)

    async def _shaken(self, layer: TlsLayer) -> TlsInfo:
        """Wait for the end of the handshake; what awaiting :meth:`start_tls` does."""
        self._check_thread("start_tls", awaited=True)
        if layer.established or layer.error is not None:
            if self._had_its_share():
                await self._behind_others()
        else:
            waiter = self._channel.engine.loop.create_future()
            if self._handshakes is None:
                self._handshakes = []
            self._handshakes.append(waiter)
            await waiter
        if layer.error is not None:
            raise layer.error.with_traceback(None)
        assert layer.info is not None
        return layer.info

    # -- the end ------------------------------------------------------------------------------------------

    def close(self) -> _End:
        """Close behind what was sent, lingering so that the peer gets the last octet. Idempotent, never raises.

        (In another thread: WrongThread.) It takes effect at once; awaiting the result waits for the end.
        """
        self._check_thread("close")
        self._channel.close()
        return _End(self)

    def abort(self) -> None:
        """End now, with RST; what was not sent yet is lost. Idempotent, never raises (elsewhere: WrongThread)."""
        self._check_thread("abort")
        self._channel.abort()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended, by whomever: until its socket is closed.

        Never raises (in another thread: WrongThread).
        """
        if self._channel.ended:
            if self._had_its_share():
                await self._behind_others()
            return
        self._check_thread("wait_closed", awaited=True)
        if self._closed is None:
            self._closed = self._channel.engine.loop.create_future()
        await asyncio.shield(self._closed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- called by runners, through the functions below ----------------------------------------------------

    def _wake_receiver(self) -> None:
        """The stream has something to give."""
        if self._receiver is not None:
            self._receiver.wake()

    @property
    def _receiving(self) -> bool:
        """Whether somebody waits in a receive now."""
        return self._receiver is not None and self._receiver.waiting

    @property
    def _awaited(self) -> bool:
        """Whether somebody waits in a call of this connection, which tells of its end."""
        return (
            self._receiving
            or bool(self._senders or self._handshakes or self._stream.outstanding)
            or (self._closed is not None and not self._closed.done())
        )

    def _wake_senders(self) -> None:
        """The outbox is relieved, or gone."""
        senders, self._senders = self._senders, None
        for waiter in senders or ():
            if not waiter.done():
                waiter.set_result(None)

    def _tell_finished(self) -> None:
        """The peer has finished."""
        if self._finished is not None:
            self._finished.set()

    def _wake_all(self) -> None:
        """The connection has ended."""
        self._tell_finished()
        self._wake_receiver()
        self._wake_senders()
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    def fileno(self) -> int:
        """The descriptor, or -1 once closed."""
        return -1 if self._channel.ended else self._channel.fd

    def __repr__(self) -> str:
        state = "closed" if self._channel.ended else "closing" if self._stream.closing else "open"
        return f"<Connection {self.id} {self.name} {state}>"


# -- for what runs handlers: what a handler does not call -----------------------------------------------------


def wake_receiver(connection: Connection) -> None:
    """The stream has something to give."""
    connection._wake_receiver()


def wake_senders(connection: Connection) -> None:
    """The outbox is relieved, or gone."""
    connection._wake_senders()


def wake_all(connection: Connection) -> None:
    """The connection has ended."""
    connection._wake_all()


def tell_finished(connection: Connection) -> None:
    """The peer has finished."""
    connection._tell_finished()


def is_receiving(connection: Connection) -> bool:
    """Whether somebody waits in a receive now."""
    return connection._receiving


def is_awaited(connection: Connection) -> bool:
    """Whether somebody waits in a call of this connection, which tells of its end."""
    return connection._awaited


def loop_of(connection: Connection) -> asyncio.AbstractEventLoop:
    """The loop that a connection belongs to."""
    return connection._channel.engine.loop


async def until_relieved(connection: Connection) -> None:
    """Wait until the outbox is down to its low mark; behind the others, where it is that at once."""
    await connection._relieved()


if fast_path.turn is not None:
    # Of iteration, receive() without a timeout and send(), what is usual is done in C; these hand on what is not.
    fast_path.turn.know(Connection=Connection, Unmapped=Unmapped, NOT_YET=NOT_YET)
    fast_path.turn.know(EndOfFile=EndOfFile, ConnectionEnded=ConnectionEnded)
    fast_path.turn.replace_twins(Connection)
