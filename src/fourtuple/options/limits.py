"""Options for limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, Unpack

from fourtuple.address import parse_networks
from fourtuple.errors import AddressError, OptionError
from fourtuple.options.declaring import KIB, MIB, Options, option

if TYPE_CHECKING:
    from fourtuple.options.changes import LimitsChanges

#: The limits that only a whole server can have, no endpoint: its threads, and the alarm.
OF_THE_SERVER = ("max_threads", "alarm_connections", "alarm_interval")
#: The default ``max_message`` of every framing, in octets: large enough for the messages of most
#: protocols, small enough that ten thousand peers that announce it do not exhaust a machine.
DEFAULT_MAX_MESSAGE = 1 * MIB
#: The default ``max_message_memory`` of framings that make values, in octets: the most memory of the values of one
#: message. It suffices for 65,536 pairs of a RESP map with 1 MiB of octets in them, or for 1 MiB of nearly any JSON.
DEFAULT_MAX_MESSAGE_MEMORY = 16 * MIB


@dataclass(frozen=True, kw_only=True)
class Limits(Options):
    """The limits: everything that a peer can make grow has a bound."""

    max_connections: int | None = option(
        None,
        "the most open connections; at the limit, accept pauses and new connections wait in the kernel's accept queue",
        unit="connections",
        reason="none: the smaller of 10,000 and the limit on descriptors minus a reserve, computed at the start",
        minimum=1,
    )
    """The most open connections; at the limit, accept pauses and new connections wait in the kernel's accept queue.
    Default: none (the smaller of 10,000 and the limit on descriptors minus a reserve, computed at the start).
    """
    max_connections_per_address: int | None = option(
        None,
        "the most open connections from one remote address; more are refused",
        unit="connections",
        reason="none: all clients behind one NAT or balancer have the same address",
        minimum=1,
    )
    """The most open connections from one remote address; more are refused. Default: none (all clients behind one NAT or
    balancer have the same address).
    """
    max_connections_per_network: int | None = option(
        None,
        "the most open connections from one network, whose size is network_prefix_v4 or network_prefix_v6; "
        "more are refused",
        unit="connections",
        reason="none: as for max_connections_per_address",
        minimum=1,
    )
    """The most open connections from one network, whose size is network_prefix_v4 or network_prefix_v6; more are
    refused. Default: none (as for max_connections_per_address).
    """
    network_prefix_v4: int = option(
        24,
        "the length of the prefix, 0 to 32, by which IPv4 peers belong to one network",
        unit="bits",
        reason="the longest prefix that is routed on the internet, so the smallest network with one owner",
        minimum=0,
    )
    """The length of the prefix, 0 to 32, by which IPv4 peers belong to one network, in bits. Default: 24 (the longest
    prefix that is routed on the internet, so the smallest network with one owner).
    """
    network_prefix_v6: int = option(
        64,
        "the length of the prefix, 0 to 128, by which IPv6 peers belong to one network",
        unit="bits",
        reason="one subnet: a single machine can use any address of it (RFC 8981)",
        minimum=0,
    )
    """The length of the prefix, 0 to 128, by which IPv6 peers belong to one network, in bits. Default: 64 (one subnet:
    a single machine can use any address of it (RFC 8981)).
    """
    accept_rate: float | None = option(
        None,
        "the most new connections per second; above it, accept pauses and new connections wait in the "
        "kernel's accept queue",
        unit="connections a second",
        reason="none: accepting costs little, and max_connections bounds the memory",
        minimum=0.001,
        maximum=1e12,
    )
    """The most new connections per second; above it, accept pauses and new connections wait in the kernel's accept
    queue, in connections a second. Default: none (accepting costs little, and max_connections bounds the memory).
    """
    accept_rate_per_address: float | None = option(
        None,
        "the most new connections per second from one remote address (for IPv6, from one network of "
        "network_prefix_v6); more are refused",
        unit="connections a second",
        reason="none: all clients behind one NAT or balancer have the same address",
        minimum=0.001,
        maximum=1e12,
    )
    """The most new connections per second from one remote address (for IPv6, from one network of network_prefix_v6);
    more are refused, in connections a second. Default: none (all clients behind one NAT or balancer have the same
    address).
    """
    max_queue_age: float | None = option(
        None,
        "the age at which a connection that waited in the accept queue is refused, counted from its last octet, "
        "or from its handshake if it has sent none: its client may have given up",
        unit="seconds",
        reason="none: only you know how long clients wait, and clients that connect early and stay silent would "
        "also be refused",
        above=0,
    )
    """The age at which a connection that waited in the accept queue is refused, counted from its last octet, or from
    its handshake if it has sent none: its client may have given up, in seconds. Default: none (only you know how long
    clients wait, and clients that connect early and stay silent would also be refused).
    """
    allow: str = option(
        "",
        "the networks that may connect, separated by commas: 10.0.0.0/8, 2001:db8::/32; others are refused",
        reason="empty: all networks; restricting access is first of all the task of a firewall and of the address to "
        "listen at",
    )
    """The networks that may connect, separated by commas: 10.0.0.0/8, 2001:db8::/32; others are refused. Default: empty
    (all networks; restricting access is first of all the task of a firewall and of the address to listen at).
    """
    deny: str = option(
        "",
        "the networks that may not connect, separated by commas; stronger than allow",
        reason="empty: no network",
    )
    """The networks that may not connect, separated by commas; stronger than allow. Default: empty (no network)."""
    refusal: str | None = option(
        None,
        "a message that refused connections get, framed as all others are, after the handshake if they use TLS; "
        "then they are closed with linger",
        reason="none: most protocols have no message for it, and silence tells a scanner nothing",
        any_text=True,
    )
    """A message that refused connections get, framed as all others are, after the handshake if they use TLS; then they
    are closed with linger. Default: none (most protocols have no message for it, and silence tells a scanner nothing).
    """
    max_message_rate: float | None = option(
        None,
        "the most messages per second that a handler gets from one connection, after one second's worth at "
        "once; more must wait",
        unit="messages a second",
        reason="none: only you know what a message costs, and connections share the loop fairly in any case",
        minimum=0.001,
        maximum=1e12,
    )
    """The most messages per second that a handler gets from one connection, after one second's worth at once; more must
    wait, in messages a second. Default: none (only you know what a message costs, and connections share the loop fairly
    in any case).
    """
    max_octet_rate: float | None = option(
        None,
        "the most octets per second that are read from one connection, after one second's worth at once; more "
        "must wait",
        unit="octets a second",
        reason="none: how much of the line a connection may use is your decision",
        minimum=1,
        maximum=1e15,
    )
    """The most octets per second that are read from one connection, after one second's worth at once; more must wait,
    in octets a second. Default: none (how much of the line a connection may use is your decision).
    """
    max_message_rate_per_address: float | None = option(
        None,
        "like max_message_rate, for all connections of one remote address together, including those that have "
        "ended; an IPv6 address counts as its network of network_prefix_v6",
        unit="messages a second",
        reason="none: all clients behind one NAT or balancer have the same address",
        minimum=0.001,
        maximum=1e12,
    )
    """Like max_message_rate, for all connections of one remote address together, including those that have ended; an
    IPv6 address counts as its network of network_prefix_v6, in messages a second. Default: none (all clients behind one
    NAT or balancer have the same address).
    """
    max_octet_rate_per_address: float | None = option(
        None,
        "like max_octet_rate, for all connections of one remote address together; see max_message_rate_per_address",
        unit="octets a second",
        reason="none: as for max_message_rate_per_address",
        minimum=1,
        maximum=1e15,
    )
    """Like max_octet_rate, for all connections of one remote address together; see max_message_rate_per_address, in
    octets a second. Default: none (as for max_message_rate_per_address).
    """
    max_buffered: int | None = option(
        256 * MIB,
        "the most octets in the buffers of all connections; above it, accept pauses and the connection "
        "holding most is aborted",
        unit="octets",
        reason="half of a small container: ten thousand peers that announce 1 MiB each would need 10 GiB",
        minimum=1,
    )
    """The most octets in the buffers of all connections; above it, accept pauses and the connection holding most is
    aborted. Default: 256m (half of a small container: ten thousand peers that announce 1 MiB each would need 10 GiB).
    """
    max_buffered_per_connection: int | None = option(
        None,
        "the most octets in the buffers of one connection; above it, the connection is aborted",
        unit="octets",
        reason="none: max_message and max_outbox bound a connection already; use this if one of those is none",
        minimum=1,
    )
    """The most octets in the buffers of one connection; above it, the connection is aborted. Default: none (max_message
    and max_outbox bound a connection already; use this if one of those is none).
    """
    alarm_connections: int | None = option(
        None,
        "the number of connections at which an alarm event is raised",
        unit="connections",
        reason="none: only you know which number is unusual",
        minimum=1,
    )
    """The number of connections at which an alarm event is raised. Default: none (only you know which number is
    unusual).
    """
    alarm_interval: float = option(
        5.0,
        "the time between two alarms while the reason for them lasts",
        unit="seconds",
        reason="like ranch's cool-down: one page for the operator, not a flood",
        above=0,
    )
    """The time between two alarms while the reason for them lasts, in seconds. Default: 5 (like ranch's cool-down: one
    page for the operator, not a flood).
    """
    max_threads: int = option(
        64,
        "the most threads for handlers that block; when all are busy, accept pauses",
        unit="threads",
        reason="a thread costs about 100 KiB once its stack is in use; with more threads, the GIL is the bottleneck",
        minimum=1,
        maximum=1 << 20,
    )
    """The most threads for handlers that block; when all are busy, accept pauses. Default: 64 (a thread costs about 100
    KiB once its stack is in use; with more threads, the GIL is the bottleneck).
    """
    read_size: int = option(
        64 * KIB,
        "the most octets that one recv() reads; up to 16 times as many if a large message of known size has arrived",
        unit="octets",
        reason="one read is one batch; below malloc's mmap threshold of 128 KiB, so a read costs no page faults",
        minimum=1,
        maximum=1 << 30,
    )
    """The most octets that one recv() reads; up to 16 times as many if a large message of known size has arrived.
    Default: 64k (one read is one batch; below malloc's mmap threshold of 128 KiB, so a read costs no page faults).
    """
    max_batch: int = option(
        512,
        "the most messages of one connection that are handled before other connections get their turn",
        unit="messages",
        reason="about half a millisecond of handlers: a peer with tiny messages cannot hold the loop",
        minimum=1,
        maximum=(1 << 31) - 1,
    )
    """The most messages of one connection that are handled before other connections get their turn. Default: 512 (about
    half a millisecond of handlers: a peer with tiny messages cannot hold the loop).
    """
    high_water: int = option(
        64 * KIB,
        "octets in the outbox above which send() waits, replies stop and reading pauses",
        unit="octets",
        reason="enough to keep a fast connection busy; asyncio and Netty use the same",
        minimum=1,
    )
    """Octets in the outbox above which send() waits, replies stop and reading pauses. Default: 64k (enough to keep a
    fast connection busy; asyncio and Netty use the same).
    """
    low_water: int = option(
        16 * KIB,
        "octets in the outbox at which a paused conversation resumes",
        unit="octets",
        reason="a quarter of high_water: enough distance against constant switching, and the line does not become idle",
        minimum=0,
    )
    """Octets in the outbox at which a paused conversation resumes. Default: 16k (a quarter of high_water: enough
    distance against constant switching, and the line does not become idle).
    """

    max_outbox: int = option(
        16 * MIB,
        "octets in the outbox at which send() raises OutboxFull; at least high_water",
        unit="octets",
        reason="send() waits at high_water; this bounds code that does not await it. The last message that is accepted "
        "may exceed it",
        minimum=1,
    )
    """Octets in the outbox at which send() raises OutboxFull; at least high_water. Default: 16m (send() waits at
    high_water; this bounds code that does not await it. The last message that is accepted may exceed it).
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low_water >= self.high_water:
            raise OptionError(
                f"low_water: expected less than high_water ({self.high_water}), got {self.low_water} octets"
            )
        if self.max_outbox < self.high_water:
            raise OptionError(
                f"max_outbox: expected at least high_water ({self.high_water}), got {self.max_outbox} octets; "
                "otherwise code that awaits each send() would be refused"
            )
        for name, bits in (("network_prefix_v4", 32), ("network_prefix_v6", 128)):
            if getattr(self, name) > bits:
                raise OptionError(f"{name}: expected no more than {bits}, got {getattr(self, name)} bits")
        for name in ("allow", "deny"):
            try:
                parse_networks(getattr(self, name))
            except AddressError as error:
                raise OptionError(f"{name}: {error}") from None

    if TYPE_CHECKING:

        def replace(self, **changes: Unpack[LimitsChanges]) -> Self: ...  # type: ignore[override]
