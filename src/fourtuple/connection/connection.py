"""The async connection: one conversation with one peer, on the engine.

The blocking connection has the same methods: :class:`fourtuple.BlockingConnection`.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Iterable
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

from fourtuple import fast_path
from fourtuple.connection.awaitables import DONE, Failed, Later, Sent
from fourtuple.connection.calls import ConnectionCalls
from fourtuple.connection.info import ConnectionInfo
from fourtuple.connection.receiving import Receiving
from fourtuple.connection.requests import request
from fourtuple.connection.server_handle import ServerHandle
from fourtuple.connection.tls import begin_tls
from fourtuple.connection.waiters import Waiters
from fourtuple.engine import Channel
from fourtuple.engine.eager_future import EagerFuture
from fourtuple.errors import ConnectionEnded, EndOfFile
from fourtuple.framing import Framing, Unmapped, changed_framing
from fourtuple.framing.base import Octets
from fourtuple.options import check_timeout
from fourtuple.stream import NOT_YET, Nothing, Stream
from fourtuple.tls import TlsInfo, TlsLayer
from fourtuple.tls.certificates import TlsChoice
from fourtuple.typevars import Generic, In_co, L, NewIn, NewOut, Out_contra, S

if TYPE_CHECKING:
    from fourtuple.net.tcpinfo import TcpInfo


class Connection(
    ConnectionInfo[In_co, Out_contra], Receiving, ConnectionCalls[Out_contra], Generic[In_co, Out_contra, S, L]
):
    """An active socket: one conversation with one peer. It cannot accept.

    A connection belongs to the thread of its loop. In other threads every method raises
    :class:`~fourtuple.errors.WrongThread` and does nothing; attributes can be read. Use
    :meth:`fourtuple.Server.call_soon` from other threads. Several tasks may send: each message stays whole, in the
    order of the calls. One task at a time may receive.

    ``Connection[In, Out, S, L]`` gives the types of the messages received and sent, of :attr:`state` and of
    :attr:`service_state`. A type that is left out is ``Any``.
    """

    __slots__ = (
        "__weakref__",
        "_waiters",
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
        """``channel`` is the socket on the engine, ``server`` the server, None for a client, and ``service_state`` what
        the service's lifespan yielded. Servers and :func:`fourtuple.connect` make connections.
        """
        self._channel = channel
        self._stream: Stream = channel.stream
        self._receiver: EagerFuture | None = None
        #: The tasks that wait in other calls than receive; None if no task has waited.
        self._waiters: Waiters | None = None
        self._failures = 0
        #: The host to which this side connected: start_tls() expects its certificate.
        self.host: str | None = None
        #: The server of this connection; None for a client.
        self.server: ServerHandle[Connection[In_co, Out_contra, S, L]] | None = server
        #: What the service's lifespan yielded.
        self.service_state: L = service_state
        #: The state of this conversation: the handler may keep any value here.
        self.state: S = None  # type: ignore[assignment]  # until the service or the handler sets it

    # -- names and numbers --------------------------------------------------------------------------------

    @property
    def id(self) -> int:
        """A number unique in this process."""
        return self._channel.id

    @property
    def closed(self) -> bool:
        """Whether the connection has ended on this side: by ``close()``, by ``abort()``, or its socket is closed."""
        return self._channel.ended or self._stream.closing

    @property
    def draining(self) -> asyncio.Event:
        """An event that is set when the server begins to stop; a conversation can check or await it.

        It is never set for a client.
        """
        return self.server.draining if self.server is not None else asyncio.Event()

    @property
    def peer_finished(self) -> asyncio.Event:
        """An event that is set when the peer has sent FIN; a conversation can check or await it.

        It is set when the FIN arrives, even if octets before it are not received yet (without nested readiness this
        may take a quarter of a second). Over TLS it is set when the peer's close_notify is read. You can still send:
        the peer may have half-closed, and wait for the reply. It is also set when the connection has ended.
        """
        return self._waiting.finished()

    def info(self) -> TcpInfo:
        """Return the kernel's statistics of this connection: round-trip time, retransmissions, windows.

        See tcp(7), TCP_INFO. Raises :class:`~fourtuple.errors.ConnectionEnded` after the end of the connection, and
        :class:`OSError` for a Unix socket.
        """
        from fourtuple.net.tcpinfo import TcpInfo  # imported here: few programs ask for it

        self._check_thread("info")  # in another thread, the descriptor's number may mean another socket by then
        sock = self._channel.socket
        if sock is None:
            raise ConnectionEnded(f"{self.name}: info() after the connection ended")
        return TcpInfo.of(sock)

    # -- receiving ----------------------------------------------------------------------------------------

    async def receive(self, timeout: float | None = None) -> In_co:
        """Return the next message.

        Parameters
        ----------
        timeout
            Seconds to wait. Default: None, which waits until a deadline ends the connection.

        Raises :class:`~fourtuple.errors.EndOfFile` when the peer has sent its end of file;
        :class:`~fourtuple.errors.IncompleteMessage`, or another MessageError, when the peer's stream is broken;
        :class:`~fourtuple.errors.UnmappedMessage` in place of a message that does not map (the next receive returns
        the message after it); :class:`~fourtuple.errors.DeadlinePassed` after ``timeout`` (no octet is lost, and the
        next receive gets the message); :class:`~fourtuple.errors.ConnectionLost` when the network broke the
        connection; and :class:`~fourtuple.errors.ConnectionBusy` while another task receives or requests are
        outstanding.
        """
        message: In_co
        if timeout is None and (message := self._at_hand()) is not NOT_YET:
            return message
        return await self._receive(self._stream.take_message, timeout)

    def receive_nowait(self) -> In_co:
        """Return the next message if it has arrived; raises :class:`~fourtuple.errors.WouldBlock` if it has not.

        After WouldBlock the connection is as usable as before. Other errors as :meth:`receive`.
        """
        self._check_sole_receiver()
        message: In_co | Nothing = self._take(self._stream.next_message)
        assert message is not NOT_YET  # it raises WouldBlock instead
        return message

    async def receive_exactly(self, size: int, timeout: float | None = None) -> bytes:
        """Return exactly ``size`` octets; the framing does not matter.

        ``timeout`` (seconds) and errors as for :meth:`receive`.
        """
        return await self._receive(lambda: self._stream.take_exactly(size), timeout)

    async def receive_until(self, separator: bytes, max_octets: int, timeout: float | None = None) -> bytes:
        """Return the octets up to and including ``separator``.

        ``timeout`` bounds the wait, in seconds (default: no bound). Raises :class:`~fourtuple.errors.MessageTooLong`
        when the separator is not within the first ``max_octets``; the octets stay buffered. Other errors as
        :meth:`receive`.
        """
        return await self._receive(lambda: self._stream.take_until(separator, max_octets), timeout)

    async def receive_some(self, max_octets: int = 65536, timeout: float | None = None) -> bytes:
        """Return the octets that have arrived, at least one and at most ``max_octets``.

        The default, 64 KiB, is the most of one read. ``timeout`` (seconds) and errors as for :meth:`receive`.
        """
        return await self._receive(lambda: self._stream.take_some(max_octets), timeout)

    def unread(self, octets: bytes) -> None:
        """Put octets back, in front of what is received next: any number, handled as if they had just arrived.

        They count as buffered, so ``max_buffered`` and ``max_buffered_per_connection`` bound them. After :meth:`close`
        they are dropped: nothing is received any more.
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

    # -- sending ------------------------------------------------------------------------------------------

    def send(self, message: Out_contra) -> Sent:
        """Send one message; await the result for backpressure.

        The call takes the message, in the order of the calls, and the engine writes it no later than the loop's next
        turn, whether or not the result is awaited. ``await connection.send(m)`` waits while the peer does not keep up.
        A plain ``def`` handler cannot await, and need not: ``max_outbox`` bounds the outbox.

        Raises :class:`~fourtuple.errors.EncodeError`, :class:`~fourtuple.errors.ConnectionEnded`,
        :class:`~fourtuple.errors.ConnectionLost`, :class:`~fourtuple.errors.OutboxFull`; then the message was not
        taken. If a task catches such errors again and again, some are raised when it awaits the result, after other
        tasks have run.
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
            return Later(self._relieved)
        return self._others_first() if over else DONE

    def send_many(self, messages: Iterable[Out_contra]) -> Sent:
        """Send several messages, either all or none; otherwise like :meth:`send`, and it returns the same.

        They are encoded when ``messages`` has been iterated to its end, so an iterator must not yield one object twice,
        changed in between.
        """
        self._check_thread("send_many")
        messages = messages if isinstance(messages, list) else list(messages)
        try:
            self._stream.send_many(messages)
        except Exception as error:
            return self._failed(error)
        self._channel.flush_soon()
        return self._done(len(messages))

    def send_octets(self, octets: Octets) -> Sent:
        """Send octets outside of any message, unchanged, in order with the messages; otherwise like :meth:`send`.

        The counterpart of :meth:`receive_exactly`.
        """
        self._check_thread("send_octets")
        try:
            self._stream.send_octets(octets)
        except Exception as error:
            return self._failed(error)
        self._channel.flush_soon()
        return self._done()

    def _done(self, messages: int = 1) -> Sent:
        """Return the awaitable for a call that has sent so many messages."""
        over = self._channel.engine.share.spend(messages or 1)  # a call that sends no message also takes time
        if self._stream.crowded:
            return Later(self._relieved)
        return self._others_first() if over else DONE

    async def _relieved(self) -> None:
        """Wait until the outbox is below its low mark. If it is already, let other tasks run first if that is due."""
        self._check_thread("send", awaited=True)
        await self._waiting.until_relieved()

    @property
    def _waiting(self) -> Waiters:
        if self._waiters is None:
            self._waiters = Waiters(self._channel)
        return self._waiters

    async def request(self, message: Out_contra, timeout: float | None = None) -> In_co:
        """Send a message and return the reply to it.

        ``timeout`` bounds the wait for the reply, in seconds (default: no bound). Several tasks may have requests
        outstanding; replies are matched in order. A request that timed out or was
        cancelled keeps its place: its late reply is dropped and counted. Errors as :meth:`send` and :meth:`receive`.
        :class:`~fourtuple.errors.ConnectionBusy` means that nothing was sent: another task receives, or an unrequested
        message has arrived before the request; take it with :meth:`receive`. An unrequested message that comes later
        cannot be told from the reply.
        """
        self._check_thread("request", awaited=True)
        if self._had_its_share():
            await self._behind_others()
        check_timeout(timeout)
        reply: In_co = await request(self._channel, message, timeout, lambda: self._receiving)
        return reply

    def send_eof(self) -> Sent:
        """Half-close: send FIN after what was sent; return what can be awaited. You can still receive. Idempotent."""
        self._check_thread("send_eof")
        self._stream.end_writing()
        self._channel.flush_soon()
        return self._done()

    # -- changing -----------------------------------------------------------------------------------------

    @overload
    def change_framing(self, framing: Framing[NewIn, NewOut] | str) -> Connection[NewIn, NewOut, S, L]: ...
    @overload
    def change_framing(
        self, *, receives: Framing[NewIn, Any] | str, sends: Framing[Any, NewOut] | str
    ) -> Connection[NewIn, NewOut, S, L]: ...
    @overload
    def change_framing(self, *, receives: Framing[NewIn, Any] | str) -> Connection[NewIn, Out_contra, S, L]: ...
    @overload
    def change_framing(self, *, sends: Framing[Any, NewOut] | str) -> Connection[In_co, NewOut, S, L]: ...
    def change_framing(
        self,
        framing: Framing | str | None = None,
        *,
        receives: Framing | str | None = None,
        sends: Framing | str | None = None,
    ) -> Connection[Any, Any, S, L]:
        """Change the framing: of what comes from the first octet of the first undelivered message on, and of what is
        sent from now on. ``receives`` and ``sends`` change one direction only.

        What a reply handler returns or yields goes out in the framing in which its message came in: the OK to the
        command that changes the framing belongs to the old one. What :meth:`send` sends belongs to the new one.

        Returns the same connection, for type checkers: its messages have the types of the new framing.
        """
        self._check_thread("change_framing")
        stream, channel = self._stream, self._channel
        changed = changed_framing(stream.framing, framing, receives, sends)
        stream.change_framing(changed, replying=channel.inline is not None)
        channel.look_again()
        return self

    def start_tls(self, tls: TlsChoice | None = None, *, server_hostname: str | None = None) -> Later[TlsInfo] | Failed:
        """Begin TLS on this connection (STARTTLS); await the result for the handshake and what was agreed in it.

        It takes effect at once. Octets sent before leave in plain text; what is sent from now on is encrypted and waits
        for the handshake, which ``handshake_timeout`` bounds, from when those have left: until then ``write_timeout``
        bounds the wait. Octets that have come from the peer already are discarded
        and counted (``statistics.discarded``): they were plain text, which an attacker may have injected.

        Parameters
        ----------
        tls
            :class:`~fourtuple.Tls` options or an :class:`ssl.SSLContext`. Default: None, which means the default
            options for a client, and the server's certificates for a server.
        server_hostname
            For a client: the name that the server's certificate must have. Default: the ``server_hostname`` of connect,
            or the host of the address.

        Raises :class:`~fourtuple.errors.OptionError`, and :class:`~fourtuple.errors.ConnectionBusy` while requests are
        outstanding or if TLS has begun before. Awaiting the result raises a subclass of
        :class:`~fourtuple.errors.TlsError` that tells the reason, or :class:`~fourtuple.errors.DeadlinePassed`. After a
        failed handshake the connection cannot be used any more.
        """
        self._check_thread("start_tls")
        try:
            return Later(functools.partial(self._shaken, self._start_tls(tls, server_hostname)))
        except Exception as error:
            return self._failed(error)

    def _start_tls(self, tls: TlsChoice | None, server_hostname: str | None) -> TlsLayer:
        server_side = self.server is not None and self.host is None  # a server that has dialled is a client
        return begin_tls(
            self._channel,
            tls,
            server_side=server_side,
            server_hostname=server_hostname if server_side else server_hostname or self.host,
            certificates=self.server._certificates_of(self.id) if self.server is not None else None,
            wake=self._secured,
        )

    def _secured(self, layer: TlsLayer) -> None:
        if layer.info is not None and self._channel.consumer is not None:
            self._channel.consumer.secured()
        if self._waiters is not None:
            self._waiters.wake_secured()

    async def _shaken(self, layer: TlsLayer) -> TlsInfo:
        """Wait for the end of the handshake. Awaiting the result of :meth:`start_tls` does this."""
        self._check_thread("start_tls", awaited=True)
        return await self._waiting.until_secured(layer)

    # -- the end ------------------------------------------------------------------------------------------

    def close(self) -> Later[None]:
        """Close after everything sent has been written, and linger so that the peer gets it. Idempotent, never raises.

        (In another thread it raises WrongThread.) It takes effect at once; await the result to wait for the end.
        """
        self._check_thread("close")
        self._channel.close()
        return Later(self.wait_closed)

    def abort(self) -> None:
        """End the connection now, with RST; octets not sent yet are lost. Idempotent, never raises.

        (In another thread it raises WrongThread.)
        """
        self._check_thread("abort")
        self._channel.abort()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended, on either side: until its socket is closed.

        Never raises. (In another thread it raises WrongThread.)
        """
        if self._channel.ended:
            if self._had_its_share():
                await self._behind_others()
            return
        self._check_thread("wait_closed", awaited=True)
        await self._waiting.until_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def fileno(self) -> int:
        """Return the descriptor, or -1 once the connection is closed."""
        return -1 if self._channel.ended else self._channel.fd

    def __repr__(self) -> str:
        state = "closed" if self._channel.ended else "closing" if self._stream.closing else "open"
        return f"<Connection {self.id} {self.name} {state}>"


def _use_methods_of(turn: ModuleType) -> None:
    """Replace methods by those of the C, which call these, under other names, for all that is not on the fast path."""
    for name, parameters in (
        ("__aiter__", "$self, /"),
        ("receive", "$self, /, timeout=None"),
        ("send", "$self, /, message"),
    ):
        twin = vars(Connection)[name]
        setattr(Connection, f"_twin_{name.strip('_')}", twin)
        setattr(Connection, name, turn.connection_method(name, f"{name}({parameters})\n--\n\n{twin.__doc__ or ''}"))


if fast_path.turn is not None:
    fast_path.turn.know(Connection=Connection, Unmapped=Unmapped, NOT_YET=NOT_YET)
    _use_methods_of(fast_path.turn)
