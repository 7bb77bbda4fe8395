"""Waiting for sockets: poll(2), and the clock that it is given."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any, Protocol

from fourtuple.net.connecting import steps
from fourtuple.options import check_timeout

#: The clock of deadlines and of the stream's stamps.
clock = time.monotonic

IN = select.POLLIN
OUT = select.POLLOUT
#: The peer's FIN has come; 0 where poll(2) knows nothing of it.
RDHUP = getattr(select, "POLLRDHUP", 0)


class Poll(Protocol):
    """What waits for sockets: poll(2), not select(2), which knows no descriptor above 1023."""

    def register(self, fd: Any, eventmask: int, /) -> None:
        """Wait for these events of a descriptor, or of what has one."""

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """Wait for the first event, at most so many milliseconds; return the descriptors that have any, and which."""


class Wakes(Protocol):
    """What ends a poll from another thread, once and for all: see :class:`fourtuple.blocking.descriptor.Alarm`."""

    def fileno(self) -> int | None:
        """What to register for octets to come; None when there is no descriptor to be had."""

    def ring(self) -> None:
        """End the poll of this moment, and any later one at once."""

    def close(self) -> None:
        """Let go of the descriptor."""


def after(timeout: float | None, clock: Callable[[], float]) -> float | None:
    """The moment that is so many seconds away; None for never. Raises OptionError for a NaN."""
    check_timeout(timeout)
    return None if timeout is None else clock() + timeout


def earlier(one: float | None, other: float | None) -> float | None:
    """The earlier of two moments, either of which may never come."""
    return other if one is None else one if other is None else min(one, other)


def milliseconds(until: float | None, clock: Callable[[], float]) -> int | None:
    """What poll(2) takes to wait until a moment of the clock."""
    return None if until is None else steps.milliseconds(max(0.0, until - clock()))
