"""The deadlines of a channel: which one has passed, and what happens to its connection then.

A stream returns its next deadline as data. The engine's sweep asks four times a second, and only channels whose
``due`` has come.
"""

from __future__ import annotations

import functools
import math
from typing import Protocol

from fourtuple.engine.consumer import Consumer
from fourtuple.errors import DeadlinePassed
from fourtuple.four_tuple import Name
from fourtuple.options import Deadlines
from fourtuple.stream import Reason, Stream


class Expiring(Protocol):
    """The part of a channel that its deadlines need."""

    stream: Stream
    deadlines: Deadlines
    due: float
    detached: bool
    consumer: Consumer | None

    @property
    def name(self) -> Name:
        """The connection's name."""

    def close(self, reason: Reason) -> None:
        """Close after the outbox, lingering."""

    def abort(self, reason: Reason) -> None:
        """End now, with RST."""

    def _shut(self) -> None:
        """Shut down the socket, which wakes the thread or program that has it."""

    def _end(self) -> None:
        """Unregister, close, tell the observers."""


def look(channel: Expiring, now: float) -> None:
    """Close the channel if a deadline has passed; else set when the next check is due."""
    found = channel.stream.next_deadline(channel.deadlines)
    if found is None or found[0] > now:
        # A deadline that begins from now on cannot pass before the shortest timeout: no check is needed before that.
        channel.due = min(found[0] if found else math.inf, _soonest(now, channel.deadlines))
        return
    _, which, seconds = found
    if channel.consumer is not None and channel.consumer.busy and channel.stream.excused(which, now):
        # ``due`` stays in the past, so that every sweep looks again until the handler has ended.
        return
    # A deadline is reported once. The end sets ``due`` again for its own steps; a thread that has the socket is woken
    # instead.
    channel.due = math.inf
    if which == "linger_timeout":
        _end_lingering(channel)
        return
    layer = channel.stream.layer
    why = layer.unfinished() if layer is not None and which == layer.deadline else ""
    miss(channel, DeadlinePassed(which, seconds, str(channel.name), why))


def miss(channel: Expiring, error: DeadlinePassed) -> None:
    """Tell the consumer that a deadline passed, and close; abort if writing is what missed it."""
    channel.stream.late(error)
    if channel.consumer is not None:
        channel.consumer.deadline(error)
    if error.which == "write_timeout":
        # RST and not FIN: FIN would wait behind the octets that the peer does not read (zero window, RFC 9293,
        # 3.8.6.1).
        channel.abort(Reason.DEADLINE)
    elif channel.detached:
        channel.stream.broken(error, Reason.DEADLINE, borrowed=True)
        channel._shut()
    else:
        # So that a waiting receive() raises this error, not one that says the handler closed.
        channel.stream.receive_fails(error)
        channel.close(Reason.DEADLINE)


def _end_lingering(channel: Expiring) -> None:
    if channel.detached:
        channel._shut()
    else:
        channel._end()


@functools.lru_cache(maxsize=4)
def _soonest(now: float, deadlines: Deadlines) -> float:
    """Return the earliest next check. Cached: thousands of channels then share one float object in memory."""
    return now + _shortest(deadlines)


@functools.lru_cache(maxsize=256)  # a bound: connections may change their own, to what peers ask for
def _shortest(deadlines: Deadlines) -> float:
    """Return the shortest timeout whose deadline may begin without the channel setting ``due``."""
    lengths = (
        deadlines.first_message_timeout,
        deadlines.message_timeout,
        deadlines.idle_timeout,
        deadlines.write_timeout,
        deadlines.handshake_timeout,
    )
    return min((each for each in lengths if each is not None), default=math.inf)
