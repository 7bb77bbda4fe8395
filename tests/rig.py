"""Shared parts of the tests of engine and server: peers with plain sockets, a clock, an observer."""

from __future__ import annotations

import asyncio
import select
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest

from fourtuple import Deadlines, Limits, Server, Service, events
from fourtuple.address import Address
from fourtuple.engine import Channel, Engine
from fourtuple.errors import DeadlinePassed
from fourtuple.framing import Framing, parse_framing
from fourtuple.net.names import connection_name
from fourtuple.stream import Reason, Stream

T = TypeVar("T")

#: Without any deadline.
PATIENT = Deadlines(
    first_message_timeout=None,
    message_timeout=None,
    idle_timeout=None,
    write_timeout=None,
    linger_timeout=None,
    drain_timeout=None,
    drain_idle_timeout=0.0,
)


def echo(framing: Framing | str = "line") -> Service:
    service = Service(framing, name="echo")
    service.reply(lambda message: message)
    return service


def upper(framing: Framing | str = "fixed:4") -> Service:
    service = Service(framing, name="upper")
    service.reply(lambda message: message.upper())
    return service


class FakeClock:
    """A clock that moves only when the test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def until(condition: Callable[[], Any]) -> None:
    """Let the loop run until the condition is true. If it never is, pytest's timeout ends the test.

    What has not come after so many iterations waits for another process or for a clock: it is not to compete for a core
    with a loop that asks again and again.
    """
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    while not condition():
        await asyncio.sleep(0.001)


async def turns(count: int = 20) -> None:
    """Let the loop run a few iterations, to show that something does not happen."""
    for _ in range(count):
        await asyncio.sleep(0)


# -- peers ------------------------------------------------------------------------------------------------


class Peer:
    """The other end of a connection: a plain socket."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.socket = sock
        self._held = b""

    @classmethod
    async def connect(cls, where: Server | Address | int, **options: int) -> Peer:
        """Connect. ``receive_buffer`` and ``send_buffer`` are set before."""
        address = where.address if isinstance(where, Server) else where
        if isinstance(address, int):
            address = Address("127.0.0.1", address)
        if address.is_unix:
            family, target = socket.AF_UNIX, address.path
        else:
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            target = (address.host, address.port)
        sock = socket.socket(family, socket.SOCK_STREAM)
        for name, value in options.items():
            number = {"receive_buffer": socket.SO_RCVBUF, "send_buffer": socket.SO_SNDBUF}[name]
            sock.setsockopt(socket.SOL_SOCKET, number, value)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, target)
        except BaseException:
            sock.close()
            raise
        return cls(sock)

    async def send(self, octets: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, octets)

    def send_what_fits(self, octets: bytes) -> int:
        """Write until the kernel takes no more; return how many octets it took."""
        taken = 0
        with suppress(BlockingIOError):
            while taken < len(octets):
                taken += self.socket.send(octets[taken : taken + 65536])
        return taken

    async def receive(self, size: int) -> bytes:
        """Receive exactly ``size`` octets, or fewer if the end of file comes before."""
        while len(self._held) < size:
            data = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
            if not data:
                break
            self._held += data
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    async def receive_all(self) -> bytes:
        """Receive all octets until the end of file. Raises ConnectionResetError if RST comes instead."""
        pieces = [self._held]
        self._held = b""
        while data := await asyncio.get_running_loop().sock_recv(self.socket, 1 << 20):
            pieces.append(data)
        return b"".join(pieces)

    async def discard(self) -> None:
        """Read and discard octets until the end of file."""
        while await asyncio.get_running_loop().sock_recv(self.socket, 1 << 20):
            pass

    async def talk(self, octets: bytes) -> bytes:
        """Send, half-close, and return all octets of the reply."""
        await self.send(octets)
        self.finish()
        return await self.receive_all()

    def finish(self) -> None:
        """Half-close."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


# -- servers ----------------------------------------------------------------------------------------------


class Seen(list[events.Event]):
    """An observer that records events. Tests can wait for them."""

    def __init__(self) -> None:
        super().__init__()
        self._news = asyncio.Event()

    def __call__(self, event: events.Event) -> None:
        self.append(event)
        self._news.set()

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in self if isinstance(event, kind)]

    async def wait(self, kind: type[T], count: int = 1) -> list[T]:
        """Wait for the first ``count`` events of a kind; return them."""
        while len(self.of(kind)) < count:
            self._news.clear()
            await self._news.wait()
        return self.of(kind)[:count]

    async def closed(self) -> events.Closed:
        return (await self.wait(events.Closed))[0]


@asynccontextmanager
async def serving(
    service: Service,
    readiness: str = "nested",
    *addresses: str | socket.socket,
    clock: Callable[[], float] | None = None,
    deadlines: Deadlines = PATIENT,
    turn_events: int = 256,
    **options: Any,
) -> AsyncIterator[tuple[Server, Seen]]:
    """A listening server, and the events of its observer. It ends with abort(); a test of the drain calls drain."""
    seen = Seen()
    more: dict[str, Any] = {"clock": clock} if clock else {}
    engine = Engine(readiness=readiness, turn_events=turn_events, **more)  # type: ignore[arg-type]
    server = Server(service, *addresses, observer=seen, deadlines=deadlines, engine=engine, **options)
    try:
        await server.start()
        yield server, seen
    finally:
        await server.abort()
        engine.close()


def limits(**given: Any) -> Limits:
    """Limits. If only one watermark is given, the others are chosen to fit."""
    if "max_outbox" in given:
        given.setdefault("high_water", given["max_outbox"])
    if "high_water" in given and "low_water" not in given:
        given["low_water"] = given["high_water"] // 4
    return Limits(**given)


# -- channels without a server ----------------------------------------------------------------------------


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a TCP connection; the first one is non-blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    near.setblocking(False)
    return near, far


@dataclass
class Recorder:
    """A consumer that records its calls, and calls ``act``."""

    stream: Stream
    act: Callable[[Recorder], None] | None = None
    messages: list[Any] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    losses: list[Reason] = field(default_factory=list)
    peer_finished: bool = False
    take: bool = True
    busy: bool = False

    def readable(self) -> None:
        self.calls.append("readable")
        while self.take and not self.stream.closing and (self.stream.inbox or self.stream.replenish()):
            self.messages.append(self.stream.inbox.pop())
        if self.act is not None:
            self.act(self)

    def writable(self) -> None:
        self.calls.append("writable")

    def finished(self) -> None:
        self.peer_finished = True

    def lost(self, reason: Reason) -> None:
        self.losses.append(reason)

    def closed(self) -> bool:
        self.calls.append("closed")
        return True

    def left(self) -> None:
        """Do nothing: this is called after closed(), and no handler is running."""

    def deadline(self, error: DeadlinePassed) -> None:
        self.errors.append(error)

    def secured(self) -> None:
        """Do nothing when a handshake that the program began is done."""

    def slow(self, seconds: float) -> None:
        self.calls.append(f"slow {seconds:g}")


@dataclass
class Ends:
    """A channel, its consumer and its peer."""

    channel: Channel
    recorder: Recorder
    peer: Peer

    @property
    def stream(self) -> Stream:
        return self.channel.stream


def deliver(ends: Ends, octets: bytes) -> None:
    """Send from the peer, and wait until the channel can read it: on a busy machine loopback delivers later."""
    ends.peer.socket.send(octets)
    assert select.select([ends.channel.fd], [], [], 60)[0], "nothing came in a minute"


def channel(
    engine: Engine,
    framing: str | Framing = "raw",
    *,
    act: Callable[[Recorder], None] | None = None,
    take: bool = True,
    limits: Limits | None = None,
    deadlines: Deadlines = PATIENT,
    pair: tuple[socket.socket, socket.socket] | None = None,
) -> Ends:
    """A served TCP channel with a recorder as its consumer."""
    near, far = pair or tcp_pair()
    stream = Stream(parse_framing(framing), connection_name(near), limits or Limits(), engine.time())
    made = Channel(engine, near, stream, deadlines)
    recorder = Recorder(stream, act, take=take)
    made.start(recorder)
    return Ends(made, recorder, Peer(far))


@asynccontextmanager
async def engine_of(readiness: str, **options: Any) -> AsyncIterator[Engine]:
    """An engine on the running loop."""
    engine = Engine(readiness=readiness, **options)  # type: ignore[arg-type]
    try:
        yield engine
    finally:
        engine.close()


# -- names ------------------------------------------------------------------------------------------------


@contextmanager
def slow_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[threading.Thread]]:
    """Inside the block, no name server answers. Yields the threads that wait for one."""
    answered, waiting, at_once = threading.Event(), [], socket.getaddrinfo

    def getaddrinfo(*what: Any, flags: int = 0, **options: Any) -> Any:
        if flags:  # a literal address needs no name server
            return at_once(*what, flags=flags, **options)
        waiting.append(threading.current_thread())
        answered.wait()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        yield waiting
    finally:
        answered.set()
        for thread in waiting:
            thread.join()
