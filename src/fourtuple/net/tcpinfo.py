"""The kernel's statistics of one TCP connection: ``struct tcp_info`` of linux/tcp.h, decoded.

The struct grows at its end with new kernels. A kernel returns as much of it as it knows, and at most as much as was
asked for: fields after the end of the returned octets are ``None``. This module calls the kernel only when you ask.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import TypeAlias

from fourtuple.net.backlog import IPPROTO_TCP, LEAST_OCTETS, TCP_INFO, HasOptions

#: The size to ask getsockopt() for: more than any kernel has.
MOST_OCTETS = 512

#: The bits of :attr:`TcpInfo.options`, and their names in ss(8).
_AGREED = {1: "timestamps", 2: "sack", 4: "window scaling", 8: "ecn", 16: "ecn seen", 32: "syn data"}

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


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpInfo:
    """TCP_INFO, tcp(7): the fields are named as in linux/tcp.h, without their ``tcpi_``.

    Beside each field stands its unit and its meaning. A field is None where the running kernel does not have it.
    """

    #: The state by number; :attr:`state_name` is its name.
    state: int
    #: What congestion control does: 0 open, 1 disorder, 2 CWR, 3 recovery, 4 loss.
    ca_state: int
    #: Timeouts in a row without an answer; 0 once an acknowledgement comes.
    retransmits: int
    #: Zero-window or keepalive probes without an answer.
    probes: int
    #: How often the timeout has been doubled.
    backoff: int
    #: Bits: 1 timestamps, 2 SACK, 4 window scaling, 8 ECN agreed, 16 ECN seen, 32 SYN data.
    options: int
    #: Bits by which the peer's windows are shifted.
    snd_wscale: int
    #: Bits by which our windows are shifted.
    rcv_wscale: int
    #: 1: :attr:`delivery_rate` was limited by the application.
    delivery_rate_app_limited: int
    #: Why TCP Fast Open failed: 0 unknown, 1 no cookie, 2 not acknowledged, 3 SYN lost.
    fastopen_client_fail: int
    #: us: the retransmission timeout.
    rto: int
    #: us: the timeout of delayed acknowledgements.
    ato: int
    #: Octets: the largest segment that we send.
    snd_mss: int
    #: Octets: the largest segment that the peer seems to send.
    rcv_mss: int
    #: Segments sent and not yet acknowledged.
    unacked: int
    #: Segments acknowledged out of order.
    sacked: int
    #: Segments believed lost.
    lost: int
    #: Segments retransmitted and not yet acknowledged.
    retrans: int
    #: Not used since Linux 4.15.
    fackets: int
    #: ms since data was sent.
    last_data_sent: int
    #: Not used: always 0.
    last_ack_sent: int
    #: ms since data arrived.
    last_data_recv: int
    #: ms since an acknowledgement arrived.
    last_ack_recv: int
    #: Octets: the path's MTU.
    pmtu: int
    #: Octets: the limit of the window that we offer, now.
    rcv_ssthresh: int
    #: us: the smoothed round-trip time.
    rtt: int
    #: us: its variation.
    rttvar: int
    #: Segments: slow start ends here; 2147483647 until the first loss.
    snd_ssthresh: int
    #: Segments: the congestion window.
    snd_cwnd: int
    #: Octets: the largest segment that we told the peer.
    advmss: int
    #: Segments: how far the path reorders.
    reordering: int
    #: us: the round-trip time as the receiver estimates it; 0 until it has.
    rcv_rtt: int
    #: Octets: what the application reads in one round trip.
    rcv_space: int
    #: Segments retransmitted since the beginning.
    total_retrans: int
    #: Octets a second: how fast segments leave; 2**64 - 1 is unlimited.
    pacing_rate: int | None = None
    #: Octets a second: its limit (SO_MAX_PACING_RATE).
    max_pacing_rate: int | None = None
    #: Octets acknowledged by the peer.
    bytes_acked: int | None = None
    #: Octets received in order.
    bytes_received: int | None = None
    #: Segments sent, with those without data.
    segs_out: int | None = None
    #: Segments received, with those without data.
    segs_in: int | None = None
    #: Octets in the send queue that were never sent.
    notsent_bytes: int | None = None
    #: us: the smallest round-trip time seen in the last five minutes; 4294967295 until there is one.
    min_rtt: int | None = None
    #: Segments with data received.
    data_segs_in: int | None = None
    #: Segments with data sent.
    data_segs_out: int | None = None
    #: Octets a second: how fast the peer last acknowledged.
    delivery_rate: int | None = None
    #: us in which there was data to send.
    busy_time: int | None = None
    #: us of these in which the peer's receive window stopped it.
    rwnd_limited: int | None = None
    #: us of these in which our send buffer stopped it.
    sndbuf_limited: int | None = None
    #: Segments delivered, with retransmitted ones.
    delivered: int | None = None
    #: Segments of these that came with a congestion mark (ECN).
    delivered_ce: int | None = None
    #: Octets sent, with retransmitted ones.
    bytes_sent: int | None = None
    #: Octets retransmitted.
    bytes_retrans: int | None = None
    #: Duplicates that the peer reported.
    dsack_dups: int | None = None
    #: How often reordering was seen.
    reord_seen: int | None = None
    #: Segments that arrived out of order.
    rcv_ooopack: int | None = None
    #: Octets: the peer's receive window, scaled.
    snd_wnd: int | None = None
    #: Octets: our receive window, scaled.
    rcv_wnd: int | None = None
    #: How often another path was tried after timeouts.
    rehash: int | None = None
    #: Timeouts since the beginning.
    total_rto: int | None = None
    #: Recoveries from timeouts since the beginning.
    total_rto_recoveries: int | None = None
    #: ms spent in these recoveries.
    total_rto_time: int | None = None

    @classmethod
    def decode(cls, octets: bytes) -> TcpInfo:
        """Return the statistics in ``octets`` that getsockopt() returned; their number depends on the kernel.

        Raises :class:`ValueError` for fewer than the :data:`LEAST_OCTETS` that every kernel returns.
        """
        if len(octets) < LEAST_OCTETS:
            raise ValueError(f"struct tcp_info has at least {LEAST_OCTETS} octets, {len(octets)} were given")
        layout, known, unknown = _whole_fields(min(len(octets), _END))
        # Not by the constructor: with its sixty keywords it takes eight times as long, and a listing decodes thousands.
        made = object.__new__(cls)
        for put, value in zip(known, (*_bits(octets), *layout.unpack_from(octets)), strict=True):
            put(made, value)
        for leave in unknown:
            leave(made, None)
        return made

    @classmethod
    def of(cls, sock: HasOptions) -> TcpInfo:
        """Return the statistics of ``sock``. Raises :class:`OSError` if it is not a TCP socket."""
        return cls.decode(sock.getsockopt(IPPROTO_TCP, TCP_INFO, MOST_OCTETS))

    @property
    def state_name(self) -> str:
        """The name of the state as in ss(8) and RFC 9293: ``ESTABLISHED``, ``CLOSE_WAIT`` ..."""
        return STATES[self.state] if self.state < len(STATES) else str(self.state)

    @property
    def agreed(self) -> tuple[str, ...]:
        """The options of TCP that both ends agreed on: ``timestamps``, ``sack``, ``window scaling``, ``ecn`` ..."""
        return tuple(name for bit, name in _AGREED.items() if self.options & bit)

    @property
    def limited_by(self) -> str | None:
        """What limited sending most of the time in which there was data to send.

        ``"receive window"`` (the peer reads too slowly), ``"send buffer"`` (ours is too small), ``"network"`` (the
        congestion window), or ``"application"`` if it offers less than the path takes. None if nothing was sent, and
        where the kernel does not say.
        """
        if not self.busy_time:
            return None if self.data_segs_out == 0 or self.busy_time is None else "application"
        shares = {"receive window": self.rwnd_limited or 0, "send buffer": self.sndbuf_limited or 0}
        name, most = max(shares.items(), key=lambda share: share[1])
        if 2 * most > self.busy_time:
            return name
        return "application" if self.delivery_rate_app_limited else "network"


def _bits(octets: bytes) -> tuple[int, int, int, int]:
    """Return the bit fields of octets 6 and 7. Compilers lay out bit fields in the direction of the byte order."""
    scales, flags = octets[6], octets[7]
    if sys.byteorder == "little":
        return scales & 15, scales >> 4, flags & 1, flags >> 1 & 3
    return scales >> 4, scales & 15, flags >> 7, flags >> 5 & 3


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
_END = _PLACES[-1][2] + _PLACES[-1][1].size


_Setter: TypeAlias = "Callable[[TcpInfo, int | None], None]"

#: What _bits() returns, in its order.
_FLAGS = ("snd_wscale", "rcv_wscale", "delivery_rate_app_limited", "fastopen_client_fail")


@lru_cache(maxsize=_END)
def _whole_fields(length: int) -> tuple[struct.Struct, tuple[_Setter, ...], tuple[_Setter, ...]]:
    """Return one format for all fields that fit into so many octets, and what sets these, and what sets the others."""
    names, code, at = list(_FLAGS), "=", 0
    for name, field, place in _PLACES:
        if place + field.size <= length:
            names.append(name)
            code += "x" * (place - at) + field.format.removeprefix("=")
            at = place + field.size
    known = tuple(getattr(TcpInfo, name).__set__ for name in names)
    unknown = tuple(getattr(TcpInfo, each.name).__set__ for each in fields(TcpInfo) if each.name not in names)
    return struct.Struct(code), known, unknown
