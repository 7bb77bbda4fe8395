"""Two ends of a connection in memory. They behave like TCP sockets, without descriptors.

::

    MemorySocket.send  ->  Wire: octets in flight, held or cut as the test wants  ->  the other end's recv

The behaviour of a kernel is simulated as far as a program can see it. A full wire takes no more octets (the peer's
window). FIN comes after the last octet. An end that is closed with unread octets sends RST. Octets that arrived before
an RST can still be read. A send to a closed end succeeds once, and the next call gets the error (tcp(7)).
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
import struct
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from fourtuple.engine.readiness import ERR, HUP, IN, OUT, RDHUP
from fourtuple.options import check_whole, refuse
from fourtuple.testing.clock import Clock

#: The most octets of each read: one number for all reads, or several numbers that are used in turn.
Cut: TypeAlias = "int | Iterable[int] | None"

#: The octets that a wire holds before its sender must wait: about as many as Linux has for a new connection.
CAPACITY = 64 * 1024

#: One lock for all memory sockets of the process, because one thread may wait for several of them.
_changed = threading.Condition(threading.RLock())
#: Never numbers of descriptors: if one is passed to the kernel by mistake, the call fails with EBADF.
_numbers = itertools.count(-1000, -1)
_sockets: weakref.WeakValueDictionary[int, MemorySocket] = weakref.WeakValueDictionary()
_alarms: weakref.WeakValueDictionary[int, MemoryAlarm] = weakref.WeakValueDictionary()


class Stuck(AssertionError):
    """A call would wait forever, because the only thread of the test is the one that waits."""


class Wire:
    """One direction: the octets in flight, and how they arrive. The end of file comes after the last octet.

    ``pair.there`` and ``pair.back`` of a :class:`MemoryPair` are wires. ``link`` is what both have in common; ``cut``
    and ``capacity`` are those of :func:`memory_pair`.
    """

    def __init__(self, link: Link, cut: Cut, capacity: int) -> None:
        check_whole("capacity", capacity, 1, "octets")
        self._link = link
        self._octets = bytearray()
        self._capacity = capacity
        self._fin = False
        # How many octets may be read, None for all; and whether FIN may be.
        self._allowed: int | None = None
        self._fin_allowed = True
        self.cut(cut)

    def cut(self, cut: Cut) -> None:
        """Bound the octets of each read by ``cut``: ``1`` is octet by octet, ``[3, 1]`` 3 and 1 in turn, None all."""
        sizes: list[int] = []
        if cut is not None:
            sizes = list(cut) if isinstance(cut, Iterable) else [cut]
            if not sizes or not all(type(each) is int and each >= 1 for each in sizes):
                refuse("cut", cut, "None, or a whole number of octets, 1 or more, or several, as in [3, 1]")
        self._sizes: Iterator[int] | None = itertools.cycle(sizes) if sizes else None

    def hold(self) -> None:
        """Let nothing arrive, not even a FIN, until :meth:`deliver` or :meth:`release`."""
        with _changed:
            self._allowed, self._fin_allowed = 0, False

    def deliver(self, count: int | None = None) -> None:
        """Let ``count`` octets of a held wire arrive. Default: None, which means all in flight, and their FIN."""
        if count is not None:
            check_whole("count", count, 0, "octets")
        with _changed:
            if self._allowed is not None:
                self._allowed = len(self._octets) if count is None else self._allowed + count
                self._fin_allowed = count is None and self._fin
        self._link.tell()

    def release(self) -> None:
        """Let everything arrive again."""
        with _changed:
            self._allowed, self._fin_allowed = None, True
        self._link.tell()

    @property
    def in_flight(self) -> int:
        """The number of octets sent and not read yet."""
        return len(self._octets)

    @property
    def readable(self) -> int:
        """The number of octets that can be read now."""
        return len(self._octets) if self._allowed is None else min(self._allowed, len(self._octets))

    @property
    def ended(self) -> bool:
        """Whether a read now returns end of file."""
        return self._fin and not self._octets and self._fin_allowed

    @property
    def finished(self) -> bool:
        """Whether FIN has arrived, perhaps after octets that are not read yet."""
        return self._fin and self._fin_allowed and self.readable == len(self._octets)

    @property
    def room(self) -> int:
        """The number of octets that the sender may add."""
        return self._capacity - len(self._octets)

    # -- for the sockets ----------------------------------------------------------------------------------

    def put(self, data: bytes | memoryview) -> int:
        """Add as many octets of ``data`` as there is room for; return their number."""
        count = min(self.room, len(data))
        self._octets += data[:count]
        return count

    def finish(self) -> None:
        """Add FIN after the last octet."""
        self._fin = True

    def take(self, size: int) -> bytes:
        """Take the octets of one read of at most ``size``, and return them."""
        count = min(size, self.readable)
        if count and self._sizes is not None:
            count = min(count, next(self._sizes))
        data = bytes(self._octets[:count])
        del self._octets[:count]
        if self._allowed is not None:
            self._allowed -= count
        return data

    def lose(self) -> None:
        """Drop the octets that have not arrived, because the sender has sent RST."""
        del self._octets[self.readable :]

    def __repr__(self) -> str:
        held = "" if self._allowed is None else f", {self.readable} of them may arrive"
        return f"<Wire {self.in_flight} octets in flight{held}{', end of file behind them' if self._fin else ''}>"


class Link:
    """The state that both ends share: the clock, and the functions to call after changes."""

    def __init__(self, clock: Clock | None) -> None:
        #: Moves when a single thread waits; None if two threads wait for each other in real time.
        self.clock = clock
        self.on_change: list[Callable[[], None]] = []

    def tell(self) -> None:
        """Wake waiting threads and call ``on_change``, because octets have arrived or there is room."""
        with _changed:
            _changed.notify_all()
        for look in self.on_change:
            look()


def socket_pair(link: Link, *, cut: Cut, capacity: int) -> tuple[MemorySocket, MemorySocket]:
    """Make two connected ends."""
    there, back = Wire(link, cut, capacity), Wire(link, cut, capacity)
    one, other = MemorySocket(link, back, there), MemorySocket(link, there, back)
    one.peer, other.peer = other, one
    return one, other


class MemorySocket:
    """One end, with the methods of a socket that fourtuple calls."""

    peer: MemorySocket

    def __init__(self, link: Link, incoming: Wire, outgoing: Wire) -> None:
        self.incoming: Wire = incoming
        self.outgoing: Wire = outgoing
        self._link = link
        self._number = next(_numbers)
        _sockets[self._number] = self
        self._blocking = True
        self._deaf = self._mute = self._reset = self._linger_zero = False
        #: Like SO_ERROR (socket(7)): reading it clears it.
        self._error = 0
        self.closed: bool = False

    # -- octets -------------------------------------------------------------------------------------------

    def recv(self, size: int, flags: int = 0) -> bytes:
        """Like recv(2): return octets that have arrived, cut by the wire; ``b""`` at the end of file."""
        with _changed:
            while True:
                self._check_open()
                if not self._deaf and (data := self.incoming.take(size)):
                    break
                self._raise_error()
                if self._deaf or self._reset or self.incoming.ended:
                    return b""
                self._wait(flags, "octets", "sends")
        self._link.tell()  # there is room again
        return data

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:
        """Like send(2): send as many octets as the wire takes, at least one."""
        with _changed:
            while True:
                self._check_open()
                self._raise_error()
                if self._mute or self._reset:
                    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
                if self.peer.closed:
                    self._break()  # its RST is the answer; this call still succeeds
                    count = len(data)
                    break
                if count := self.outgoing.put(data):
                    break
                self._wait(flags, "room", "reads")
        self._link.tell()
        return count

    def shutdown(self, how: int) -> None:
        """Like shutdown(2)."""
        with _changed:
            self._check_open()
            if self._reset:
                raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
            if how in (socket.SHUT_WR, socket.SHUT_RDWR):
                self._mute = True
                self.outgoing.finish()
            if how in (socket.SHUT_RD, socket.SHUT_RDWR):
                self._deaf = True
        self._link.tell()

    def close(self) -> None:
        """Like close(2): send FIN, or RST if SO_LINGER is zero or octets are unread."""
        with _changed:
            if self.closed:
                return
            self.closed = True
            _sockets.pop(self._number, None)
            if self._linger_zero or self.incoming.in_flight:
                self.outgoing.lose()
                self.peer._break()
            self.outgoing.finish()
        self._link.tell()

    def _break(self) -> None:
        """Take an RST: octets that arrived before can be read, then the error is raised once."""
        if not self._reset and not self.closed:
            self._reset, self._error = True, errno.ECONNRESET

    def break_off(self) -> None:
        """Simulate a network failure: this end sees an RST that the other end did not send."""
        with _changed:
            self.incoming.lose()
            self._break()
        self._link.tell()

    def _raise_error(self) -> None:
        if self._error:
            error, self._error = self._error, 0
            raise OSError(error, os.strerror(error))  # OSError makes the subclass for the number

    def _wait(self, flags: int, what: str, does: str) -> None:
        if flags & socket.MSG_DONTWAIT or not self._blocking:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if self._link.clock is not None:
            raise stuck(f"for {what}", does)
        _changed.wait()

    def _check_open(self) -> None:
        if self.closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    # -- what a kernel would say --------------------------------------------------------------------------

    def events(self) -> int:
        """All events that poll(2) and epoll(7) would report, requested or not."""
        incoming = self.incoming
        events = 0
        if incoming.readable or incoming.ended or self._deaf or self._reset:
            events |= IN
        if self.outgoing.room > 0 or self._mute or self._reset or self.peer.closed:
            events |= OUT
        if self._error:
            events |= ERR
        if incoming.finished or self._deaf or self._reset:
            events |= RDHUP
        if self._reset or (self._mute and (incoming.ended or self._deaf)):
            events |= HUP
        return events

    def fileno(self) -> int:
        """A number that is not a descriptor; -1 after close()."""
        return -1 if self.closed else self._number

    def setblocking(self, flag: bool) -> None:
        """The same as for a socket."""
        self._blocking = flag

    def setsockopt(self, level: int, option: int, value: int | bytes) -> None:
        """Take SO_LINGER with zero seconds, which makes close() send RST. Other options are ignored."""
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER) and isinstance(value, bytes):
            self._linger_zero = struct.unpack("ii", value) == (1, 0)

    def getsockopt(self, level: int, option: int, size: int = 0) -> int:
        """Return SO_ERROR. Raises OSError for options that need a kernel, such as TCP_INFO."""
        if (level, option) != (socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(errno.EOPNOTSUPP, "a connection in memory has no kernel behind it")
        error, self._error = self._error, 0
        return error

    def __repr__(self) -> str:
        state = "closed" if self.closed else "reset" if self._reset else "open"
        return f"<MemorySocket {state}, in {self.incoming!r}, out {self.outgoing!r}>"


class MemoryAlarm:
    """Ends a :class:`MemoryPoll` from another thread."""

    def __init__(self) -> None:
        self._number = next(_numbers)
        self._rung = False
        _alarms[self._number] = self

    def fileno(self) -> int:
        """A number that is not a descriptor."""
        return self._number

    def ring(self) -> None:
        """End the current poll, and any later poll at once."""
        with _changed:
            self._rung = True
            _changed.notify_all()

    def close(self) -> None:
        """Give up the number."""
        _alarms.pop(self._number, None)

    def events(self) -> int:
        """Readable after :meth:`ring`."""
        return IN if self._rung else 0


class MemoryPoll:
    """Like select.poll(), for memory sockets. With a single thread, waiting moves the clock."""

    def __init__(self) -> None:
        self._watched: dict[MemorySocket, int] = {}
        self._alarms: list[MemoryAlarm] = []

    def register(self, fd: Any, eventmask: int, /) -> None:
        """Wait for these events of a memory socket, or of its number."""
        if fd in _alarms:
            self._alarms.append(_alarms[fd])
        else:
            self._watched[fd if isinstance(fd, MemorySocket) else socket_of(fd)] = eventmask

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """Wait for the first event, at most ``timeout`` milliseconds."""
        seconds = None if timeout is None else timeout / 1000
        clock = next((each._link.clock for each in self._watched), None)
        with _changed:
            if clock is None:
                _changed.wait_for(self._ready, seconds)
            elif seconds is not None and not self._ready():
                # Nothing can come while the only thread waits. Every poll moves the clock by at least a microsecond,
                # so that a loop that polls until a deadline ends in spite of rounding.
                clock.advance(max(seconds, 1e-6))
            elif seconds is None and not self._ready():
                full = any(each.outgoing.room <= 0 and mask & OUT for each, mask in self._watched.items())
                raise stuck("for room" if full else "for octets", "reads" if full else "sends")
            return self._ready()

    def _ready(self) -> list[tuple[int, int]]:
        found = [(each.fileno(), each.events() & (mask | ERR | HUP)) for each, mask in self._watched.items()]
        found += [(each.fileno(), each.events()) for each in self._alarms]
        return [(number, events) for number, events in found if events]


def socket_of(number: int) -> MemorySocket:
    """The open memory socket of a number. Raises ValueError if there is none, as select.poll() does."""
    try:
        return _sockets[number]
    except KeyError:
        raise ValueError(f"{number} is not a connection in memory; these cannot be mixed with sockets") from None


def stuck(what: str, does: str) -> Stuck:
    """The error for a wait that cannot end."""
    return Stuck(
        f"this call waits {what}, and no other thread {does}: let the other end do so first, give a timeout, "
        "or use each end in a thread of its own, with memory_pair(threads=True)"
    )
