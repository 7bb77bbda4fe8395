"""Options for timeouts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, Unpack

from fourtuple.options.declaring import Options, option

if TYPE_CHECKING:
    from fourtuple.options.changes import DeadlinesChanges


@dataclass(frozen=True, kw_only=True)
class Deadlines(Options):
    """The timeouts, in seconds. One periodic check covers all deadlines; they have no timers.

    ``None`` switches a timeout off.
    """

    proxy_header_timeout: float | None = option(
        5.0,
        "from accept to the end of the PROXY header, if one is required",
        unit="seconds",
        reason="the balancer sends it at once; this allows one round trip and one lost packet",
        above=0,
    )
    """From accept to the end of the PROXY header, if one is required, in seconds. Default: 5 (the balancer sends it at
    once; this allows one round trip and one lost packet).
    """
    handshake_timeout: float | None = option(
        10.0,
        "for the whole TLS handshake",
        unit="seconds",
        reason="two round trips and two lost packets on a slow line; a peer that stalls occupies a place",
        above=0,
    )
    """For the whole TLS handshake, in seconds. Default: 10 (two round trips and two lost packets on a slow line; a peer
    that stalls occupies a place).
    """
    first_message_timeout: float | None = option(
        30.0,
        "from accept to the first whole message, while the service waits for one; sending a greeting does not "
        "change this, Service(silent_peers=True) turns it off",
        unit="seconds",
        reason="a peer that connects and sends nothing occupies a place; a slow human types a line in that time",
        above=0,
    )
    """From accept to the first whole message, while the service waits for one; sending a greeting does not change this,
    Service(silent_peers=True) turns it off, in seconds. Default: 30 (a peer that connects and sends nothing occupies a
    place; a slow human types a line in that time).
    """
    message_timeout: float | None = option(
        30.0,
        "from the first octet of a message to its last; single octets in between do not reset it",
        unit="seconds",
        reason="slowloris: a peer that sends one octet per second must not occupy a place forever",
        above=0,
    )
    """From the first octet of a message to its last; single octets in between do not reset it, in seconds. Default: 30
    (slowloris: a peer that sends one octet per second must not occupy a place forever).
    """
    idle_timeout: float | None = option(
        None,
        "without an octet in either direction while no handler is running",
        unit="seconds",
        reason="off: devices keep silent connections open for days, and keepalive finds dead ones",
        above=0,
    )
    """Without an octet in either direction while no handler is running, in seconds. Default: none (off: devices keep
    silent connections open for days, and keepalive finds dead ones).
    """
    crowded_idle_timeout: float | None = option(
        30.0,
        "without an octet in either direction, for a plain def conversation that waits for its peer while all "
        "threads are busy and other connections wait for one; the connections idle for longest are ended, as many "
        "as wait",
        unit="seconds",
        reason="a peer that sends one line and then nothing must not keep a thread from all others; while threads are "
        "free, it may idle",
        above=0,
    )
    """Without an octet in either direction, for a plain def conversation that waits for its peer while all threads are
    busy and other connections wait for one; the connections idle for longest are ended, as many as wait, in seconds.
    Default: 30 (a peer that sends one line and then nothing must not keep a thread from all others; while threads are
    free, it may idle).
    """
    handler_timeout: float | None = option(
        None,
        "for one call of a reply handler that is awaited or runs in a thread, for one reply of such a generator, "
        "and for the whole life of a program",
        unit="seconds",
        reason="off: only you know how long the work takes",
        above=0,
    )
    """For one call of a reply handler that is awaited or runs in a thread, for one reply of such a generator, and for
    the whole life of a program, in seconds. Default: none (off: only you know how long the work takes).
    """
    stall_timeout: float | None = option(
        1.0,
        "that one call may hold the loop before an event names it with its stack, while it still runs; see watching()",
        unit="seconds",
        reason="ten times the limit for the report after a call; quick handlers take less on any machine",
        above=0,
    )
    """That one call may hold the loop before an event names it with its stack, while it still runs; see watching(), in
    seconds. Default: 1 (ten times the limit for the report after a call; quick handlers take less on any machine).
    """
    write_timeout: float | None = option(
        60.0,
        "without progress in writing; progress means 1 KiB, or the whole outbox",
        unit="seconds",
        reason="a peer that does not read occupies our memory, and reading one octet per second is not progress",
        above=0,
    )
    """Without progress in writing; progress means 1 KiB, or the whole outbox, in seconds. Default: 60 (a peer that does
    not read occupies our memory, and reading one octet per second is not progress).
    """
    rate_timeout: float | None = option(
        None,
        "above max_message_rate or max_octet_rate without a second below it, before the connection is closed",
        unit="seconds",
        reason="off: the rate already bounds the cost, and a long upload is always above it; set it if places are "
        "scarce",
        above=0,
    )
    """Above max_message_rate or max_octet_rate without a second below it, before the connection is closed, in seconds.
    Default: none (off: the rate already bounds the cost, and a long upload is always above it; set it if places are
    scarce).
    """
    linger_timeout: float | None = option(
        2.0,
        "after our FIN, to wait for the peer's FIN: an earlier close could answer the peer's last octets with "
        "RST, which destroys our reply",
        unit="seconds",
        reason="many times the longest round trip on earth",
        above=0,
    )
    """After our FIN, to wait for the peer's FIN: an earlier close could answer the peer's last octets with RST, which
    destroys our reply, in seconds. Default: 2 (many times the longest round trip on earth).
    """
    drain_timeout: float | None = option(
        8.0,
        "from the request to stop until the server has stopped; what still runs is aborted before that, by a "
        "quarter of this time but at most 2 s",
        unit="seconds",
        reason="less than the 10 s of Docker and the 30 s of Kubernetes before they kill the process, with time for "
        "a tear-down",
        above=0,
    )
    """From the request to stop until the server has stopped; what still runs is aborted before that, by a quarter of
    this time but at most 2 s, in seconds. Default: 8 (less than the 10 s of Docker and the 30 s of Kubernetes before
    they kill the process, with time for a tear-down).
    """
    drain_first_message_timeout: float = option(
        2.0,
        "while draining, for the first octet of a connection that has sent nothing yet, before the half-close",
        unit="seconds",
        reason="a client that connected just before the stop sends its first message at once; a silent one does not "
        "delay the stop",
        minimum=0,
    )
    """While draining, for the first octet of a connection that has sent nothing yet, before the half-close, in seconds.
    Default: 2 (a client that connected just before the stop sends its first message at once; a silent one does not
    delay the stop).
    """
    drain_idle_timeout: float = option(
        1.0,
        "while draining, for an idle connection at a message boundary, before the half-close",
        unit="seconds",
        reason="a request already on its way still arrives; an idle client does not delay the stop",
        minimum=0,
    )
    """While draining, for an idle connection at a message boundary, before the half-close, in seconds. Default: 1 (a
    request already on its way still arrives; an idle client does not delay the stop).
    """
    tear_down_timeout: float | None = option(
        10.0,
        "for the service's tear-down, after all connections have ended; then it is cancelled, and abandoned if it goes "
        "on",
        unit="seconds",
        reason="time to write a file or to close a pool of databases, and a stop that ends in any case",
        above=0,
    )
    """For the service's tear-down, after all connections have ended; then it is cancelled, and abandoned if it goes on,
    in seconds. Default: 10 (time to write a file or to close a pool of databases, and a stop that ends in any case).
    """
    drain_spread: float = option(
        0.0,
        "while draining, the time over which the half-closes of idle connections are spread, so that their clients do "
        "not all connect again at once; as much of it as drain_timeout allows",
        unit="seconds",
        reason="none: a stop should not take longer than it must; for thousands of clients that connect again by "
        "themselves, set it to a minute or two, and drain_timeout above it",
        minimum=0,
    )
    """While draining, the time over which the half-closes of idle connections are spread, so that their clients do not
    all connect again at once; as much of it as drain_timeout allows, in seconds. Default: 0 (none: a stop should not
    take longer than it must; for thousands of clients that connect again by themselves, set it to a minute or two, and
    drain_timeout above it).
    """

    @classmethod
    def public(cls) -> Deadlines:
        """The preset for the open internet: the defaults, and an ``idle_timeout`` of one minute."""
        return cls(idle_timeout=60.0)

    if TYPE_CHECKING:

        def replace(self, **changes: Unpack[DeadlinesChanges]) -> Self: ...  # type: ignore[override]
