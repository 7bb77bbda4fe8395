"""The console's lines for the events of clients that stay connected."""

from __future__ import annotations

from typing import NamedTuple

from fourtuple import events
from fourtuple.printable import printable, text_of, text_without


class ClientLine(NamedTuple):
    """A line, and whether it tells of something that failed: the others are printed only with ``--verbose``."""

    text: str
    failed: bool


def _text(error: BaseException) -> str:
    """Return an error's text, escaped and cut here, so that what follows on the line is not cut off."""
    return printable(text_of(error))


def client_line(event: events.Event) -> ClientLine | None:
    """Return the line of a client's event; None for another event."""
    match event:
        case events.ClientStateChanged():
            return ClientLine(f"client of {event.address}: {event.was} -> {event.state}", failed=False)
        case events.ClientConnected():
            return ClientLine(f"client of {event.address}: connected, {event.connection}", failed=False)
        case events.ClientConnectFailed():
            then = "there is no next attempt" if event.pause is None else f"the next attempt in {event.pause:.1f} s"
            return ClientLine(f"client of {event.address}: {_text(event.error)}; {then}", failed=True)
        case events.ClientDisconnected():
            told = "" if event.error is None else f", {printable(text_without(event.connection, event.error))}"
            text = f"client of {event.address}: disconnected, {event.connection}, {event.why}{told}"
            return ClientLine(text, failed=event.error is not None)
        case events.ClientRetried():
            text = f"client of {event.address}: a request is sent again ({event.fate}), {_text(event.error)}"
            return ClientLine(text, failed=False)
        case events.Reconnected():
            text = f"client of {event.address}: connected again after {event.seconds:.1f} s, pushes may be missing"
            return ClientLine(text, failed=True)
        case events.PushesDropped():
            text = f"client of {event.address}: {event.waiting} pushes wait, the oldest are dropped"
            return ClientLine(text, failed=True)
        case events.PushConsumerFailed():
            why = "its iterator ended" if event.error is None else _text(event.error)
            return ClientLine(f"client of {event.address}: nothing takes its pushes, {why}", failed=True)
    return None


CLIENT_EVENTS: tuple[type[events.Event], ...] = (
    events.ClientStateChanged,
    events.ClientConnected,
    events.ClientConnectFailed,
    events.ClientDisconnected,
    events.ClientRetried,
    events.Reconnected,
    events.PushesDropped,
    events.PushConsumerFailed,
)
