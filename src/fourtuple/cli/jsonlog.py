"""``--log-format json``: lines of JSON instead of the console's lines."""

from __future__ import annotations

import sys
from collections.abc import Callable

from fourtuple import events
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
        super().__call__(events.Listening(listener.name, listener.backlog, listener.asked_backlog))
