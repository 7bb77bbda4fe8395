"""select() over blocking connections."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from operator import methodcaller
from typing import TypeVar

from fourtuple.blocking.connection import BlockingConnection
from fourtuple.blocking.descriptor import Descriptor
from fourtuple.blocking.polling import IN, OUT, after, earlier, milliseconds
from fourtuple.blocking.rates import LONGEST_WAIT, look_for_loss, room
from fourtuple.errors import ConnectionEnded
from fourtuple.options import check_timeout, check_type

B = TypeVar("B", bound=BlockingConnection)

_RELEASE = methodcaller("release")


def wait(connections: Iterable[B], timeout: float | None = None) -> list[B]:
    """Wait until ``receive()`` of at least one connection would not block; return those connections.

    They have a message, the end of file, or an error. A message that is decoded already counts, although select(2) on
    the socket would not see it; a part of a message does not count. Outboxes are written meanwhile. Returns ``[]``
    after ``timeout`` seconds, and for an empty list of connections. A connection that another thread closes or aborts
    meanwhile is also returned: its ``receive()`` raises ConnectionEnded.

    Raises :class:`~fourtuple.errors.ConnectionBusy` when another thread receives from one of the connections.
    """
    watched = list(connections)
    check_timeout(timeout)
    for each in watched:
        check_type("connections", each, BlockingConnection, optional=False)
    if not watched:
        return []
    held: list[threading.RLock] = []
    receiving: list[B] = []  # those that did not receive before: a signal handler may wait below another call
    try:
        for each in watched:
            each._in.begin(held)
            if not each._socket.receiving:
                receiving.append(each)
                each._socket.receiving = True
        return _ready(watched, timeout)
    finally:
        try:
            for each in receiving:
                each._socket.receiving = False
        finally:
            # One call into C: an interrupt cannot come between two of them.
            deque(map(_RELEASE, held), 0)


def _ready(watched: Sequence[B], timeout: float | None) -> list[B]:
    clock = watched[0]._socket.clock
    until = after(timeout, clock)
    while True:
        ready = [each for each in watched if each._in.readable()]
        waiting = [each for each in watched if not each._in.readable()]
        # If one is ready, the others are still checked without a wait, so that no connection starves the others.
        if waiting and _pump(waiting, clock() if ready else until):
            ready = [each for each in watched if each._in.readable()]
        if ready or (until is not None and clock() >= until):
            return ready


def _pump(waiting: Sequence[BlockingConnection], until: float | None) -> bool:
    """Wait for the first event of any connection, and move octets; return whether the caller must check again."""
    poll = waiting[0]._socket.new_poll()
    by_fd: dict[int, BlockingConnection] = {}
    held: list[Descriptor] = []
    throttled = False
    try:
        for each in waiting:
            held.append(each._socket.in_use("wait"))
            by_fd[held[-1].socket.fileno()] = each
            # One that waits for a rate is not polled for reading, which would end every wait: it is checked later.
            may_read = room(each._socket)
            events = (IN if may_read else 0) | (OUT if each._stream.outbox_size else 0)
            if events:
                poll.register(held[-1].socket, events)
            if not may_read:
                if look_for_loss(each._socket):
                    return True
                until = earlier(until, each._socket.clock() + LONGEST_WAIT)
                throttled = True
    except ConnectionEnded:  # another thread has just ended the connection, which is also a result
        held.clear()
        return True
    gaps = [each._stream.gap_at for each in waiting if each._stream.gap_at is not None]
    for each in waiting:
        until = earlier(until, each._out.write_due())
    try:
        moved = dict(poll.poll(milliseconds(earlier(until, min(gaps, default=None)), waiting[0]._socket.clock)))
    finally:
        held.clear()  # so that the traceback of an interrupt does not keep the descriptors
    for fd, each in by_fd.items():
        events = moved.get(fd, 0)
        with suppress(ConnectionEnded):
            each._in.move(events)
            if not events & ~OUT:
                each._in.look_for_silence()
            each._out.timed_out()
    return bool(moved or gaps or throttled)
