"""The statistics: medians and quartiles, of values and of ratios within a round. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles

Samples = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and quartiles of what was measured, and of how many rounds."""

    low: float
    median: float
    high: float
    count: int


def spread(samples: Samples) -> Spread | None:
    """Median and quartiles, leaving out the rounds that failed; None when nothing is left."""
    values = [value for value in samples if value is not None]
    if not values:
        return None
    if len(values) == 1:
        return Spread(values[0], values[0], values[0], 1)
    low, median, high = quantiles(values, n=4, method="inclusive")
    return Spread(low, median, high, len(values))


def ratios(ours: Samples, theirs: Samples) -> list[float | None]:
    """Round by round, ours by theirs.

    What disturbs the machine for a while disturbs both sides of one round alike, and falls out of their ratio; it
    would not fall out of a ratio of two medians.
    """
    return [a / b if a is not None and b else None for a, b in zip(ours, theirs, strict=True)]
