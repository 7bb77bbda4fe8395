"""A machine with a bit of everything, for screens."""

from __future__ import annotations

from dataclasses import replace

from fourtuple.address import Address
from fourtuple.four_tuple import FourTuple
from fourtuple.inspector import states
from fourtuple.inspector.joining import joined
from fourtuple.inspector.model import (
    ActiveSocket,
    Counters,
    KernelTimer,
    Owner,
    PassiveSocket,
    Snapshot,
    Socket,
    UnixSocket,
)
from fourtuple.inspector.ordering import ordered
from fourtuple.net.backlog import AcceptQueue
from fourtuple.net.tcpinfo import TcpInfo

_NGINX = tuple(Owner(pid, "nginx", 6) for pid in (801, 802, 803))
_NONE = TcpInfo.decode(bytes(248))


def _info(**fields: int) -> TcpInfo:
    return replace(_NONE, **fields)


_SOCKETS: list[Socket] = [
    PassiveSocket(
        family="ipv4", state=states.LISTEN, inode=10, uid=33, user="www-data", address=Address("0.0.0.0", 443),
        queue=AcceptQueue(0, 511), owners=_NGINX, container="4f5e6d7c8b9a",
    ),
    PassiveSocket(
        family="ipv4", state=states.LISTEN, inode=11, uid=1000, user="anna", address=Address("127.0.0.1", 9999),
        queue=AcceptQueue(4, 3), owners=(Owner(4242, "python", 5),),
    ),
    PassiveSocket(
        family="ipv6", state=states.LISTEN, inode=12, uid=0, user="root", address=Address("::", 22), v6_only=True,
        queue=AcceptQueue(1, 128), owners=(Owner(612, "sshd", 4),), container="ssh.service",
    ),
    ActiveSocket(
        family="ipv4", state=states.ESTABLISHED, inode=20, uid=33, user="www-data", owners=_NGINX[:1],
        name=FourTuple("192.0.2.7", 443, "198.51.100.23", 51234), send_queue=2_400_000, congestion="cubic",
        timer=KernelTimer("zero window", 12.0, 3), container="4f5e6d7c8b9a",
        info=_info(rtt=83_000, rttvar=12_000, snd_cwnd=40, total_retrans=17, bytes_sent=31_000_000, segs_out=22_000,
                   segs_in=9_000, bytes_received=84_000, delivery_rate=250_000, last_data_sent=5200,
                   last_data_recv=61_000, last_ack_recv=5100, busy_time=9_000_000, rwnd_limited=8_000_000),
    ),
    ActiveSocket(
        family="ipv4", state=states.ESTABLISHED, name=FourTuple("127.0.0.1", 9999, "127.0.0.1", 40001),
        receive_queue=512, congestion="cubic", info=_info(rtt=21, rttvar=9, snd_cwnd=10, last_data_recv=1500,
                                                          last_data_sent=1700, bytes_received=512),
    ),
    ActiveSocket(
        family="ipv4", state=states.ESTABLISHED, inode=22, uid=1000, user="anna", owners=(Owner(4300, "nc", 3),),
        peer_owners=(), name=FourTuple("127.0.0.1", 40001, "127.0.0.1", 9999), congestion="cubic",
        info=_info(rtt=19, rttvar=8, snd_cwnd=10, last_data_recv=1700, last_data_sent=1500, bytes_sent=512),
    ),
    ActiveSocket(
        family="ipv6", state=states.CLOSE_WAIT, inode=23, uid=1000, user="anna", owners=(Owner(4242, "python", 9),),
        name=FourTuple("2001:db8::7", 9999, "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff", 61000), receive_queue=1,
        congestion="cubic", info=_info(rtt=2_100, rttvar=400, snd_cwnd=10, last_data_recv=3_600_000,
                                       last_data_sent=3_600_000),
    ),
    ActiveSocket(
        family="ipv4", state=states.TIME_WAIT, name=FourTuple("192.0.2.7", 50000, "203.0.113.5", 5432),
        timer=KernelTimer("time-wait", 47.0, 0),
    ),
    UnixSocket(
        family="unix", state=states.LISTEN, inode=30, uid=0, user="root", path="/run/app.sock",
        queue=AcceptQueue(0, 128), owners=(Owner(4242, "python", 7),),
    ),
    UnixSocket(
        family="unix", state=states.ESTABLISHED, inode=31, uid=0, user="root", path="/run/app.sock", receive_queue=2048,
        owners=(Owner(4242, "python", 8),), peer_owners=(Owner(4301, "curl", 3),), peer_inode=32,
    ),
]  # fmt: skip

SAMPLE = Snapshot(tuple(ordered(joined(_SOCKETS))), Counters(overflows=1234, drops=1240), "netlink")
