"""Two connections without sockets: test protocols without I/O, with a clock that the test controls.

The connections and streams are those of clients and handlers. Only the transport of the octets is replaced
(:mod:`fourtuple.testing.wire`).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any, Generic, Self, TypeVar, overload

from fourtuple.blocking import BlockingConnection
from fourtuple.connection import Connection
from fourtuple.errors import OptionError
from fourtuple.four_tuple import FourTuple
from fourtuple.framing import Framing, parse_framing
from fourtuple.options import Deadlines, Limits, by_keyword, check_flag, check_type
from fourtuple.stream import Stream
from fourtuple.testing.clock import Clock
from fourtuple.testing.memory_engine import client_of, engine_of
from fourtuple.testing.wire import (
    CAPACITY,
    Cut,
    Link,
    MemoryAlarm,
    MemoryPoll,
    MemorySocket,
    Wire,
    socket_pair,
)
from fourtuple.typevars import In, NewIn, NewOut, Out

Near = TypeVar("Near")
Far = TypeVar("Far")
Each = TypeVar("Each")

# Addresses for documentation and tests (RFC 5737), which no machine uses.
_NEAR, _FAR = "192.0.2.1", "192.0.2.2"
_ports = itertools.cycle(range(49152, 65536))


class MemoryPair(Generic[Near, Far, Each]):
    """Two connected connections; ``near, far = pair`` unpacks them.

    ``MemoryPair[Near, Far, Each]`` gives the types of ``near``, of ``far``, and of both, as unpacked. Ends of
    different types are an :class:`UnlikePair`.

    ``near`` and ``far`` are the connections, ``sockets`` what they run on, ``clock`` measures their deadlines.
    :func:`memory_pair` and :func:`async_memory_pair` make it.
    """

    def __init__(self, near: Near, far: Far, sockets: tuple[MemorySocket, MemorySocket], clock: Clock | None) -> None:
        self.near = near
        self.far = far
        self._clock = clock
        self._sockets = sockets

    @property
    def clock(self) -> Clock:
        """The clock of both ends. Raises :class:`~fourtuple.errors.OptionError` with ``threads=True``: time is real."""
        if self._clock is None:
            raise OptionError("clock: a pair with threads=True has none, because time is real there")
        return self._clock

    @property
    def there(self) -> Wire:
        """The wire from near to far."""
        return self._sockets[0].outgoing

    @property
    def back(self) -> Wire:
        """The wire from far to near."""
        return self._sockets[1].outgoing

    def reset(self) -> None:
        """Break the connection like a network failure: both ends see an RST after the octets that have arrived."""
        for each in self._sockets:
            each.break_off()

    def __iter__(self) -> Iterator[Each]:
        both: tuple[Any, Any] = self.near, self.far
        return iter(both)

    def __repr__(self) -> str:
        return f"<MemoryPair {self.near!r}, {self.far!r}>"


# Only a tuple has a type for each of what it is unpacked to. For ends of one type, an iterator is better: mypy infers
# Any for what a connection sends that comes in a tuple from a function of its framing.
class UnlikePair(MemoryPair[Near, Far, Any], tuple[Near, Far]):
    """A :class:`MemoryPair` of ends with different types, and a tuple of both: with two framings, or of a service.

    ``near``, ``far``, ``sockets`` and ``clock`` are those of a :class:`MemoryPair`.
    """

    def __new__(cls, near: Near, far: Far, _sockets: object, _clock: object) -> Self:
        """Make the tuple; the rest is that of a :class:`MemoryPair`."""
        return tuple.__new__(cls, (near, far))


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
) -> UnlikePair[BlockingConnection[In, Out], BlockingConnection[NewIn, NewOut]]: ...
@by_keyword()
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
    """Return two blocking connections without sockets::

        near, far = memory_pair("line", cut=1)
        near.send(b"hello")
        assert far.receive() == b"hello"

    One thread can use both ends: octets sent wait until the other end receives. A call that would wait forever raises
    :class:`~fourtuple.testing.Stuck` instead. A call with a timeout moves the pair's clock at once, so that
    tests of timeouts and deadlines take no time. ``close()`` waits for the peer's FIN in the same way.

    Parameters
    ----------
    framing, far_framing
        How messages are cut, as values or as text. By default the far end has the same framing.
    cut
        The most octets of one read: ``1`` for octet by octet, ``[3, 1]`` for three and one in turn. None, the default,
        means all octets available. ``pair.there.cut()`` and ``pair.back.cut()`` change it for one direction.
    capacity
        The octets that each direction holds before its sender must wait; by default 64 KiB, about as much as Linux has
        for a new connection.
    limits, deadlines
        The same as in :func:`fourtuple.blocking.connect`, for both ends.
    threads
        True if each end is used by a separate thread. Calls then really wait, and the clock is real.

    Raises :class:`~fourtuple.errors.OptionError` for an argument that has another type or cannot be, and
    :class:`~fourtuple.errors.FramingTextError` for a framing that cannot be read.
    """
    check_flag("threads", threads)
    _check(limits, deadlines)
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
    kind = MemoryPair if far_framing is None else UnlikePair
    return kind(connection(sockets[0], near), connection(sockets[1], far), sockets, clock)


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
) -> UnlikePair[Connection[In, Out], Connection[NewIn, NewOut]]: ...
@by_keyword()
def async_memory_pair(
    framing: Framing | str,
    *,
    far_framing: Framing | str | None = None,
    cut: Cut = None,
    capacity: int = CAPACITY,
    limits: Limits | None = None,
    deadlines: Deadlines | None = None,
) -> MemoryPair[Connection, Connection, Connection]:
    """Return two async connections without sockets, on the running loop.

    ``framing``, ``far_framing``, ``cut``, ``capacity``, ``limits`` and ``deadlines`` are those of :func:`memory_pair`.

    Their deadlines are measured with ``pair.clock``, which only ``pair.clock.advance(seconds)`` moves. The
    ``timeout`` of a call is measured by the loop, in real time. Raises as :func:`memory_pair`.
    """
    _check(limits, deadlines)
    clock = Clock()
    link = Link(clock)
    sockets = socket_pair(link, cut=cut, capacity=capacity)
    engine = engine_of(link, clock)
    near, far = _streams(framing, far_framing, limits, clock())
    ends = client_of(engine, sockets[0], near, deadlines), client_of(engine, sockets[1], far, deadlines)
    return (MemoryPair if far_framing is None else UnlikePair)(*ends, sockets, clock)


def new_name() -> FourTuple:
    """Return the name of another connection in memory, as its near end sees it."""
    return FourTuple(_NEAR, next(_ports), _FAR, 9999)


def _check(limits: Limits | None, deadlines: Deadlines | None) -> None:
    check_type("limits", limits, Limits)
    check_type("deadlines", deadlines, Deadlines)


def _streams(
    framing: Framing | str, far_framing: Framing | str | None, limits: Limits | None, now: float
) -> tuple[Stream, Stream]:
    name = new_name()
    near = parse_framing(framing)
    far = near if far_framing is None else parse_framing(far_framing)
    limits = limits or Limits()
    return Stream(near, name, limits, now), Stream(far, name.reversed, limits, now)
