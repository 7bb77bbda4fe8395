"""Answers of the kernel, decoded: recorded ones, with a tcp_info that is shorter and longer than ours."""

from __future__ import annotations

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourtuple.address import Address
from fourtuple.four_tuple import FourTuple
from fourtuple.inspector import diag, proctables, states, unixdiag
from fourtuple.inspector.joining import joined
from fourtuple.inspector.messages import attribute, attributes, failure_of, is_end, messages, request
from fourtuple.inspector.model import ActiveSocket, KernelTimer, PassiveSocket
from fourtuple.net.backlog import LEAST_OCTETS, AcceptQueue
from fourtuple.net.tcpinfo import TcpInfo
from inspector import answers

little_endian = pytest.mark.skipif(sys.byteorder != "little", reason="the answers were recorded on such a machine")


def connection(octets: bytes) -> ActiveSocket:
    socket = diag.decode(memoryview(octets)).socket
    assert isinstance(socket, ActiveSocket)
    return socket


def listener(octets: bytes) -> PassiveSocket:
    socket = diag.decode(memoryview(octets)).socket
    assert isinstance(socket, PassiveSocket)
    return socket


@little_endian
def test_a_listener_says_who_waits_and_how_many_may() -> None:
    socket = listener(answers.LISTENER)
    assert socket.address == Address("127.0.0.1", 9999)
    assert socket.queue == AcceptQueue(waiting=2, limit=3)
    assert (socket.queue.holds, socket.queue.full) == (4, False)
    assert (socket.family, socket.state, socket.uid, socket.inode) == ("ipv4", "listen", 0, 12741573)


@little_endian
def test_a_listener_for_ipv6() -> None:
    socket = listener(answers.LISTENER_V6)
    assert (socket.address, socket.family, socket.v6_only) == (Address("::1", 9998), "ipv6", True)


@little_endian
def test_a_connection_has_all_numbers() -> None:
    socket = connection(answers.UNREAD)
    assert socket.name == FourTuple("127.0.0.1", 9999, "127.0.0.1", 40000)
    assert (socket.state, socket.receive_queue, socket.send_queue) == ("established", 5000, 0)
    assert (socket.congestion, socket.timer, socket.cgroup_id) == ("bbr", None, 1)
    assert socket.info is not None
    assert socket.info.bytes_received == 5000
    assert socket.info.state_name == "ESTABLISHED"
    assert socket.info.agreed == ("timestamps", "sack", "window scaling")
    assert socket.memory is not None
    assert socket.memory.receive_used >= 5000


@little_endian
def test_who_waits_has_no_inode_and_no_user() -> None:
    socket = connection(answers.WAITS)
    assert (socket.state, socket.inode, socket.uid) == ("established", 0, None)
    assert socket.info is not None


@little_endian
def test_time_wait_and_syn_recv_have_a_timer_and_nothing_else() -> None:
    ended, half = connection(answers.TIME_WAIT), connection(answers.SYN_RECV)
    assert (ended.state, ended.timer) == ("time-wait", KernelTimer("time-wait", 59.696, 0))
    assert (half.state, half.timer) == ("syn-recv", KernelTimer("retransmit", 0.696, 0))
    for socket in (ended, half):
        assert (socket.info, socket.inode, socket.uid, socket.memory) == (None, 0, None, None)


def with_info(octets: bytes, info: bytes) -> bytes:
    """The answer with another tcp_info, as another kernel would have sent it."""
    parts = [octets[: diag.LEAST]]
    for kind, value in attributes(memoryview(octets), diag.LEAST):
        parts.append(attribute(kind, info if kind == 2 else bytes(value)))
    return b"".join(parts)


@little_endian
@pytest.mark.parametrize("length", [LEAST_OCTETS, 168, 192, 232, 240, 248, 300, 512])
def test_a_tcp_info_of_another_kernel(length: int) -> None:
    own = next(bytes(value) for kind, value in attributes(memoryview(answers.UNREAD), diag.LEAST) if kind == 2)
    info = (own + bytes(512))[:length]
    socket = connection(with_info(answers.UNREAD, info))
    assert socket.info == TcpInfo.decode(info)
    assert (socket.info.bytes_received is None) == (length < 136)
    assert socket.info.rtt == TcpInfo.decode(own).rtt
    assert socket.congestion == "bbr"  # what stands behind it is found


@little_endian
def test_less_tcp_info_than_any_kernel_has_is_none() -> None:
    assert connection(with_info(answers.UNREAD, bytes(LEAST_OCTETS - 1))).info is None


def test_an_answer_that_is_too_short_is_an_error() -> None:
    with pytest.raises(ValueError, match="has at least 72 octets, 71 were given"):
        diag.decode(memoryview(bytes(71)))
    with pytest.raises(ValueError, match="has at least 16 octets, 15 were given"):
        unixdiag.decode(memoryview(bytes(15)))


@given(st.binary(max_size=400))
def test_any_octets_are_an_answer_or_an_error(octets: bytes) -> None:
    for decode in (diag.decode, unixdiag.decode):
        try:
            decode(memoryview(octets))
        except ValueError:
            assert len(octets) < diag.LEAST


@given(st.binary(max_size=200))
def test_any_octets_are_cut_into_messages(octets: bytes) -> None:
    assert sum(16 + len(message.body) for message in messages(octets)) <= len(octets)


def test_messages_are_cut_as_they_were_made() -> None:
    octets = request(20, b"12345", 7, dump=True).ljust(24, b"\0") + request(3, bytes(4), 7, dump=False)
    first, second = messages(octets)
    assert (first.kind, first.sequence, bytes(first.body)) == (20, 7, b"12345")
    assert is_end(second)
    assert failure_of(second) is None


@pytest.mark.parametrize("kind", [2, 3])
def test_a_refusal_is_an_error_with_the_kernels_number(kind: int) -> None:
    (message,) = messages(request(kind, struct.pack("=i", -1), 1, dump=False))
    assert not is_end(message)
    error = failure_of(message)
    assert isinstance(error, PermissionError)


@little_endian
def test_unix_sockets_have_path_queue_and_peer() -> None:
    unread = unixdiag.decode(memoryview(answers.UNIX_UNREAD))
    waiting = unixdiag.decode(memoryview(answers.UNIX_LISTENER))
    assert unread is not None
    assert waiting is not None
    assert (unread.state, unread.receive_queue, unread.path, unread.kind) == ("established", 3, "", "stream")
    assert unread.peer_inode
    assert (waiting.path, waiting.queue) == ("@fourtuple-recorded", AcceptQueue(0, 7))


@little_endian
def test_proc_says_the_same_without_limits_and_without_tcp_info() -> None:
    rows = [*proctables.tcp_rows(answers.PROC_TCP.splitlines(), "ipv4")]
    rows += proctables.tcp_rows(answers.PROC_TCP6.splitlines(), "ipv6")
    sockets = {(each.address if isinstance(each, PassiveSocket) else each.name): each for each in rows}
    passive = sockets[Address("127.0.0.1", 9999)]
    assert isinstance(passive, PassiveSocket)
    assert passive.queue == AcceptQueue(waiting=2, limit=None)  # unknown, not 0
    assert not passive.queue.full
    assert Address("::1", 9998) in sockets
    half = sockets[FourTuple("127.0.0.1", 9997, "127.0.0.1", 40003)]
    assert isinstance(half, ActiveSocket)
    assert (half.state, half.timer, half.info) == ("syn-recv", KernelTimer("retransmit", 0.68, 0), None)
    ended = sockets[FourTuple("127.0.0.1", 40004, "127.0.0.1", 9996)]
    assert isinstance(ended, ActiveSocket)
    assert (ended.state, ended.timer, ended.uid) == ("time-wait", KernelTimer("time-wait", 59.68, 0), None)


@little_endian
def test_what_sockets_are_to_each_other() -> None:
    names = ("LISTENER", "UNREAD", "SENT", "WAITS", "TIME_WAIT", "LISTENER_V6")
    sockets = joined(diag.decode(memoryview(getattr(answers, name))).socket for name in names)
    at, unread, sent, waits, ended, _ = sockets
    assert isinstance(at, PassiveSocket)
    assert isinstance(waits, ActiveSocket)
    assert at.waiting == (waits.name,)
    assert waits.waits_at == at.address
    assert isinstance(unread, ActiveSocket)
    assert isinstance(sent, ActiveSocket)
    assert unread.both_ends_here
    assert sent.both_ends_here
    assert unread.waits_at is None
    assert isinstance(ended, ActiveSocket)
    assert not ended.both_ends_here


def test_a_shared_port_is_counted() -> None:
    one = PassiveSocket(family="ipv4", state=states.LISTEN, address=Address("0.0.0.0", 80), queue=AcceptQueue(0, 5))
    other = PassiveSocket(family="ipv4", state=states.LISTEN, address=Address("0.0.0.0", 81), queue=AcceptQueue(0, 5))
    found = joined([one, one, other])
    assert [each.sharing for each in found if isinstance(each, PassiveSocket)] == [2, 2, 1]


def test_counters_of_the_kernel_are_found_by_name() -> None:
    netstat = "TcpExt: ListenOverflows ListenDrops\nTcpExt: 3 5\nIpExt: InOctets\nIpExt: 1\n"
    found = proctables.counters(netstat, "Tcp: RetransSegs\nTcp: 9\n")
    assert (found.overflows, found.drops, found.retransmitted, found.syn_cookies) == (3, 5, 9, None)
    assert proctables.counters("", "").overflows is None
