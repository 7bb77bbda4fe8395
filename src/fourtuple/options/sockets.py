"""Options of sockets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, Unpack

from fourtuple.options.declaring import KIB, Options, option

if TYPE_CHECKING:
    from fourtuple.options.changes import SocketsChanges


#: The kernel's socket options are signed numbers of 32 bits.
_INT = (1 << 31) - 1


@dataclass(frozen=True, kw_only=True)
class Sockets(Options):
    """Options of sockets: tcp(7), socket(7), ip(7). ``None`` keeps the kernel's default."""

    backlog: int = option(
        4096,
        "established connections that may wait for accept(); the kernel clamps it to net.core.somaxconn",
        unit="connections",
        reason="a burst waits instead of timing out; the queue costs nothing while it is empty",
        minimum=0,
        maximum=_INT,
    )
    nodelay: bool = option(
        True,
        "TCP_NODELAY: small messages leave at once",
        reason="Nagle's algorithm and delayed ACK cost request/reply protocols 40 ms; we join batches ourselves",
    )
    reuse_address: bool = option(
        True,
        "SO_REUSEADDR on listeners: a restart does not wait for TIME_WAIT",
        reason="on Linux it never lets two listeners share a port",
    )
    reuse_port: bool = option(
        False,
        "SO_REUSEPORT on listeners: several processes may listen at one name",
        reason="off: a second start by mistake would silently take half of the traffic",
    )
    send_buffer: int | None = option(
        None,
        "SO_SNDBUF",
        unit="octets",
        reason="none: setting it ends the kernel's own tuning",
        minimum=1,
        maximum=_INT,
    )
    receive_buffer: int | None = option(
        None,
        "SO_RCVBUF",
        unit="octets",
        reason="none: setting it ends the kernel's own tuning",
        minimum=1,
        maximum=_INT,
    )
    notsent_lowat: int | None = option(
        128 * KIB,
        "TCP_NOTSENT_LOWAT: unsent octets above which a socket is not writable",
        unit="octets",
        reason="a peer that never reads costs 0.2 to 0.4 MiB of kernel memory instead of 3.9",
        minimum=1,
        maximum=_INT,
    )
    keepalive: bool = option(
        True,
        "SO_KEEPALIVE: probe a silent peer",
        reason="it finds peers that died without a word; costs a packet a minute on idle connections only",
    )
    keepalive_idle: int = option(
        60,
        "TCP_KEEPIDLE: silence before the first probe",
        unit="seconds",
        reason="below the 5 minutes of many NATs",
        minimum=1,
        maximum=32767,
    )
    keepalive_interval: int = option(
        10,
        "TCP_KEEPINTVL: between probes",
        unit="seconds",
        reason="six probes fit into a minute",
        minimum=1,
        maximum=32767,
    )
    keepalive_count: int = option(
        6,
        "TCP_KEEPCNT: unanswered probes that mean death",
        unit="probes",
        reason="a minute of loss is survived",
        minimum=1,
        maximum=127,
    )
    user_timeout: float | None = option(
        60.0,
        "TCP_USER_TIMEOUT: data unacknowledged for this long means death (RFC 5482)",
        unit="seconds",
        reason="keepalive does not fire with data in flight; the kernel's own limit is 15 minutes",
        above=0,
        maximum=_INT / 1000,
    )
    defer_accept: int | None = option(
        None,
        "TCP_DEFER_ACCEPT: seconds to wait for a first octet before accept() sees the connection",
        unit="seconds",
        reason="none: it would delay every service that speaks first",
        minimum=1,
        maximum=_INT,
    )
    congestion: str | None = option(
        None,
        "TCP_CONGESTION: the congestion control, for example bbr",
        reason="none: the administrator's choice",
    )
    interface: str | None = option(
        None, "SO_BINDTODEVICE: only through this interface", reason="none: the address decides"
    )
    freebind: bool = option(
        False,
        "IP_FREEBIND: an address that is not there yet may be bound",
        reason="off: it hides a mistyped address",
    )

    if TYPE_CHECKING:

        def replace(self, **changes: Unpack[SocketsChanges]) -> Self: ...  # type: ignore[override]
