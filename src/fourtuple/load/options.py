"""The options of the load generator, each declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fourtuple.errors import OptionError
from fourtuple.options import Options, option

#: The most rows in the series of a run: longer runs have longer intervals.
MAX_INTERVALS = 3600
#: The most requests in flight in one process: each takes memory, and a closed loop begins with all of them.
MAX_IN_FLIGHT = 10_000_000
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
        reason="one: measures the latency of a single client; a busy server needs more",
        minimum=0,
    )
    """Connections that send requests. Default: 1 (one: measures the latency of a single client; a busy server needs
    more).
    """
    depth: int | None = option(
        None,
        "requests in flight on one connection",
        unit="requests",
        reason=f"none: {CLOSED_DEPTH} in a closed loop, as most clients do; with rate, at most {OPEN_DEPTH}",
        minimum=1,
        maximum=1_000_000,
    )
    """Requests in flight on one connection. Default: none (1 in a closed loop, as most clients do; with rate, at most
    64).
    """
    rate: float | None = option(
        None,
        "requests per second in all, sent on time whether the server keeps up or not (open loop)",
        unit="requests a second",
        reason="none: a closed loop, in which each reply is followed by the next request",
        above=0,
    )
    """Requests per second in all, sent on time whether the server keeps up or not (open loop), in requests a second.
    Default: none (a closed loop, in which each reply is followed by the next request).
    """
    duration: float = option(
        10.0,
        "the measured time, after the warm-up",
        unit="seconds",
        reason="enough requests for a p99.9 of a fast service",
        above=0,
    )
    """The measured time, after the warm-up, in seconds. Default: 10 (enough requests for a p99.9 of a fast service)."""
    warmup: float = option(
        1.0,
        "the time before it, which is not measured; failures in it still count",
        unit="seconds",
        reason="the first requests are slowed down by cold caches and slow start",
        minimum=0,
    )
    """The time before it, which is not measured; failures in it still count, in seconds. Default: 1 (the first requests
    are slowed down by cold caches and slow start).
    """
    requests: int | None = option(
        None,
        "end after this many requests, including the warm-up, if the time is not up before",
        unit="requests",
        reason="none: the time ends the run",
        minimum=1,
    )
    """End after this many requests, including the warm-up, if the time is not up before. Default: none (the time ends
    the run).
    """
    ramp: float = option(
        0.0,
        "the time over which connections are opened one by one, or the rate rises from zero",
        unit="seconds",
        reason="0: everything at once",
        minimum=0,
    )
    """The time over which connections are opened one by one, or the rate rises from zero, in seconds. Default: 0
    (everything at once).
    """
    churn: int | None = option(
        None,
        "requests on a connection before it is closed and another one is opened; 0: only connect and close",
        unit="requests",
        reason="none: connections stay open",
        minimum=0,
    )
    """Requests on a connection before it is closed and another one is opened; 0: only connect and close. Default: none
    (connections stay open).
    """
    close: Literal["fin", "reset"] = option(
        "fin",
        "how churn ends a connection: fin (then wait for the peer's) or reset",
        reason="fin: as well-behaved clients do; it leaves TIME_WAIT at this end, which RST does not",
    )
    """How churn ends a connection: fin (then wait for the peer's) or reset. Default: fin (as well-behaved clients do;
    it leaves TIME_WAIT at this end, which RST does not).
    """
    connect_rate: float | None = option(
        None,
        "the most new connections per second",
        unit="connections a second",
        reason="none: as fast as possible",
        above=0,
    )
    """The most new connections per second, in connections a second. Default: none (as fast as possible)."""
    size: int | None = option(
        None,
        "octets of each request, if no text, template or file is given",
        unit="octets",
        reason="none: the size of a fixed framing, else 64",
        minimum=0,
        maximum=1 << 30,
    )
    """Octets of each request, if no text, template or file is given. Default: none (the size of a fixed framing, else
    64).
    """
    replies: int = option(
        1,
        "messages that answer one request; with 0, no reply is waited for and no latency is measured",
        unit="messages",
        reason="most protocols send one reply to a request",
        minimum=0,
    )
    """Messages that answer one request; with 0, no reply is waited for and no latency is measured. Default: 1 (most
    protocols send one reply to a request).
    """
    greeting: int = option(
        0,
        "messages that the server sends first on each connection, before any request",
        unit="messages",
        reason="0: most servers wait for their clients",
        minimum=0,
    )
    """Messages that the server sends first on each connection, before any request. Default: 0 (most servers wait for
    their clients).
    """
    expect: str = option(
        "any",
        "what every reply must be: any, same (as the request), text:TEXT, starts:TEXT, regex:RE, size:N, "
        "template:TEXT; other replies are counted, and the exit code is 1",
        reason="any: only you know what the server replies",
    )
    """What every reply must be: any, same (as the request), text:TEXT, starts:TEXT, regex:RE, size:N, template:TEXT;
    other replies are counted, and the exit code is 1. Default: any (only you know what the server replies).
    """
    timeout: float = option(
        10.0,
        "for a reply; a connection without one by then is reset and counted",
        unit="seconds",
        reason="longer than any user waits; slower replies up to then are still measured",
        above=0,
    )
    """For a reply; a connection without one by then is reset and counted, in seconds. Default: 10 (longer than any user
    waits; slower replies up to then are still measured).
    """
    connect_timeout: float = option(
        10.0,
        "for connecting, and the same again for a TLS handshake",
        unit="seconds",
        reason="a lost SYN is sent again after 1, 3 and 7 s",
        above=0,
    )
    """For connecting, and the same again for a TLS handshake, in seconds. Default: 10 (a lost SYN is sent again after
    1, 3 and 7 s).
    """
    idle: int = option(
        0,
        "connections that are opened, send nothing, and stay open until the end",
        unit="connections",
        reason="0: use it for servers that must hold many connections",
        minimum=0,
    )
    """Connections that are opened, send nothing, and stay open until the end. Default: 0 (use it for servers that must
    hold many connections).
    """
    slow_readers: int = option(
        0,
        "adversaries that send requests all the time and read only slow_rate octets per second",
        unit="connections",
        reason="0: use it for servers that must not run out of memory",
        minimum=0,
    )
    """Adversaries that send requests all the time and read only slow_rate octets per second, in connections. Default: 0
    (use it for servers that must not run out of memory).
    """
    slow_writers: int = option(
        0,
        "adversaries that send requests at slow_rate octets per second (slowloris)",
        unit="connections",
        reason="0: use it for servers with deadlines",
        minimum=0,
    )
    """Adversaries that send requests at slow_rate octets per second (slowloris), in connections. Default: 0 (use it for
    servers with deadlines).
    """
    fragmenters: int = option(
        0,
        "connections that send each octet of a request in a separate segment; the replies are checked",
        unit="connections",
        reason="0: use it to check that the framing does not depend on segments",
        minimum=0,
    )
    """Connections that send each octet of a request in a separate segment; the replies are checked. Default: 0 (use it
    to check that the framing does not depend on segments).
    """
    resetters: int = option(
        0,
        "adversaries that send a request and a half, reset, and connect again",
        unit="connections",
        reason="0: use it for servers that must not leak",
        minimum=0,
    )
    """Adversaries that send a request and a half, reset, and connect again, in connections. Default: 0 (use it for
    servers that must not leak).
    """
    half_open: int = option(
        0,
        "adversaries that send half a request and then nothing",
        unit="connections",
        reason="0: use it for servers with deadlines",
        minimum=0,
    )
    """Adversaries that send half a request and then nothing, in connections. Default: 0 (use it for servers with
    deadlines).
    """
    slow_rate: float = option(
        10.0,
        "the speed of slow readers and slow writers",
        unit="octets a second",
        reason="fast enough that a deadline for idle connections does not end them",
        above=0,
        maximum=1e15,
    )
    """The speed of slow readers and slow writers, in octets a second. Default: 10 (fast enough that a deadline for idle
    connections does not end them).
    """
    interval: float = option(
        1.0,
        "the length of one row of the series over time",
        unit="seconds",
        reason=f"the resolution of a plot; it grows in runs of more than {MAX_INTERVALS} rows",
        minimum=0.001,
    )
    """The length of one row of the series over time, in seconds. Default: 1 (the resolution of a plot; it grows in runs
    of more than 3600 rows).
    """
    processes: int = option(
        1,
        "processes that generate the load",
        unit="processes",
        reason="one: enough for one server process; use more if the result says that this end was busy",
        minimum=1,
        maximum=256,
    )
    """Processes that generate the load. Default: 1 (one: enough for one server process; use more if the result says
    that this end was busy).
    """
    loop: Literal["auto", "asyncio", "uvloop"] = option(
        "auto",
        "the event loop of the load: asyncio, uvloop, or auto",
        reason="auto: uvloop if it is installed, since it costs less for every wake-up",
    )
    """The event loop of the load: asyncio, uvloop, or auto. Default: auto (uvloop if it is installed, since it costs
    less for every wake-up).
    """
    local: str = option(
        "",
        "addresses to connect from, separated by commas, used in turn",
        reason="empty: the kernel chooses; each address has about 28,000 ports towards one server",
    )
    """Addresses to connect from, separated by commas, used in turn. Default: empty (the kernel chooses; each address
    has about 28,000 ports towards one server).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.churn == 0 and self.rate is not None:
            raise OptionError("rate: requests per second given with churn 0, which sends no requests; use connect_rate")
        if self.churn == 0 and self.requests is not None:
            raise OptionError(
                f"requests: {self.requests} given with churn 0, which sends no requests; duration bounds the run"
            )
        if self.replies == 0 and self.expect != "any":
            raise OptionError(f"expect: {self.expect!r} given with replies 0: nothing is waited for")
        if self.rate is not None and self.connections < self.processes:
            raise OptionError(f"connections: {self.connections} given for a rate in {self.processes} processes")
        if self.depth is not None and self.depth > 1 and self.depth * self.of_a_process > MAX_IN_FLIGHT:
            raise OptionError(
                f"depth: {self.depth} requests in flight on each of {self.of_a_process} connections, "
                f"expected no more than {MAX_IN_FLIGHT} in one process"
            )
        if self.timeout > MAX_TIMEOUT:
            raise OptionError(f"timeout: expected no more than {MAX_TIMEOUT:g}, got {self.timeout:g} seconds")
        if not self.connections + self.idle + self.adversaries:
            raise OptionError(
                "connections: expected at least 1, got 0; only idle connections or adversaries can do without"
            )

    @property
    def adversaries(self) -> int:
        """The number of connections that misbehave."""
        return self.slow_readers + self.slow_writers + self.fragmenters + self.resetters + self.half_open

    @property
    def of_a_process(self) -> int:
        """The number of connections with requests in one process: the largest share."""
        return -(-self.connections // self.processes)

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
