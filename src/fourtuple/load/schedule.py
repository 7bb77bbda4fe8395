"""When a request is due, in an open loop. Pure arithmetic: no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass

SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Schedule:
    """Evenly spaced moments, ``rate`` a second, behind a ramp of ``ramp`` seconds over which the rate rises from 0.

    ``processes`` share one schedule: each has every moment of theirs in turn, ``process`` says which comes first. All
    times are nanoseconds since the beginning.
    """

    rate: float
    ramp: float = 0.0
    process: int = 0
    processes: int = 1

    def at(self, number: int) -> int:
        """The moment of this process' request ``number``, from 0."""
        place = self.process + number * self.processes
        on_ramp = self.rate * self.ramp / 2
        if place < on_ramp:
            # The integral of rate * t / ramp is rate * t**2 / (2 * ramp).
            return int(math.sqrt(2 * place * self.ramp / self.rate) * SECOND)
        return int((self.ramp + (place - on_ramp) / self.rate) * SECOND)

    def places(self, moment: int) -> float:
        """How far the schedule of all processes has come at a moment, in requests."""
        seconds = max(0, moment) / SECOND
        if seconds < self.ramp:
            return self.rate * seconds * seconds / (2 * self.ramp)
        return self.rate * self.ramp / 2 + self.rate * (seconds - self.ramp)

    def before(self, moment: int) -> int:
        """How many of this process' requests are due before a moment."""
        if moment <= 0:
            return 0
        places = self.places(moment)
        number = max(0, math.ceil((places - self.process) / self.processes))
        # at() and this one round differently; at() is right.
        while number and self.at(number - 1) >= moment:
            number -= 1
        while self.at(number) < moment:
            number += 1
        return number


def share(total: int, process: int, processes: int) -> int:
    """The part of ``total`` that one of the processes has."""
    return total // processes + (process < total % processes)
