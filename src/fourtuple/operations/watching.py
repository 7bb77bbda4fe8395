"""A server's own numbers for ``fourtuple top``, again and again, through its control socket."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from fourtuple.errors import FourTupleError
from fourtuple.observe.snapshot import Snapshot
from fourtuple.operations.control_client import Control
from fourtuple.operations.frame import frame

#: Seconds for an answer: the screen stands still meanwhile.
_TIMEOUT = 1.0
#: Seconds from a failure to the next attempt.
_PAUSE = 5.0
#: The points of a sparkline.
_KEPT = 60


class Watched:
    """What one server says of itself. ``clock`` is a monotonic one."""

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._control: Control | None = None
        self._again = 0.0
        #: The latest numbers, see :func:`~fourtuple.operations.frame.frame`; None if the server does not answer.
        self.frame: dict[str, Any] | None = None
        #: Changes per second since the numbers before, by the name of the counter; empty at first.
        self.rates: dict[str, float] = {}
        #: The latest rates of messages received.
        self.received: deque[float] = deque(maxlen=_KEPT)

    def look(self) -> None:
        """Ask the server once. One that does not answer is asked again after a while."""
        now = self._clock()
        if now < self._again:
            return
        try:
            if self._control is None:
                self._control = Control(self.path, timeout=_TIMEOUT)
            status = self._control.call("status")
            snapshot = Snapshot.from_json(self._control.call("metrics"))
            self._take(frame(status, snapshot, now))
        except (FourTupleError, ValueError, KeyError, TypeError):
            self.close()
            self.frame, self.rates, self._again = None, {}, now + _PAUSE

    def _take(self, told: dict[str, Any]) -> None:
        before, self.frame = self.frame, told
        if before is None:
            return
        seconds = told["now"] - before["now"]
        if seconds > 0:
            totals = before["totals"]
            # Counters fall only if another server has taken the place of this one.
            self.rates = {name: max(0.0, (value - totals[name]) / seconds) for name, value in told["totals"].items()}
            self.received.append(self.rates["received"])

    def close(self) -> None:
        """Close the connection. Idempotent."""
        if self._control is not None:
            self._control.close()
            self._control = None
