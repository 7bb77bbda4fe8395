"""PURE: what /proc says of sockets, as text: /proc/net/tcp, tcp6, unix, netstat and snmp. See proc(5)."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice

from fourtuple.address import Address
from fourtuple.four_tuple import FourTuple
from fourtuple.inspector import states
from fourtuple.inspector.model import ActiveSocket, Counters, KernelTimer, PassiveSocket, UnixSocket
from fourtuple.net.backlog import AcceptQueue

_TIMERS = {1: "retransmit", 2: "keepalive", 3: "time-wait", 4: "zero window"}
#: USER_HZ: a hundred for every program, whatever the kernel's own clock does.
_TICKS = 100
_HEXADECIMAL = 16
_BYTE_ORDER = sys.byteorder


def tcp_rows(lines: Iterable[str], family: str) -> Iterator[PassiveSocket | ActiveSocket]:
    """Decode /proc/net/tcp or tcp6; its first line is the heading. Lines that are cut short are left out."""
    for line in islice(lines, 1, None):
        fields = line.split()
        if len(fields) >= 10:
            yield _tcp(fields, family)


def _tcp(fields: list[str], family: str) -> PassiveSocket | ActiveSocket:
    state = states.name_of(int(fields[3], _HEXADECIMAL))
    send_queue, receive_queue = (int(part, _HEXADECIMAL) for part in fields[4].split(":"))
    name = FourTuple.unpacked(_packed(fields[1]) + _packed(fields[2]))
    inode = int(fields[9])
    known = {"family": family, "state": state, "inode": inode, "uid": int(fields[7]) if inode else None}
    if state == states.LISTEN:
        # The limit of the queue stands nowhere in /proc: the field for it is the length of the send queue, 0.
        queue = AcceptQueue(receive_queue, None)
        return PassiveSocket(**known, address=Address(name.local_ip, name.local_port), queue=queue)  # type: ignore[arg-type]
    kind, ticks = (int(part, _HEXADECIMAL) for part in fields[5].split(":"))
    timer = KernelTimer(_TIMERS[kind], ticks / _TICKS, int(fields[6], _HEXADECIMAL)) if kind in _TIMERS else None
    return ActiveSocket(**known, name=name, receive_queue=receive_queue, send_queue=send_queue, timer=timer)  # type: ignore[arg-type]


def _packed(text: str) -> bytes:
    """Address and port in network order. /proc prints each 32 bits of the address as this machine's number."""
    address, port = text.split(":")
    words = [int(address[at : at + 8], _HEXADECIMAL) for at in range(0, len(address), 8)]
    return b"".join(word.to_bytes(4, _BYTE_ORDER) for word in words) + int(port, _HEXADECIMAL).to_bytes(2, "big")


def unix_rows(lines: Iterable[str]) -> Iterator[UnixSocket]:
    """Decode /proc/net/unix: ``Num: RefCount Protocol Flags Type St Inode Path``."""
    for line in islice(lines, 1, None):
        fields = line.rstrip("\n").split(None, 7)
        kind = {"0001": "stream", "0005": "seqpacket"}.get(fields[4]) if len(fields) >= 7 else None
        if kind is not None:
            listening = int(fields[3], _HEXADECIMAL) & _ACCEPTS_CONNECTIONS
            state = states.LISTEN if listening else _UNIX_STATES.get(fields[5], states.CLOSED)
            path = fields[7] if len(fields) > 7 else ""
            yield UnixSocket(family="unix", state=state, kind=kind, inode=int(fields[6]), path=path)


#: SO_ACCEPTCON, include/uapi/linux/net.h.
_ACCEPTS_CONNECTIONS = 1 << 16
#: SS_CONNECTING and SS_CONNECTED, socket_state of include/uapi/linux/net.h.
_UNIX_STATES = {"02": states.SYN_SENT, "03": states.ESTABLISHED}


def counters(netstat: str, snmp: str) -> Counters:
    """Decode the counters of /proc/net/netstat and /proc/net/snmp: pairs of lines, names above numbers."""
    extended, plain = _pairs(netstat, "TcpExt"), _pairs(snmp, "Tcp")
    return Counters(
        overflows=extended.get("ListenOverflows"),
        drops=extended.get("ListenDrops"),
        syn_queue_full=extended.get("TCPReqQFullDrop"),
        syn_cookies=extended.get("SyncookiesSent"),
        aborted_on_memory=extended.get("TCPAbortOnMemory"),
        time_wait_overflows=extended.get("TCPTimeWaitOverflow"),
        retransmitted=plain.get("RetransSegs"),
    )


def _pairs(text: str, table: str) -> dict[str, int]:
    lines = [line.split()[1:] for line in text.splitlines() if line.startswith(f"{table}: ")]
    if len(lines) < 2:
        return {}
    return {name: int(number) for name, number in zip(lines[0], lines[1], strict=False)}
