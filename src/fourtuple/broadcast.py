"""One message to many connections: encoded once, and nobody is waited for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from fourtuple import events
from fourtuple.connection import Connection
from fourtuple.drivers import Driver
from fourtuple.engine import Channel, usual
from fourtuple.errors import OutboxFull
from fourtuple.framing import Framing
from fourtuple.stream import Half, Reason

#: What happens to a consumer that is too slow.
Slow = Literal["skip", "close", "abort"]


@dataclass(frozen=True, slots=True)
class Broadcast:
    """What became of a broadcast.

    ``sent`` connections got the message, ``slow`` ones had a crowded outbox and were skipped, closed or aborted,
    ``out_of_reach`` ones are ending, or their socket is in the hands of a thread or a program.
    """

    sent: int
    slow: int
    out_of_reach: int


def broadcast(
    drivers: Iterable[Driver],
    message: Any,
    slow: Slow,
    to: Callable[[Connection], bool] | None,
    observer: events.Observer,
) -> Broadcast:
    """See :meth:`fourtuple.Server.broadcast`."""
    chosen = [driver for driver in drivers if to is None or to(driver.connection)]
    within = [driver for driver in chosen if _reachable(driver)]
    # Everything is encoded before anything is sent: an EncodeError leaves nobody with half of a broadcast.
    encoded: dict[int, bytes] = {}
    for driver in within:
        framing = driver.stream.framing
        if id(framing) not in encoded:
            encoded[id(framing)] = framing.encode(message)
    now = within[0].channel.engine.time() if within else 0.0
    sent = 0
    for driver in within:
        framing = driver.stream.framing
        if _put(driver.channel, framing, encoded[id(framing)], now):
            sent += 1
        elif slow != "skip":
            _end(driver, slow, observer)
    return Broadcast(sent, len(within) - sent, len(chosen) - len(within))


def _reachable(driver: Driver) -> bool:
    channel = driver.channel
    return not channel.ended and not channel.lent and driver.stream.writing is Half.OPEN


def _put(channel: Channel, framing: Framing, octets: bytes, now: float) -> bool:
    """Send an encoded message, or put it into the outbox behind what waits there; False if that is crowded."""
    if usual.turn is not None and not framing.ends_stream and usual.turn.send(channel, octets, now):
        return True
    stream = channel.stream
    if stream.pending:
        stream.commit()
    if stream.crowded:
        return False
    try:
        stream.write(octets)
    except OutboxFull:
        return False
    stream.messages_out += 1
    if framing.ends_stream:
        stream.end_writing()
    channel.flush_soon()
    return True


def _end(driver: Driver, slow: Slow, observer: events.Observer) -> None:
    stream = driver.stream
    held, mark = stream.outbox_size, stream.limits.high_water
    why = f"{stream.name} has {held} octets in its outbox, a broadcast waits for nobody above {mark}"
    observer(events.LimitExceeded(driver.connection.id, stream.name, "high_water", why))
    stream.because(Reason.LIMIT)
    if slow == "close":
        driver.channel.close(Reason.LIMIT)
    else:
        driver.abort()
