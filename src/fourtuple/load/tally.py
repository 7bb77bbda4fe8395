"""What is counted: over an interval, over a run, over processes. One kind of thing, which adds up."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from fourtuple.load.histogram import Histogram

#: Wrong replies that are shown, not only counted.
MAX_SAMPLES = 3


class Phase(Enum):
    """When something was counted."""

    OPENING = "opening"  #: connections are made, nothing is sent yet
    WARMUP = "warmup"
    MEASURED = "measured"
    AFTER = "after"  #: nothing more is sent; the last replies come


@dataclass(slots=True)
class Tally:
    """Everything that was counted in some time.

    Durations are in nanoseconds: ``latency`` of replies (from the intended moment in an open loop, else from the
    moment the request was handed over), ``lateness`` of requests behind their intended moment, ``connecting`` and
    ``handshaking`` of connections. ``cpu`` is this end's own CPU time, ``seconds`` how long it was counted.
    """

    seconds: float = 0.0
    cpu: int = 0
    requests: int = 0
    replies: int = 0
    octets_in: int = 0
    octets_out: int = 0
    connects: int = 0
    #: Connections that the peer ended with nothing in flight.
    closed_by_peer: int = 0
    #: Requests that had no reply in time, and those that lost their connection or the run's end before it.
    timeouts: int = 0
    unanswered: int = 0
    mismatches: int = 0
    #: Open-loop requests whose moment came and that could not be sent by the end.
    unsent: int = 0
    latency: Histogram = field(default_factory=Histogram)
    lateness: Histogram = field(default_factory=Histogram)
    connecting: Histogram = field(default_factory=Histogram)
    handshaking: Histogram = field(default_factory=Histogram)
    #: Why connections could not be made, and why they broke, by the names of errors.
    connect_failures: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    #: What became of idle connections and adversaries: "half-open: opened", "half-open: closed by peer" ...
    others: Counter[str] = field(default_factory=Counter)
    #: The first failures and wrong replies, in words.
    samples: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count what was counted elsewhere; the seconds are not added, see :meth:`follow`."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _HISTOGRAMS:
            getattr(self, name).add(getattr(other, name))
        for name in _COUNTERS:
            getattr(self, name).update(getattr(other, name))
        self.samples = [*self.samples, *other.samples][:MAX_SAMPLES]

    def follow(self, other: Tally) -> None:
        """Count what was counted in the time behind this one."""
        self.add(other)
        self.seconds += other.seconds

    @property
    def troubles(self) -> int:
        """How often something went wrong that a well-behaved connection notices."""
        broken = self.failures.total() + self.connect_failures.total()
        return broken + self.timeouts + self.unanswered + self.mismatches

    @property
    def rate(self) -> float:
        """Replies a second."""
        return self.replies / self.seconds if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """Numbers, texts and dicts; :meth:`from_json` reads it."""
        values: dict[str, Any] = {}
        for name in _NAMES:
            value = getattr(self, name)
            values[name] = value.buckets if isinstance(value, Histogram) else value
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Tally:
        """The inverse of :meth:`as_json`, through JSON, whose keys are texts."""
        tally = cls(**{name: values[name] for name in _NAMES if name not in (*_HISTOGRAMS, *_COUNTERS)})
        for name in _HISTOGRAMS:
            setattr(tally, name, Histogram({int(bucket): count for bucket, count in values[name].items()}))
        for name in _COUNTERS:
            setattr(tally, name, Counter(values[name]))
        return tally


_NAMES = tuple(each.name for each in dataclasses.fields(Tally))
_HISTOGRAMS = ("latency", "lateness", "connecting", "handshaking")
_COUNTERS = ("connect_failures", "failures", "others")
_NUMBERS = tuple(name for name in _NAMES if name not in (*_HISTOGRAMS, *_COUNTERS, "samples", "seconds"))


@dataclass(slots=True)
class Interval:
    """One row of the series: what was counted from ``start`` on, in seconds since the load began.

    ``open`` are the connections that are open at its end.
    """

    number: int
    start: float
    phase: Phase
    open: int
    tally: Tally

    def add(self, other: Interval) -> None:
        """The same row of another process."""
        self.open += other.open
        self.tally.add(other.tally)
        self.tally.seconds = max(self.tally.seconds, other.tally.seconds)

    def as_json(self) -> dict[str, Any]:
        """Numbers, texts and dicts; :meth:`from_json` reads it."""
        return {
            "number": self.number,
            "start": self.start,
            "phase": self.phase.value,
            "open": self.open,
            "tally": self.tally.as_json(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Interval:
        """The inverse of :meth:`as_json`."""
        return cls(**values | {"phase": Phase(values["phase"]), "tally": Tally.from_json(values["tally"])})
