"""Deadlines as data: which deadline passes first. The caller has the clock."""

from __future__ import annotations

from fourtuple.options import Deadlines
from fourtuple.stream.state import State
from fourtuple.stream.values import Half


def next_deadline(stream: State, deadlines: Deadlines) -> tuple[float, str, float] | None:
    """Return the deadline that passes first: the moment, its name in Deadlines, its timeout; None if there is none."""
    found: list[tuple[float, str, float]] = []

    def add(since: float | None, seconds: float | None, which: str) -> None:
        if since is not None and seconds is not None:
            found.append((since + seconds, which, seconds))

    add(stream.write_since, deadlines.write_timeout, "write_timeout")
    layer = stream.layer
    if layer is not None and not layer.established and not layer.finished:
        if stream.plain_until is not None:
            pass  # it cannot begin yet: write_timeout bounds the wait
        elif layer.since is None:
            add(stream.opened, deadlines.first_message_timeout, "first_message_timeout")
        else:
            add(layer.since, getattr(deadlines, layer.deadline), layer.deadline)
    elif stream.closing or stream.reading is not Half.OPEN:
        # Counted from our FIN, not from close(): until then, write_timeout bounds the time.
        add(stream.fin_at if stream.closing else None, deadlines.linger_timeout, "linger_timeout")
    # While this side does not read, or has messages to handle, the peer's silence is not its fault.
    elif stream._paused_at is None and not stream.inbox:
        if not stream.messages_in and stream.deferred_first:
            add(stream.opened, deadlines.first_message_timeout, "first_message_timeout")
        add(stream.message_since, deadlines.message_timeout, "message_timeout")
        # While octets wait for the peer to read, write_timeout judges it, by its progress.
        if stream.outbox_size == 0:
            add(stream.last_activity, deadlines.idle_timeout, "idle_timeout")
    return min(found, default=None)
