"""The deadlines of a connection whose socket a program has: only the kernel sees the octets.

The kernel's counters (TCP_INFO, tcp(7)) are read at each sweep, and the time of their last change is noted by the
engine's clock.
"""

from __future__ import annotations

import fcntl
import struct
import termios

from fourtuple.engine import Channel
from fourtuple.errors import DeadlinePassed
from fourtuple.net.tcpinfo import TcpInfo

#: The states after the peer's FIN, which the kernel counts as an octet received.
_AFTER_FIN = ("CLOSE_WAIT", "LAST_ACK", "CLOSING", "TIME_WAIT")
#: The states after our own FIN, which is the last octet of the send queue.
_OWN_FIN = ("FIN_WAIT1", "LAST_ACK", "CLOSING")
#: How often the counters are read again if octets arrive in between.
_TRIES = 10

INT = struct.Struct("i")


def count(channel: Channel, now: float) -> None:
    """Count the octets of a socket that other code has, by the kernel's counters (TCP_INFO); Unix sockets have none.

    Octets that wait in the kernel are not counted: the program may read them, or the engine discards and counts them.
    """
    sock = channel.socket
    if sock is None:
        return
    unread = 0
    try:
        info = TcpInfo.of(sock)
        for _ in range(_TRIES):
            (unread,) = INT.unpack(fcntl.ioctl(sock, termios.FIONREAD, bytes(INT.size)))  # tcp(7): SIOCINQ
            before, info = info, TcpInfo.of(sock)
            if info.bytes_received == before.bytes_received:
                break
    except (OSError, ValueError):
        return
    if info.bytes_received is not None and info.bytes_sent is not None:
        queued = info.notsent_bytes or 0  # as with every connection, octets are out when the kernel has them
        sent = info.bytes_sent - (info.bytes_retrans or 0) + max(0, queued - (info.state_name in _OWN_FIN))
        received = info.bytes_received - (info.state_name in _AFTER_FIN)
        channel.stream.counted(max(0, received - unread), sent, now)


class ProgramDeadlines:
    """The deadlines of a program and of its peer.

    ``name`` is the program's name in errors. With ``silent_peers`` the peer need not send anything.
    """

    __slots__ = ("_began", "_channel", "_last", "_moved", "_name", "_preamble", "_silent")

    def __init__(self, channel: Channel, name: str, *, silent_peers: bool) -> None:
        self._channel = channel
        self._name = name
        self._silent = not silent_peers
        #: The octets before the conversation: a PROXY header.
        self._preamble = channel.stream.octets_in
        self._began = self._moved = channel.engine.time()
        #: At the last sweep: octets received from the peer, and octets acknowledged by it.
        self._last = (0, 0)

    def missed(self, now: float) -> DeadlinePassed | None:
        """Return the deadline that has passed, or None."""
        deadlines = self._channel.deadlines
        lifetime = deadlines.handler_timeout
        if lifetime is not None and now - self._began > lifetime:
            return DeadlinePassed("handler_timeout", lifetime, str(self._channel.name), self._name)
        if not self._look(now):
            return None
        first, idle = deadlines.first_message_timeout, deadlines.idle_timeout
        if self._silent and first is not None and now - self._began > first:
            return DeadlinePassed("first_message_timeout", first, str(self._channel.name))
        if idle is not None and now - self._moved > idle:
            return DeadlinePassed("idle_timeout", idle, str(self._channel.name))
        return None

    def _look(self, now: float) -> bool:
        """Read the kernel's counters; return False if the socket has none."""
        sock = self._channel.socket
        if sock is None:
            return False
        try:
            info = TcpInfo.of(sock)
        except (OSError, ValueError):  # a Unix socket
            return False
        if info.bytes_received is None or info.bytes_acked is None:  # before Linux 4.1
            return False
        passed = (info.bytes_received, info.bytes_acked)
        if passed != self._last:
            self._last, self._moved = passed, now
        if info.bytes_received > self._preamble:
            self._silent = False
        return True
