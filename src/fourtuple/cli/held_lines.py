"""The lines of opened connections, delayed for a moment: a probe has ended by then, and its line is never printed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeAlias

from fourtuple.four_tuple import Name

#: Seconds by which the line of an opened connection is delayed: a probe has ended by then.
HOLD_SECONDS = 0.25

#: ``later(seconds, call)``, as the loop's ``call_later``.
Later: TypeAlias = Callable[[float, Callable[[], None]], Any]


class HeldLines:
    """Holds the lines back, and prints each by ``say_opened(id, name)``: in time, or before another line of it."""

    def __init__(self, later: Later, say_opened: Callable[[int, Name], None]) -> None:
        self._later = later
        self._say_opened = say_opened
        #: The name of each connection, and the moment to print its line; dicts keep the order of the connections.
        self._held: dict[int, tuple[Name, float]] = {}
        self._releasing = False

    def add(self, id: int, name: Name) -> None:
        """Hold back the line of a connection that was just opened."""
        if not self._releasing:
            self._releasing = True
            self._later(HOLD_SECONDS, self._release)
        self._held[id] = name, time.monotonic() + HOLD_SECONDS

    def say(self, id: int) -> None:
        """Print the line now, if it is held: another line of the connection follows."""
        held = self._held.pop(id, None)
        if held is not None:
            self._say_opened(id, held[0])

    def drop(self, id: int) -> bool:
        """Forget the line: the connection was a probe. Returns whether it was held."""
        return self._held.pop(id, None) is not None

    def _release(self) -> None:
        """Print the lines that are due. One timer runs at a time, for the oldest of the others."""
        now = time.monotonic()
        for id, (name, due) in list(self._held.items()):
            if due > now:
                self._later(due - now, self._release)
                return
            del self._held[id]
            self._say_opened(id, name)
        self._releasing = False
