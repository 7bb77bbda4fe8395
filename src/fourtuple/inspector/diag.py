"""PURE: the questions to sock_diag(7) about TCP, and its answers: linux/inet_diag.h."""

from __future__ import annotations

import struct
from collections.abc import Container, Iterable
from dataclasses import dataclass

from fourtuple.address import Address
from fourtuple.four_tuple import FourTuple
from fourtuple.inspector import states
from fourtuple.inspector.messages import attributes
from fourtuple.inspector.model import ActiveSocket, KernelTimer, Memory, PassiveSocket, made
from fourtuple.net.backlog import LEAST_OCTETS, AcceptQueue
from fourtuple.net.tcpinfo import TcpInfo

#: linux/sock_diag.h.
SOCK_DIAG_BY_FAMILY, SOCK_DESTROY = 20, 21
#: linux/socket.h, linux/in.h: part of the kernel's ABI.
AF_INET, AF_INET6, _IPPROTO_TCP = 2, 10, 6
FAMILIES = {AF_INET: "ipv4", AF_INET6: "ipv6"}

# Attributes of an answer; the first eight are asked for, the others come by themselves.
_INFO, _CONG, _SKMEMINFO, _V6ONLY, _MARK, _ULP, _CGROUP = 2, 4, 7, 11, 15, 19, 21
_ULP_NAME = 1
_ASKED = 1 << (_INFO - 1) | 1 << (_CONG - 1) | 1 << (_SKMEMINFO - 1)

_REQUEST = struct.Struct("=BBBxI")  # family, protocol, extensions; states: then the id
_MESSAGE = struct.Struct("=BBBB")  # family, state, timer, retransmissions: then the id
_ID_AT, _ID_SIZE = _MESSAGE.size, 48
_INTERFACE = struct.Struct("=IQ")  # interface, cookie: the id's last 12 octets
_NUMBERS, _NUMBERS_AT = struct.Struct("=IIIII"), _ID_AT + _ID_SIZE  # expires, rqueue, wqueue, uid, inode
#: struct inet_diag_msg.
LEAST = _NUMBERS_AT + _NUMBERS.size
_WORD, _LONG = struct.Struct("=I"), struct.Struct("=Q")
_PORTS, _SOURCE, _TARGET, _REST = 4, 4, 20, 36  # where the id's parts are: ports, addresses, interface with cookie

#: idiag_timer: tcp_diag_... in net/ipv4/inet_diag.c.
_TIMERS = {1: "retransmit", 2: "keepalive", 3: "time-wait", 4: "zero window"}
_MEMORY, _OLDER_MEMORY = struct.Struct("=9I"), struct.Struct("=8I")
#: cgroup, container, owners, unowned and device: found later, for the rows that are shown.
_UNPLACED = (None, None, (), "", None)
_NO_COOKIE = (1 << 64) - 1


def question(family: int, names: frozenset[str]) -> bytes:
    """Return the request for all TCP sockets of a family in these states."""
    return _REQUEST.pack(family, _IPPROTO_TCP, _ASKED, states.mask(names)) + bytes(_ID_SIZE)


@dataclass(frozen=True, slots=True)
class Answer:
    """A decoded message: the socket, and the id by which the kernel finds it again."""

    socket: PassiveSocket | ActiveSocket
    identity: bytes


def question_for(answer: Answer) -> bytes:
    """Return the request for one socket: by its id, to look again or to destroy it."""
    family = AF_INET6 if answer.socket.family == "ipv6" else AF_INET
    return _REQUEST.pack(family, _IPPROTO_TCP, _ASKED, 0) + answer.identity


def ends_of(bodies: Iterable[memoryview]) -> frozenset[bytes]:
    """Return the names of all sockets in these answers."""
    return frozenset(map(end_of, bodies))


def end_of(body: memoryview) -> bytes:
    """Return the name of the socket in an answer, as octets: ports and addresses."""
    return bytes(body[_ID_AT : _ID_AT + _REST])


def other_end_of(body: memoryview) -> bytes:
    """Return the name that the other end of the connection has."""
    return _turned(end_of(body))


def _turned(end: bytes) -> bytes:
    return end[2:4] + end[:2] + end[_TARGET:_REST] + end[_SOURCE:_TARGET]


def decode(body: memoryview, ends: Container[bytes] = ()) -> Answer:
    """Decode one answer; ``ends`` are the names of all sockets, so that both ends of one connection are known as such.

    Raises :class:`ValueError` for octets that are too short to be an answer.
    """
    if len(body) < LEAST:
        raise ValueError(f"an answer of sock_diag has at least {LEAST} octets, {len(body)} were given")
    family, number, timer, retransmissions = _MESSAGE.unpack_from(body)
    identity = bytes(body[_ID_AT:_NUMBERS_AT])
    expires, receive_queue, send_queue, uid, inode = _NUMBERS.unpack_from(body, _NUMBERS_AT)
    interface, cookie = _INTERFACE.unpack_from(identity, _REST)
    found = dict(attributes(body, LEAST))
    get = found.get
    state = states.name_of(number)
    cgroup, mark = get(_CGROUP), get(_MARK)
    known = (
        FAMILIES.get(family) or f"family {family}",
        state,
        inode,
        0 if cookie == _NO_COOKIE else cookie,
        interface,
        uid if inode else None,  # TIME-WAIT, SYN-RECV and waiting connections report 0, which is not root
        None,  # user
        _LONG.unpack_from(cgroup)[0] if cgroup is not None and len(cgroup) >= _LONG.size else None,
        *_UNPLACED,
    )
    name = _name(identity, 16 if family == AF_INET6 else 4)
    if state == states.LISTEN:
        v6_only = get(_V6ONLY)
        passive = (
            Address(name.local_ip, name.local_port),
            AcceptQueue(receive_queue, send_queue),
            bool(v6_only[0]) if v6_only else None,
            1,
            (),
        )
        return Answer(made(PassiveSocket, known + passive), identity)
    congestion = get(_CONG)
    active = (
        name,
        receive_queue,
        send_queue,
        KernelTimer(_TIMERS[timer], expires / 1000, retransmissions) if timer in _TIMERS else None,
        _info(get(_INFO)),
        None if congestion is None else _text(congestion),
        _memory(get(_SKMEMINFO)),
        _layer(get(_ULP)),
        _WORD.unpack_from(mark)[0] if mark is not None and len(mark) >= _WORD.size else None,
        None,  # waits_at
        _turned(identity[:_REST]) in ends,
        (),
    )
    return Answer(made(ActiveSocket, known + active), identity)


def _name(identity: bytes, size: int) -> FourTuple:
    local, remote = identity[_SOURCE : _SOURCE + size], identity[_TARGET : _TARGET + size]
    return FourTuple.unpacked(local + identity[:2] + remote + identity[2:_PORTS])


def _info(octets: memoryview | None) -> TcpInfo | None:
    """TIME-WAIT and SYN-RECV have none; a kernel that is older than every one we know sends less than the least."""
    return TcpInfo.decode(bytes(octets)) if octets is not None and len(octets) >= LEAST_OCTETS else None


def _memory(octets: memoryview | None) -> Memory | None:
    """struct sk_meminfo grows at its end: eight numbers since Linux 3.5, the drops since 4.7."""
    if octets is None or len(octets) < _OLDER_MEMORY.size:
        return None
    return Memory(*(_MEMORY if len(octets) >= _MEMORY.size else _OLDER_MEMORY).unpack_from(octets))


def _text(octets: memoryview) -> str:
    return bytes(octets).rstrip(b"\0").decode("ascii", "backslashreplace")


def _layer(octets: memoryview | None) -> str | None:
    if octets is None:
        return None
    return next((_text(name) for kind, name in attributes(octets, 0) if kind == _ULP_NAME), None)
