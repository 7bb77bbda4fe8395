"""An engine for sockets in memory: their readiness, and a sweep that the test's clock calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fourtuple.client import Waker
from fourtuple.connection import Connection
from fourtuple.engine import Channel, Engine, ReadinessChoice
from fourtuple.engine.readiness import ERR, HUP, Readiness, Ready, Swept, Watcher
from fourtuple.errors import WrongThread
from fourtuple.options import Deadlines
from fourtuple.stream import Stream
from fourtuple.testing.clock import Clock
from fourtuple.testing.wire import Link, MemorySocket, socket_of


class MemoryReadiness:
    """The readiness of memory sockets, level-triggered like epoll(7)."""

    def __init__(self, loop: asyncio.AbstractEventLoop, on_ready: Callable[[], None]) -> None:
        self._loop = loop
        self._on_ready = on_ready
        self._watchers: dict[int, Watcher] = {}
        self._scheduled = False

    def watch(self, watcher: Watcher, mask: int) -> None:
        watcher.mask = mask
        if mask:
            self._watchers[watcher.fd] = watcher
            self.wake()
        else:
            self._watchers.pop(watcher.fd, None)

    def poll(self) -> Ready:
        found = []
        for number, watcher in self._watchers.items():
            events = socket_of(number).events() & (watcher.mask | ERR | HUP)
            if events:
                found.append((watcher, events))
        if found:
            self.wake()  # sockets that are not served stay ready
        return found

    def look(self) -> Ready:
        return []

    def wake(self) -> None:
        """Let the engine poll in the loop's next iteration."""
        if self._watchers and not self._scheduled and not self._loop.is_closed():
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self._on_ready()

    def close(self) -> None:
        self._watchers.clear()

    disown = close


class MemoryEngine(Engine):
    """An engine that waits for memory sockets, and whose sweep the test's clock calls."""

    readiness: MemoryReadiness

    def _choose(self, choice: ReadinessChoice) -> Readiness:
        return MemoryReadiness(self.loop, self._turn)

    def add(self, channel: Swept) -> None:
        self._channels[channel] = None

    def look(self) -> None:
        """Note that a memory socket has changed."""
        self.readiness.wake()


def engine_of(link: Link, clock: Clock) -> MemoryEngine:
    """Make an engine on the running loop for the sockets of a link. Raises WrongThread if there is none."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise WrongThread(
            "connections in memory: no event loop runs in this thread", "make them in a coroutine"
        ) from None
    engine = MemoryEngine(loop, clock=clock)
    link.on_change.append(engine.look)
    clock.on_advance(engine.sweep)
    return engine


def client_of(
    engine: MemoryEngine, sock: MemorySocket, stream: Stream, deadlines: Deadlines | None
) -> Connection[Any, Any]:
    """Make the connection of a client, of one end."""
    sock.setblocking(False)
    stream.converse()
    channel = Channel(engine, sock, stream, deadlines or Deadlines())  # type: ignore[arg-type]
    made: Connection[Any, Any] = Connection(channel)
    channel.start(Waker(made, channel))
    return made
