"""Durations, counted in buckets: small, mergeable, and exact to 0.4 %.

The layout is that of HdrHistogram: buckets of equal width up to 2**9, then 2**8 buckets for every further power of
two. The width of a bucket is at most 1/256 of its values. The Python library of HdrHistogram is not used: its
``record_value()`` takes three to four times as long as :meth:`Recorder.record`, and a load generator calls it for every
reply.

:class:`Recorder` is one list of counters, for recording. :class:`Histogram` keeps only the buckets that were hit, for
merging over time and processes and for queries.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar

#: Above 2**_BITS, the width of buckets is a power of two; see the module.
_BITS = 9
_HALF = 1 << (_BITS - 1)
#: 2**43 ns, 2.4 hours. Every deadline here is shorter; a longer duration counts as this one.
MAX_VALUE = (1 << 43) - 1


def bucket_of(value: int) -> int:
    """The number of the bucket in which a value is counted."""
    exponent = value.bit_length() - _BITS
    return (exponent << (_BITS - 1)) + (value >> exponent) if exponent > 0 else value


def upper_bound(bucket: int) -> int:
    """The largest value of a bucket."""
    if bucket < 2 * _HALF:
        return bucket
    exponent = (bucket >> (_BITS - 1)) - 1
    return (((bucket & (_HALF - 1)) + _HALF + 1) << exponent) - 1


def lower_bound(bucket: int) -> int:
    """The smallest value of a bucket."""
    return bucket if bucket < 2 * _HALF else upper_bound(bucket - 1) + 1


BUCKETS = bucket_of(MAX_VALUE) + 1


class Recorder:
    """Counters for recording. ``counts`` is always the same list object, so that hot paths may hold it."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: list[int] = [0] * BUCKETS

    def record(self, value: int) -> None:
        """Count one value in nanoseconds. A negative value counts as 0, one above :data:`MAX_VALUE` as that."""
        self.counts[bucket_of(min(max(value, 0), MAX_VALUE))] += 1

    def take(self) -> Histogram:
        """Return the counts since the last call, and reset the counters."""
        counts = self.counts
        taken = Histogram({bucket: count for bucket, count in enumerate(counts) if count})
        if taken.buckets:
            counts[:] = [0] * BUCKETS
        return taken


class Histogram:
    """The counts of durations in nanoseconds. ``buckets`` has the count of every bucket that was hit."""

    __slots__ = ("buckets",)

    def __init__(self, buckets: Mapping[int, int] | None = None) -> None:
        self.buckets: dict[int, int] = dict(buckets or {})

    @classmethod
    def of(cls, values: list[int]) -> Histogram:
        """Return a histogram of ``values``, in nanoseconds."""
        recorder = Recorder()
        for value in values:
            recorder.record(value)
        return recorder.take()

    def add(self, other: Histogram) -> None:
        """Add the counts of ``other``, another histogram."""
        buckets = self.buckets
        for bucket, count in other.buckets.items():
            buckets[bucket] = buckets.get(bucket, 0) + count

    @property
    def count(self) -> int:
        """The number of values."""
        return sum(self.buckets.values())

    @property
    def mean(self) -> float:
        """The mean, in which each value counts as the middle of its bucket; 0 without values."""
        count = self.count
        return sum(_middle(bucket) * n for bucket, n in self.buckets.items()) / count if count else 0.0

    @property
    def deviation(self) -> float:
        """The standard deviation, computed in the same way as :attr:`mean`."""
        count, mean = self.count, self.mean
        if not count:
            return 0.0
        return math.sqrt(sum((_middle(bucket) - mean) ** 2 * n for bucket, n in self.buckets.items()) / count)

    @property
    def minimum(self) -> int:
        """The smallest value, as the lower end of its bucket; 0 without values."""
        return lower_bound(min(self.buckets)) if self.buckets else 0

    @property
    def maximum(self) -> int:
        """The largest value, as the upper end of its bucket; 0 without values."""
        return upper_bound(max(self.buckets)) if self.buckets else 0

    def percentile(self, percent: float) -> int:
        """The smallest value that at least ``percent`` percent of all values do not exceed; 0 without values.

        It is the upper end of that value's bucket: never below the true value, and at most 0.4 % above it.
        """
        wanted = max(1, math.ceil(self.count * percent / 100 - 1e-9))
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                return upper_bound(bucket)
        return 0

    def steps(self) -> Iterator[tuple[int, int]]:
        """Yield each value that was hit, in ascending order, with the count of values up to and including it."""
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            yield upper_bound(bucket), seen

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.buckets == other.buckets

    __hash__: ClassVar[None]  # type: ignore[assignment]  # it changes, so __eq__ has removed the hash

    def __repr__(self) -> str:
        return f"<Histogram {self.count} values, {self.minimum} to {self.maximum} ns>"


def _middle(bucket: int) -> float:
    return (lower_bound(bucket) + upper_bound(bucket)) / 2


def hgrm(histogram: Histogram, unit: float = 1e6, ticks: int = 5) -> str:
    """Return the percentile distribution of ``histogram`` as text, in the format ``.hgrm`` of HdrHistogram.

    It is that of its ``outputPercentileDistribution``. Its plotter (hdrhistogram.github.io/HdrHistogram/plotFiles.html)
    and other tools read it. The unit of values is ``unit`` nanoseconds; the default of 1e6 gives milliseconds. There
    are ``ticks`` lines for each halving of the distance to 100 %.
    """
    total = histogram.count
    lines = [f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}", ""]
    steps = iter(list(histogram.steps()))
    value = seen = 0
    for percent in _percents(total, ticks) if total else ():
        wanted = max(1, math.ceil(total * percent / 100 - 1e-9))
        while seen < wanted:
            value, seen = next(steps)
        share = percent / 100
        inverse = f"{1 / (1 - share):14.2f}" if share < 1 else ""
        lines.append(f"{value / unit:12.3f} {share:.12f} {seen:10d} {inverse}".rstrip())
    lines += [
        f"#[Mean    = {histogram.mean / unit:12.3f}, StdDeviation   = {histogram.deviation / unit:12.3f}]",
        f"#[Max     = {histogram.maximum / unit:12.3f}, Total count    = {total:12d}]",
        f"#[Buckets = {max(1, BUCKETS // _HALF - 1):12d}, SubBuckets     = {2 * _HALF:12d}]",
        "",
    ]
    return "\n".join(lines)


def _percents(total: int, ticks: int) -> Iterator[float]:
    """The percentiles of the lines: 0, then ever finer steps to the last value, then 100."""
    percent = 0.0
    while (100 - percent) * total >= 100:
        yield percent
        halvings = int(math.log2(100 / (100 - percent))) + 1
        percent += 100 / (ticks * 2**halvings)
    yield 100.0
