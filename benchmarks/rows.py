"""The rows: loads, servers, and the bars that were set in advance."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum


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

    @property
    def more_is_better(self) -> bool:
        """Whether larger numbers are better."""
        return self in (Measure.OCTETS, Measure.RATE)


@dataclass(frozen=True, slots=True)
class Subject:
    """One server: its name, and its program (``c:NAME`` for a floor, otherwise a module of peers) with arguments."""

    name: str
    program: str
    arguments: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


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

    def arguments(self) -> list[str]:
        """The arguments of its command line."""
        named = {
            "mode": self.mode, "connections": self.connections, "depth": self.depth, "framing": self.framing,
            "size": self.size, "idle": self.idle, "end": self.end,
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

    def reached(self, value: float) -> bool:
        """Whether a measured value reaches the bar."""
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        if self.ourselves:
            return f"{sign} {self.limit:g} x its own without"
        return f"{sign} {self.limit:g} x {self.against}" if self.against else f"{sign} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    title: str
    measure: Measure
    load: Load
    subjects: tuple[Subject, ...]
    bars: tuple[Bar, ...] = ()
    #: The most rounds, for rows with long rounds. The page names these rows.
    max_rounds: int | None = None
    notes: tuple[str, ...] = field(default=())


def ours(file: str, *more: str, suffix: str = "") -> tuple[Subject, ...]:
    """fourtuple on both host loops."""
    return tuple(
        Subject(f"fourtuple, {loop}{suffix}", "fourtuple_server", (file, "--loop", loop, *more))
        for loop in ("asyncio", "uvloop")
    )


def without_c(file: str) -> tuple[Subject, ...]:
    """fourtuple without its C."""
    off = (("FOURTUPLE_C", "off"),)
    return tuple(replace(each, name=each.name + PURE, environment=off) for each in ours(file))


def protocols(framing: str, *more: str, suffix: str = "", kind: str = "Protocol") -> tuple[Subject, ...]:
    """Protocol classes on both loops."""
    return tuple(
        Subject(f"{loop} {kind}{suffix}", "protocol", (framing, "--loop", loop, *more))
        for loop in ("uvloop", "asyncio")
    )


def streams(framing: str) -> tuple[Subject, ...]:
    """Streams on both loops."""
    return tuple(Subject(f"{loop} streams", "streams", (framing, "--loop", loop)) for loop in ("uvloop", "asyncio"))


def others(framing: str) -> tuple[Subject, ...]:
    """The other servers."""
    return (
        Subject("gevent StreamServer", "gevent_server", (framing,)),
        Subject("anyio", "anyio_server", (framing,)),
        Subject("Twisted", "twisted_server", (framing,)),
        Subject("socketserver threads", "threads", (framing,)),
    )


def turning(*subjects: Subject) -> tuple[Subject, ...]:
    """The subjects with the handler for large messages."""
    return tuple(replace(each, environment=(*each.environment, ("HANDLER", "turned"))) for each in subjects)


def split(framing: str) -> Subject:
    """The floor in C that does the work of a message server."""
    return Subject("C, splits", "c:split", (framing,))


ECHO = Subject("C, echo", "c:echo")
PURE = ", pure Python"


def message_row(
    name: str,
    title: str,
    framing: str,
    size: int,
    depth: int,
    file: str,
    bars: tuple[Bar, ...],
    more: tuple[Subject, ...] = (),
) -> Row:
    """A row of the CPU per message of all servers."""
    subjects = (
        ECHO,
        split(framing),
        *ours(file),
        *more,
        *protocols(framing),
        *streams(framing),
        *others(framing),
    )
    load = Load(depth=depth, framing=framing.partition(":")[0], size=size)
    return Row(name, title, Measure.CPU, load, subjects, bars)


#: The kinds of handlers in services/streams.py.
STREAMS = (
    "reply", "slow reply", "generator", "async reply", "slow async reply", "async generator", "concurrency=8",
    "slow, concurrency=64", "threads", "generator in a thread", "conversation sends", "conversation sends 256 KiB",
    "conversation receives", "conversation echoes", "conversation of ten tasks", "blocking conversation", "broadcast",
    "broadcast, awaited",
)  # fmt: skip


def streaming() -> tuple[Subject, ...]:
    """fourtuple with each kind of handler."""
    return tuple(Subject(f"fourtuple, {kind}", "fourtuple_server", ("streams",), (("KIND", kind),)) for kind in STREAMS)


#: The kinds of handlers in services/kinds.py, and how much each may cost with 1 and 32 in flight, by a plain ``def``.
KINDS: tuple[tuple[str, tuple[float, float] | None], ...] = (
    ("def", None),
    ("def with connection", (1.10, 1.15)),
    ("async def", (1.15, 1.45)),
    ("async def that waits", None),
    ("generator", (1.15, 1.4)),
    ("async generator", None),
    ("threads", None),
    ("conversation", None),
    ("blocking conversation", None),
)


def kinds_row(depth: int) -> Row:
    """A row of the CPU per message of each kind of handler."""
    place = (1, 32).index(depth)
    subjects = tuple(
        Subject(f"fourtuple, {kind}", "fourtuple_server", ("kinds",), (("KIND", kind),)) for kind, _ in KINDS
    )
    bars = tuple(Bar("fourtuple, def", limits[place], ours=(f"fourtuple, {kind}",)) for kind, limits in KINDS if limits)
    return Row(
        f"kinds-{depth}",
        f"each kind of handler, 16 octets, 64 connections, {depth} in flight",
        Measure.CPU,
        Load(depth=depth),
        subjects,
        bars,
        notes=(
            "The work of a message is one call of upper() in all; the async def that waits awaits sleep(0) before it. "
            "The bars of the other kinds are over an earlier commit: python -m benchmarks.paired.",
        ),
    )


FIXED = "fixed:16"
BESIDE = " beside a computing thread"
BATCHES = ", batches"
ROWS = (
    message_row(
        "fixed-1", "16 octets, fixed, 64 connections, 1 in flight", FIXED, 16, 1, "sixteen",
        (
            Bar("C, echo", 1.15), Bar("uvloop Protocol", 0.90),
            Bar("uvloop Protocol", 1.0, ours=tuple(each.name for each in without_c("sixteen"))),
        ),
        without_c("sixteen"),
    ),
    message_row(
        "fixed-32", "16 octets, fixed, 64 connections, 32 in flight", FIXED, 16, 32, "sixteen",
        (Bar("C, echo", 1.5), Bar("uvloop Protocol", 0.75), Bar("asyncio streams", 0.05)),
    ),
    Row(
        "batches-32", "16 octets, fixed, 64 connections, 32 in flight: a function per message, and one per batch",
        Measure.CPU, Load(depth=32), (*ours("sixteen"), *ours("batches", suffix=BATCHES)),
        tuple(
            Bar(BATCHES, 2.0, ours=(f"fourtuple, {loop}{BATCHES}",), ourselves=True) for loop in ("asyncio", "uvloop")
        ),
        notes=(
            "The work of a message is one call of upper() in both, so that the row shows what a batch costs: it is "
            "taken and answered in Python. It pays where the work of many is less than that of each.",
        ),
    ),
    message_row(
        "line-32", "lines of 64 octets, 64 connections, 32 in flight", "line", 64, 32, "lines",
        (Bar("C, splits", 1.5),),
    ),
    message_row(
        "u32-32", "u32, 64 octets, 64 connections, 32 in flight", "u32", 64, 32, "lengths", (Bar("C, splits", 1.5),)
    ),
    Row(
        "conversation-1", "async conversation, 16 octets, 64 connections, 1 in flight", Measure.CPU, Load(),
        (ECHO, *ours("conversation"), *streams(FIXED), *others(FIXED)[:2]), (Bar("uvloop streams", 0.85),),
    ),
    Row(
        "conversation-32", "async conversation, 16 octets, 64 connections, 32 in flight", Measure.CPU, Load(depth=32),
        (ECHO, *ours("conversation"), *streams(FIXED), *others(FIXED)[:2]), (Bar("uvloop streams", 0.10),),
    ),
    kinds_row(1),
    kinds_row(32),
    Row(
        "latency", "16 octets, 1 connection, 1 in flight", Measure.LATENCY, Load(connections=1),
        (ECHO, *ours("sixteen"), *protocols(FIXED), *streams(FIXED), *others(FIXED)),
        (Bar("C, echo", 1.3, ours=("fourtuple, uvloop",)),),
    ),
    Row(
        "large", "messages of 1 MiB, u32, 8 connections, 1 in flight", Measure.OCTETS,
        Load(connections=8, framing="u32", size=1 << 20),
        (
            split("u32"), *ours("large"),
            *turning(
                *protocols("u32", "--buffered", kind="BufferedProtocol"), *streams("u32"), *others("u32")
            ),
        ),
        (Bar("C, splits", 0.75, at_least=True), Bar("uvloop BufferedProtocol", 1.2, at_least=True)),
    ),
    *(
        Row(
            f"churn-{end}", f"connect, 16 octets each way, ended by the client's {end.upper()}", Measure.CONNECT_CPU,
            Load(mode="churn", connections=16, end=end),
            (split(FIXED), *ours("sixteen"), *protocols(FIXED), *streams(FIXED), *others(FIXED)),
            (Bar("C, splits", 1.7), Bar("uvloop Protocol", 0.90)),
        )
        for end in ("fin", "rst")
    ),
    Row(
        "idle", "5,000 idle connections, reply service", Measure.MEMORY, Load(mode="hold", connections=5000),
        (split(FIXED), *ours("sixteen"), *protocols(FIXED), *streams(FIXED), *others(FIXED)),
        (Bar(None, 1.0),), max_rounds=3,
        notes=("Each connection has had one reply. The server is started anew for every round.",),
    ),
    *(
        Row(
            f"tls-{depth}", f"TLS 1.3, 64 octets (u32), 64 connections, {depth} in flight", Measure.CPU,
            Load(depth=depth, framing="u32", size=64, tls=True),
            (*ours("lengths", "--tls", "CERTIFICATE"), *protocols("u32", "--tls", "CERTIFICATE")),
            (bar,),
        )
        for depth, bar in ((32, Bar("uvloop Protocol", 0.7)), (1, Bar("asyncio Protocol", 0.9)))
    ),
    Row(
        "broadcast", "100 octets to 5,000 connections", Measure.CPU,
        Load(mode="broadcast", connections=5000, size=100),
        (Subject("C, loop of send", "c:broadcast"), *ours("news"), *protocols("fixed:100")),
        (Bar("C, loop of send", 1.3),),
    ),
    *(
        Row(
            f"resp-{depth}", f"RESP under redis-benchmark, GET and SET, pipeline {depth}", Measure.REDIS,
            Load(connections=50, depth=depth), (*ours("resp"), Subject("redis-server", "redis-server")),
            (Bar("redis-server", limit),),
        )
        for depth, limit in ((1, 1.3), (32, 2.5))
    ),
    Row(
        "thread", "16 octets, 64 connections, 1 in flight, beside a thread that computes in the same process",
        Measure.RATE, Load(),
        (
            *ours("sixteen"), *ours("sixteen", "--beside-thread", suffix=BESIDE),
            *protocols(FIXED), *protocols(FIXED, "--beside-thread", suffix=BESIDE),
        ),
        (
            Bar(BESIDE, 0.35, ours=(f"fourtuple, asyncio{BESIDE}", f"fourtuple, uvloop{BESIDE}"), at_least=True,
                ourselves=True),
        ),
    ),
    Row(
        "growth", "16 octets, 64 active connections, alone and among 5,000", Measure.GROWTH, Load(idle=4936),
        (ECHO, *ours("sixteen"), *protocols(FIXED)), (Bar("C, echo", 1.10),), max_rounds=7,
        notes=("Alone is measured before and after, in the same round: a drift of the machine is in both.",),
    ),
    Row(
        "bystander", "another client, beside one that takes all it can get", Measure.WAIT, Load(), streaming(),
        tuple(Bar(None, 50.0, ours=(subject.name,)) for subject in streaming()), max_rounds=5,
        notes=(
            "One client has rows streamed to it without an end, or floods the server: as the kind of handler is. "
            "Another asks again and again, on one connection and on new ones; each round counts its longest wait. "
            "A slow handler computes for a millisecond.",
        ),
    ),
)  # fmt: skip
