"""The async client: a connection on the engine that the running loop's clients share.

How to connect is decided in :mod:`fourtuple.net.connecting`; here its steps are awaited. Any asyncio loop that has
``add_reader`` can be the host.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Generator
from contextlib import closing, suppress
from typing import Any, ParamSpec, TypeVar

from fourtuple.address import Address
from fourtuple.connection import Connection
from fourtuple.engine import Channel, release_engine, shared_engine
from fourtuple.errors import DeadlinePassed, FourTupleError
from fourtuple.framing import Framing, parse_framing
from fourtuple.net.connecting import Answer, Resolve, Steps, Wait, connecting, left, look_up
from fourtuple.options import Deadlines, Limits, Reconnect, Sockets
from fourtuple.proxy.header import HeaderChoice, say_header
from fourtuple.stream import Reason, Stream
from fourtuple.tls.certificates import TlsChoice
from fourtuple.tls.start import check_client, host_of, tls_wanted
from fourtuple.typevars import Generic, In, In_co, Out, Out_contra

P = ParamSpec("P")
T = TypeVar("T")


class Opening(Generic[In_co, Out_contra]):
    """A connection to be: ``await`` it, or enter it by ``async with``, which closes it at the end."""

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


def _opening(function: Callable[P, Coroutine[Any, Any, Connection[In, Out]]]) -> Callable[P, Opening[In, Out]]:
    @functools.wraps(function)
    def call(*arguments: P.args, **options: P.kwargs) -> Opening[In, Out]:
        return Opening(lambda: function(*arguments, **options))

    return call


@_opening
async def connect(
    address: Address | str,
    framing: Framing[In, Out] | str,
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
) -> Connection[In, Out]:
    """Connect to an address and return the connection.

    ``connection = await connect(...)``, or ``async with connect(...) as connection``, which closes it.

    Parameters
    ----------
    address
        ``"host:port"``, ``"[v6]:port"``, ``"unix:/path"`` or an :class:`~fourtuple.Address`. All addresses of
        a name are tried, the families in turn, the next one beside the last after 0.25 s (RFC 8305).
    framing
        How messages are cut, as a value or as text: ``"line"``, ``"fixed:16"``. The types of the messages are those of
        the value; a text gives ``Any``.
    timeout
        Seconds for each attempt, from the look-up of the name to the end of the TLS handshake, all addresses included.
        Ten: a SYN that was lost is sent again after 1, 3 and 7 s. None waits for the kernel to give up, which takes
        minutes.
    local_address
        Where to connect from: a literal address, with or without a port.
    sockets, limits
        Options of the socket and of the conversation.
    deadlines
        How long a message, a write and the end may take; a connection that misses one is closed.
    reconnect
        How many attempts, and the pauses between them. One by default: an error shows at once.
    tls
        True for the defaults, :class:`~fourtuple.Tls` options or a context of your own: returns when the handshake
        is done, which ``handshake_timeout`` bounds, too: the earlier of the two.
    server_hostname
        The name that the server's certificate has to have; by default the host of the address.
    proxy_header
        Say first who connects, as a balancer does: 1 or 2 (or True) for this socket's own name in that version, or
        a :class:`~fourtuple.proxy.ProxyHeader`. Only for servers that expect it.

    Raises :class:`~fourtuple.errors.ConnectError`, one subclass for every way to fail;
    :class:`~fourtuple.errors.TlsError` (which one says why) and :class:`~fourtuple.errors.DeadlinePassed` for a
    handshake that fails;
    :class:`~fourtuple.errors.AddressError`, :class:`~fourtuple.errors.FramingTextError`,
    :class:`~fourtuple.errors.OptionError` and :class:`~fourtuple.errors.UnsupportedLoop` for what cannot work.
    """
    framing = parse_framing(framing)
    check_client(tls, server_hostname, proxy_header, limits=limits, deadlines=deadlines, sockets=sockets)
    steps = connecting(address, timeout=timeout, local_address=local_address, sockets=sockets, reconnect=reconnect)
    engine = shared_engine()
    try:
        connected = await take(steps)
    except BaseException:
        release_engine(engine)
        raise
    stream = Stream(framing, connected.name, limits or Limits(), engine.time())
    stream.duplex = True
    channel = Channel(engine, connected.socket, stream, deadlines or Deadlines())
    connection: Connection[In, Out] = Connection(channel)
    connection.host = host_of(address)
    channel.start(Waker(connection, channel))
    try:
        say_header(stream, proxy_header)
        channel.flush_soon()
        if tls_wanted(tls):
            await _secure(connection, tls, server_hostname, timeout, connected.until)
    except BaseException:
        connection.abort()
        raise
    return connection


async def _secure(
    connection: Connection, tls: TlsChoice | None, hostname: str | None, timeout: float | None, until: float | None
) -> None:
    """The handshake, within what is left of the time for the attempt; the engine sees to ``handshake_timeout``."""
    try:
        async with asyncio.timeout(left(until)):
            await connection.start_tls(tls, server_hostname=hostname)
    except TimeoutError as error:
        if isinstance(error, FourTupleError):
            raise
        why = "the peer did not finish its TLS handshake"
        raise DeadlinePassed("connect", timeout or 0.0, str(connection.name), why) from None


class Waker:
    """The consumer of a client's channel: it wakes whoever waits for the connection."""

    __slots__ = ("_connection", "_engine", "_stream")

    def __init__(self, connection: Connection, channel: Channel) -> None:
        self._connection = connection
        self._engine = channel.engine
        self._stream = channel.stream

    @property
    def busy(self) -> bool:
        """A client's program may do what it likes; its peer's silence is counted all the same."""
        return False

    def readable(self) -> None:
        self._connection.wake_receiver()

    def writable(self) -> None:
        self._connection.wake_senders()

    def finished(self) -> None:
        self._connection.tell_finished()

    def lost(self, reason: Reason) -> None:
        """A client's program is told by what it calls."""

    def closed(self) -> bool:
        self._connection.wake_all()
        return True

    def left(self) -> None:
        release_engine(self._engine)

    def deadline(self, error: DeadlinePassed) -> None:
        """The channel closes next; whoever receives learns that it was not this side's wish."""
        self._stream.read_error = self._stream.read_error or error
        self._connection.wake_receiver()

    def slow(self, _seconds: float) -> None:
        """Waking takes no time."""


# -- steps ------------------------------------------------------------------------------------------------


async def take(steps: Steps[T]) -> T:
    """Take all steps by awaiting, and return the result; the twin of :func:`fourtuple.net.connecting.run`."""
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
        with suppress(RuntimeError):  # the loop is closed: nobody waits for it any more
            loop.call_soon_threadsafe(_set, answered, answer)

    look_up(step, then)
    await asyncio.wait([answered], timeout=left(step.until))
    return answered.result() if answered.done() else None


async def _wait(step: Wait) -> Answer:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    for descriptor in step.descriptors:
        loop.add_writer(descriptor, _set, ready, None)
    try:
        await asyncio.wait([ready], timeout=left(step.until))
    finally:
        for descriptor in step.descriptors:
            loop.remove_writer(descriptor)
    return None


def _set(future: asyncio.Future[T], result: T) -> None:
    if not future.done():
        future.set_result(result)
