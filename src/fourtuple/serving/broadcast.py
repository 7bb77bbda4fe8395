"""Broadcast: one message to many connections, encoded once for each framing, without waiting for any connection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

from fourtuple import events, fast_path
from fourtuple.connection import Connection
from fourtuple.engine import Channel
from fourtuple.errors import ConnectionEnded, EncodeError, OptionError, OutboxFull
from fourtuple.framing import Framing
from fourtuple.handlers import Runner
from fourtuple.options import check_choice, check_type, refuse
from fourtuple.serving.registry import Registry
from fourtuple.serving.values import Broadcast, Slow
from fourtuple.stream import Half, Reason


def broadcast(
    registries: Sequence[Registry],
    message: Any,
    slow: Slow,
    to: Callable[[Connection], bool] | Iterable[Connection] | None,
    observer: events.Observer,
) -> Broadcast:
    """See :meth:`fourtuple.Server.broadcast`."""
    check_choice("slow", slow, get_args(Slow))
    chosen, gone = _chosen(registries, to)
    within = [runner for runner in chosen if _reachable(runner)]
    # All encoding comes before all sending: if it fails, no connection gets the message.
    encoded = _encoded({id(runner.stream.framing): runner.stream.framing for runner in within}, message)
    engine = within[0].channel.engine if within else None
    now = engine.time() if engine is not None else 0.0
    quick = fast_path.turn.send if fast_path.turn is not None and engine is not None and engine.fast_path else None
    sent = unfit = 0
    for runner in within:
        framing = runner.stream.framing
        octets = encoded[id(framing)]
        if octets is None:
            unfit += 1
        elif _put(runner.channel, framing, octets, now, quick):
            sent += 1
        elif slow != "skip":
            _end(runner, slow, observer)
    if engine is not None:
        engine.share.spend(len(within))  # a handler that broadcasts repeatedly yields to the other connections
    return Broadcast(sent, len(within) - sent - unfit, gone + len(chosen) - len(within), unfit)


def _chosen(
    registries: Sequence[Registry], to: Callable[[Connection], bool] | Iterable[Connection] | None
) -> tuple[list[Runner], int]:
    """Return the runners of the chosen connections, and how many of those given have ended."""
    if to is None or callable(to):
        inside = [runner for registry in registries for runner in registry.inside()]
        return (inside if to is None else [runner for runner in inside if to(runner.connection)]), 0
    if not isinstance(to, Iterable):
        refuse("to", to, "connections, or a function that tells which")
    chosen: list[Runner] = []
    gone = 0
    for connection in dict.fromkeys(to):
        check_type("to", connection, Connection, optional=False)
        found = (registry.runners.get(connection.id) for registry in registries)
        runner = next(filter(None, found), None)
        if runner is not None:
            chosen.append(runner)
        elif connection.closed:
            gone += 1
        else:
            raise OptionError(f"to: {connection!r} is not a connection of this server")
    return chosen, gone


def _encoded(framings: dict[int, Framing], message: Any) -> dict[int, bytes | None]:
    """Return the octets of the message in each framing; None for a framing that cannot carry it.

    If no framing can carry it, the caller made a mistake: EncodeError is raised. One connection that changed its
    framing is not such a mistake.
    """
    encoded: dict[int, bytes | None] = {}
    refused: EncodeError | None = None
    for number, framing in framings.items():
        try:
            encoded[number] = framing.encode(message)
        except EncodeError as error:
            encoded[number], refused = None, refused or error
    if refused is not None and not any(octets is not None for octets in encoded.values()):
        raise refused
    return encoded


def _reachable(runner: Runner) -> bool:
    """Return whether a message can be sent, after the replies of the connection's own handler so far."""
    channel, stream = runner.channel, runner.stream
    if channel.ended or channel.detached or stream.writing is not Half.OPEN:
        return False
    if stream.pending:
        # Replies that its handler has made belong before the broadcast. If one cannot be encoded, nothing is sent after
        # it.
        return stream.commit_ahead() and stream.writing is Half.OPEN
    return True


def _put(
    channel: Channel, framing: Framing, octets: bytes, now: float, quick: Callable[[Channel, bytes, float], Any] | None
) -> bool:
    """Send an encoded message, or append it to the outbox; return False if the outbox is crowded.

    ``quick`` is the same in C, which returns whether the connection is on the fast path.
    """
    if quick is not None and not framing.ends_stream and quick(channel, octets, now):
        return True
    stream = channel.stream
    if stream.crowded:
        return False
    try:
        stream.write_encoded(octets, 1)
    except OutboxFull:
        return False
    channel.flush_soon()
    return True


def _end(runner: Runner, slow: Slow, observer: events.Observer) -> None:
    stream = runner.stream
    held, mark = stream.outbox_size, stream.limits.high_water
    why = f"{stream.name} has {held} octets in its outbox, a broadcast does not wait above {mark}"
    observer(events.LimitExceeded(runner.connection.id, stream.name, "high_water", why))
    stream.because(Reason.LIMIT)
    stream.note_cause(ConnectionEnded(f"{'closed' if slow == 'close' else 'aborted'} by this side (high_water): {why}"))
    if slow == "close":
        runner.channel.close(Reason.LIMIT)
    else:
        runner.abort()
