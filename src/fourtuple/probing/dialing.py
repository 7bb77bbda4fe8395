"""Connecting, with a clock on each step: the name, and every address of it in a race (RFC 8305)."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from fourtuple.address import Address
from fourtuple.errors import ConnectError, ConnectTimeout
from fourtuple.net.connecting import Resolve, clock, interleaved, left, look_up
from fourtuple.net.connecting.failures import connect_error, not_found
from fourtuple.net.connecting.names import literal
from fourtuple.net.connecting.racing import STAGGER
from fourtuple.net.connecting.sources import Source, Target
from fourtuple.net.connecting.steps import Found as Entry
from fourtuple.net.connecting.steps import milliseconds, wait_for_thread
from fourtuple.options import Sockets
from fourtuple.probing.result import Attempt, Resolved

#: Seconds for which the other addresses are still watched once one has answered.
LINGER = 1.0


def resolve(address: Address, until: float) -> tuple[Resolved, list[Target]]:
    """Resolve a name; the time is that of the name server."""
    began = clock()
    answer = literal(address)
    is_literal = answer is not None
    if answer is None:
        found: list[Sequence[Entry] | Exception | None] = []
        wait_for_thread(look_up(Resolve(address.host, address.port, until), found.append), left(until))
        reply = found[0] if found else None
        seconds = clock() - began
        if reply is None:
            error: ConnectError = ConnectTimeout(str(address), errno.ETIMEDOUT, f"the name {address.host!r}")
            return Resolved((), seconds, False, error), []
        if isinstance(reply, Exception):
            return Resolved((), seconds, False, not_found(address, reply)), []
        answer = reply
    pairs = [(family, sockaddr) for family, _, _, _, sockaddr in answer if family in (socket.AF_INET, socket.AF_INET6)]
    source = Source(None, Sockets())
    targets = [Target(family, sockaddr, source) for family, sockaddr in interleaved(list(dict.fromkeys(pairs)))]  # type: ignore[arg-type]
    return Resolved(tuple(each.text for each in targets), clock() - began, is_literal), targets


def with_source(targets: Sequence[Target], local: Address | None, address: Address) -> list[Target]:
    """Return the targets that a local address can reach, from there. Raises :class:`ConnectError` if there is none."""
    source = Source(local, Sockets())
    return source.matching(address, [(each.family, each.sockaddr) for each in targets])


@dataclass
class _Running:
    target: Target
    started: float
    socket: socket.socket | None = None
    seconds: float = 0.0
    error: ConnectError | None = None
    connected: bool = False

    @property
    def settled(self) -> bool:
        return self.connected or self.error is not None


@dataclass
class Race:
    """What the race brought: every attempt, and the socket of the one that won."""

    attempts: list[Attempt] = field(default_factory=list)
    socket: socket.socket | None = None
    winner: Target | None = None
    seconds: float = 0.0


def race(targets: Sequence[Target], until: float) -> Race:
    """Connect to all targets, one more each quarter of a second; the first that answers wins.

    Those that have not answered by then are watched for :data:`LINGER` more seconds, so that a dead address is told
    from a slow one.
    """
    began = clock()
    running: list[_Running] = []
    waiting = list(targets)
    winner: _Running | None = None
    next_start = began
    try:
        while waiting or any(not each.settled for each in running):
            now = clock()
            if now >= until:
                break
            if waiting and winner is None and (now >= next_start or all(each.settled for each in running)):
                running.append(_start(waiting.pop(0)))
                next_start = clock() + STAGGER
                continue
            if winner is not None:
                waiting.clear()
            _wait(running, min(until, next_start) if waiting else until)
            for each in running:
                if each.connected and winner is None:
                    winner = each
                    until = min(until, clock() + LINGER)
        return _result(running, winner, began)
    finally:
        for each in running:
            if each is not winner and each.socket is not None:
                each.socket.close()


def _start(target: Target) -> _Running:
    attempt = _Running(target, clock())
    try:
        attempt.socket = target.source.open(target.family, target.text)
        with suppress(BlockingIOError):
            attempt.socket.connect(target.sockaddr)
    except ConnectError as error:
        attempt.error = error
    except OSError as error:
        attempt.error = _named(error, target)
    return attempt


def _named(error: OSError, target: Target) -> ConnectError:
    return connect_error(error, target.text, target.family, target.sockaddr, target.source.address)


def _wait(running: Sequence[_Running], until: float) -> None:
    poll = select.poll()
    open_ones = {each.socket.fileno(): each for each in running if each.socket is not None and not each.settled}
    for descriptor in open_ones:
        poll.register(descriptor, select.POLLOUT)
    for descriptor, _events in poll.poll(milliseconds(left(until))):
        each = open_ones[descriptor]
        each.seconds = clock() - each.started
        assert each.socket is not None
        code = each.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            each.error = _named(OSError(code, os.strerror(code)), each.target)
        else:
            each.connected = True


def _result(running: Sequence[_Running], winner: _Running | None, began: float) -> Race:
    now = clock()
    attempts = [
        Attempt(
            each.target.text,
            each.started - began,
            each.seconds if each.settled else now - each.started,
            each.connected,
            each.error,
        )
        for each in running
    ]
    if winner is None:
        return Race(attempts)
    return Race(attempts, winner.socket, winner.target, winner.seconds)
