"""Two connections without sockets: protocols are tested with no I/O, and time passes when the test says so.

They are the very connections of clients and handlers, on the very streams; only what carries the octets is
another one (:mod:`fourtuple.testing.wire`).
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, overload

from fourtuple.address import FourTuple
from fourtuple.blocking import BlockingConnection
from fourtuple.client import Waker
from fourtuple.connection import Connection
from fourtuple.engine import Channel, Engine, ReadinessChoice
from fourtuple.engine.readiness import ERR, HUP, Readiness, Ready, Swept, Watcher
from fourtuple.framing import Framing, parse_framing
from fourtuple.options import Deadlines, Limits
from fourtuple.stream import Stream
from fourtuple.testing.clock import Clock
from fourtuple.testing.wire import (
    CAPACITY,
    Cut,
    Link,
    MemoryAlarm,
    MemoryPoll,
    MemorySocket,
    Wire,
    socket_of,
    socket_pair,
)
from fourtuple.typevars import In, NewIn, NewOut, Out

Near = TypeVar("Near")
Far = TypeVar("Far")
Each = TypeVar("Each")

# Names for documents and tests (RFC 5737): no machine has them.
_NEAR, _FAR = "192.0.2.1", "192.0.2.2"
_ports = itertools.cycle(range(49152, 65536))


class MemoryPair(Generic[Near, Far, Each]):
    """Two connected connections; ``near, far = pair`` takes them apart.

    An iterator has one type: with two framings a checker knows those of ``pair.near`` and ``pair.far`` alone.
    """

    def __init__(self, near: Near, far: Far, sockets: tuple[MemorySocket, MemorySocket], clock: Clock | None) -> None:
        self.near = near
        self.far = far
        #: What time it is for both; None with ``threads=True``, where time is real and no test asks.
        self.clock: Clock = clock  # type: ignore[assignment]
        self._sockets = sockets

    @property
    def there(self) -> Wire:
        """The way from near to far."""
        return self._sockets[0].outgoing

    @property
    def back(self) -> Wire:
        """The way from far to near."""
        return self._sockets[1].outgoing

    def reset(self) -> None:
        """Break the connection as a network does: both ends see an RST, behind what has arrived."""
        for each in self._sockets:
            each.break_off()

    def __iter__(self) -> Iterator[Each]:
        both: tuple[Any, Any] = self.near, self.far
        return iter(both)

    def __repr__(self) -> str:
        return f"<MemoryPair {self.near!r}, {self.far!r}>"


@overload
def memory_pair(
    framing: Framing[In, Out] | str,
    *,
    far_framing: None = None,
    cut: Cut = None,
    capacity: int = CAPACITY,
    limits: Limits | None = None,
    deadlines: Deadlines | None = None,
    threads: bool = False,
) -> MemoryPair[BlockingConnection[In, Out], BlockingConnection[In, Out], BlockingConnection[In, Out]]: ...
@overload
def memory_pair(
    framing: Framing[In, Out] | str,
    *,
    far_framing: Framing[NewIn, NewOut] | str,
    cut: Cut = None,
    capacity: int = CAPACITY,
    limits: Limits | None = None,
    deadlines: Deadlines | None = None,
    threads: bool = False,
) -> MemoryPair[BlockingConnection[In, Out], BlockingConnection[NewIn, NewOut], BlockingConnection]: ...
def memory_pair(
    framing: Framing | str,
    *,
    far_framing: Framing | str | None = None,
    cut: Cut = None,
    capacity: int = CAPACITY,
    limits: Limits | None = None,
    deadlines: Deadlines | None = None,
    threads: bool = False,
) -> MemoryPair[BlockingConnection, BlockingConnection, BlockingConnection]:
    """Two blocking connections without sockets::

        near, far = memory_pair("line", cut=1)
        near.send(b"hello")
        assert far.receive() == b"hello"

    One thread can use both: what was sent waits for whoever receives. A call that would wait for ever raises
    :class:`~fourtuple.testing.Stuck` instead; one with a timeout lets the pair's clock pass at once, so that
    timeouts and deadlines are tested in no time. ``close()`` waits so for the peer's FIN.

    Parameters
    ----------
    framing, far_framing
        How messages are cut, as values or as text; the far end's is the same unless given.
    cut
        The most octets that a read brings: ``1`` for octet by octet, ``[3, 1]`` for three and one in turn; None:
        whatever there is. ``pair.there.cut()`` and ``pair.back.cut()`` change it for one direction.
    capacity
        Octets that each direction holds before its sender has to wait.
    limits, deadlines
        As of :func:`fourtuple.blocking.connect`, for both ends.
    threads
        True: each end has a thread of its own, which really waits for the other one; the clock is the real one.
    """
    clock = None if threads else Clock()
    sockets = socket_pair(Link(clock), cut=cut, capacity=capacity)
    time_ = clock or time.monotonic

    def connection(sock: MemorySocket, stream: Stream) -> BlockingConnection:
        return BlockingConnection(
            sock,  # type: ignore[arg-type]
            stream,
            owned=True,
            deadlines=deadlines,
            clock=time_,
            poll=MemoryPoll,
            alarm=MemoryAlarm,
        )

    near, far = _streams(framing, far_framing, limits, time_())
    return MemoryPair(connection(sockets[0], near), connection(sockets[1], far), sockets, clock)


@overload
def async_memory_pair(
    framing: Framing[In, Out] | str,
    *,
    far_framing: None = None,
    cut: Cut = None,
    capacity: int = CAPACITY,
    limits: Limits | None = None,
    deadlines: Deadlines | None = None,
) -> MemoryPair[Connection[In, Out], Connection[In, Out], Connection[In, Out]]: ...
@overload
def async_memory_pair(
    framing: Framing[In, Out] | str,
    *,
    far_framing: Framing[NewIn, NewOut] | str,
    cut: Cut = None,
    capacity: int = CAPACITY,
    limits: Limits | None = None,
    deadlines: Deadlines | None = None,
) -> MemoryPair[Connection[In, Out], Connection[NewIn, NewOut], Connection]: ...
def async_memory_pair(
    framing: Framing | str,
    *,
    far_framing: Framing | str | None = None,
    cut: Cut = None,
    capacity: int = CAPACITY,
    limits: Limits | None = None,
    deadlines: Deadlines | None = None,
) -> MemoryPair[Connection, Connection, Connection]:
    """Two async connections without sockets, on the running loop; parameters as of :func:`memory_pair`.

    Their deadlines are measured with ``pair.clock`` alone, which ``pair.clock.advance(seconds)`` moves. The
    ``timeout`` of a call is the loop's business, and takes its time.
    """
    clock = Clock()
    link = Link(clock)
    sockets = socket_pair(link, cut=cut, capacity=capacity)
    engine = _MemoryEngine(asyncio.get_running_loop(), clock=clock)
    link.on_change.append(engine.look)
    clock.on_advance(engine.sweep)

    def connection(sock: MemorySocket, stream: Stream) -> Connection:
        sock.setblocking(False)
        stream.converse()
        channel = Channel(engine, sock, stream, deadlines or Deadlines())  # type: ignore[arg-type]
        made = Connection(channel)
        channel.start(Waker(made, channel))
        return made

    near, far = _streams(framing, far_framing, limits, clock())
    return MemoryPair(connection(sockets[0], near), connection(sockets[1], far), sockets, clock)


def _streams(
    framing: Framing | str, far_framing: Framing | str | None, limits: Limits | None, now: float
) -> tuple[Stream, Stream]:
    name = FourTuple(_NEAR, next(_ports), _FAR, 9999)
    near = parse_framing(framing)
    far = near if far_framing is None else parse_framing(far_framing)
    limits = limits or Limits()
    return Stream(near, name, limits, now), Stream(far, name.reversed, limits, now)


class _MemoryReadiness:
    """Which memory sockets can be read or written; level-triggered, as epoll(7) is."""

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
            self.wake()  # what is not served stays ready
        return found

    def look(self) -> Ready:
        return []

    def wake(self) -> None:
        """Let the engine look, in the loop's next turn."""
        if self._watchers and not self._scheduled and not self._loop.is_closed():
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self._on_ready()

    def close(self) -> None:
        self._watchers.clear()

    disown = close


class _MemoryEngine(Engine):
    """The engine as it is, except that it waits for memory sockets, and that the test's clock calls its sweep."""

    readiness: _MemoryReadiness

    def _choose(self, choice: ReadinessChoice) -> Readiness:
        return _MemoryReadiness(self.loop, self._turn)

    def add(self, channel: Swept) -> None:
        self._channels[channel] = None

    def look(self) -> None:
        """A memory socket has changed."""
        self.readiness.wake()
