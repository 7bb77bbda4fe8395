"""The counts of an interval, a run or a process. All have the same type, so that they can be added."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from fourtuple.load.histogram import Histogram

#: The number of failures that are kept as text and not only counted.
MAX_SAMPLES = 3


class Phase(Enum):
    """The phase of a run in which something was counted."""

    OPENING = "opening"  #: connections are made, nothing is sent yet
    WARMUP = "warmup"
    MEASURED = "measured"
    AFTER = "after"  #: nothing more is sent; the last replies come


@dataclass(slots=True)
class Tally:
    """All counts of a period.

    Durations are in nanoseconds: ``latency`` of replies (from the intended moment in an open loop, otherwise from the
    moment when the request was handed over), ``lateness`` of requests after their intended moment, ``connecting`` and
    ``handshaking`` of connections. ``cpu`` is the CPU time of the load generator, in nanoseconds, and ``seconds`` the
    length of the period. ``octets_in`` and ``octets_out`` are those on the wire. ``connects`` counts connections that
    were made, ``mismatches`` replies other than the expected one.
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
    #: Requests without a reply in time.
    timeouts: int = 0
    #: Requests whose connection or run ended before their reply.
    unanswered: int = 0
    mismatches: int = 0
    #: Messages that came with no request in flight. All but those after the last request are mismatches too.
    unasked: int = 0
    #: Messages that ``is_push`` recognised.
    pushes: int = 0
    #: Open-loop requests that were due and could not be sent before the end.
    unsent: int = 0
    latency: Histogram = field(default_factory=Histogram)
    lateness: Histogram = field(default_factory=Histogram)
    connecting: Histogram = field(default_factory=Histogram)
    handshaking: Histogram = field(default_factory=Histogram)
    #: Failed connects, counted by the name of the error.
    connect_failures: Counter[str] = field(default_factory=Counter)
    #: Broken connections, counted by the name of the error.
    failures: Counter[str] = field(default_factory=Counter)
    #: Counts of idle connections and adversaries: "half-open: opened", "half-open: closed by peer" ...
    others: Counter[str] = field(default_factory=Counter)
    #: The first failures and wrong replies, as text.
    samples: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add the counts of ``other``, another process. The seconds are not added; see :meth:`follow`."""
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _HISTOGRAMS:
            getattr(self, name).add(getattr(other, name))
        for name in _COUNTERS:
            getattr(self, name).update(getattr(other, name))
        self.samples = [*self.samples, *other.samples][:MAX_SAMPLES]

    def follow(self, other: Tally) -> None:
        """Add the counts of ``other``, the period after this one, including its seconds."""
        self.add(other)
        self.seconds += other.seconds

    @property
    def troubles(self) -> int:
        """The number of failures that the connections of the load noticed."""
        broken = self.failures.total() + self.connect_failures.total()
        return broken + self.timeouts + self.unanswered + self.mismatches

    @property
    def rate(self) -> float:
        """Replies per second."""
        return self.replies / self.seconds if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return numbers, texts and dicts, which :meth:`from_json` reads."""
        values: dict[str, Any] = {}
        for name in _NAMES:
            value = getattr(self, name)
            values[name] = value.buckets if isinstance(value, Histogram) else value
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Tally:
        """Return the counts that :meth:`as_json` made ``values`` of. It accepts keys that JSON has made texts."""
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
    """One row of the series: the counts of a period that begins at ``start``, in seconds since the load began.

    ``number`` counts the rows of its ``phase``, from 0. ``open`` is the number of
    connections that are open at its end, ``tally`` has the counts.
    """

    number: int
    start: float
    phase: Phase
    open: int
    tally: Tally

    def add(self, other: Interval) -> None:
        """Add ``other``, the same row of another process."""
        self.open += other.open
        self.tally.add(other.tally)
        self.tally.seconds = max(self.tally.seconds, other.tally.seconds)

    def as_json(self) -> dict[str, Any]:
        """Return numbers, texts and dicts, which :meth:`from_json` reads."""
        return {
            "number": self.number,
            "start": self.start,
            "phase": self.phase.value,
            "open": self.open,
            "tally": self.tally.as_json(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Interval:
        """Return the row that :meth:`as_json` made ``values`` of."""
        return cls(**values | {"phase": Phase(values["phase"]), "tally": Tally.from_json(values["tally"])})
