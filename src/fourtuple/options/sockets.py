"""Options of sockets."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, Unpack

from fourtuple.options.checking import check_id, refuse
from fourtuple.options.declaring import KIB, Options, option

if TYPE_CHECKING:
    from fourtuple.options.changes import SocketsChanges


#: The kernel's socket options are signed numbers of 32 bits.
_INT = (1 << 31) - 1
#: The octets of the longest name of an interface (IFNAMSIZ) or of a congestion control (TCP_CA_NAME_MAX), without NUL.
_LONGEST_NAME = 15


@dataclass(frozen=True, kw_only=True)
class Sockets(Options):
    """Options of sockets: tcp(7), socket(7), ip(7). ``None`` keeps the kernel's default."""

    backlog: int = option(
        4096,
        "the backlog: established connections that may wait for accept(); the kernel's maximum is net.core.somaxconn",
        unit="connections",
        reason="connections of a burst wait instead of timing out; an empty queue costs nothing",
        minimum=0,
        maximum=_INT,
    )
    """The backlog: established connections that may wait for accept(); the kernel's maximum is net.core.somaxconn.
    Default: 4096 (connections of a burst wait instead of timing out; an empty queue costs nothing).
    """
    nodelay: bool = option(
        True,
        "TCP_NODELAY: send small messages at once",
        reason="Nagle's algorithm with delayed ACK costs request/reply protocols 40 ms; fourtuple joins batches itself",
    )
    """TCP_NODELAY: send small messages at once. Default: on (Nagle's algorithm with delayed ACK costs request/reply
    protocols 40 ms; fourtuple joins batches itself).
    """
    reuse_address: bool = option(
        True,
        "SO_REUSEADDR on listeners: a restart need not wait for TIME_WAIT",
        reason="on Linux it never lets two listeners share a port",
    )
    """SO_REUSEADDR on listeners: a restart need not wait for TIME_WAIT. Default: on (on Linux it never lets two
    listeners share a port).
    """
    reuse_port: bool = option(
        False,
        "SO_REUSEPORT on listeners: several processes may listen at one address",
        reason="off: a second server, started by mistake, would silently take half of the connections",
    )
    """SO_REUSEPORT on listeners: several processes may listen at one address. Default: off (a second server, started by
    mistake, would silently take half of the connections).
    """
    send_buffer: int | None = option(
        None,
        "SO_SNDBUF",
        unit="octets",
        reason="none: setting it turns off the kernel's automatic tuning",
        minimum=1,
        maximum=_INT,
    )
    """SO_SNDBUF, in octets. Default: none (setting it turns off the kernel's automatic tuning)."""
    receive_buffer: int | None = option(
        None,
        "SO_RCVBUF",
        unit="octets",
        reason="none: setting it turns off the kernel's automatic tuning",
        minimum=1,
        maximum=_INT,
    )
    """SO_RCVBUF, in octets. Default: none (setting it turns off the kernel's automatic tuning)."""
    notsent_lowat: int | None = option(
        128 * KIB,
        "TCP_NOTSENT_LOWAT: unsent octets above which a socket is not writable",
        unit="octets",
        reason="limits the kernel memory for a peer that never reads to 0.2 to 0.4 MiB, instead of 3.9",
        minimum=1,
        maximum=_INT,
    )
    """TCP_NOTSENT_LOWAT: unsent octets above which a socket is not writable. Default: 128k (limits the kernel memory
    for a peer that never reads to 0.2 to 0.4 MiB, instead of 3.9).
    """
    keepalive: bool = option(
        True,
        "SO_KEEPALIVE: probe a silent peer",
        reason="finds peers that died silently; costs one packet per minute on idle connections only",
    )
    """SO_KEEPALIVE: probe a silent peer. Default: on (finds peers that died silently; costs one packet per minute on
    idle connections only).
    """
    keepalive_idle: int = option(
        60,
        "TCP_KEEPIDLE: the silence before the first probe",
        unit="seconds",
        reason="less than the 5 minutes of many NATs",
        minimum=1,
        maximum=32767,
    )
    """TCP_KEEPIDLE: the silence before the first probe, in seconds. Default: 60 (less than the 5 minutes of many NATs).
    """
    keepalive_interval: int = option(
        10,
        "TCP_KEEPINTVL: the time between probes",
        unit="seconds",
        reason="six probes take a minute",
        minimum=1,
        maximum=32767,
    )
    """TCP_KEEPINTVL: the time between probes, in seconds. Default: 10 (six probes take a minute)."""
    keepalive_count: int = option(
        6,
        "TCP_KEEPCNT: the number of unanswered probes after which the connection is lost",
        unit="probes",
        reason="the connection survives an outage of a minute",
        minimum=1,
        maximum=127,
    )
    """TCP_KEEPCNT: the number of unanswered probes after which the connection is lost. Default: 6 (the connection
    survives an outage of a minute).
    """
    user_timeout: float | None = option(
        60.0,
        "TCP_USER_TIMEOUT: the connection is lost when data is unacknowledged for this long (RFC 5482)",
        unit="seconds",
        reason="keepalive does not work while data is in flight; the kernel's own limit is 15 minutes",
        above=0,
        maximum=_INT / 1000,
    )
    """TCP_USER_TIMEOUT: the connection is lost when data is unacknowledged for this long (RFC 5482), in seconds.
    Default: 60 (keepalive does not work while data is in flight; the kernel's own limit is 15 minutes).
    """
    defer_accept: int | None = option(
        None,
        "TCP_DEFER_ACCEPT: how long a connection may wait for its first octet before accept() returns it",
        unit="seconds",
        reason="none: it would delay every service that speaks first",
        minimum=1,
        maximum=_INT,
    )
    """TCP_DEFER_ACCEPT: how long a connection may wait for its first octet before accept() returns it, in seconds.
    Default: none (it would delay every service that speaks first).
    """
    congestion: str | None = option(
        None,
        "TCP_CONGESTION: the congestion control, for example bbr",
        reason="none: the system's default",
    )
    """TCP_CONGESTION: the congestion control, for example bbr. Default: none (the system's default)."""
    interface: str | None = option(
        None, "SO_BINDTODEVICE: use only this network interface", reason="none: the address determines the interface"
    )
    """SO_BINDTODEVICE: use only this network interface. Default: none (the address determines the interface)."""
    freebind: bool = option(
        False,
        "IP_FREEBIND: allow binding an address that no interface has yet",
        reason="off: it would hide a mistyped address",
    )
    """IP_FREEBIND: allow binding an address that no interface has yet. Default: off (it would hide a mistyped address).
    """
    unix_mode: str | None = option(
        None,
        "the permissions of the socket file of a Unix socket, in octal such as 0660; who may write to it may connect",
        reason="none: the umask decides, as for every file",
    )
    """The permissions of the socket file of a Unix socket, in octal such as 0660; who may write to it may connect.
    Default: none (the umask decides, as for every file).
    """
    unix_owner: str | None = option(
        None,
        "the owner of the socket file of a Unix socket: USER, USER:GROUP or :GROUP, by name or number",
        reason="none: the user that runs the server; only root may give a file away",
    )
    """The owner of the socket file of a Unix socket: USER, USER:GROUP or :GROUP, by name or number. Default: none (the
    user that runs the server; only root may give a file away).
    """

    def __post_init__(self) -> None:
        Options.__post_init__(self)
        if self.unix_mode is not None and not re.fullmatch("0?[0-7]{3}", self.unix_mode):
            refuse("unix_mode", self.unix_mode, "permissions in octal, from 000 to 777, as in 0660")
        if self.unix_owner is not None and not re.fullmatch("[^:\\s]+(:[^:\\s]+)?|:[^:\\s]+", self.unix_owner):
            refuse("unix_owner", self.unix_owner, "USER, USER:GROUP or :GROUP")
        for part in (self.unix_owner or "").split(":"):
            check_id("unix_owner", part, self.unix_owner)
        for name, what in (
            ("congestion", "the name of a congestion control"),
            ("interface", "the name of an interface"),
        ):
            if len(os.fsencode(getattr(self, name) or "")) > _LONGEST_NAME:
                refuse(name, getattr(self, name), f"{what}, of no more than {_LONGEST_NAME} octets")

    if TYPE_CHECKING:

        def replace(self, **changes: Unpack[SocketsChanges]) -> Self: ...  # type: ignore[override]
