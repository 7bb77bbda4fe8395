"""The rows, with the bars that were set in advance."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.model import Bar, Load, Measure, Row, Subject
from benchmarks.servers import (
    ECHO,
    GO,
    TOKIO,
    encrypted,
    native,
    others,
    ours,
    protocols,
    split,
    streams,
    turning,
    without_c,
)


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
        *native(framing),
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
    "broadcast, awaited", "batches", "streams callback", "streams callback reads",
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


#: By row and server: what a server of ours may cost by the same one of an earlier commit, where that is not
#: :data:`SAME` (``python -m benchmarks.paired``).
BY_BEFORE = {
    (f"kinds-{depth}", f"fourtuple, {kind}"): limits[place]
    for place, depth in enumerate((1, 32))
    for kind, limits in {
        "async def that waits": (1.05, 1.05), "async generator": (0.6, 0.35), "threads": (0.6, 0.06),
        "blocking conversation": (0.75, 0.2),
    }.items()
}  # fmt: skip
#: What every other one may cost: no more, beside the noise.
SAME = 1.03

FIXED = "fixed:16"
BESIDE = " beside a computing thread"
BATCHES = ", batches"
awaited = tuple(replace(each, environment=(("KIND", "async def"),)) for each in ours("kinds", suffix=", async def"))
#: The percentiles of an open loop, and the part of its messages that the client itself sent late.
PERCENTILES = ("p50", "p99", "p99.9")
LAG = "lag"


def tail_bars(part: str, limit: float, *, lower_quartile: bool = False) -> Bar:
    """A bar of one percentile, over Go's."""
    names = tuple(f"{subject.name}, {part}" for subject in ours("sixteen"))
    return Bar(f"{GO}, {part}", limit, ours=names, lower_quartile=lower_quartile)


def served(name: str, *more: str) -> Subject:
    """The command ``fourtuple serve``, on asyncio."""
    return Subject(name, "command", ("sixteen", "--loop", "asyncio", *more))


def interpreted(name: str, code: str) -> Subject:
    """The interpreter alone."""
    return Subject(name, "python", ("-c", code))


IN_ALL = ", 64 in all"
TWO = served("fourtuple, 2 workers", "--workers", "2")
TWO_FLOORS = Subject("C, echo, 2 processes", "c:echo", ("2",))
WORKERS = (
    ECHO, replace(TWO_FLOORS, connections=128), replace(TWO_FLOORS, name=TWO_FLOORS.name + IN_ALL),
    served("fourtuple, no supervisor"), served("fourtuple, 1 worker", "--workers", "1"),
    replace(TWO, connections=128), replace(TWO, name=TWO.name + IN_ALL),
)  # fmt: skip


def workers_row(depth: int) -> Row:
    """A row of one process and two that share its core."""
    return Row(
        f"workers-{depth}",
        f"16 octets, 64 connections for each worker, {depth} in flight: one worker and two, on one core",
        Measure.CPU, Load(depth=depth), WORKERS, (Bar("fourtuple, 1 worker", 1.05, ours=("fourtuple, 2 workers",)),),
        notes=(
            "Two processes have 128 connections together, so that each has as many as the one. They take turns on one "
            "core, and the cost of a switch between them is divided by the messages that each finds in its turn: those "
            "marked `64 in all` find half as many. The C servers show what the switches cost without Python. Workers "
            "with a core each do not switch.",
        ),
    )  # fmt: skip


ROWS = (
    message_row(
        "fixed-1", "16 octets, fixed, 64 connections, 1 in flight", FIXED, 16, 1, "sixteen",
        (
            Bar("C, echo", 1.10), Bar(GO, 0.85), Bar(TOKIO, 1.05), Bar("uvloop Protocol", 0.90),
            Bar("uvloop Protocol", 1.03, ours=tuple(each.name for each in without_c("sixteen"))),
        ),
        without_c("sixteen"),
    ),
    message_row(
        "fixed-32", "16 octets, fixed, 64 connections, 32 in flight", FIXED, 16, 32, "sixteen",
        (
            Bar("C, echo", 1.45), Bar(GO, 0.82), Bar(TOKIO, 1.40), Bar("uvloop Protocol", 0.75),
            Bar("asyncio streams", 0.05),
        ),
    ),
    Row(
        "batches-32", "16 octets, fixed, 64 connections, 32 in flight: a function per message, and one per batch",
        Measure.CPU, Load(depth=32), (*ours("sixteen"), *ours("batches", suffix=BATCHES), *native(FIXED)),
        (
            Bar(TOKIO, 1.20, ours=tuple(f"fourtuple, {loop}{BATCHES}" for loop in ("asyncio", "uvloop"))),
            *(
                Bar(BATCHES, 1.10, ours=(f"fourtuple, {loop}{BATCHES}",), ourselves=True)
                for loop in ("asyncio", "uvloop")
            ),
        ),
        notes=(
            "The work of a message is one call of upper() in both, so that the row shows what a batch costs. "
            "It pays where the work of many is less than that of each.",
        ),
    ),
    message_row(
        "line-32", "lines of 64 octets, 64 connections, 32 in flight", "line", 64, 32, "lines",
        (Bar("C, splits", 1.5), Bar(GO, 0.70)),
    ),
    message_row(
        "u32-32", "u32, 64 octets, 64 connections, 32 in flight", "u32", 64, 32, "lengths",
        (Bar("C, splits", 1.35), Bar(GO, 0.80)),
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
        (ECHO, *ours("sixteen"), *native(FIXED), *protocols(FIXED), *streams(FIXED), *others(FIXED)),
        (Bar("C, echo", 1.3, ours=("fourtuple, uvloop",)),),
    ),
    Row(
        "tail", "16 octets, 64 connections, an open loop at half of Go's best rate", Measure.TAIL, Load(mode="paced"),
        (ECHO, *ours("sixteen"), *native(FIXED), *protocols(FIXED)),
        (tail_bars("p50", 1.2), tail_bars("p99", 1.5, lower_quartile=True)),
        min_rounds=15, parts=(*PERCENTILES, LAG), paced_by=(GO, TOKIO, "C, echo"),
        notes=(
            "A message is sent when it is due, at random moments that are the same for all servers, whatever has been "
            "answered; its latency begins when it was due. `lag` is by how much the client itself was late, p99: a "
            "round in which that was more than 100 µs is dropped.",
        ),
    ),
    workers_row(1),
    workers_row(32),
    Row(
        "start", "from the command to listening", Measure.START, Load(),
        (
            split(FIXED), served("fourtuple serve"), *ours("sixteen"), *native(FIXED), *protocols(FIXED),
            *streams(FIXED), *others(FIXED),
        ),
    ),
    Row(
        "import", "import fourtuple, in a new interpreter", Measure.RUN, Load(),
        (
            interpreted("python", "pass"), interpreted("fourtuple", "import fourtuple"),
            interpreted("asyncio", "import asyncio"), interpreted("uvloop", "import uvloop"),
            interpreted("anyio", "import anyio"), interpreted("gevent", "import gevent.server"),
            interpreted("Twisted", "import twisted.internet.reactor"),
        ),
    ),
    Row(
        "large", "messages of 1 MiB, u32, 8 connections, 1 in flight", Measure.OCTETS,
        Load(connections=8, framing="u32", size=1 << 20),
        (
            split("u32"), *ours("large"),
            *turning(
                *native("u32"), *protocols("u32", "--buffered", kind="BufferedProtocol"), *streams("u32"),
                *others("u32"),
            ),
        ),
        (Bar("C, splits", 0.75, at_least=True), Bar("uvloop BufferedProtocol", 1.2, at_least=True)),
    ),
    *(
        Row(
            f"churn-{end}", f"connect, 16 octets each way, ended by the client's {end.upper()}", Measure.CONNECT_CPU,
            Load(mode="churn", connections=16, end=end),
            (split(FIXED), *ours("sixteen"), *native(FIXED), *protocols(FIXED), *streams(FIXED), *others(FIXED)),
            (Bar("C, splits", limit), Bar(GO, 0.6)),
        )
        for end, limit in (("fin", 1.12), ("rst", 1.30))
    ),
    Row(
        "idle", "5,000 idle connections, reply service", Measure.MEMORY, Load(mode="hold", connections=5000),
        (
            split(FIXED), *ours("sixteen"), *awaited, *native(FIXED), *protocols(FIXED), *streams(FIXED),
            *others(FIXED),
        ),
        (Bar(None, 0.95), Bar(None, 1.2, ours=tuple(subject.name for subject in awaited))), max_rounds=3,
        notes=(
            "Each connection has had one reply. The server is started anew for every round.",
            "The bar of 1.2 KiB is that of an `async def`, the other that of a plain `def`.",
        ),
    ),
    *(
        Row(
            f"tls-{depth}", f"TLS 1.3, 64 octets (u32), 64 connections, {depth} in flight", Measure.CPU,
            Load(depth=depth, framing="u32", size=64, tls=True),
            (
                *ours("lengths", "--tls", "CERTIFICATE"), *encrypted(),
                *protocols("u32", "--tls", "CERTIFICATE"),
            ),
            tuple(bars),
        )
        for depth, *bars in (
            (32, Bar("uvloop Protocol", 0.7), Bar("Go crypto/tls", 1.1)),
            (1, Bar("asyncio Protocol", 0.9), Bar("Go crypto/tls", 1.2)),
        )
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
