"""Every event as a line of JSON."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Protocol

from fourtuple import events
from fourtuple.address import Address, FourTuple, UnixName
from fourtuple.errors import DeadlinePassed
from fourtuple.printable import MOST, text_of, traceback_of
from fourtuple.stream import Statistics


class Writable(Protocol):
    """A text file, as far as it is needed here."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...


class JsonLines:
    """Writes every event as one line of JSON.

    ``time`` (UTC, RFC 3339) and ``event`` (its :attr:`~fourtuple.events.Event.kind`) stand in each; the rest are the
    event's own fields. All is ASCII: what peers sent, and what is in error texts, is escaped by JSON. A text has at
    most 1,000 characters, and how many there were behind them.

    Parameters
    ----------
    stream
        A text file. A line is written in one piece; a file that cannot be written to any more is given up
        quietly: who reads the log has gone, the server has not.
    clock
        Seconds since 1970.
    """

    def __init__(self, stream: Writable, *, clock: Callable[[], float] = time.time) -> None:
        self._stream = stream
        self._clock = clock

    def __call__(self, event: events.Event) -> None:
        when = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="microseconds")
        fields = {"time": when.replace("+00:00", "Z"), "event": event.kind, **as_dict(event)}
        try:
            self._stream.write(json.dumps(fields, separators=(",", ":")) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return


def as_dict(event: events.Event) -> dict[str, Any]:
    """An event's fields as JSON has them; a connection's counters and both ends of its name stand side by side."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        if isinstance(value, FourTuple) and field.name == "name":
            found |= {"name": str(value), "local": str(value.local), "remote": str(value.remote)}
        elif isinstance(value, Statistics):
            found |= dataclasses.asdict(value)
        elif isinstance(value, BaseException):
            found |= _error(value)
        elif isinstance(value, Address | FourTuple | UnixName):
            found[field.name] = _clean(str(value))
        elif isinstance(value, Enum):
            found[field.name] = value.value
        elif isinstance(value, tuple):
            found[field.name] = "\n".join(map(_clean, value))
        else:
            found[field.name] = _clean(value) if isinstance(value, str) else value
    if isinstance(event, events.Closed):
        found["side"] = event.side
    if isinstance(event, events.HandlerRaised):
        found["traceback"] = "\n".join(traceback_of(event.error))
    return found


def _error(error: BaseException) -> dict[str, Any]:
    found: dict[str, Any] = {"error": type(error).__name__, "text": _clean(text_of(error))}
    if isinstance(error, DeadlinePassed):
        found |= {"deadline": error.which, "after": error.seconds}
    return found


def _clean(text: str) -> str:
    """Text with a bound, and without what JSON cannot carry: lone surrogates, the octets of a path that is no UTF-8."""
    if len(text) > MOST:
        text = f"{text[:MOST]}... ({len(text)} characters)"
    return text.encode("utf-8", "backslashreplace").decode()
