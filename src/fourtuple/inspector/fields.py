"""PURE: what can be asked of a socket, by name: for filters, sorting, grouping and CSV. Declared once, with units."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from fourtuple.inspector import states
from fourtuple.inspector.model import ActiveSocket, PassiveSocket, Socket, UnixSocket

#: None where the kernel does not say; a tuple where there are several.
Value: TypeAlias = Any

#: How values of a field are written: see :mod:`fourtuple.inspector.values`.
KINDS = ("word", "number", "duration", "size", "rate", "address", "port", "flag")


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that can be asked: its name, how its values are written, what it means, and where it stands."""

    name: str
    kind: str
    meaning: str
    get: Callable[[Socket], Value]
    #: Whether owners have to be looked up first.
    needs_owners: bool = False


_LARGEST_32 = (1 << 32) - 1
_LARGEST_64 = (1 << 64) - 1


def _info(name: str, scale: float = 1, unknown: int | None = None) -> Callable[[Socket], Value]:
    def get(socket: Socket) -> Value:
        info = socket.info if isinstance(socket, ActiveSocket) else None
        value = None if info is None else getattr(info, name)
        return None if value is None or value == unknown else value * scale if scale != 1 else value

    return get


def _active(name: str) -> Callable[[Socket], Value]:
    return lambda socket: getattr(socket, name) if isinstance(socket, ActiveSocket) else None


def _known(name: str) -> Callable[[Socket], Value]:
    return lambda socket: getattr(socket, name)


def _queues(name: str) -> Callable[[Socket], Value]:
    return lambda socket: None if isinstance(socket, PassiveSocket) else getattr(socket, name)


def _queue(name: str) -> Callable[[Socket], Value]:
    def get(socket: Socket) -> Value:
        queue = None if isinstance(socket, ActiveSocket) else socket.queue
        return None if queue is None else getattr(queue, name)

    return get


def _local(socket: Socket) -> Value:
    if isinstance(socket, UnixSocket):
        return socket.path or None
    return socket.address.host if isinstance(socket, PassiveSocket) else socket.name.local_ip


def _local_port(socket: Socket) -> Value:
    if isinstance(socket, UnixSocket):
        return None
    return socket.address.port if isinstance(socket, PassiveSocket) else socket.name.local_port


def _peer(socket: Socket) -> Value:
    return socket.name.remote_ip if isinstance(socket, ActiveSocket) else None


def _peer_port(socket: Socket) -> Value:
    return socket.name.remote_port if isinstance(socket, ActiveSocket) else None


def _ports(socket: Socket) -> Value:
    return tuple(port for port in (_local_port(socket), _peer_port(socket)) if port is not None) or None


def _programs(socket: Socket) -> Value:
    return tuple(dict.fromkeys(owner.program for owner in socket.owners)) or None


def _pids(socket: Socket) -> Value:
    return tuple(dict.fromkeys(owner.pid for owner in socket.owners)) or None


def _peer_programs(socket: Socket) -> Value:
    owners = () if isinstance(socket, PassiveSocket) else socket.peer_owners
    return tuple(dict.fromkeys(owner.program for owner in owners)) or None


def _ages(*names: str) -> Callable[[Socket], Value]:
    """The smallest of these. Before the handshake is done there was no data: the kernel counts from its own start."""

    def get(socket: Socket) -> Value:
        info = socket.info if isinstance(socket, ActiveSocket) else None
        if info is None or socket.state == states.SYN_SENT:
            return None
        return min(getattr(info, name) for name in names) * _MILLI

    return get


def _round_trip(name: str) -> Callable[[Socket], Value]:
    """A measure of round trips. While none was measured, the kernel says 0 for the first, and guesses the second."""
    get = _info(name, _MICRO)

    def measured(socket: Socket) -> Value:
        info = socket.info if isinstance(socket, ActiveSocket) else None
        return None if info is None or not info.rtt else get(socket)

    return measured


def _limited(socket: Socket) -> Value:
    info = socket.info if isinstance(socket, ActiveSocket) else None
    return None if info is None else info.limited_by


def _timer(name: str) -> Callable[[Socket], Value]:
    def get(socket: Socket) -> Value:
        timer = socket.timer if isinstance(socket, ActiveSocket) else None
        return None if timer is None else getattr(timer, name)

    return get


def _is_slow(socket: Socket) -> Value:
    """Whether the connection is slow, for --slow: octets wait, or the round trip is long."""
    if isinstance(socket, ActiveSocket):
        info = socket.info
        if socket.waits_at is not None:
            return True
        if info is None:
            return socket.state in (states.SYN_SENT, states.SYN_RECV) and bool(socket.timer and socket.timer.count)
        # A peer whose window is closed acknowledges each probe of it; a probe sends no data.
        standing = socket.send_queue > 0 and max(info.last_ack_recv, info.last_data_sent) > SLOW_SECONDS * 1000
        unread = socket.receive_queue > 0 and info.last_data_recv > SLOW_SECONDS * 1000
        return info.retransmits > 0 or info.rtt > SLOW_RTT * 1e6 or standing or unread
    return socket.queue is not None and socket.queue.waiting > 0


#: ``slow``: a round-trip time above this, in seconds: farther than any place on Earth by a good line ...
SLOW_RTT = 0.3
#: ... or a queue that has not moved for so long, in seconds.
SLOW_SECONDS = 1.0

_MICRO, _MILLI = 1e-6, 1e-3

_ALL = (
    Field("state", "word", "its state in TCP: listen, established, time-wait ...", _known("state")),
    Field("family", "word", "ipv4, ipv6 or unix", _known("family")),
    Field("local", "address", "the local address", _local),
    Field("peer", "address", "the peer's address", _peer),
    Field("port", "port", "the local port, or the peer's", _ports),
    Field("local-port", "port", "the local port", _local_port),
    Field("peer-port", "port", "the peer's port", _peer_port),
    Field("program", "word", "a program that holds it", _programs, True),
    Field("pid", "number", "a process that holds it", _pids, True),
    Field("peer-program", "word", "a program at the other end, on this machine", _peer_programs, True),
    Field("user", "word", "the user who owns it", _known("user"), True),
    Field("uid", "number", "the number of its user", _known("uid")),
    Field("container", "word", "its container or service, from its cgroup", _known("container"), True),
    Field("cgroup", "word", "the path of its cgroup", _known("cgroup"), True),
    Field("device", "word", "the interface or VRF that it is bound to", _known("device"), True),
    Field("inode", "number", "the number of its file; 0 if no process holds it", _known("inode")),
    Field("recvq", "size", "octets that arrived and were not read", _queues("receive_queue")),
    Field("sendq", "size", "octets that the peer has not acknowledged", _queues("send_queue")),
    Field("notsent", "size", "octets of these that were never sent", _info("notsent_bytes")),
    Field("queue", "number", "connections in the accept queue", _queue("waiting")),
    Field("backlog", "number", "the limit of the accept queue", _queue("limit")),
    Field("full", "flag", "its accept queue is full", _queue("full")),
    Field("sharing", "number", "listeners that share the port", lambda s: getattr(s, "sharing", None)),
    Field("rtt", "duration", "the smoothed round-trip time", _round_trip("rtt")),
    Field("rttvar", "duration", "its variation", _round_trip("rttvar")),
    Field("min-rtt", "duration", "the smallest round-trip time", _info("min_rtt", _MICRO, _LARGEST_32)),
    Field("rto", "duration", "the retransmission timeout", _info("rto", _MICRO)),
    Field("cwnd", "number", "the congestion window, in segments", _info("snd_cwnd")),
    Field("mss", "size", "the largest segment sent", _info("snd_mss")),
    Field("unacked", "number", "segments on their way", _info("unacked")),
    Field("lost", "number", "segments believed lost", _info("lost")),
    Field("retrans", "number", "segments sent again since the beginning", _info("total_retrans")),
    Field("timeouts", "number", "timeouts in a row without an answer", _info("retransmits")),
    Field("sent", "size", "octets sent", _info("bytes_sent")),
    Field("acked", "size", "octets that the peer acknowledged", _info("bytes_acked")),
    Field("received", "size", "octets received", _info("bytes_received")),
    Field("segments-out", "number", "segments sent", _info("segs_out")),
    Field("segments-in", "number", "segments received", _info("segs_in")),
    Field("rate", "rate", "how fast the peer last acknowledged", _info("delivery_rate")),
    Field("pacing", "rate", "how fast segments leave", _info("pacing_rate", unknown=_LARGEST_64)),
    Field("idle", "duration", "since data last went either way", _ages("last_data_sent", "last_data_recv")),
    Field("last-sent", "duration", "since data was sent", _ages("last_data_sent")),
    Field("last-received", "duration", "since data arrived", _ages("last_data_recv")),
    Field("peer-window", "size", "the peer's receive window", _info("snd_wnd")),
    Field("limited", "word", "what limits sending: application, network, receive window, send buffer", _limited),
    Field("congestion", "word", "the congestion control: cubic, bbr ...", _active("congestion")),
    Field("timer", "word", "the timer that runs: retransmit, keepalive, time-wait, zero window", _timer("kind")),
    Field("timer-left", "duration", "when it fires", _timer("seconds")),
    Field("listening", "flag", "it is a listener", lambda socket: socket.state == states.LISTEN),
    Field("waiting", "flag", "it waits in an accept queue", lambda s: getattr(s, "waits_at", None) is not None),
    Field("here", "flag", "both of its ends are on this machine", lambda s: bool(getattr(s, "both_ends_here", False))),
    Field("slow", "flag", f"octets have waited for {SLOW_SECONDS:g} s, or a round trip of {SLOW_RTT:g} s", _is_slow),
)

FIELDS = {field.name: field for field in _ALL}


def need_owners(names: Iterable[str]) -> bool:
    """Whether one of these fields is about processes, which are looked up apart."""
    return any(FIELDS[name].needs_owners for name in names)
