"""``--log-format json``: the console's place taken by lines of JSON."""

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
        """Write where connections are awaited: as on the console, once signals are handled, not before."""
        super().__call__(events.Listening(listener.name, listener.backlog, listener.asked_backlog))
