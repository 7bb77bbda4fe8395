"""The connections through a :class:`~fourtuple.testing.Toxic` proxy, over plain sockets.

What happens to the octets is decided in :mod:`fourtuple.relay.flow`, as for ``fourtuple relay``. The sockets are plain,
so that a test of fourtuple's connections does not depend on them.
"""

from __future__ import annotations

import asyncio
import random
import socket
from contextlib import suppress
from typing import Any

from fourtuple.address import Address
from fourtuple.forking import ours
from fourtuple.net.sockets import reset_on_close
from fourtuple.relay.flow import Flow, What
from fourtuple.relay.pump import Pump
from fourtuple.relay.toxics import Toxics


class Network:
    """What all connections of one proxy share: the target, the toxics of each direction, and the counters.

    The keys True and False mean the direction to the server and the direction to the client.
    """

    def __init__(self, target: Address, up: Toxics, down: Toxics, *, buffer: int, seed: int) -> None:
        self.target = target
        self.toxics: dict[bool, Toxics] = {True: up, False: down}
        self.buffer = buffer
        self.passed: dict[bool, int] = {True: 0, False: 0}
        #: The open connections.
        self.links: set[Link] = set()
        self._dice = random.Random(seed)

    def flow(self, up: bool, now: float) -> Flow:
        """Make the flow of one direction of a connection."""
        return Flow(self.toxics[up], self.buffer, self._dice, now)

    def count(self, up: bool, octets: int) -> None:
        """Count octets that are sent."""
        self.passed[up] += octets

    def wake(self) -> None:
        """Put the toxics in force in all directions."""
        for link in self.links:
            for up, pump in link.pumps.items():
                pump.flow.toxics = self.toxics[up]
                pump.wake()

    def reset(self) -> None:
        """End all open connections with RST, at both ends."""
        for link in self.links:
            link.reset()


class End:
    """A socket as a source and a sink of a pump."""

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        self._loop = loop
        self._socket = sock

    async def receive(self, most: int) -> bytes:
        return await self._loop.sock_recv(self._socket, most)

    async def send(self, octets: bytes) -> None:
        await self._loop.sock_sendall(self._socket, octets)

    async def finish(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)


class Link:
    """The connection of a client, and the connection to the target that was made for it."""

    def __init__(self, network: Network, client: socket.socket) -> None:
        self._network = network
        self.client: socket.socket = ours(client)
        target = network.target
        family = socket.AF_UNIX if target.is_unix else socket.AF_INET6 if ":" in target.host else socket.AF_INET
        self.server: socket.socket = ours(socket.socket(family, socket.SOCK_STREAM))
        self.pumps: dict[bool, Pump] = {}
        self._tasks: list[asyncio.Task[Any]] = []
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
            self.pumps = {up: self._pump(loop, up) for up in (True, False)}
            self._tasks = [
                loop.create_task(each)
                for up, pump in self.pumps.items()
                for each in (pump.reading(), pump.writing(self.pumps[not up]))
            ]
            await asyncio.gather(*self._tasks)
            await self._stay()
        except (OSError, asyncio.CancelledError):
            # One end was reset, or reset() was called: reset both. A target that refuses looks like one that resets.
            for each in (self.client, self.server):
                if each.fileno() >= 0:
                    reset_on_close(each)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self.client.close()
            self.server.close()
            self._network.links.discard(self)

    async def _stay(self) -> None:
        """Both directions are over. An end whose sender has vanished keeps its connection until :meth:`reset`."""
        receivers = {True: self.server, False: self.client}
        if not any(pump.flow.vanished for pump in self.pumps.values()):
            return
        for up, pump in self.pumps.items():
            if not pump.flow.vanished:
                receivers[up].close()
        self._tasks = [waiting := asyncio.get_running_loop().create_task(asyncio.Event().wait())]
        await waiting

    def reset(self) -> None:
        """Send RST to both ends."""
        self._broken = True
        for task in self._tasks:
            task.cancel()

    def _pump(self, loop: asyncio.AbstractEventLoop, up: bool) -> Pump:
        ends = [End(loop, self.client), End(loop, self.server)]
        return Pump(
            self._network.flow(up, loop.time()),
            ends[not up],
            ends[up],
            loop.time,
            lambda what: self._end(what, up),
            lambda octets: self._network.count(up, octets),
        )

    def _end(self, what: What, up: bool) -> None:
        if what is What.RESET:
            self.reset()
        else:
            self._tasks.append(asyncio.get_running_loop().create_task(self.pumps[not up].finish()))
