"""Every event as a line of JSON."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from fourtuple import events
from fourtuple.address import Address, FourTuple, UnixName
from fourtuple.errors import DeadlinePassed
from fourtuple.observe.outlet import Outlet, Writable, unblocked
from fourtuple.printable import class_of, error_text, repr_of, shortened, text_of, traceback_of
from fourtuple.stream import Statistics


class JsonLines:
    """Writes every event as one line of JSON.

    ``time`` (UTC, RFC 3339) and ``event`` (its :attr:`~fourtuple.events.Event.kind`) stand in each; the rest are the
    event's own fields. All is ASCII: what peers sent, and what is in error texts, is escaped by JSON. A text has at
    most 1,000 characters, and how many there were behind them.

    Parameters
    ----------
    stream
        A text file. A line is written in one piece; a file that cannot be written to any more is given up
        quietly: who reads the log has gone, the server has not. Nobody is waited for who reads a pipe or a terminal:
        lines that do not fit are dropped, and the event ``lines-dropped`` says how many (``lines``).
    clock
        Seconds since 1970.
    on_error
        Called with the first error of a write, as of a full disk; later lines are tried, too.
    """

    def __init__(
        self,
        stream: Writable,
        *,
        clock: Callable[[], float] = time.time,
        on_error: Callable[[OSError], object] | None = None,
    ) -> None:
        #: Why lines were lost: the first error of a write. A reader that has gone is none.
        self.error: OSError | None = None
        self._on_error = on_error
        self._stream = unblocked(stream, self._dropped)
        self._clock = clock

    def finish(self, seconds: float) -> None:
        """The last line is written: wait for who reads a pipe or a terminal so long, and no longer."""
        if isinstance(self._stream, Outlet):
            self._stream.finish(seconds)

    def _dropped(self, lines: int) -> str:
        return self._timed(_line({"event": "lines-dropped", "lines": lines}))

    def _timed(self, line: str) -> str:
        """A line, which begins with the time."""
        when = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return f'{{"time":"{when}",{line[1:]}\n'

    def __call__(self, event: events.Event) -> None:
        try:
            line = _line({"event": event.kind, **as_dict(event)})
        except Exception as failed:  # what an exception of the user's code has in it, nobody knows
            line = _line({"event": event.kind, "untold": _clean(error_text(failed))})
        self._write(line)

    def uncaught(self, _loop: object, context: dict[str, Any]) -> None:
        """What asyncio finds that no one else looks after, as a line: for ``loop.set_exception_handler()``."""
        fields = {"event": "uncaught", "message": _clean(text_of(context.get("message")))}
        error = context.get("exception")
        if isinstance(error, BaseException):
            fields |= {**_error(error), "traceback": "\n".join(traceback_of(error))}
        self._write(_line(fields))

    def _write(self, line: str) -> None:
        try:
            self._stream.write(self._timed(line))
            self._stream.flush()
        except ValueError:
            return
        except OSError as error:
            if self.error is None and not isinstance(error, BrokenPipeError):
                self.error = error
                if self._on_error is not None:
                    self._on_error(error)


def _line(fields: dict[str, Any]) -> str:
    return json.dumps(fields, separators=(",", ":"), default=repr_of)


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
    found: dict[str, Any] = {"error": class_of(error), "text": _clean(text_of(error))}
    if isinstance(error, DeadlinePassed):
        found |= {"deadline": error.which, "after": error.seconds}
    return found


def _clean(text: str) -> str:
    """Text with a bound, and without what JSON cannot carry: lone surrogates, the octets of a path that is no UTF-8."""
    return shortened(text).encode("utf-8", "backslashreplace").decode()
