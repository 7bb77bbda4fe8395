"""A proxy on loopback that simulates a bad network: delay, low bandwidth, small segments, resets, silence.

It runs a separate loop in a thread. For each direction of each connection, one task reads and one writes::

    client -- recv --> [ held: at most ``buffer`` octets, each with the moment it is due ] -- send --> server
                         |                    |                   |                  |
                       reading             latency,            silence           slice, bandwidth,
                       pauses when full    jitter                                the octet at which it ends
"""

from __future__ import annotations

import asyncio
import dataclasses
import random
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from fourtuple.address import Address, from_sockaddr
from fourtuple.errors import OptionError
from fourtuple.forking import ours
from fourtuple.net.sockets import reset_on_close
from fourtuple.server import Server


@dataclasses.dataclass(frozen=True, kw_only=True)
class Toxics:
    """What happens to the octets of one direction; by default nothing. Units are seconds and octets.

    Raises :class:`~fourtuple.errors.OptionError` for a value out of range.
    """

    #: Seconds by which each octet is delayed.
    latency: float = 0.0
    #: The most seconds of an additional random delay. The order of octets is kept.
    jitter: float = 0.0
    #: The most octets per second; None means no bound.
    bandwidth: float | None = None
    #: The most octets in one segment; None means no bound.
    slice: int | None = None
    #: Nothing arrives, also no end of file, until this is False again; then everything arrives.
    silent: bool = False
    #: After this many octets of this direction, send RST to both ends.
    reset_after: int | None = None
    #: After this many, send FIN; later octets are discarded. The other direction continues.
    half_close_after: int | None = None
    #: After this many, send FIN in both directions.
    close_after: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("latency", 0), ("jitter", 0), ("slice", 1)):
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise OptionError(f"{name} is {value!r}, it must be at least {least}")
        if self.bandwidth is not None and not self.bandwidth > 0:
            raise OptionError(f"bandwidth is {self.bandwidth!r}, it must be above 0; silent=True lets nothing pass")
        for name in ("reset_after", "half_close_after", "close_after"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise OptionError(f"{name} is {value!r}, it must be at least 0")


class Toxic:
    """A TCP proxy in front of ``target`` that applies toxics to each direction. You can change them at any time::

        with Toxic(server, downstream=Toxics(slice=1)) as proxy:
            with connect(proxy.address, "line") as connection:
                proxy.upstream = Toxics(latency=0.2, jitter=0.1)
                proxy.downstream = Toxics(reset_after=100)

    It runs in a thread, so that plain and async tests can use it. Leaving the block resets all open connections.

    Parameters
    ----------
    target
        A started :class:`~fourtuple.Server`, or an address.
    upstream, downstream
        What happens on the way from client to server, and back. To change them, assign others. The change applies to
        open connections at once; octets already held keep the moment at which they are due.
    buffer
        The most octets that each direction of a connection holds. When it is full, the proxy stops reading, and TCP's
        window slows the sender down.
    seed
        The seed of the jitter.
    """

    def __init__(
        self,
        target: Server | Address | str,
        *,
        upstream: Toxics | None = None,
        downstream: Toxics | None = None,
        buffer: int = 65536,
        seed: int = 0,
    ) -> None:
        if buffer < 1:
            raise OptionError(f"buffer is {buffer!r}, it must be at least 1")
        self.target = target.address if isinstance(target, Server) else Address.parse(target)
        self._toxics = {True: upstream or Toxics(), False: downstream or Toxics()}
        self._buffer = buffer
        self._dice = random.Random(seed)
        self._runner: asyncio.Runner | None = None
        self._thread: threading.Thread | None = None
        self._links: set[_Link] = set()
        self._passed = {True: 0, False: 0}
        self._accepted = 0

    # -- what can be seen and changed ---------------------------------------------------------------------

    @property
    def upstream(self) -> Toxics:
        """What happens on the way from clients to the server; assign others to change it."""
        return self._toxics[True]

    @upstream.setter
    def upstream(self, toxics: Toxics) -> None:
        self._change(True, toxics)

    @property
    def downstream(self) -> Toxics:
        """What happens on the way from the server to clients; assign others to change it."""
        return self._toxics[False]

    @downstream.setter
    def downstream(self, toxics: Toxics) -> None:
        self._change(False, toxics)

    def _change(self, up: bool, toxics: Toxics) -> None:
        self._toxics[up] = toxics
        self._call(self._wake)

    def _wake(self) -> None:
        for link in self._links:
            for way in link.ways:
                way.wake()

    def reset(self) -> None:
        """End all open connections with RST, at both ends."""
        self._call(self._reset)

    def _reset(self) -> None:
        for link in self._links:
            link.reset()

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._links)

    @property
    def accepted(self) -> int:
        """The number of connections accepted so far."""
        return self._accepted

    @property
    def octets_up(self) -> int:
        """The number of octets sent to the server so far."""
        return self._passed[True]

    @property
    def octets_down(self) -> int:
        """The number of octets sent to clients so far."""
        return self._passed[False]

    # -- life ---------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._runner is not None:
            raise OptionError("a proxy is entered once; make another one")
        self._listener = ours(socket.create_server(("127.0.0.1", 0)))
        self._listener.setblocking(False)
        #: The address to which clients connect.
        self.address: Address = from_sockaddr(self._listener.getsockname())
        # A selector loop has sock_recv() and the other methods; the event loop policy, perhaps uvloop's, is not used.
        self._runner = asyncio.Runner(loop_factory=asyncio.SelectorEventLoop)
        self._loop = self._runner.get_loop()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._work, name=f"toxic-{self.address}", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._call(self._stopped.set)
        if self._thread is not None:
            self._thread.join()

    def _call(self, act: Callable[[], object]) -> None:
        """Call ``act`` in the loop's thread. Before and after the block, do nothing."""
        if self._runner is not None:
            with suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(act)

    def _work(self) -> None:
        assert self._runner is not None
        with self._runner, self._listener:
            self._runner.run(self._serve())

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as group:
            # Not sock_accept(): when it is cancelled, it may lose the accepted socket.
            self._loop.add_reader(self._listener, self._accept, group)
            await self._stopped.wait()
            self._loop.remove_reader(self._listener)
            self._reset()

    def _accept(self, group: asyncio.TaskGroup) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # it was reset in the accept queue; another error comes again with the next call
            return
        self._accepted += 1
        link = _Link(self, client)
        self._links.add(link)
        group.create_task(link.run())

    def toxics(self, up: bool) -> Toxics:
        """The current toxics of a direction."""
        return self._toxics[up]

    def delay(self, toxics: Toxics) -> float:
        """The delay, in seconds, of octets that are read now."""
        return toxics.latency + (self._dice.uniform(0, toxics.jitter) if toxics.jitter else 0.0)

    def passed(self, up: bool, count: int) -> None:
        """Count octets that were sent."""
        self._passed[up] += count

    def gone(self, link: _Link) -> None:
        """Forget a connection that has ended."""
        self._links.discard(link)

    def __repr__(self) -> str:
        return f"<Toxic to {self.target}, {self.connections} connections, up {self.upstream}, down {self.downstream}>"


class _Link:
    """The connection of a client, and the connection to the target that was made for it."""

    def __init__(self, proxy: Toxic, client: socket.socket) -> None:
        self._proxy = proxy
        self.client = ours(client)
        target = proxy.target
        family = socket.AF_UNIX if target.is_unix else socket.AF_INET6 if ":" in target.host else socket.AF_INET
        self.server = ours(socket.socket(family, socket.SOCK_STREAM))
        self.ways: list[_Way] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._broken = False

    async def run(self) -> None:
        """Pass octets on until both directions have ended, or one has broken."""
        loop = asyncio.get_running_loop()
        target = self._proxy.target
        try:
            for each in (self.client, self.server):
                each.setblocking(False)
            connecting = loop.create_task(
                loop.sock_connect(self.server, target.path if target.is_unix else (target.host, target.port))
            )
            self._tasks = [connecting]
            if self._broken:
                connecting.cancel()
            await connecting
            for each in (self.client, self.server):
                if each.family != socket.AF_UNIX:
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a slice is a segment
            self.ways = [
                _Way(self, self._proxy, True, self.client, self.server),
                _Way(self, self._proxy, False, self.server, self.client),
            ]
            self._tasks = [loop.create_task(each) for way in self.ways for each in (way.read(), way.write())]
            await asyncio.gather(*self._tasks)
        except (OSError, asyncio.CancelledError):
            # One end was reset, or reset() was called: reset both. A target that refuses looks like one that resets.
            for each in (self.client, self.server):
                reset_on_close(each)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self.client.close()
            self.server.close()
            self._proxy.gone(self)

    def reset(self) -> None:
        """Send RST to both ends."""
        self._broken = True
        for task in self._tasks:
            task.cancel()

    def close(self) -> None:
        """Send FIN in both directions at once."""
        for way in self.ways:
            way.finish()


class _Way:
    """One direction."""

    def __init__(self, link: _Link, proxy: Toxic, up: bool, source: socket.socket, sink: socket.socket) -> None:
        self._link = link
        self._proxy = proxy
        self._up = up
        self._source, self._sink = source, sink
        self._loop = asyncio.get_running_loop()
        #: The octets of each read and the moment when they are due; empty octets mean end of file.
        self._held: deque[tuple[float, bytes]] = deque()
        self._size = 0
        self._passed = 0
        self._finished = False
        #: Set when more or fewer octets are held, or when the toxics have changed.
        self._changed = asyncio.Event()
        self._room = asyncio.Event()

    def wake(self) -> None:
        """Note that the toxics have changed."""
        self._changed.set()

    async def read(self) -> None:
        """Read and hold octets while there is room."""
        due = 0.0
        while True:
            while self._size >= self._proxy._buffer:
                self._room.clear()
                await self._room.wait()
            data = await self._loop.sock_recv(self._source, min(65536, self._proxy._buffer - self._size))
            # Jitter must not change the order of octets.
            due = max(due, self._loop.time() + self._proxy.delay(self._proxy.toxics(self._up)))
            if not self._finished:
                self._held.append((due, data))
                self._size += len(data)
                self._changed.set()
            if not data:
                return

    async def write(self) -> None:
        """Send the octets that are due."""
        while not self._finished:
            self._changed.clear()
            toxics = self._proxy.toxics(self._up)
            if self._ends_here(toxics):
                continue
            if toxics.silent or not self._held:
                await self._changed.wait()
                continue
            due, data = self._held[0]
            wait = due - self._loop.time()
            if wait > 0:
                await self._pause(wait)
                continue
            if not data:
                self.finish()
                return
            await self._pass_on(toxics, data[: self._most(toxics)])

    async def _pass_on(self, toxics: Toxics, piece: bytes) -> None:
        due, data = self._held.popleft()
        if len(data) > len(piece):
            self._held.appendleft((due, data[len(piece) :]))
        # Counted before sending: when the receiver has them, they are already counted.
        self._proxy.passed(self._up, len(piece))
        try:
            await self._loop.sock_sendall(self._sink, piece)
        except OSError:
            if self._finished:  # meanwhile, by the other direction
                return
            raise
        self._size -= len(piece)
        self._passed += len(piece)
        self._room.set()
        if toxics.bandwidth is not None:
            await asyncio.sleep(len(piece) / toxics.bandwidth)

    def _most(self, toxics: Toxics) -> int:
        """The number of octets that may be sent at once."""
        most = 65536 if toxics.slice is None else toxics.slice
        if toxics.bandwidth is not None:
            most = min(most, max(1, int(toxics.bandwidth / 20)))  # spread over the second, in twentieths
        ends = (toxics.reset_after, toxics.half_close_after, toxics.close_after)
        return min([most, *(end - self._passed for end in ends if end is not None)])

    def _ends_here(self, toxics: Toxics) -> bool:
        """End the connection if enough octets have passed; return whether this direction is finished."""
        if toxics.reset_after is not None and self._passed >= toxics.reset_after:
            self._link.reset()
            self._finished = True
        elif toxics.close_after is not None and self._passed >= toxics.close_after:
            self._link.close()
        elif toxics.half_close_after is not None and self._passed >= toxics.half_close_after:
            self.finish()
        return self._finished

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def finish(self) -> None:
        """Send FIN. Later octets are read and discarded."""
        if self._finished:
            return
        self._finished = True
        self._held.clear()
        self._size = 0
        self._room.set()
        self._changed.set()
        with suppress(OSError):
            self._sink.shutdown(socket.SHUT_WR)
