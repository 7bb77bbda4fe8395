"""Options of a client that stays connected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self, Unpack

from fourtuple.errors import OptionError
from fourtuple.options.declaring import MIB, Options, option

if TYPE_CHECKING:
    from fourtuple.options.changes import PoolChanges, PushesChanges, RetriesChanges


@dataclass(frozen=True, kw_only=True)
class Pool(Options):
    """The connections of a client: how many, for how long, and how many requests wait for them."""

    max_connections: int = option(
        1,
        "connections at once; another one is made when a request finds none idle",
        unit="connections",
        reason="one keeps the requests in order, and suffices where requests are pipelined",
        minimum=1,
    )
    """Connections at once; another one is made when a request finds none idle. Default: 1 (one keeps the requests in
    order, and suffices where requests are pipelined).
    """
    max_pipelined: int = option(
        100,
        "requests that wait for their replies on one connection; 1 for a server that cannot take the next request "
        "before it has replied",
        unit="requests",
        reason="one round trip serves many requests; TCP keeps them in order",
        minimum=1,
    )
    """Requests that wait for their replies on one connection; 1 for a server that cannot take the next request before
    it has replied. Default: 100 (one round trip serves many requests; TCP keeps them in order).
    """
    max_waiting: int = option(
        1000,
        "requests that wait for a connection; the next one fails at once",
        unit="requests",
        reason="a server that is away must not fill the memory of its clients",
        minimum=1,
    )
    """Requests that wait for a connection; the next one fails at once. Default: 1000 (a server that is away must not
    fill the memory of its clients).
    """
    request_timeout: float | None = option(
        10.0,
        "from the moment a request is given to a connection to its reply, for each attempt",
        unit="seconds",
        reason="longer than two lost packets and a slow query; finds a server that has stopped",
        above=0,
    )
    """From the moment a request is given to a connection to its reply, for each attempt, in seconds. Default: 10
    (longer than two lost packets and a slow query; finds a server that has stopped).
    """
    whole_timeout: float | None = option(
        30.0,
        "for a request from the call to its result: waiting, connecting, and all attempts; `request(timeout=...)` "
        "replaces it",
        unit="seconds",
        reason="a request never waits forever; a server restarts within that time",
        above=0,
    )
    """For a request from the call to its result: waiting, connecting, and all attempts; `request(timeout=...)` replaces
    it, in seconds. Default: 30 (a request never waits forever; a server restarts within that time).
    """
    fail_fast: bool = option(
        False,
        "fail requests at once while the server cannot be reached, instead of waiting for the next attempt",
        reason="off: a request that waits out a restart is worth more than a quick error",
    )
    """Fail requests at once while the server cannot be reached, instead of waiting for the next attempt. Default: off
    (a request that waits out a restart is worth more than a quick error).
    """
    max_abandoned: int = option(
        16,
        "replies of requests that were cancelled or timed out that one connection may still owe; with more it gets no "
        "request any more, and is closed",
        unit="replies",
        reason="a few keep their place at no cost; many mean that the connection is stuck",
        minimum=0,
    )
    """Replies of requests that were cancelled or timed out that one connection may still owe; with more it gets no
    request any more, and is closed. Default: 16 (a few keep their place at no cost; many mean that the connection is
    stuck).
    """
    max_idle: float | None = option(
        300.0,
        "without a request, before a connection is closed",
        unit="seconds",
        reason="below the 350 s after which the balancers of clouds forget a connection in silence",
        above=0,
    )
    """Without a request, before a connection is closed, in seconds. Default: 300 (below the 350 s after which the
    balancers of clouds forget a connection in silence).
    """
    max_age: float | None = option(
        3600.0,
        "before a connection is replaced, less a random share of up to 10 %",
        unit="seconds",
        reason="clients find servers that were added; the random share keeps them from coming back together",
        above=0,
    )
    """Before a connection is replaced, less a random share of up to 10 %, in seconds. Default: 3600 (clients find
    servers that were added; the random share keeps them from coming back together).
    """
    max_requests: int | None = option(
        None,
        "requests before a connection is replaced",
        unit="requests",
        reason="none: only servers that leak need it",
        minimum=1,
    )
    """Requests before a connection is replaced. Default: none (only servers that leak need it)."""
    check_after: float = option(
        1.0,
        "without a request, before a connection is checked for an end of file and for octets that no request asked "
        "for, when it is used again",
        unit="seconds",
        reason="one system call for a connection that idled, none for a busy one",
        minimum=0,
    )
    """Without a request, before a connection is checked for an end of file and for octets that no request asked for,
    when it is used again, in seconds. Default: 1 (one system call for a connection that idled, none for a busy one).
    """
    ping_interval: float = option(
        30.0,
        "without a request, before a ping is sent, where the client has one (`ping=`)",
        unit="seconds",
        reason="finds a dead connection before a request does; the period of keepalive",
        above=0,
    )
    """Without a request, before a ping is sent, where the client has one (`ping=`), in seconds. Default: 30 (finds a
    dead connection before a request does; the period of keepalive).
    """

    if TYPE_CHECKING:

        def replace(self, **changes: Unpack[PoolChanges]) -> Self: ...  # type: ignore[override]


@dataclass(frozen=True, kw_only=True)
class Retries(Options):
    """How a client connects again, and how often it repeats requests."""

    delay: float = option(
        0.1,
        "from the start of the first failed attempt to connect to the next attempt",
        unit="seconds",
        reason="a restart takes about that",
        above=0,
    )
    """From the start of the first failed attempt to connect to the next attempt, in seconds. Default: 0.1 (a restart
    takes about that).
    """
    factor: float = option(
        1.6,
        "by which each further delay is longer",
        reason="as gRPC: reaches the longest delay in 13 attempts and about 80 s",
        minimum=1,
        maximum=100,
    )
    """By which each further delay is longer. Default: 1.6 (as gRPC: reaches the longest delay in 13 attempts and about
    80 s).
    """
    max_delay: float = option(
        30.0,
        "the longest delay",
        unit="seconds",
        reason="a server that is back is found within half a minute",
        above=0,
    )
    """The longest delay, in seconds. Default: 30 (a server that is back is found within half a minute)."""
    jitter: float = option(
        0.2,
        "the random share of each delay, added or taken off after max_delay is applied",
        reason="without it, all clients of a server that restarts come back in step, even at the longest delay",
        minimum=0,
        maximum=1,
    )
    """The random share of each delay, added or taken off after max_delay is applied. Default: 0.2 (without it, all
    clients of a server that restarts come back in step, even at the longest delay).
    """
    after_loss: float = option(
        1.0,
        "the longest random wait before the first attempt after a connection that worked was lost",
        unit="seconds",
        reason="a server that restarts loses all its clients in one moment; they come back spread over this time",
        minimum=0,
    )
    """The longest random wait before the first attempt after a connection that worked was lost, in seconds. Default: 1
    (a server that restarts loses all its clients in one moment; they come back spread over this time).
    """
    reset_after: float = option(
        10.0,
        "that a connection must last, after `greet`, before the delays start from the beginning",
        unit="seconds",
        reason="a server that accepts and closes at once is as far away as one that refuses",
        minimum=0,
    )
    """That a connection must last, after `greet`, before the delays start from the beginning, in seconds. Default: 10
    (a server that accepts and closes at once is as far away as one that refuses).
    """
    budget_share: float = option(
        0.2,
        "retries per request, of requests that the server may have carried out already (`idempotent`)",
        reason="as Finagle: retries add a fifth to the load of a server in trouble, not a multiple",
        minimum=0,
    )
    """Retries per request, of requests that the server may have carried out already (`idempotent`). Default: 0.2 (as
    Finagle: retries add a fifth to the load of a server in trouble, not a multiple).
    """
    budget_rate: float = option(
        10.0,
        "such retries per second that are allowed in any case",
        unit="retries",
        reason="as Finagle: a client with few requests may also retry",
        minimum=0,
    )
    """Such retries per second that are allowed in any case. Default: 10 (as Finagle: a client with few requests may
    also retry).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_delay < self.delay:
            raise OptionError(f"max_delay: expected at least delay ({self.delay!r}), got {self.max_delay!r}")

    if TYPE_CHECKING:

        def replace(self, **changes: Unpack[RetriesChanges]) -> Self: ...  # type: ignore[override]


@dataclass(frozen=True, kw_only=True)
class Pushes(Options):
    """The inbox for messages that answer no request: news, events, messages of a subscription."""

    max_inbox: int = option(
        1 * MIB,
        "octets, not messages, of pushes that wait to be consumed",
        unit="octets",
        reason="a second of news at a megabyte a second",
        minimum=1,
    )
    """Octets, not messages, of pushes that wait to be consumed. Default: 1m (a second of news at a megabyte a second).
    """
    overflow: Literal["stop_reading", "drop_oldest"] = option(
        "stop_reading",
        "what a full inbox does: `stop_reading` until the consumer has taken some (the server waits), or "
        "`drop_oldest`: a `Gap` stands in their place, with their number as `dropped`",
        reason="nothing is lost without your decision",
    )
    """What a full inbox does: `stop_reading` until the consumer has taken some (the server waits), or `drop_oldest`: a
    `Gap` stands in their place, with their number as `dropped`. Default: stop_reading (nothing is lost without your
    decision).
    """

    if TYPE_CHECKING:

        def replace(self, **changes: Unpack[PushesChanges]) -> Self: ...  # type: ignore[override]
