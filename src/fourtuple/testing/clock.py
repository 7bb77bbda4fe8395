"""A clock that stands still until it is told to move."""

from __future__ import annotations

from collections.abc import Callable

from fourtuple.errors import OptionError
from fourtuple.options import check_kind


class Clock:
    """The clock for deadlines in a test: ``clock()`` returns the time, :meth:`advance` moves it.

    ::

        pair = async_memory_pair("line")
        pair.clock.advance(600)  # a connection that is idle for ten minutes is closed now

    ``start`` is the first time, in seconds. It has no meaning of its own; the default is 0. Raises
    :class:`~fourtuple.errors.OptionError` for what is not a number.
    """

    def __init__(self, start: float = 0.0) -> None:
        check_kind("start", start, "float", "seconds")
        #: Seconds. The starting point has no meaning, as in time.monotonic().
        self.now: float = start
        self._watchers: list[Callable[[], None]] = []

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Move the time on by ``seconds`` and check all deadlines.

        Raises :class:`~fourtuple.errors.OptionError` for a negative step, and for what is not a number.
        """
        check_kind("seconds", seconds, "float", "seconds")
        if seconds < 0:
            raise OptionError(f"seconds: a clock cannot go back: advance({seconds!r})")
        self.now += seconds
        for look in list(self._watchers):
            look()

    def on_advance(self, look: Callable[[], None]) -> None:
        """Call ``look()`` after each later step."""
        self._watchers.append(look)

    def __repr__(self) -> str:
        return f"<Clock {self.now:g} s>"
