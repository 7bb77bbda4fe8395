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
        "from accept to the whole PROXY header, where one is required",
        unit="seconds",
        reason="the balancer sends it first and at once; it has one round trip, and may lose a packet",
        above=0,
    )
    handshake_timeout: float | None = option(
        10.0,
        "for a whole TLS handshake",
        unit="seconds",
        reason="two round trips and two lost packets on a slow line; a peer that stalls holds a place",
        above=0,
    )
    first_message_timeout: float | None = option(
        30.0,
        "from accept to the first whole message, while the service waits for one; "
        "a greeting does not exempt the peer, Service(silent_peers=True) does",
        unit="seconds",
        reason="a peer that connects and says nothing holds a place; a slow human types a line in that time",
        above=0,
    )
    message_timeout: float | None = option(
        30.0,
        "from the first octet of a message to its last; a trickle does not reset it",
        unit="seconds",
        reason="slowloris: an octet a second must not hold a place for ever",
        above=0,
    )
    idle_timeout: float | None = option(
        None,
        "without an octet in either direction while no handler is at work",
        unit="seconds",
        reason="off: devices keep quiet connections for days, and keepalive finds the dead ones",
        above=0,
    )
    crowded_idle_timeout: float | None = option(
        30.0,
        "without an octet in either direction, for a plain def conversation that waits for its peer while all threads "
        "are taken and other connections wait for one; the longest idle are ended, as many as wait",
        unit="seconds",
        reason="a peer that says one line and then nothing must not keep a thread from all others; while threads are "
        "free, it may idle for ever",
        above=0,
    )
    handler_timeout: float | None = option(
        None,
        "for one call of a reply handler that is awaited or runs in a thread, or one reply of such a generator; "
        "and for the whole life of a program",
        unit="seconds",
        reason="off: only the author knows how long the work takes",
        above=0,
    )
    stall_timeout: float | None = option(
        1.0,
        "that one call may hold the loop before it is named with its stack, while it does; see watching()",
        unit="seconds",
        reason="ten times as long as what is told when it is over; what is meant to be quick takes less on any machine",
        above=0,
    )
    write_timeout: float | None = option(
        60.0,
        "without progress in writing; progress is 1 KiB, or the whole outbox",
        unit="seconds",
        reason="a peer that does not read holds our memory; an octet a second is not reading",
        above=0,
    )
    rate_timeout: float | None = option(
        None,
        "above max_message_rate or max_octet_rate without a second of quiet, before the connection is closed",
        unit="seconds",
        reason="off: the rate bounds the cost, and a long upload is always above it; set it where places are few",
        above=0,
    )
    linger_timeout: float | None = option(
        2.0,
        "after our FIN, for the peer's: closing earlier could answer its last octets with RST and eat our reply",
        unit="seconds",
        reason="many times a round trip anywhere on earth",
        above=0,
    )
    drain_timeout: float | None = option(
        8.0,
        "from the wish to stop to the end; what still runs is aborted before, by a quarter of it or 2 s",
        unit="seconds",
        reason="within the 10 s that Docker grants before it kills and the 30 s of Kubernetes, with a tear-down",
        above=0,
    )
    drain_first_message_timeout: float = option(
        2.0,
        "while draining, for the first octet of a connection that has not spoken yet, before the half-close",
        unit="seconds",
        reason="who connected just before the stop sends its first message at once; one that is silent delays no stop",
        minimum=0,
    )
    drain_idle_timeout: float = option(
        1.0,
        "at a message boundary, while draining, before the half-close",
        unit="seconds",
        reason="a request already on its way arrives; an idle client does not delay the stop",
        minimum=0,
    )

    @classmethod
    def public(cls) -> Deadlines:
        """The preset for the open internet: the defaults, and an ``idle_timeout`` of one minute."""
        return cls(idle_timeout=60.0)

    if TYPE_CHECKING:

        def replace(self, **changes: Unpack[DeadlinesChanges]) -> Self: ...  # type: ignore[override]
