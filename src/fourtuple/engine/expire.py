"""The deadlines of a channel: which has passed, and what that means for its connection.

A stream tells its next deadline, as data; the engine's sweep asks, four times a second, and only the channels whose
``due`` has come.
"""

from __future__ import annotations

import functools
import math
from typing import Protocol

from fourtuple.address import Name
from fourtuple.engine.consumer import Consumer
from fourtuple.errors import DeadlinePassed
from fourtuple.options import Deadlines
from fourtuple.stream import Reason, Stream


class Expiring(Protocol):
    """A channel, as far as its deadlines go."""

    stream: Stream
    deadlines: Deadlines
    due: float
    detached: bool
    consumer: Consumer | None

    @property
    def name(self) -> Name:
        """The connection's name."""

    def close(self, reason: Reason) -> None:
        """Close behind the outbox, lingering."""

    def abort(self, reason: Reason) -> None:
        """End now, with RST."""

    def _shut(self) -> None:
        """Wake whoever has the socket."""

    def _end(self) -> None:
        """Unregister, close, tell."""


def look(channel: Expiring, now: float) -> None:
    """Close the channel if a deadline has passed; else say when the next look is due."""
    found = channel.stream.next_deadline(channel.deadlines)
    if found is None or found[0] > now:
        # A stamp that is set from now on passes no sooner than the shortest deadline: no look before.
        channel.due = min(found[0] if found else math.inf, _soonest(now, channel.deadlines))
        return
    _, which, seconds = found
    if channel.consumer is not None and channel.consumer.busy and channel.stream.excused(which, now):
        return
    channel.due = math.inf
    if which == "linger_timeout":
        _end_lingering(channel)
        return
    miss(channel, DeadlinePassed(which, seconds, str(channel.name)))


def miss(channel: Expiring, error: DeadlinePassed) -> None:
    """A deadline passed: say so, and close; where nothing can be written, at once."""
    channel.stream.late(error)
    if channel.consumer is not None:
        channel.consumer.deadline(error)
    if error.which == "write_timeout":
        channel.abort(Reason.DEADLINE)
    elif channel.detached:
        channel.stream.broken(error, Reason.DEADLINE, borrowed=True)
        channel._shut()
    else:
        # For a receive() that waits: it was not the handler that closed.
        channel.stream.receive_fails(error)
        channel.close(Reason.DEADLINE)


def _end_lingering(channel: Expiring) -> None:
    if channel.detached:
        channel._shut()
    else:
        channel._end()


@functools.lru_cache(maxsize=4)
def _soonest(now: float, deadlines: Deadlines) -> float:
    """When the next look is due at the earliest: thousands share one moment, and need it in memory once."""
    return now + _shortest(deadlines)


@functools.cache
def _shortest(deadlines: Deadlines) -> float:
    """The shortest deadline that may begin without the channel's doing."""
    lengths = (
        deadlines.first_message_timeout,
        deadlines.message_timeout,
        deadlines.idle_timeout,
        deadlines.write_timeout,
        deadlines.handshake_timeout,
    )
    return min((each for each in lengths if each is not None), default=math.inf)
