"""Happy Eyeballs: connect to the address that answers first (RFC 8305)."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from fourtuple.address import Address
from fourtuple.errors import ConnectError, ConnectRefused, ConnectTimeout
from fourtuple.four_tuple import FourTuple, Name
from fourtuple.net.connecting.failures import combined, connect_error
from fourtuple.net.connecting.sources import Target, closed_and_named
from fourtuple.net.connecting.steps import Steps, Wait, clock
from fourtuple.net.names import connection_name
from fourtuple.net.sockets import reset_on_close

#: Seconds after which the next address is tried in parallel, if the last has not answered yet: RFC 8305, 5 and 8.
STAGGER = 0.25


@dataclass(frozen=True, slots=True)
class Connected:
    """A connected, non-blocking socket, its name, and the moment of the attempt's deadline."""

    socket: socket.socket
    name: Name
    until: float | None = None


def race(address: Address, targets: Sequence[Target], until: float | None, waited: str) -> Steps[Connected]:
    """Connect to the first target that answers: RFC 8305, 5.

    The next target is tried when one has failed, or when :data:`STAGGER` seconds have passed without an answer. The
    attempts that are running go on in parallel.
    """
    waiting = deque(targets)
    running: list[_Attempt] = []
    failures: list[ConnectError] = []
    next_start = 0.0
    try:
        while waiting or running:
            if waiting and (not running or clock() >= next_start):
                next_start = clock() + STAGGER
                _start(waiting.popleft(), running, failures)
                continue
            moments = [moment for moment in (until, next_start if waiting else None) if moment is not None]
            yield Wait(tuple(attempt.socket.fileno() for attempt in running), min(moments, default=None))
            for attempt in _finished(running):
                running.remove(attempt)
                try:
                    return attempt.finish()
                except ConnectError as error:
                    failures.append(error)
                    # A failure is an answer: the next target need not wait for its turn.
                    next_start = 0.0
            if until is not None and clock() >= until:
                failures += [ConnectTimeout(each.target.text, errno.ETIMEDOUT, waited) for each in running]
                break
        raise combined(address, failures).with_traceback(None) from None
    finally:
        for attempt in running:
            # The losers: a close of a socket in SYN-SENT deletes it and sends nothing (RFC 9293, 3.10.4).
            attempt.socket.close()


def _start(target: Target, running: list[_Attempt], failures: list[ConnectError]) -> None:
    try:
        running.append(_Attempt(target))
    except ConnectError as error:
        failures.append(error)


def _finished(running: Sequence[_Attempt]) -> list[_Attempt]:
    """Return the attempts whose connect(2) has ended, with success or not."""
    poll = select.poll()
    for attempt in running:
        poll.register(attempt.socket, select.POLLOUT)
    ready = {descriptor for descriptor, _ in poll.poll(0)}
    return [attempt for attempt in running if attempt.socket.fileno() in ready]


class _Attempt:
    """One socket that connects to one target. If it fails, it raises a ConnectError and closes the socket."""

    __slots__ = ("socket", "target")

    def __init__(self, target: Target) -> None:
        self.target = target
        self.socket = target.source.open(target.family, target.text)
        with closed_and_named(self.socket, self._named), suppress(BlockingIOError):  # EINPROGRESS
            self.socket.connect(target.sockaddr)

    def finish(self) -> Connected:
        """Return the connected socket.

        SO_ERROR has the outcome of connect(2), and any error since the handshake. If the peer resets the connection at
        once, the RST is found here if it has arrived, and otherwise by the first receive or send
        (:class:`~fourtuple.errors.PeerReset`). Waiting for an RST would delay every other connection.
        """
        with closed_and_named(self.socket, self._named):
            code = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code))
            name = connection_name(self.socket)
            if isinstance(name, FourTuple) and name == name.reversed:
                # Otherwise the port that it has would stay in TIME-WAIT, and the server that should listen there could
                # not bind it.
                reset_on_close(self.socket)
                raise _self_connected(name, self.target)
            return Connected(self.socket, name)

    def _named(self, error: OSError) -> ConnectError:
        target = self.target
        return connect_error(error, target.text, target.family, target.sockaddr, target.source.address)


def _self_connected(name: FourTuple, target: Target) -> ConnectRefused:
    """Return the error for a socket that is connected to itself.

    Two SYNs that cross make a connection (RFC 9293, 3.5), and so does a SYN that comes back to its sender.
    """
    return ConnectRefused(
        target.text,
        errno.ECONNREFUSED,
        f"no socket listens there: port {name.local_port} is this end's own, and the socket was connected to itself",
    )
