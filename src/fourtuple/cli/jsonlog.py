"""``--log-format json``: lines of JSON instead of the console's lines."""

from __future__ import annotations

import sys
from collections.abc import Callable

from fourtuple import events
from fourtuple.cli.failure import Exit, Failure
from fourtuple.engine import Listener
from fourtuple.observe.json import JsonLines


class JsonLog(JsonLines):
    """Events as lines of JSON on standard output."""

    def __init__(self, on_error: Callable[[OSError], object] | None = None) -> None:
        super().__init__(sys.stdout, on_error=on_error)

    def __call__(self, event: events.Event) -> None:
        if not isinstance(event, events.Listening):
            super().__call__(event)

    def listening(self, listener: Listener) -> None:
        """Write the listeners' addresses: like the console, only after signals are handled."""
        self.write(_listening(listener))

    def finish(self, seconds: float) -> None:
        """Write the held lines. An error has no line of its own: the command ends with :func:`log_incomplete`."""
        self._on_error = None
        super().finish(seconds)


class ServiceLog:
    """The events of one of several services: its lines have the field ``service``."""

    def __init__(self, log: JsonLog, service: str) -> None:
        self._log = log
        self._service = service

    def __call__(self, event: events.Event) -> None:
        if not isinstance(event, events.Listening):
            self._log.write(event, service=self._service)

    def listening(self, listener: Listener) -> None:
        """As :meth:`JsonLog.listening`."""
        self._log.write(_listening(listener), service=self._service)


def log_failed(error: OSError) -> str:
    """Return the line that says, once, that the log has lost lines."""
    return f"--log-format json: {error.strerror or error}; lines of the log are lost, the server continues"


def log_incomplete(error: OSError) -> Failure:
    """Return the failure with which a command ends whose log has lost lines."""
    return Failure(f"--log-format json: {error.strerror or error}; the log is not complete", Exit.FAILED)


def _listening(listener: Listener) -> events.Listening:
    return events.Listening(listener.name, listener.backlog, listener.asked_backlog)
