"""A clock that stands still until it is told to move."""

from __future__ import annotations

from collections.abc import Callable


class Clock:
    """What deadlines are measured with in a test: ``clock()`` is the time, :meth:`advance` lets it pass.

    ::

        pair = async_memory_pair("line", clock=Clock())
        pair.clock.advance(600)  # whoever idles for ten minutes is closed now
    """

    def __init__(self, start: float = 0.0) -> None:
        #: Seconds; where they begin means nothing, as with time.monotonic().
        self.now = start
        self._watchers: list[Callable[[], None]] = []

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass, and let those look who keep deadlines. Raises ValueError for a step back."""
        if not seconds >= 0:
            raise ValueError(f"a clock does not go back: advance({seconds!r})")
        self.now += seconds
        for look in list(self._watchers):
            look()

    def on_advance(self, look: Callable[[], None]) -> None:
        """Call ``look()`` after each step from now on."""
        self._watchers.append(look)

    def __repr__(self) -> str:
        return f"<Clock {self.now:g} s>"
