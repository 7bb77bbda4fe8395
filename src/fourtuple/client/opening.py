"""Opening one connection: it is on the engine that all clients of the running loop share.

:mod:`fourtuple.net.connecting` decides how to connect; this module awaits its steps. Any asyncio loop with
``add_reader`` can be the host loop.
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections.abc import Callable, Coroutine, Generator
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, TypeVar, Unpack

from fourtuple.address import Address
from fourtuple.client.options import Connect, ConnectOptions, takes_connect_options
from fourtuple.connection import Connection
from fourtuple.connection.waking import tell_finished, wake_all, wake_receiver, wake_senders
from fourtuple.engine import Channel, Engine, release_engine, shared_engine
from fourtuple.errors import DeadlinePassed, FourTupleError, HandlerFailed, NotAwaited
from fourtuple.four_tuple import Name
from fourtuple.framing import Framing, parse_framing
from fourtuple.net.connecting import Answer, Resolve, Steps, Wait, connecting, left, look_up
from fourtuple.net.names import connection_name
from fourtuple.options import Deadlines, Limits, function_name
from fourtuple.printable import error_text
from fourtuple.proxy.header import say_header
from fourtuple.stream import Reason, Stream
from fourtuple.tls.certificates import TlsChoice
from fourtuple.tls.start import host_of, tls_wanted
from fourtuple.typevars import Generic, In, In_co, Out, Out_contra

T = TypeVar("T")


class Opening(Generic[In_co, Out_contra]):
    """What connect() returns: ``await`` it to get the connection, or use ``async with``, which closes it at the end.

    Any other use raises :class:`~fourtuple.errors.NotAwaited`. ``open_`` makes the coroutine that connects; only
    connect() gives it.
    """

    __slots__ = ("_connection", "_open")

    def __init__(self, open_: Callable[[], Coroutine[Any, Any, Connection[In_co, Out_contra]]]) -> None:
        self._open = open_
        self._connection: Connection[In_co, Out_contra] | None = None

    def __await__(self) -> Generator[Any, None, Connection[In_co, Out_contra]]:
        return self._open().__await__()

    async def __aenter__(self) -> Connection[In_co, Out_contra]:
        self._connection = await self
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            await self._connection.close()

    if not TYPE_CHECKING:  # a type checker reports these uses itself if it does not see the methods

        def __enter__(self):
            raise _not_awaited("with connect(...)")

        def __exit__(self, *_):
            """Never called; the protocol of ``with`` requires it."""

        def __iter__(self):
            raise _not_awaited("for ... in connect(...)")

        def __aiter__(self):
            raise _not_awaited("async for ... in connect(...)")

        def __getattr__(self, name):
            if name.startswith("__"):  # special methods that Python, copy and pickle look up
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            raise _not_awaited(f"connect(...).{name}")


def _not_awaited(use: str) -> NotAwaited:
    return NotAwaited(
        f"{use}: fourtuple.connect is async, and nothing is connected before it is awaited: "
        "write 'await connect(...)' or 'async with connect(...)', or use fourtuple.blocking.connect"
    )


@takes_connect_options
def connect(
    address: Address | str, framing: Framing[In, Out] | str, **options: Unpack[ConnectOptions]
) -> Opening[In, Out]:
    """Connect to an address, and return the connection.

    Write ``connection = await connect(...)``, or ``async with connect(...) as connection``, which closes it at the end
    of the block. The blocking function is :func:`fourtuple.blocking.connect`. Raises
    :class:`~fourtuple.errors.UnsupportedLoop` if the running loop has no ``add_reader``.
    """
    chosen = Connect(**options)
    cut = parse_framing(framing)
    return Opening(lambda: _connect(address, cut, chosen))


async def _connect(address: Address | str, framing: Framing[In, Out], chosen: Connect) -> Connection[In, Out]:
    try:
        connection = await connected(address, framing, chosen)
    except Exception:
        await asyncio.sleep(0)  # some failures are immediate, and a task that retries would hold the loop
        raise
    try:
        if connection._had_its_share():
            await connection._behind_others()
    except BaseException:
        connection.abort()
        raise
    return connection


async def connected(
    address: Address | str,
    framing: Framing[In, Out],
    chosen: Connect,
    waker: Callable[[Connection[Any, Any], Channel], Waker] | None = None,
) -> Connection[In, Out]:
    """Connect once, TLS included; ``waker`` makes the consumer of the channel."""
    steps = connecting(
        address,
        timeout=chosen.timeout,
        local_address=chosen.local_address,
        sockets=chosen.sockets,
        reconnect=chosen.reconnect,
    )
    engine = shared_engine()
    try:
        opened = await take(steps)
    except BaseException:
        # Nothing refers to the engine yet: from the channel's start on, left() gives it back.
        release_engine(engine)
        raise
    connection = _connection_over(
        engine, opened.socket, opened.name, framing, chosen.limits, chosen.deadlines, waker or Waker
    )
    connection.host = chosen.server_hostname or host_of(address)
    try:
        say_header(connection._stream, chosen.proxy_header)
        connection._channel.flush_soon()
        if tls_wanted(chosen.tls):
            await _secure(connection, chosen.tls, chosen.timeout, opened.until)
    except BaseException:
        connection.abort()
        raise
    return connection


def connection_over(
    sock: socket.socket,
    framing: Framing[In, Out] | str,
    *,
    limits: Limits | None = None,
    deadlines: Deadlines | None = None,
) -> Connection[In, Out]:
    """Return a connection over a connected stream socket, which belongs to it from now on. Call it on the loop.

    Raises :class:`OSError` for a socket without a peer.
    """
    name = connection_name(sock)
    sock.setblocking(False)
    return _connection_over(shared_engine(), sock, name, parse_framing(framing), limits, deadlines, Waker)


def _connection_over(
    engine: Engine,
    sock: socket.socket,
    name: Name,
    framing: Framing[In, Out],
    limits: Limits | None,
    deadlines: Deadlines | None,
    waker: Callable[[Connection[Any, Any], Channel], Waker],
) -> Connection[In, Out]:
    stream = Stream(framing, name, limits or Limits(), engine.time())
    # A client may send while it receives, so reading goes on while its outbox is crowded.
    stream.converse()
    channel = Channel(engine, sock, stream, deadlines or Deadlines())
    connection: Connection[In, Out] = Connection(channel)
    channel.start(waker(connection, channel))
    return connection


async def _secure(connection: Connection, tls: TlsChoice | None, timeout: float | None, until: float | None) -> None:
    """Do the handshake in the time left for the attempt; the engine enforces ``handshake_timeout``."""
    try:
        async with asyncio.timeout(left(until)):
            await connection.start_tls(tls)
    except TimeoutError as error:
        if isinstance(error, FourTupleError):
            raise
        layer = connection._channel.stream.layer
        why = "" if layer is None else layer.unfinished()
        raise DeadlinePassed("connect", timeout or 0.0, str(connection.name), why) from None


class Waker:
    """The consumer of a client's channel: it wakes the tasks that wait for the connection."""

    __slots__ = ("_connection", "_engine", "_stream")

    def __init__(self, connection: Connection, channel: Channel) -> None:
        self._connection = connection
        self._engine = channel.engine
        self._stream = channel.stream

    @property
    def busy(self) -> bool:
        """False: the peer's silence counts even while the client's program is busy."""
        return False

    def readable(self) -> None:
        wake_receiver(self._connection)

    def writable(self) -> None:
        wake_senders(self._connection)

    def finished(self) -> None:
        tell_finished(self._connection)

    def lost(self, reason: Reason) -> None:
        """Do nothing: the client's next call raises."""

    def closed(self) -> bool:
        wake_all(self._connection)
        return True

    def left(self) -> None:
        release_engine(self._engine)

    def deadline(self, error: DeadlinePassed) -> None:
        """Let receiving calls raise the deadline's error; the channel closes next."""
        self._stream.receive_fails(error)
        wake_receiver(self._connection)

    def secured(self) -> None:
        """Do nothing: the program awaits the handshake itself."""

    def slow(self, _seconds: float) -> None:
        """Do nothing: waking takes no time."""

    # -- what the program asks of the connection beside its messages --------------------------------------

    def spawn(
        self,
        work: Coroutine[Any, Any, Any],
        context: contextvars.Context,
        done: Callable[[asyncio.Task[Any]], None],
    ) -> asyncio.Task[Any]:
        """Run a coroutine of a timer in a task. The timer holds it."""
        task = self._engine.loop.create_task(work, context=context)
        task.add_done_callback(done)
        return task

    def in_thread(self, work: Callable[[], Any]) -> asyncio.Future[Any]:
        """Run a function in a thread of the loop's default executor."""
        return self._engine.loop.run_in_executor(None, work)

    def caught(self, error: BaseException, function: Callable[..., Any] | None = None) -> None:
        """End the connection, and report the exception of a timer's function to the loop."""
        self.raised(error, function)
        if isinstance(error, KeyboardInterrupt | SystemExit):
            self._engine.interrupt(error)

    def raised(self, error: BaseException, function: Callable[..., Any] | None = None) -> None:
        stream, channel = self._stream, self._connection._channel
        name = "send_soon()" if function is None else function_name(function)
        text = f"{stream.name}: {name} raised {error_text(error)}"
        if not (error is stream.read_error or error is stream.write_error or error is stream.cause):
            told = {"message": f"fourtuple: {text}", "exception": error}
            self._engine.loop.call_exception_handler(told)
        failed = HandlerFailed(text)
        failed.__cause__ = error
        stream.note_cause(failed)
        stream.receive_fails(failed)
        channel.close(Reason.HANDLER_ERROR)
        wake_receiver(self._connection)


# -- steps ------------------------------------------------------------------------------------------------


async def take(steps: Steps[T]) -> T:
    """Await all steps, and return the result; the twin of :func:`fourtuple.net.connecting.run`."""
    answer: Answer = None
    with closing(steps):
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as done:
                result: T = done.value
                return result
            answer = await (_look_up(step) if isinstance(step, Resolve) else _wait(step))


async def _look_up(step: Resolve) -> Answer:
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Answer] = loop.create_future()

    def then(answer: Answer) -> None:
        with suppress(RuntimeError):  # the loop is closed: nothing waits for the answer any more
            loop.call_soon_threadsafe(_set, answered, answer)

    # getaddrinfo(3) cannot be cancelled: if the time is over, its thread goes on alone, and its answer is dropped.
    look_up(step, then)
    await asyncio.wait([answered], timeout=left(step.until))
    return answered.result() if answered.done() else None


async def _wait(step: Wait) -> Answer:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    for descriptor in step.descriptors:
        # A connect(2) under way is over when the socket is writable; SO_ERROR then tells how (connect(2), EINPROGRESS).
        loop.add_writer(descriptor, _set, ready, None)
    try:
        # asyncio.wait() and not wait_for(): the end of the time is no error here, but the answer "not ready".
        await asyncio.wait([ready], timeout=left(step.until))
    finally:
        for descriptor in step.descriptors:
            loop.remove_writer(descriptor)
    return None


def _set(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)
