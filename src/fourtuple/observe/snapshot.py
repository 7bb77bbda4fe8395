"""PURE: the metrics that a server has, and snapshots of their values, which can be sent as JSON and added up.

A process makes a :class:`Snapshot` of its own numbers. A supervisor gets one from each worker and merges them. Counters
must never become smaller when a worker ends, so the supervisor also keeps what :func:`ended` leaves of the last
snapshot of each worker that has ended::

    whole = merge([of_the_dead, *of_the_living])
    of_the_dead = merge([of_the_dead, ended(last)])  # when a worker has ended
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from fourtuple.observe.declared import METRICS, OTHER, Metric

Labels = tuple[str, ...]

#: The most values that one label of one metric may have; further ones are counted as "other".
MOST_VALUES = 64


@dataclass(slots=True)
class Distribution:
    """Observed numbers, counted in buckets: ``counts[i]`` are those up to ``bounds[i]``, the last those above all."""

    bounds: Sequence[float]
    counts: list[int]
    sum: float = 0.0

    @classmethod
    def empty(cls, bounds: Sequence[float]) -> Distribution:
        """Return one without observations."""
        return cls(bounds, [0] * (len(bounds) + 1))

    def observe(self, value: float) -> None:
        """Count one number."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def add(self, other: Distribution) -> None:
        """Add the observations of another one with the same bounds."""
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum

    @property
    def count(self) -> int:
        """How many numbers were observed."""
        return sum(self.counts)

    def copy(self) -> Distribution:
        """Return a copy that does not change."""
        return Distribution(self.bounds, list(self.counts), self.sum)


class Snapshot:
    """The values of all metrics at one moment, by metric and by the values of its labels."""

    def __init__(self) -> None:
        self._values: dict[str, dict[Labels, float | Distribution]] = {}

    # -- writing ------------------------------------------------------------------------------------------

    def put(self, name: str, value: float | Distribution, *labels: str) -> None:
        """Set the value of a counter, a gauge or a histogram, or combine it with the value that is there.

        Raises :class:`KeyError` for a metric that is not declared.
        """
        metric = METRICS[name]
        if len(labels) != len(metric.labels):
            raise ValueError(f"{name} has the labels {metric.labels}, {labels} were given")
        self._combine(metric, labels, value)

    def _combine(self, metric: Metric, labels: Labels, value: float | Distribution) -> None:
        series = self._values.setdefault(metric.name, {})
        if len(labels) > 1 and labels not in series:
            labels = _bounded(series, labels)
        there = series.get(labels)
        if isinstance(value, Distribution):
            if isinstance(there, Distribution):
                there.add(value)
            else:
                series[labels] = value.copy()
        elif isinstance(there, Distribution):
            raise ValueError(f"{metric.name} is a histogram, {value} is not")
        elif there is None:
            series[labels] = value
        elif metric.merged == "max":
            series[labels] = max(there, value)
        else:
            series[labels] = there + value

    # -- reading ------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[tuple[Metric, dict[Labels, float | Distribution]]]:
        """Iterate over the metrics that have values, in the order in which they are declared."""
        for name, metric in METRICS.items():
            if name in self._values:
                yield metric, self._values[name]

    def value(self, name: str, *labels: str) -> float:
        """Return the value of a counter or a gauge; 0 if it has none."""
        found = self._values.get(name, {}).get(labels, 0)
        if isinstance(found, Distribution):
            raise ValueError(f"{name} is a histogram")
        return found

    def total(self, name: str) -> float:
        """Return the sum of a counter or a gauge over all values of its labels."""
        return sum(each for each in self._values.get(name, {}).values() if not isinstance(each, Distribution))

    def distribution(self, name: str, *labels: str) -> Distribution:
        """Return a copy of a histogram; an empty one if nothing was observed."""
        found = self._values.get(name, {}).get(labels)
        return found.copy() if isinstance(found, Distribution) else Distribution.empty(METRICS[name].bounds)

    # -- JSON ---------------------------------------------------------------------------------------------

    def as_json(self) -> dict[str, Any]:
        """Return it as a value of JSON, for :meth:`from_json`."""
        return {
            metric.name: [
                [list(labels), {"counts": value.counts, "sum": value.sum} if isinstance(value, Distribution) else value]
                for labels, value in series.items()
            ]
            for metric, series in self
        }

    @classmethod
    def from_json(cls, value: Any) -> Snapshot:
        """Read what :meth:`as_json` has returned, perhaps in another version of fourtuple.

        Metrics that are not known here, or are of another shape here, are left out. Raises :class:`ValueError` for
        anything that is not a snapshot.
        """
        made = cls()
        if not isinstance(value, dict):
            raise ValueError(f"a snapshot is an object, this is {type(value).__name__}")
        for name, series in value.items():
            metric = METRICS.get(name)
            if metric is None:
                continue
            for labels, number in _pairs(name, series):
                found = _value(metric, number)
                if found is not None and len(labels) == len(metric.labels):
                    made._combine(metric, labels, found)
        return made


def _bounded(series: dict[Labels, float | Distribution], labels: Labels) -> Labels:
    """Return new labels, with "other" as the last value if there are too many values of it already."""
    alike = sum(each[:-1] == labels[:-1] for each in series)
    return labels if alike < MOST_VALUES - 1 else (*labels[:-1], OTHER)


def _pairs(name: str, series: Any) -> Iterator[tuple[Labels, Any]]:
    try:
        for labels, number in series:
            yield tuple(map(str, labels)), number
    except (TypeError, ValueError) as error:
        raise ValueError(f"a snapshot has pairs of labels and value; not so {name}") from error


def _value(metric: Metric, number: Any) -> float | Distribution | None:
    if metric.kind != "histogram":
        return number if _is_number(number) else None
    if not isinstance(number, dict):
        return None
    counts, total = number.get("counts"), number.get("sum", 0.0)
    if not isinstance(counts, list) or len(counts) != len(metric.bounds) + 1 or not _is_number(total):
        return None
    return Distribution(metric.bounds, counts, float(total)) if all(isinstance(each, int) for each in counts) else None


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def merge(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Return the numbers of several processes as those of one: sums, or the largest where the metric says so."""
    whole = Snapshot()
    for snapshot in snapshots:
        for metric, series in snapshot:
            for labels, value in series.items():
                whole._combine(metric, labels, value)
    return whole


def ended(snapshot: Snapshot) -> Snapshot:
    """Return what stays of the last snapshot of a process that has ended: counters and histograms, no gauges."""
    rest = Snapshot()
    for metric, series in snapshot:
        if metric.kind != "gauge":
            for labels, value in series.items():
                rest._combine(metric, labels, value)
    return rest


def quantile(distribution: Distribution, share: float) -> float | None:
    """Return the bound of the bucket in which the quantile lies, infinity above all; None without observations."""
    rank = share * distribution.count
    seen = 0
    for bound, count in zip((*distribution.bounds, math.inf), distribution.counts, strict=True):
        seen += count
        if count and seen >= rank:
            return bound
    return None
