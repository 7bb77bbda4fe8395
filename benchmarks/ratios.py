"""The statistics: medians and quartiles, of values and of ratios within a round, without I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles

Samples = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and quartiles of measured values, and the number of values."""

    low: float
    median: float
    high: float
    count: int


def spread(samples: Samples) -> Spread | None:
    """Median and quartiles of the rounds that did not fail; None if all failed."""
    values = [value for value in samples if value is not None]
    if not values:
        return None
    if len(values) == 1:
        return Spread(values[0], values[0], values[0], 1)
    low, median, high = quantiles(values, n=4, method="inclusive")
    return Spread(low, median, high, len(values))


def ratios(ours: Samples, theirs: Samples) -> list[float | None]:
    """Our value divided by theirs, for each round.

    A disturbance of the machine affects both sides of a round, and cancels out in their ratio. It would not cancel out
    in the ratio of two medians.
    """
    return [a / b if a is not None and b else None for a, b in zip(ours, theirs, strict=True)]
