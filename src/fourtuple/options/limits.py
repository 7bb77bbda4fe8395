"""Options for limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, Unpack

from fourtuple.address import parse_networks
from fourtuple.errors import AddressError, OptionError
from fourtuple.options.declaring import KIB, MIB, Options, option

if TYPE_CHECKING:
    from fourtuple.options.changes import LimitsChanges

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
        "connections at once; above it accept pauses and the kernel's queue waits",
        unit="connections",
        reason="none means: the smaller of 10,000 and the descriptor limit less a reserve, found at the start",
        minimum=1,
    )
    max_connections_per_address: int | None = option(
        None,
        "connections at once from one remote address; more are refused",
        unit="connections",
        reason="none: behind a NAT or a balancer, everybody has the same address",
        minimum=1,
    )
    max_connections_per_network: int | None = option(
        None,
        "connections at once from one network, of network_prefix_v4 or network_prefix_v6; more are refused",
        unit="connections",
        reason="none: as for one address",
        minimum=1,
    )
    network_prefix_v4: int = option(
        24,
        "the length of the prefix that makes IPv4 peers one network, 0 to 32",
        unit="bits",
        reason="the smallest prefix that is routed on the internet, and so the least that one owner has",
        minimum=0,
    )
    network_prefix_v6: int = option(
        64,
        "the length of the prefix that makes IPv6 peers one network, 0 to 128",
        unit="bits",
        reason="one subnet: a single machine takes any address of it (RFC 8981)",
        minimum=0,
    )
    accept_rate: float | None = option(
        None,
        "new connections a second; above it accept pauses and the kernel's queue waits",
        unit="connections a second",
        reason="none: accepting costs little, and max_connections bounds what is held",
        minimum=0.001,
        maximum=1e12,
    )
    accept_rate_per_address: float | None = option(
        None,
        "new connections a second from one remote address (an IPv6 address is its network of network_prefix_v6); "
        "more are refused",
        unit="connections a second",
        reason="none: behind a NAT or a balancer, everybody has the same address",
        minimum=0.001,
        maximum=1e12,
    )
    max_queue_age: float | None = option(
        None,
        "since the last octet of a connection that waited in the accept queue (its handshake, if none came); "
        "an older one is turned away at accept: its client may have given up",
        unit="seconds",
        reason="none: only the owner knows how long clients wait; one that connects early and is silent would go, too",
        above=0,
    )
    allow: str = option(
        "",
        "networks that may connect, with commas between them: 10.0.0.0/8, 2001:db8::/32; others are refused",
        reason="empty allows everybody: who may reach a port is first of all the firewall's and the address's matter",
    )
    deny: str = option(
        "",
        "networks that may not connect, with commas between them; stronger than allow",
        reason="empty denies nobody",
    )
    refusal: str | None = option(
        None,
        "a message for the refused, framed as all others are, over TLS behind the handshake; "
        "then they are closed, lingering",
        reason="none: most protocols have no word for it, and silence tells a scanner nothing",
    )
    max_message_rate: float | None = option(
        None,
        "messages a second that a handler gets from one connection, after a second's worth at once; more have to wait",
        unit="messages a second",
        reason="none: only the author knows what a message costs; the loop is shared fairly in any case",
        minimum=0.001,
        maximum=1e12,
    )
    max_octet_rate: float | None = option(
        None,
        "octets a second that are read from one connection, after a second's worth at once; more have to wait",
        unit="octets a second",
        reason="none: who may fill the line is the owner's decision",
        minimum=1,
        maximum=1e15,
    )
    max_message_rate_per_address: float | None = option(
        None,
        "as max_message_rate, for all connections of one remote address together, those that have ended too; "
        "an IPv6 address is its network of network_prefix_v6",
        unit="messages a second",
        reason="none: behind a NAT or a balancer, everybody has the same address",
        minimum=0.001,
        maximum=1e12,
    )
    max_octet_rate_per_address: float | None = option(
        None,
        "as max_octet_rate, for all connections of one remote address together, as max_message_rate_per_address",
        unit="octets a second",
        reason="none: as for messages",
        minimum=1,
        maximum=1e15,
    )
    max_buffered: int | None = option(
        256 * MIB,
        "octets in the buffers of all connections; above it, accept pauses and who holds most is aborted",
        unit="octets",
        reason="half of a small container: ten thousand peers that announce 1 MiB each would want 10 GiB",
        minimum=1,
    )
    max_buffered_per_connection: int | None = option(
        None,
        "octets in the buffers of one connection; above it, it is aborted",
        unit="octets",
        reason="none: max_message and max_outbox bound a connection already; this is for those set to none",
        minimum=1,
    )
    alarm_connections: int | None = option(
        None,
        "connections at which an alarm event is raised",
        unit="connections",
        reason="none: only the owner knows what is unusual",
        minimum=1,
    )
    alarm_interval: float = option(
        5.0,
        "between two alarms, while the reason lasts",
        unit="seconds",
        reason="as ranch's cool-down: a page, not a flood",
        above=0,
    )
    max_threads: int = option(
        64,
        "threads for handlers that block; with none free, accept pauses",
        unit="threads",
        reason="a thread costs some 100 KiB with its stack touched; more than this and the GIL is the queue",
        minimum=1,
        maximum=1 << 20,
    )
    read_size: int = option(
        64 * KIB,
        "the most that one recv() takes; up to 16 times as much of a large message of known size that has arrived",
        unit="octets",
        reason="one read is one batch; below malloc's mmap threshold of 128 KiB, so a read costs no page faults",
        minimum=1,
        maximum=1 << 30,
    )
    max_batch: int = option(
        512,
        "messages that one connection may have handled before others get their turn",
        unit="messages",
        reason="about half a millisecond of handlers: one peer with tiny messages cannot hold the loop",
        minimum=1,
        maximum=(1 << 31) - 1,
    )
    high_water: int = option(
        64 * KIB,
        "octets in the outbox above which send waits, replies stop and reading pauses",
        unit="octets",
        reason="enough to keep a fast path busy; asyncio and Netty use the same",
        minimum=1,
    )
    low_water: int = option(
        16 * KIB,
        "octets in the outbox at which a paused conversation goes on",
        unit="octets",
        reason="a quarter of the high mark: no flutter at the mark, no idle line",
        minimum=0,
    )

    max_outbox: int = option(
        16 * MIB,
        "octets in the outbox at which a further send() is refused; no less than high_water",
        unit="octets",
        reason="send() waits at high_water; this bounds the code that does not wait for it. "
        "The last message that is taken may exceed it",
        minimum=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low_water >= self.high_water:
            raise OptionError(
                f"low_water: {self.low_water} octets given, it must be below high_water ({self.high_water})"
            )
        if self.max_outbox < self.high_water:
            raise OptionError(
                f"max_outbox: {self.max_outbox} octets given, it must be at least high_water ({self.high_water}), or "
                "whoever waits for each send() would be refused"
            )
        for name, bits in (("network_prefix_v4", 32), ("network_prefix_v6", 128)):
            if getattr(self, name) > bits:
                raise OptionError(f"{name}: {getattr(self, name)} bits given, no more than {bits} are possible")
        for name in ("allow", "deny"):
            try:
                parse_networks(getattr(self, name))
            except AddressError as error:
                raise OptionError(f"{name}: {error}") from error

    if TYPE_CHECKING:

        def replace(self, **changes: Unpack[LimitsChanges]) -> Self: ...  # type: ignore[override]
