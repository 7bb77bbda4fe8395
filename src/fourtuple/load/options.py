"""The options of the load generator, each declared once."""

from __future__ import annotations

from dataclasses import dataclass

from fourtuple.errors import OptionError
from fourtuple.options import Options, option

#: The most rows in the series of a run: longer runs have longer intervals.
MAX_INTERVALS = 3600
#: Seconds. The histogram cannot hold longer latencies: see its MAX_VALUE.
MAX_TIMEOUT = 7200.0
#: Requests in flight on one connection, if :attr:`Load.depth` is None.
CLOSED_DEPTH = 1
OPEN_DEPTH = 64


@dataclass(frozen=True, kw_only=True)
class Load(Options):
    """The options of ``fourtuple bench``: connections, requests, duration, and checks.

    Numbers apply to the whole run; several processes divide them.
    """

    connections: int = option(
        1,
        "connections that send requests",
        unit="connections",
        reason="one: the latency of a single client; a server that is to be busy needs more",
        minimum=0,
    )
    depth: int | None = option(
        None,
        "requests in flight on one connection",
        unit="requests",
        reason=f"none: {CLOSED_DEPTH} in a closed loop, as most clients do; with rate, at most {OPEN_DEPTH}",
        minimum=1,
    )
    rate: float | None = option(
        None,
        "requests a second in all, sent at their time whether the server keeps up or not (open loop)",
        unit="requests a second",
        reason="none: a closed loop, each reply is followed by the next request",
        above=0,
    )
    duration: float = option(
        10.0,
        "what is measured, behind the warm-up",
        unit="seconds",
        reason="bounded, and long enough for a p99.9 of a quick service",
        above=0,
    )
    warmup: float = option(
        1.0,
        "load that is not measured, before the rest; its failures count all the same",
        unit="seconds",
        reason="the first requests pay for cold caches and slow start",
        minimum=0,
    )
    requests: int | None = option(
        None,
        "end after so many requests, warm-up included, where the time is not up before",
        unit="requests",
        reason="none: the time decides",
        minimum=1,
    )
    ramp: float = option(
        0.0,
        "over which the connections are opened one by one, or the rate rises from nothing",
        unit="seconds",
        reason="0: everything at once",
        minimum=0,
    )
    churn: int | None = option(
        None,
        "requests on a connection before it is closed and another one opened; 0: connect and close alone",
        unit="requests",
        reason="none: connections stay",
        minimum=0,
    )
    close: str = option(
        "fin",
        "how a connection of churn ends: fin (and wait for the peer's) or reset",
        reason="fin: what well-behaved clients do; it leaves TIME_WAIT at this end, which RST does not",
        choices=("fin", "reset"),
    )
    connect_rate: float | None = option(
        None,
        "new connections a second, at most",
        unit="connections a second",
        reason="none: as fast as they can be made",
        above=0,
    )
    size: int | None = option(
        None,
        "octets of each request, where no text, template or file is given",
        unit="octets",
        reason="none: the size of a fixed framing, else 64",
        minimum=0,
    )
    replies: int = option(
        1,
        "messages that answer one request; with 0 nothing is waited for, and no latency is measured",
        unit="messages",
        reason="request and reply is what most protocols do",
        minimum=0,
    )
    greeting: int = option(
        0,
        "messages that the server says first on each connection, before any request",
        unit="messages",
        reason="0: most servers wait for their clients",
        minimum=0,
    )
    expect: str = option(
        "any",
        "what every reply must be: any, same (as the request), text:TEXT, starts:TEXT, regex:RE, size:N, "
        "template:TEXT; what is not counts, and the exit code is 1",
        reason="any: only the server's author knows",
    )
    timeout: float = option(
        10.0,
        "for a reply; a connection without one is reset and counted",
        unit="seconds",
        reason="longer than anybody waits; the tail up to there is still measured",
        above=0,
    )
    connect_timeout: float = option(
        10.0,
        "for connecting, and as much again for a TLS handshake",
        unit="seconds",
        reason="a SYN that was lost is sent again after 1, 3 and 7 s",
        above=0,
    )
    idle: int = option(
        0,
        "connections that are opened, say nothing, and are held until the end",
        unit="connections",
        reason="0: for servers that must hold many",
        minimum=0,
    )
    slow_readers: int = option(
        0,
        "adversaries that send requests without end and read slow_rate octets a second",
        unit="connections",
        reason="0: for servers that must not run out of memory",
        minimum=0,
    )
    slow_writers: int = option(
        0,
        "adversaries whose requests come at slow_rate octets a second (slowloris)",
        unit="connections",
        reason="0: for servers with deadlines",
        minimum=0,
    )
    fragmenters: int = option(
        0,
        "connections whose requests come octet by octet, each in a segment of its own; their replies are checked",
        unit="connections",
        reason="0: for framings that must not care",
        minimum=0,
    )
    resetters: int = option(
        0,
        "adversaries that send a request and a half, reset, and come again",
        unit="connections",
        reason="0: for servers that must not leak",
        minimum=0,
    )
    half_open: int = option(
        0,
        "adversaries that send half a request and are never heard of again",
        unit="connections",
        reason="0: for servers with deadlines",
        minimum=0,
    )
    slow_rate: float = option(
        10.0,
        "how fast the slow ones are",
        unit="octets a second",
        reason="above the trickle that a deadline for idle connections would notice",
        above=0,
    )
    interval: float = option(
        1.0,
        "one row of the series over time",
        unit="seconds",
        reason=f"a plot's resolution; longer in runs of more than {MAX_INTERVALS} of them",
        above=0,
    )
    processes: int = option(
        1,
        "processes that make the load",
        unit="processes",
        reason="one: enough for one server process; more where the result says that this end was busy",
        minimum=1,
    )
    loop: str = option(
        "auto",
        "the host loop of the load: asyncio, uvloop, or auto",
        reason="auto: uvloop where it is installed, which costs less for every wake-up",
        choices=("auto", "asyncio", "uvloop"),
    )
    local: str = option(
        "",
        "addresses to connect from, with commas between them, taken in turn",
        reason="empty: the kernel chooses; each address has some 28,000 ports towards one server",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.churn == 0 and self.rate is not None:
            raise OptionError("rate: requests a second given with churn 0, which sends none; connect_rate is meant")
        if self.replies == 0 and self.expect != "any":
            raise OptionError(f"expect: {self.expect!r} given with replies 0: nothing is waited for")
        if self.rate is not None and self.connections < self.processes:
            raise OptionError(f"connections: {self.connections} given for a rate in {self.processes} processes")
        if self.timeout > MAX_TIMEOUT:
            raise OptionError(f"timeout: {self.timeout:g} seconds given, no more than {MAX_TIMEOUT:g} are possible")
        if not self.connections + self.idle + self.adversaries:
            raise OptionError("connections: 0 given, and neither idle ones nor adversaries beside them")

    @property
    def adversaries(self) -> int:
        """The number of connections that misbehave."""
        return self.slow_readers + self.slow_writers + self.fragmenters + self.resetters + self.half_open

    @property
    def in_flight(self) -> int:
        """The most requests in flight on one connection."""
        return self.depth or (CLOSED_DEPTH if self.rate is None else OPEN_DEPTH)

    @property
    def seconds(self) -> float:
        """The length of warm-up and measurement together, in seconds."""
        return self.warmup + self.duration

    @property
    def row_seconds(self) -> float:
        """The length of one row of the series, in seconds."""
        return max(self.interval, self.seconds / MAX_INTERVALS)
