"""Waiting for sockets with poll(2), and the clock for it."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any, Protocol

from fourtuple.net.connecting import steps
from fourtuple.options import check_timeout

#: The clock for deadlines and for the stream's time stamps.
clock: Callable[[], float] = time.monotonic

IN = select.POLLIN
OUT = select.POLLOUT
#: The event that the peer's FIN has come; 0 on a system whose poll(2) does not have it.
RDHUP = getattr(select, "POLLRDHUP", 0)


class Poll(Protocol):
    """What waits for sockets: poll(2). select(2) would not do: it takes no descriptor above 1023."""

    def register(self, fd: Any, eventmask: int, /) -> None:
        """Wait for these events of a descriptor, or of an object with a ``fileno()``."""

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """Wait for the first event, at most ``timeout`` milliseconds; return the descriptors with their events."""


class Wakes(Protocol):
    """What ends a poll in another thread, and every later one: see :class:`fourtuple.blocking.descriptor.Alarm`."""

    def fileno(self) -> int | None:
        """Return the descriptor to register for reading; None if none can be made."""

    def ring(self) -> None:
        """End the poll that waits now, and any later one at once."""

    def close(self) -> None:
        """Close the descriptor."""


def after(timeout: float | None, clock: Callable[[], float]) -> float | None:
    """Return the moment that is ``timeout`` seconds from now; None if that is None. Raises OptionError for a NaN."""
    check_timeout(timeout)
    return None if timeout is None else clock() + timeout


def earlier(one: float | None, other: float | None) -> float | None:
    """Return the earlier of two moments; None stands for one that never comes."""
    return other if one is None else one if other is None else min(one, other)


def milliseconds(until: float | None, clock: Callable[[], float]) -> int | None:
    """Return the timeout for poll(2), in milliseconds, that waits until a moment of the clock."""
    return None if until is None else steps.milliseconds(max(0.0, until - clock()))
