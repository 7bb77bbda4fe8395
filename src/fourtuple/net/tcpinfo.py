"""The kernel's statistics of one TCP connection: ``struct tcp_info`` of linux/tcp.h, decoded.

The struct grows at its end with new kernels. A kernel returns as much of it as it knows, and at most as much as was
asked for: fields after the end of the returned octets are ``None``. This module calls the kernel only when you ask.
"""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from typing import Protocol

#: The size of the struct since Linux 2.6: it is never shorter.
LEAST_OCTETS = 104
#: The size to ask getsockopt() for: more than any kernel has.
MOST_OCTETS = 512

# From include/uapi/linux/in.h and tcp.h: these numbers are part of the kernel's ABI.
_IPPROTO_TCP = 6
_TCP_INFO = 11

#: The states by number, from include/net/tcp_states.h.
STATES = (
    "UNKNOWN",
    "ESTABLISHED",
    "SYN_SENT",
    "SYN_RECV",
    "FIN_WAIT1",
    "FIN_WAIT2",
    "TIME_WAIT",
    "CLOSE",
    "CLOSE_WAIT",
    "LAST_ACK",
    "LISTEN",
    "CLOSING",
    "NEW_SYN_RECV",
)


class HasOptions(Protocol):
    """A socket, or an object that acts as one."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """Like :meth:`socket.socket.getsockopt`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpInfo:
    """TCP_INFO, tcp(7): the fields are named as in linux/tcp.h, without their ``tcpi_``.

    Sizes are octets (``unacked``, ``sacked``, ``lost``, ``retrans``, ``snd_cwnd``, ``snd_ssthresh`` and
    ``reordering`` count segments). ``rtt``, ``rttvar``, ``min_rtt``, ``rcv_rtt``, ``rto``, ``ato``,
    ``busy_time``, ``rwnd_limited`` and ``sndbuf_limited`` are microseconds, the ``last_...`` ones
    milliseconds, the rates octets per second.
    """

    state: int
    ca_state: int
    retransmits: int
    probes: int
    backoff: int
    options: int
    snd_wscale: int
    rcv_wscale: int
    delivery_rate_app_limited: int
    fastopen_client_fail: int

    rto: int
    ato: int
    snd_mss: int
    rcv_mss: int
    unacked: int
    sacked: int
    lost: int
    retrans: int
    fackets: int
    last_data_sent: int
    last_ack_sent: int
    last_data_recv: int
    last_ack_recv: int
    pmtu: int
    rcv_ssthresh: int
    rtt: int
    rttvar: int
    snd_ssthresh: int
    snd_cwnd: int
    advmss: int
    reordering: int
    rcv_rtt: int
    rcv_space: int
    total_retrans: int

    pacing_rate: int | None = None
    max_pacing_rate: int | None = None
    bytes_acked: int | None = None
    bytes_received: int | None = None
    segs_out: int | None = None
    segs_in: int | None = None
    notsent_bytes: int | None = None
    min_rtt: int | None = None
    data_segs_in: int | None = None
    data_segs_out: int | None = None
    delivery_rate: int | None = None
    busy_time: int | None = None
    rwnd_limited: int | None = None
    sndbuf_limited: int | None = None
    delivered: int | None = None
    delivered_ce: int | None = None
    bytes_sent: int | None = None
    bytes_retrans: int | None = None
    dsack_dups: int | None = None
    reord_seen: int | None = None
    rcv_ooopack: int | None = None
    snd_wnd: int | None = None
    rcv_wnd: int | None = None
    rehash: int | None = None
    total_rto: int | None = None
    total_rto_recoveries: int | None = None
    total_rto_time: int | None = None

    @classmethod
    def decode(cls, octets: bytes) -> TcpInfo:
        """Decode the octets that getsockopt() returned; their number depends on the kernel.

        Raises :class:`ValueError` for fewer than the :data:`LEAST_OCTETS` that every kernel returns.
        """
        if len(octets) < LEAST_OCTETS:
            raise ValueError(f"struct tcp_info has at least {LEAST_OCTETS} octets, {len(octets)} were given")
        return cls(
            **_bits(octets),
            **{name: field.unpack_from(octets, at)[0] for name, field, at in _PLACES if at + field.size <= len(octets)},
        )

    @classmethod
    def of(cls, sock: HasOptions) -> TcpInfo:
        """Read the statistics of a socket. Raises :class:`OSError` if it is not a TCP socket."""
        return cls.decode(sock.getsockopt(_IPPROTO_TCP, _TCP_INFO, MOST_OCTETS))

    @property
    def state_name(self) -> str:
        """The name of the state as in ss(8) and RFC 9293: ``ESTABLISHED``, ``CLOSE_WAIT`` ..."""
        return STATES[self.state] if self.state < len(STATES) else str(self.state)


def data_age(sock: HasOptions) -> float:
    """Return the seconds since the peer's last octet arrived, or since the connection was made if none has arrived.

    A FIN and keepalive probes do not count. The kernel's ``last_data_recv`` is set at the handshake
    (tcp_create_openreq_child() in tcp_minisocks.c) and updated by data (tcp_event_data_recv() in tcp_input.c).
    ``last_ack_recv`` cannot be used: every segment updates it, also a FIN.
    Raises :class:`OSError` for a socket that is not TCP.
    """
    octets = sock.getsockopt(_IPPROTO_TCP, _TCP_INFO, LEAST_OCTETS)
    milliseconds: int = _AGE.unpack_from(octets, _AGE_AT)[0]
    return milliseconds / 1000


def _bits(octets: bytes) -> dict[str, int]:
    """Return the bit fields of octets 6 and 7. Compilers lay out bit fields in the direction of the byte order."""
    scales, flags = octets[6], octets[7]
    if sys.byteorder == "little":
        send, receive, limited, failed = scales & 15, scales >> 4, flags & 1, flags >> 1 & 3
    else:
        send, receive, limited, failed = scales >> 4, scales & 15, flags >> 7, flags >> 5 & 3
    return {
        "snd_wscale": send,
        "rcv_wscale": receive,
        "delivery_rate_app_limited": limited,
        "fastopen_client_fail": failed,
    }


# The layout, in runs of fields of one type. Every run begins at an aligned offset, so there is no padding.
_LAYOUT = (
    ("=B", "state ca_state retransmits probes backoff options . ."),
    (
        "=I",
        "rto ato snd_mss rcv_mss unacked sacked lost retrans fackets "
        "last_data_sent last_ack_sent last_data_recv last_ack_recv "
        "pmtu rcv_ssthresh rtt rttvar snd_ssthresh snd_cwnd advmss reordering "
        "rcv_rtt rcv_space total_retrans",
    ),
    ("=Q", "pacing_rate max_pacing_rate bytes_acked bytes_received"),
    ("=I", "segs_out segs_in notsent_bytes min_rtt data_segs_in data_segs_out"),
    ("=Q", "delivery_rate busy_time rwnd_limited sndbuf_limited"),
    ("=I", "delivered delivered_ce"),
    ("=Q", "bytes_sent bytes_retrans"),
    ("=I", "dsack_dups reord_seen rcv_ooopack snd_wnd rcv_wnd rehash"),
    ("=H", "total_rto total_rto_recoveries"),
    ("=I", "total_rto_time"),
)


def _places() -> list[tuple[str, struct.Struct, int]]:
    """Return the name, format and offset of every field that is not a bit field."""
    places, at = [], 0
    for code, names in _LAYOUT:
        field = struct.Struct(code)
        for name in names.split():
            if name != ".":  # _bits() reads the bit fields
                places.append((name, field, at))
            at += field.size
    return places


_PLACES = _places()
_AGE, _AGE_AT = next((field, at) for name, field, at in _PLACES if name == "last_data_recv")
