"""The connections through a :class:`~fourtuple.testing.Toxic` proxy: each direction reads, holds and sends octets.

For each direction of each connection, one task reads and one writes::

    client -- recv --> [ held: at most ``buffer`` octets, each with the moment it is due ] -- send --> server
                         |                    |                   |                  |
                       reading             latency,            silence           slice, bandwidth,
                       pauses when full    jitter                                the octet at which it ends
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections import deque
from contextlib import suppress

from fourtuple.address import Address
from fourtuple.forking import ours
from fourtuple.net.sockets import reset_on_close
from fourtuple.testing.toxics import Toxics


class Network:
    """What all connections of one proxy share: the target, the toxics of each direction, and the counters.

    The keys True and False mean the direction to the server and the direction to the client.
    """

    def __init__(self, target: Address, up: Toxics, down: Toxics, *, buffer: int, seed: int) -> None:
        self.target = target
        self.toxics = {True: up, False: down}
        self.buffer = buffer
        self.passed = {True: 0, False: 0}
        #: The open connections.
        self.links: set[Link] = set()
        self._dice = random.Random(seed)

    def delay(self, toxics: Toxics) -> float:
        """Return the delay, in seconds, of octets that are read now."""
        return toxics.latency + (self._dice.uniform(0, toxics.jitter) if toxics.jitter else 0.0)

    def wake(self) -> None:
        """Let all directions look at the toxics again."""
        for link in self.links:
            for way in link.ways:
                way.wake()

    def reset(self) -> None:
        """End all open connections with RST, at both ends."""
        for link in self.links:
            link.reset()


class Link:
    """The connection of a client, and the connection to the target that was made for it."""

    def __init__(self, network: Network, client: socket.socket) -> None:
        self._network = network
        self.client = ours(client)
        target = network.target
        family = socket.AF_UNIX if target.is_unix else socket.AF_INET6 if ":" in target.host else socket.AF_INET
        self.server = ours(socket.socket(family, socket.SOCK_STREAM))
        self.ways: list[Way] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._broken = False

    async def run(self) -> None:
        """Pass octets on until both directions have ended, or one has broken."""
        loop = asyncio.get_running_loop()
        target = self._network.target
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
                Way(self, self._network, True, self.client, self.server),
                Way(self, self._network, False, self.server, self.client),
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
            self._network.links.discard(self)

    def reset(self) -> None:
        """Send RST to both ends."""
        self._broken = True
        for task in self._tasks:
            task.cancel()

    def close(self) -> None:
        """Send FIN in both directions at once."""
        for way in self.ways:
            way.finish()


class Way:
    """One direction."""

    def __init__(self, link: Link, network: Network, up: bool, source: socket.socket, sink: socket.socket) -> None:
        self._link = link
        self._network = network
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
            while self._size >= self._network.buffer:
                self._room.clear()
                await self._room.wait()
            data = await self._loop.sock_recv(self._source, min(65536, self._network.buffer - self._size))
            # Jitter must not change the order of octets.
            due = max(due, self._loop.time() + self._network.delay(self._network.toxics[self._up]))
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
            toxics = self._network.toxics[self._up]
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
        self._network.passed[self._up] += len(piece)
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
