"""What a row is: a load, the servers under it, the measured quantity, and the bars that were set in advance."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from benchmarks.ratios import Spread


class Measure(Enum):
    """The measured quantity; the value is its unit."""

    CPU = "µs of server CPU per message"
    CONNECT_CPU = "µs of server CPU per connection"
    LATENCY = "µs, median latency"
    OCTETS = "MiB/s each way"
    RATE = "messages/s"
    MEMORY = "KiB of resident memory per connection"
    REDIS = "µs of server CPU per request"
    GROWTH = "CPU per message at 5,000 connections by that at 64"
    WAIT = "ms, the longest wait of another client"
    TAIL = "µs from the moment at which a message was due to its reply"
    START = "ms from the command to listening"
    RUN = "ms from the command to its end"

    @property
    def more_is_better(self) -> bool:
        """Whether larger numbers are better."""
        return self in (Measure.OCTETS, Measure.RATE)


@dataclass(frozen=True, slots=True)
class Subject:
    """One server: its name, and its program with arguments.

    The program is ``c:NAME`` for a floor, ``go`` or ``rust`` for one of these peers, ``command`` for
    ``fourtuple serve``, ``python`` for the interpreter alone, otherwise a module of peers.
    """

    name: str
    program: str
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    #: The connections of the load for this server alone; None means those of the row.
    connections: int | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """The options of the load generator."""

    mode: str = "loop"
    connections: int = 64
    depth: int = 1
    framing: str = "fixed"
    size: int = 16
    idle: int = 0
    end: str = "fin"
    tls: bool = False
    #: Messages per second of an open loop: they are sent when they are due, whatever has been answered.
    rate: int = 0

    def arguments(self) -> list[str]:
        """The arguments of its command line."""
        named = {
            "mode": self.mode, "connections": self.connections, "depth": self.depth, "framing": self.framing,
            "size": self.size, "idle": self.idle, "end": self.end, "rate": self.rate,
        }  # fmt: skip
        return [each for name, value in named.items() for each in (f"--{name}", str(value))] + ["--tls"] * self.tls


@dataclass(frozen=True, slots=True)
class Bar:
    """A goal: the ratio of our best server to one of theirs (``against`` None: our value itself)."""

    against: str | None
    limit: float
    ours: tuple[str, ...] = ("fourtuple, asyncio", "fourtuple, uvloop")
    at_least: bool = False
    #: Whether ``against`` is a suffix of our name: the other server is then ours without that suffix.
    ourselves: bool = False
    #: Whether the lower quartile of the rounds is judged, not their median.
    lower_quartile: bool = False

    def reached(self, value: float) -> bool:
        """Whether a measured value reaches the bar."""
        return value >= self.limit if self.at_least else value <= self.limit

    def judged(self, seen: Spread) -> float:
        """The value that is judged."""
        return seen.low if self.lower_quartile else seen.median

    def verdict(self, seen: Spread) -> str:
        """Whether the bar is reached, in words.

        If the bar lies between the median and the better quartile, the rounds do not tell on which side of it we are:
        the same build moves by more than that from hour to hour.
        """
        if self.reached(self.judged(seen)):
            return "reached"
        return "within the noise" if self.reached(seen.high if self.at_least else seen.low) else "**not reached**"

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        if self.ourselves:
            return f"{sign} {self.limit:g} x its own without"
        quartile = ", lower quartile" if self.lower_quartile else ""
        return (f"{sign} {self.limit:g} x {self.against}" if self.against else f"{sign} {self.limit:g}") + quartile


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    title: str
    measure: Measure
    load: Load
    subjects: tuple[Subject, ...]
    bars: tuple[Bar, ...] = ()
    #: The most rounds, for rows with long rounds, or the fewest. The page names these rows.
    max_rounds: int | None = None
    min_rounds: int = 0
    notes: tuple[str, ...] = field(default=())
    #: The values of one measurement, if it has several: each is shown as a server of its own, ``NAME, PART``.
    parts: tuple[str, ...] = ()
    #: The servers, the first that is here, whose best rate gives that of an open loop: half of it.
    paced_by: tuple[str, ...] = ()

    def part(self, name: str) -> str:
        """The part of the measurement that a shown name ends with; empty if the measurement has one value."""
        return next((f", {part}" for part in self.parts if name.endswith(f", {part}")), "")
