"""The backlog: how many connections may wait for accept(), how many do, and what the kernel tells of one that waits.

listen(2) asks for a backlog. What is in force, and what waits in the accept queue, the kernel tells in TCP_INFO
(tcp(7)).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol

#: The size of the struct since Linux 2.6: it is never shorter.
LEAST_OCTETS = 104
# From include/uapi/linux/in.h and tcp.h: these numbers are part of the kernel's ABI.
IPPROTO_TCP = 6
TCP_INFO = 11
#: tcpi_unacked and tcpi_sacked.
_QUEUE, _QUEUE_AT = struct.Struct("=II"), 24
#: tcpi_last_data_recv.
_AGE, _AGE_AT = struct.Struct("=I"), 52
# From include/uapi/asm-generic/socket.h and sock_diag.h: SO_MEMINFO gives numbers of 32 bits, SK_MEMINFO_DROPS is one.
_SOL_SOCKET = 1
_SO_MEMINFO = 55
_DROPS_AT = 8 * 4


#: The largest int that listen(2) takes; the kernel reduces the backlog much further.
_INT_MAX = 2**31 - 1


class CanListen(Protocol):
    """A socket, or an object that acts as one."""

    def listen(self, backlog: int, /) -> None:
        """Like :meth:`socket.socket.listen`."""


def listen(sock: CanListen, backlog: int) -> None:
    """Let a bound socket listen with this backlog. The kernel reduces it to net.core.somaxconn (listen(2))."""
    sock.listen(min(backlog, _INT_MAX))


class HasOptions(Protocol):
    """A socket, or an object that acts as one."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        """Like :meth:`socket.socket.getsockopt`."""


@dataclass(frozen=True, slots=True)
class AcceptQueue:
    """The fields of TCP_INFO that mean something else for a passive socket than for a connection.

    In LISTEN, ``tcpi_unacked`` is the length of the accept queue and ``tcpi_sacked`` its limit (tcp_get_info(),
    net/ipv4/tcp.c). No other field means anything there.
    """

    #: Established connections that wait for accept().
    waiting: int
    #: The backlog in force: what listen() asked for, reduced to net.core.somaxconn. None where the kernel does not say
    #: (/proc/net/tcp does not have it).
    limit: int | None

    @property
    def holds(self) -> int | None:
        """How many connections fit: one more than :attr:`limit`, because Linux compares with ``>``."""
        return None if self.limit is None else self.limit + 1

    @property
    def full(self) -> bool:
        """Whether the kernel drops the next SYN (sk_acceptq_is_full(), include/net/sock.h); False if unknown."""
        return self.limit is not None and self.waiting > self.limit

    @classmethod
    def decode(cls, octets: bytes) -> AcceptQueue:
        """Return the queue in ``octets``, TCP_INFO of a socket in LISTEN. Raises :class:`ValueError` for too few."""
        if len(octets) < _QUEUE_AT + _QUEUE.size:
            raise ValueError(
                f"the queue stands in {_QUEUE_AT + _QUEUE.size} octets of tcp_info, {len(octets)} were given"
            )
        return cls(*_QUEUE.unpack_from(octets, _QUEUE_AT))

    @classmethod
    def of(cls, sock: HasOptions) -> AcceptQueue:
        """Return the accept queue of ``sock``, a passive socket. Raises :class:`OSError` if it is not a TCP socket."""
        return cls.decode(sock.getsockopt(IPPROTO_TCP, TCP_INFO, _QUEUE_AT + _QUEUE.size))


def data_age(sock: HasOptions) -> float:
    """Return the seconds since the peer's last octet arrived, or since the connection was made if none has arrived.

    A FIN and keepalive probes do not count. The kernel's ``last_data_recv`` is set at the handshake
    (tcp_create_openreq_child() in tcp_minisocks.c) and updated by data (tcp_event_data_recv() in tcp_input.c).
    ``last_ack_recv`` cannot be used: every segment updates it, even a FIN.
    Raises :class:`OSError` for a socket that is not TCP.
    """
    octets = sock.getsockopt(IPPROTO_TCP, TCP_INFO, LEAST_OCTETS)
    milliseconds: int = _AGE.unpack_from(octets, _AGE_AT)[0]
    return milliseconds / 1000


def drops(sock: HasOptions) -> int | None:
    """Return how many connections the kernel has dropped at a passive socket; None where it does not say.

    It counts each SYN, and each last segment of a handshake, that came while the accept queue was full or that failed
    for another reason, such as no memory (tcp_listendrop(), include/net/tcp.h). ``ss -m`` shows it as ``d``. A client
    repeats its SYN, so one client may be counted several times.
    """
    try:
        octets = sock.getsockopt(_SOL_SOCKET, _SO_MEMINFO, _DROPS_AT + 4)
    except OSError:
        return None  # older than Linux 4.12
    return _AGE.unpack_from(octets, _DROPS_AT)[0] if len(octets) >= _DROPS_AT + 4 else None
