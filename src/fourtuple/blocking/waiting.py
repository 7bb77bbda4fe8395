"""select() over blocking connections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fourtuple.blocking.connection import BlockingConnection
from fourtuple.blocking.polling import IN, OUT, after, earlier, milliseconds


def wait(connections: Iterable[BlockingConnection], timeout: float | None = None) -> list[BlockingConnection]:
    """Wait until at least one connection has something for ``receive()``; return those that have.

    That is a message, the end of file, or an error: ``receive()`` will not block. Messages that are decoded
    already count, which select(2) on the sockets would not see; part of a message does not. What is left in
    outboxes goes out meanwhile. Returns ``[]`` after ``timeout`` seconds, and for no connections at all.
    """
    watched = list(connections)
    if not watched:
        return []
    clock = watched[0]._clock
    until = after(timeout, clock)
    while True:
        ready = [each for each in watched if each._stream.readable]
        waiting = [each for each in watched if not each._stream.readable]
        # With one ready, the others still get a look that does not wait: nobody is served twice before them.
        if waiting and _pump(waiting, clock() if ready else until):
            ready = [each for each in watched if each._stream.readable]
        if ready or (until is not None and clock() >= until):
            return ready


def _pump(waiting: Sequence[BlockingConnection], until: float | None) -> bool:
    """Move octets of whichever connections can, after waiting for the first; return whether any could."""
    poll = waiting[0]._new_poll()
    by_fd = {each.fileno(): each for each in waiting}
    for fd, each in by_fd.items():
        poll.register(fd, IN | (OUT if each._stream.outbox_size else 0))
    gaps = [each._stream.gap_at for each in waiting if each._stream.gap_at is not None]
    moved = poll.poll(milliseconds(earlier(until, min(gaps, default=None)), waiting[0]._clock))
    for fd, events in moved:
        by_fd[fd]._move(events)
        if events & ~OUT:
            del by_fd[fd]
    for each in by_fd.values():
        each._look_for_silence()
    return bool(moved or gaps)
