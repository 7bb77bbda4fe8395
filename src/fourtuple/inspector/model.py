"""PURE: what the inspector says of a socket. Immutable values; None where the kernel does not say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Literal, TypeAlias, TypeVar

from fourtuple.address import Address
from fourtuple.four_tuple import FourTuple
from fourtuple.inspector import states
from fourtuple.net.backlog import AcceptQueue
from fourtuple.net.tcpinfo import TcpInfo

#: Where to read the kernel: netlink, /proc, or netlink where it is open.
Source: TypeAlias = Literal["auto", "netlink", "proc"]


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that holds a socket. After fork(2) a socket has several.

    ``pid`` is its number, ``program`` its name, ``descriptor`` the number of the socket in it.
    """

    pid: int
    program: str
    descriptor: int

    def __str__(self) -> str:
        return f"{self.program}({self.pid})"


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of a socket in octets, as the kernel counts it: with the overhead of its buffers (sk_meminfo)."""

    #: What arrived and was not read.
    receive_used: int
    #: The most of it: SO_RCVBUF.
    receive_limit: int
    #: What is on the way to the peer.
    send_used: int
    #: The most of it: SO_SNDBUF.
    send_limit: int
    #: What is reserved for the socket and not used now.
    forward: int
    #: What is queued to be sent, or sent and not acknowledged.
    send_queued: int
    #: The socket's options.
    options: int
    #: What arrived while a process used the socket.
    backlog: int
    #: The number of segments that were dropped, not octets.
    drops: int = 0


@dataclass(frozen=True, slots=True)
class KernelTimer:
    """The timer of the kernel that runs for a connection, such as retransmission.

    ``kind`` is ``"retransmit"``, ``"keepalive"``, ``"time-wait"`` or ``"zero window"``; ``seconds`` is when it fires;
    ``count`` is how often it has fired without an answer.
    """

    kind: str
    seconds: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of every socket, and where it belongs."""

    #: ``"ipv4"``, ``"ipv6"`` or ``"unix"``.
    family: str
    #: One of :data:`fourtuple.inspector.states.ALL`.
    state: str
    #: The number of the socket's file; 0 for a socket that no process holds.
    inode: int = 0
    #: The kernel's name for this very socket, by which it is closed.
    cookie: int = 0
    #: The index of the interface that the socket is bound to; 0 for none.
    interface: int = 0
    #: The user who made it; None if no process holds it.
    uid: int | None = None
    #: The name of this user; None if there is none.
    user: str | None = None
    #: The id of its cgroup (version 2).
    cgroup_id: int | None = None
    #: The path of its cgroup.
    cgroup: str | None = None
    #: The container that the path names.
    container: str | None = None
    #: The processes that hold it; empty if there are none, and if they may not be read: see :attr:`unowned`.
    owners: tuple[Owner, ...] = ()
    #: Why there is no owner; empty if there is one.
    unowned: str = ""
    #: The name of the interface (or VRF) that the socket is bound to; None if it is bound to none.
    device: str | None = None

    @property
    def programs(self) -> str:
        """The names of its programs, each once: ``nginx``, or empty."""
        return ",".join(dict.fromkeys(owner.program for owner in self.owners))


@dataclass(frozen=True, slots=True, kw_only=True)
class PassiveSocket(Known):
    """A listener: connections are awaited at ``address``."""

    address: Address
    #: The accept queue.
    queue: AcceptQueue
    #: IPv6 only; None where that is not said.
    v6_only: bool | None = None
    #: How many listeners share this address and port (SO_REUSEPORT), this one included.
    sharing: int = 1
    #: The connections that wait in the accept queue (of all that share the port, which the kernel does not tell apart).
    waiting: tuple[FourTuple, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveSocket(Known):
    """A connection, or what is left of one; ``name`` is its four-tuple."""

    name: FourTuple
    #: Octets that arrived and were not read.
    receive_queue: int = 0
    #: Octets that the peer has not acknowledged, with those not sent yet.
    send_queue: int = 0
    #: The timer that runs; None if none does.
    timer: KernelTimer | None = None
    #: TCP_INFO; None for SYN-RECV, TIME-WAIT, and where only /proc was readable.
    info: TcpInfo | None = None
    #: The congestion control: ``"cubic"``, ``"bbr"``.
    congestion: str | None = None
    #: The memory that the kernel uses for it.
    memory: Memory | None = None
    #: What is laid over TCP: ``"tls"``, ``"mptcp"``; None for nothing.
    layer: str | None = None
    #: Its mark for routes and firewalls (SO_MARK).
    mark: int | None = None
    #: The listener in whose accept queue it waits; None if it does not wait.
    waits_at: Address | None = None
    #: Whether its other end is a socket of this machine (of this network namespace).
    both_ends_here: bool = False
    #: The processes that hold the other end, if it is here.
    peer_owners: tuple[Owner, ...] = ()

    @property
    def peer_programs(self) -> str:
        """The programs at the other end, if that is on this machine."""
        return ",".join(dict.fromkeys(owner.program for owner in self.peer_owners))


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixSocket(Known):
    """A Unix stream or sequenced-packet socket."""

    #: ``"stream"`` or ``"seqpacket"``.
    kind: str = "stream"
    #: Its path (``@name`` for an abstract name); empty for none.
    path: str = ""
    #: The number of the file of its other end; 0 for none.
    peer_inode: int = 0
    #: Octets that arrived and were not read.
    receive_queue: int = 0
    #: Octets that the peer has not read.
    send_queue: int = 0
    #: The accept queue of a listener; None for a connection.
    queue: AcceptQueue | None = None
    #: The processes that hold the other end.
    peer_owners: tuple[Owner, ...] = ()

    @property
    def peer_programs(self) -> str:
        """The programs at the other end."""
        return ",".join(dict.fromkeys(owner.program for owner in self.peer_owners))


Socket: TypeAlias = PassiveSocket | ActiveSocket | UnixSocket
AnySocket = TypeVar("AnySocket", bound=Known)


def key_of(socket: Socket) -> object:
    """Return what a socket is recognised by in the next look."""
    if socket.cookie:
        return socket.cookie
    return socket.name if isinstance(socket, ActiveSocket) else (socket.inode, str(getattr(socket, "address", "")))


def changed(each: AnySocket, **changes: Any) -> AnySocket:
    """Return a socket with some fields changed, as :func:`dataclasses.replace` does, at a quarter of its cost."""
    made = object.__new__(type(each))
    for name, get, put in _slots(type(each)):  # type: ignore[arg-type]  # a class can be hashed
        put(made, changes[name] if name in changes else get(each))
    return made


def made(kind: type[AnySocket], values: Iterable[Any]) -> AnySocket:
    """Return a socket of values for all of its fields, in their order: at a third of the cost of its keywords."""
    socket = object.__new__(kind)
    for (_, _, put), value in zip(_slots(kind), values, strict=True):  # type: ignore[arg-type]
        put(socket, value)
    return socket


@lru_cache(maxsize=8)
def _slots(kind: type[Known]) -> tuple[tuple[str, Callable[[Any], Any], Callable[[Any, Any], None]], ...]:
    members = ((field.name, getattr(kind, field.name)) for field in fields(kind))
    return tuple((name, member.__get__, member.__set__) for name, member in members)


@dataclass(frozen=True, slots=True)
class Counters:
    """The machine's counters (of this network namespace) since it started; None where /proc/net/netstat has none.

    The kernel counts no overflow for a single listener.
    """

    #: A SYN or the last ACK of a handshake found the accept queue full.
    overflows: int | None = None
    #: Connections dropped at listeners for any reason, overflows included.
    drops: int | None = None
    #: SYNs dropped because too many handshakes were under way, and no cookies were sent.
    syn_queue_full: int | None = None
    #: Cookies sent instead.
    syn_cookies: int | None = None
    #: Connections aborted because there was no memory for them.
    aborted_on_memory: int | None = None
    #: TIME-WAIT sockets ended early because there were too many (tcp_max_tw_buckets).
    time_wait_overflows: int | None = None
    #: Segments retransmitted.
    retransmitted: int | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The ``sockets`` of one moment, and the ``counters`` of the kernel over all of them."""

    sockets: tuple[Socket, ...]
    counters: Counters
    #: ``"netlink"``, or ``"proc"`` where that was closed: then there is no TCP_INFO and no queue's limit.
    source: str
    #: Why not netlink; empty with netlink.
    why: str = ""
    #: Processes whose descriptors may not be read: theirs are the sockets without an owner.
    hidden_processes: int = 0

    @property
    def listeners(self) -> tuple[PassiveSocket, ...]:
        """The listeners for TCP."""
        return tuple(each for each in self.sockets if isinstance(each, PassiveSocket))

    @property
    def connections(self) -> tuple[ActiveSocket, ...]:
        """The TCP connections, in any state."""
        return tuple(each for each in self.sockets if isinstance(each, ActiveSocket))

    @property
    def unix(self) -> tuple[UnixSocket, ...]:
        """The Unix sockets."""
        return tuple(each for each in self.sockets if isinstance(each, UnixSocket))


#: Of a socket whose owners were not looked up.
NOT_ASKED = "its programs were not looked up"
#: What no process can hold any more, and why.
NO_OWNER = {
    states.TIME_WAIT: "the connection has ended: the kernel keeps its name for a minute, no process does",
    states.SYN_RECV: "the handshake is not done: no process has it yet",
    states.FIN_WAIT_1: "its program has closed it: the kernel sends what is left",
    states.FIN_WAIT_2: "its program has closed it: the kernel waits for the peer's FIN, a minute at most",
    states.CLOSING: "its program has closed it: the kernel waits for the last acknowledgement",
    states.LAST_ACK: "its program has closed it: the kernel waits for the last acknowledgement",
}
