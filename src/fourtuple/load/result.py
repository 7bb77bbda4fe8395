"""The result of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fourtuple.load.histogram import Histogram, hgrm
from fourtuple.load.options import Load
from fourtuple.load.tally import Interval, Phase, Tally

#: The percentiles that tables and JSON show.
PERCENTILES = (50.0, 75.0, 90.0, 99.0, 99.9, 99.99)


@dataclass(frozen=True, slots=True)
class Result:
    """The numbers of a run.

    Rates and latencies are those of the measured time. The latencies include the last replies, which come after it.
    Failures, timeouts and wrong replies are those of the whole run, including the warm-up, because an early error
    is still an error. So are connects and their durations.

    ``series`` are the rows over time, added up over all processes. ``measured`` is their sum over the measured time,
    ``total`` over the whole run. ``asked`` is the intended rate of an open loop, in requests per second.
    ``address`` and ``framing`` are those of the run, as text, ``load`` are its options. ``latency`` is the histogram of
    the latencies, in nanoseconds. ``interrupted`` says whether the run was ended early, ``began`` when it began, in
    seconds since 1970.
    """

    address: str
    framing: str
    load: Load
    series: list[Interval]
    measured: Tally
    total: Tally
    latency: Histogram
    asked: float | None
    interrupted: bool = False
    began: float = field(default=0.0)

    @classmethod
    def of(
        cls,
        address: str,
        framing: str,
        load: Load,
        series: list[Interval],
        *,
        asked: float | None = None,
        interrupted: bool = False,
        began: float = 0.0,
    ) -> Result:
        """Add up the rows of a run, ``series``, and return its result.

        ``address``, ``framing``, ``load``, ``asked``, ``interrupted`` and ``began`` are fields of the result: ``asked``
        is in requests per second, ``began`` in seconds since 1970. By default the run was not interrupted, and its
        beginning is not known.
        """
        measured, total, latency = Tally(), Tally(), Histogram()
        for row in series:
            total.follow(row.tally)
            if row.phase is Phase.MEASURED:
                measured.follow(row.tally)
            if row.phase in (Phase.MEASURED, Phase.AFTER):
                latency.add(row.tally.latency)
        return cls(address, framing, load, series, measured, total, latency, asked, interrupted, began)

    @property
    def rate(self) -> float:
        """Replies per second in the measured time; requests per second if :attr:`Load.replies` is 0."""
        return self.measured.rate if self.load.replies else self.sent_rate

    @property
    def sent_rate(self) -> float:
        """Requests sent per second in the measured time."""
        return self.measured.requests / self.measured.seconds if self.measured.seconds else 0.0

    @property
    def connect_rate(self) -> float:
        """Connections made per second in the measured time."""
        return self.measured.connects / self.measured.seconds if self.measured.seconds else 0.0

    @property
    def messages(self) -> int:
        """The divisor of :attr:`cost`: the number of replies, or else of requests, or else of connects."""
        return self.measured.replies or self.measured.requests or self.measured.connects

    @property
    def cost(self) -> float:
        """The CPU time of the load generator for each message, in microseconds."""
        return self.measured.cpu / 1000 / self.messages if self.messages else 0.0

    @property
    def busy(self) -> float:
        """The share of time that the load generator's processes were busy. Near 1, it may have been the bottleneck."""
        time = self.measured.seconds * self.load.processes
        return self.measured.cpu / 1e9 / time if time else 0.0

    @property
    def kept_up(self) -> bool:
        """Whether an open loop kept its rate: at most 1 % of the requests due were not sent, or were sent too late."""
        if self.asked is None:
            return True
        due = self.asked * self.measured.seconds
        return self.total.unsent <= max(1.0, due / 100) and self.measured.requests >= due * 0.99 - 1

    @property
    def ok(self) -> bool:
        """Whether nothing failed: every reply came in time and was right, and the rate was kept."""
        return not self.total.troubles and self.kept_up

    def hgrm(self) -> str:
        """The latencies as HdrHistogram's percentile text, in milliseconds."""
        return hgrm(self.latency)

    def as_json(self) -> dict[str, Any]:
        """Return everything as numbers and texts; durations in seconds, rates per second."""
        total, measured = self.total, self.measured
        return {
            "address": self.address,
            "framing": self.framing,
            "began": self.began,
            "interrupted": self.interrupted,
            "load": {name: getattr(self.load, name) for name in type(self.load).__dataclass_fields__},
            "seconds": measured.seconds,
            "requests": measured.requests,
            "replies": measured.replies,
            "rate": self.rate,
            "asked_rate": self.asked,
            "sent_rate": self.sent_rate,
            "kept_up": self.kept_up,
            "unsent": total.unsent,
            "octets_in": measured.octets_in,
            "octets_out": measured.octets_out,
            "latency": durations(self.latency),
            "lateness": durations(measured.lateness),
            "connects": total.connects,
            "connect_rate": self.connect_rate,
            "connecting": durations(total.connecting),
            "handshaking": durations(total.handshaking),
            "connect_failures": dict(total.connect_failures),
            "failures": dict(total.failures),
            "closed_by_peer": total.closed_by_peer,
            "timeouts": total.timeouts,
            "unanswered": total.unanswered,
            "mismatches": total.mismatches,
            "unasked": total.unasked,
            "pushes": total.pushes,
            "others": dict(total.others),
            "samples": total.samples,
            "cpu_per_message": self.cost / 1e6,
            "busy": self.busy,
            "ok": self.ok,
            "series": [_row(row) for row in self.series],
        }


def durations(histogram: Histogram) -> dict[str, float | int]:
    """A histogram as a few numbers, in seconds; only the count if it is empty."""
    if not histogram.count:
        return {"count": 0}
    return {
        "count": histogram.count,
        "mean": histogram.mean / 1e9,
        "min": histogram.minimum / 1e9,
        **{f"p{percent:g}": histogram.percentile(percent) / 1e9 for percent in PERCENTILES},
        "max": histogram.maximum / 1e9,
    }


def _row(row: Interval) -> dict[str, Any]:
    tally = row.tally
    return {
        "start": row.start,
        "seconds": tally.seconds,
        "phase": row.phase.value,
        "open": row.open,
        "requests": tally.requests,
        "replies": tally.replies,
        "connects": tally.connects,
        "troubles": tally.troubles,
        "latency": durations(tally.latency),
    }
