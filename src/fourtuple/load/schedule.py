"""The moments when requests are due in an open loop. Pure arithmetic, without a clock."""

from __future__ import annotations

import math
from dataclasses import dataclass

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Schedule:
    """Evenly spaced moments, ``rate`` per second, after a ramp of ``ramp`` seconds in which the rate rises from 0.

    Several ``processes`` share one schedule: they take its moments in turn, and number ``process`` takes the moment of
    that number first. All times are nanoseconds since the beginning.
    """

    rate: float
    ramp: float = 0.0
    process: int = 0
    processes: int = 1

    def at(self, number: int) -> int:
        """The moment of this process' request ``number``, counted from 0."""
        place = self.process + number * self.processes
        on_ramp = self.rate * self.ramp / 2
        if place < on_ramp:
            # The integral of rate * t / ramp is rate * t**2 / (2 * ramp).
            return int(math.sqrt(2 * place * self.ramp / self.rate) * SECOND)
        return int((self.ramp + (place - on_ramp) / self.rate) * SECOND)

    def places(self, moment: int) -> float:
        """The number of requests of all processes that are due by a moment, with its fraction."""
        seconds = max(0, moment) / SECOND
        if seconds < self.ramp:
            return self.rate * seconds * seconds / (2 * self.ramp)
        return self.rate * self.ramp / 2 + self.rate * (seconds - self.ramp)

    def before(self, moment: int) -> int:
        """The number of this process' requests that are due before a moment."""
        if moment <= 0:
            return 0
        places = self.places(moment)
        number = max(0, math.ceil((places - self.process) / self.processes))
        # at() and this method round differently; at() is authoritative.
        while number and self.at(number - 1) >= moment:
            number -= 1
        while self.at(number) < moment:
            number += 1
        return number


def share(total: int, process: int, processes: int) -> int:
    """The part of ``total`` for one of the processes."""
    return total // processes + (process < total % processes)
