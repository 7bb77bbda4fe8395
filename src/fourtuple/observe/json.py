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
from fourtuple.address import Address
from fourtuple.errors import DeadlinePassed
from fourtuple.errors.framing import is_mistake
from fourtuple.four_tuple import FourTuple, UnixName
from fourtuple.observe.outlet import Outlet, Writable, unblocked
from fourtuple.printable import class_of, error_text, readable, repr_of, shortened, text_of, traceback_of
from fourtuple.stream import Statistics


class JsonLines:
    """Writes every event as one line of JSON.

    Each line has ``time`` (UTC, RFC 3339) and ``event`` (the :attr:`~fourtuple.events.Event.kind`), followed by the
    fields of the event. Lines are ASCII: JSON escapes octets of peers and the texts of errors. A text is cut at 1,000
    characters; its original length is then appended.

    Parameters
    ----------
    stream
        A text file. Each line is written in one piece. If the reader has closed its end, lines are lost, and the
        server continues. The server does not wait for the reader of a pipe or a terminal: lines that do not fit are
        dropped, and the event ``lines-dropped`` gives their number (``lines``).
    clock
        Returns seconds since 1970; by default :func:`time.time`.
    on_error
        Called with the first error that loses lines, such as a full disk, or a pipe whose reader has gone or is too
        slow. Later lines are still written if possible.
    """

    def __init__(
        self,
        stream: Writable,
        *,
        clock: Callable[[], float] = time.time,
        on_error: Callable[[OSError], object] | None = None,
    ) -> None:
        #: The first error that has lost lines.
        self.error: OSError | None = None
        self._on_error = on_error
        self._stream = unblocked(stream, self._dropped)
        self._clock = clock

    def finish(self, seconds: float) -> None:
        """Write the held lines, waiting at most ``seconds`` for the reader of a pipe or a terminal."""
        if isinstance(self._stream, Outlet):
            self._stream.finish(seconds)
            self._look(self._stream)

    def _dropped(self, lines: int) -> str:
        return self._timed(_line({"event": "lines-dropped", "lines": lines}))

    def _timed(self, line: str) -> str:
        """Put the time at the beginning of a line."""
        when = datetime.fromtimestamp(self._clock(), UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return f'{{"time":"{when}",{line[1:]}\n'

    def __call__(self, event: events.Event) -> None:
        self.write(event)

    def write(self, event: events.Event, **more: str) -> None:
        """Write the line of an event, with ``more`` fields after its kind."""
        try:
            line = _line({"event": event.kind, **more, **as_dict(event)})
        except Exception as failed:  # an exception of user code may contain anything
            line = _line({"event": event.kind, **more, "untold": _clean(error_text(failed))})
        self._write(line)

    def uncaught(self, _loop: object, context: dict[str, Any]) -> None:
        """Write an unhandled error of asyncio as a line. Pass this to ``loop.set_exception_handler()``.

        ``context`` is the dictionary that asyncio gives to such a handler.
        """
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
            self._failed(error)
        if isinstance(self._stream, Outlet):
            self._look(self._stream)

    def _look(self, outlet: Outlet) -> None:
        """Note an error of which no call knows: lines that were held or dropped."""
        if outlet.error is not None:
            self._failed(outlet.error)

    def _failed(self, error: OSError) -> None:
        """Note the first error."""
        if self.error is None:
            self.error = error
            if self._on_error is not None:
                self._on_error(error)


def _line(fields: dict[str, Any]) -> str:
    return json.dumps(fields, separators=(",", ":"), default=repr_of)


def as_dict(event: events.Event) -> dict[str, Any]:
    """The fields of an event for JSON. Counters, and the two ends of a name, become separate fields."""
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
        elif isinstance(value, bytes):
            found[field.name] = _clean(readable(value))
        elif isinstance(value, tuple):
            found[field.name] = "\n".join(map(_clean, value))
        else:
            found[field.name] = _clean(value) if isinstance(value, str) else value
    if isinstance(event, events.Closed):
        found["side"] = event.side
    if isinstance(event, events.HandlerRaised) or (
        isinstance(event, events.MessageFailed | events.MessageUnmapped) and is_mistake(event.error)
    ):
        found["traceback"] = "\n".join(traceback_of(event.error))
    return found


def _error(error: BaseException) -> dict[str, Any]:
    found: dict[str, Any] = {"error": class_of(error), "text": _clean(text_of(error))}
    if isinstance(error, DeadlinePassed):
        found |= {"deadline": error.which, "after": error.seconds}
    return found


def _clean(text: str) -> str:
    """Text with a bound, and without lone surrogates (octets of a path that are not UTF-8), which JSON cannot carry."""
    return shortened(text).encode("utf-8", "backslashreplace").decode()
