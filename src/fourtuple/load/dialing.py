"""Connecting repeatedly to one address that is already resolved.

The first connection finds the address, through :mod:`fourtuple.net.connecting`. All others connect to the same address,
without a task or a timer for each: a :class:`Dial` is a watcher on the engine, like a channel.
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from fourtuple.address import Address
from fourtuple.engine import Engine
from fourtuple.engine.readiness import OUT
from fourtuple.errors import ConnectError, ConnectRefused, ConnectTimeout
from fourtuple.four_tuple import FourTuple, Name
from fourtuple.load.schedule import SECOND, Schedule
from fourtuple.net.connecting.failures import connect_error, unix_error
from fourtuple.net.names import connection_name
from fourtuple.net.sockets import apply_options, reset_on_close
from fourtuple.options import Sockets

#: The most handshakes at once: fewer than the backlog of most servers, so that they drop no SYN.
MAX_DIALS = 128
#: Seconds between two attempts on a Unix socket whose accept queue is full: it cannot be polled.
_FULL_QUEUE_PAUSE = 0.01
#: Seconds between two checks for connects that take too long.
_LOOK = 0.1


class Caller(Protocol):
    """The interface of an object that wants a connection."""

    #: The options of the connection's socket.
    sockets: Sockets

    def connected(self, sock: socket.socket, name: Name, nanoseconds: int) -> None:
        """Take the connected socket; connecting took ``nanoseconds``."""

    def not_connected(self, error: ConnectError) -> None:
        """Take the error of a failed connect."""


@dataclass(frozen=True, slots=True)
class Way:
    """The address that was found, in the form that connect(2) takes."""

    family: int
    sockaddr: Any
    address: Address

    @property
    def text(self) -> str:
        """The address as the user gave it."""
        return str(self.address)

    @classmethod
    def of(cls, sock: socket.socket, address: Address) -> Way:
        """The peer's address of a connected socket."""
        if sock.family == socket.AF_UNIX:
            path = address.path
            return cls(sock.family, "\0" + path[1:] if path.startswith("@") else path, address)
        return cls(sock.family, sock.getpeername(), address)


class Dialer:
    """Makes connections by ``schedule``, at most :data:`MAX_DIALS` at once, from the ``local`` addresses in turn."""

    def __init__(
        self,
        engine: Engine,
        way: Way,
        *,
        timeout: float,
        clock: Callable[[], int],
        local: Sequence[tuple[str, int]] = (),
        schedule: Schedule | None = None,
    ) -> None:
        self.engine = engine
        self.way = way
        self.timeout = timeout
        self.clock = clock
        self._local = deque(local)
        self._schedule = schedule
        self._began = clock()
        self._dialled = 0
        self._waiting: deque[Caller] = deque()
        self._dials: set[Dial] = set()
        self._timer: Any = None
        self._sweeper: Any = None
        self._closed = False

    def dial(self, caller: Caller) -> None:
        """Connect for ``caller`` in its turn. The caller gets the outcome, always after this method has returned."""
        self._waiting.append(caller)
        if len(self._dials) < MAX_DIALS and self._timer is None:
            self._timer = self.engine.loop.call_soon(self._timed)

    def _timed(self) -> None:
        self._timer = None
        self._pump()

    def _pump(self) -> None:
        while self._waiting and len(self._dials) < MAX_DIALS and not self._closed:
            if self._schedule is not None:
                ahead = self._began + self._schedule.at(self._dialled) - self.clock()
                if ahead > 0:
                    if self._timer is None:
                        self._timer = self.engine.loop.call_later(ahead / SECOND, self._timed)
                    return
            self._dialled += 1
            self._start(self._waiting.popleft())

    def _start(self, caller: Caller) -> None:
        local = None
        if self._local:
            local = self._local[0]
            self._local.rotate(-1)
        dial = Dial(self, caller, local)
        self._dials.add(dial)
        if self._sweeper is None:
            self._sweeper = self.engine.loop.call_later(_LOOK, self._sweep)
        dial.start()

    def done(self, dial: Dial) -> None:
        """Note that a dial has ended."""
        self._dials.discard(dial)
        if self._waiting and self._timer is None and not self._closed:
            self._timer = self.engine.loop.call_soon(self._timed)

    def _sweep(self) -> None:
        """End the dials that take too long. One timer serves all dials."""
        self._sweeper = None
        limit = self.clock() - int(self.timeout * SECOND)
        for dial in [dial for dial in self._dials if dial.began < limit]:
            dial.late()
        if self._dials and not self._closed:
            self._sweeper = self.engine.loop.call_later(_LOOK, self._sweep)

    def close(self) -> None:
        """Abort all dials without telling their callers."""
        self._closed = True
        self._waiting.clear()
        for timer in (self._timer, self._sweeper):
            if timer is not None:
                timer.cancel()
        self._timer = self._sweeper = None
        for dial in list(self._dials):
            dial.end()


class Dial:
    """One socket that is connecting."""

    __slots__ = ("_caller", "_dialer", "_local", "_retry", "_sock", "began", "fd", "mask")

    def __init__(self, dialer: Dialer, caller: Caller, local: tuple[str, int] | None) -> None:
        self._dialer = dialer
        self._caller = caller
        self._local = local
        self._sock: socket.socket | None = None
        self._retry: Any = None
        self.began: int = dialer.clock()
        self.fd: int = -1
        self.mask: int = 0

    def start(self) -> None:
        """Open the socket and begin to connect."""
        dialer = self._dialer
        try:
            self._sock = sock = socket.socket(dialer.way.family, socket.SOCK_STREAM)
            self.fd = sock.fileno()
            sock.setblocking(False)
            apply_options(sock, self._caller.sockets)
            if self._local is not None:
                with suppress(OSError):
                    sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
                sock.bind(self._local)
        except OSError as error:
            self._failed(error)
            return
        self._connect()

    def _connect(self) -> None:
        assert self._sock is not None
        self._retry = None
        try:
            self._sock.connect(self._dialer.way.sockaddr)
        except BlockingIOError:
            if self._sock.family == socket.AF_UNIX:
                # EAGAIN: the accept queue is full (connect(2), unix(7)). poll(2) does not tell when it has room.
                self._retry = self._dialer.engine.loop.call_later(_FULL_QUEUE_PAUSE, self._connect)
            else:
                self._dialer.engine.readiness.watch(self, OUT)
        except OSError as error:
            self._failed(error)
        else:
            self._connected()

    def on_ready(self, _events: int) -> None:
        """Handle the end of the handshake, successful or not."""
        assert self._sock is not None
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._failed(OSError(code, os.strerror(code)))
        else:
            self._connected()

    def _connected(self) -> None:
        assert self._sock is not None
        took = self._dialer.clock() - self.began
        sock = self._sock
        try:
            name = connection_name(sock)
        except OSError as error:  # the peer has already sent RST
            self._failed(error)
            return
        if isinstance(name, FourTuple) and name == name.reversed:
            # Two SYNs that cross make a connection (RFC 9293, 3.5), and so does a SYN that returns to its sender.
            reset_on_close(sock)
            self._refused(
                ConnectRefused(self._dialer.way.text, errno.ECONNREFUSED, "the socket was connected to itself")
            )
            return
        self._dialer.engine.readiness.watch(self, 0)
        self._sock = None
        self._dialer.done(self)
        self._caller.connected(sock, name, took)

    def _failed(self, error: OSError) -> None:
        way = self._dialer.way
        if way.family == socket.AF_UNIX:
            self._refused(unix_error(error, way.address))
            return
        local = None if self._local is None else Address(*self._local[:2])
        self._refused(connect_error(error, way.text, way.family, way.sockaddr, local))

    def _refused(self, error: ConnectError) -> None:
        self.end()
        self._caller.not_connected(error)

    def late(self) -> None:
        """Fail, because the timeout has passed."""
        self._refused(ConnectTimeout(self._dialer.way.text, errno.ETIMEDOUT, f"waited {self._dialer.timeout:g} s"))

    def end(self) -> None:
        """Release the socket."""
        if self._retry is not None:
            self._retry.cancel()
        if self._sock is not None:
            self._dialer.engine.readiness.watch(self, 0)
            self._dialer.engine.close_later(self._sock)
            self._sock = None
        self._dialer.done(self)

    def on_failure(self, error: BaseException) -> None:
        """Release the socket after an error in on_ready, which the engine has reported."""
        self.end()

    def on_slow(self, seconds: float) -> None:
        """Do nothing: a slow turn does not concern a connecting socket."""


#: ip(7), since Linux 4.2; socket.IP_BIND_ADDRESS_NO_PORT since Python 3.12. connect(2) then chooses the port. It knows
#: the peer, so that each local address can use all ports towards each peer.
_IP_BIND_ADDRESS_NO_PORT = 24
