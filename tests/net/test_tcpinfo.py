"""struct tcp_info, decoded: of a live connection, and of every length that a kernel might return."""

from __future__ import annotations

import dataclasses
import socket
import struct

import pytest

from fourtuple.net.backlog import LEAST_OCTETS
from fourtuple.net.tcpinfo import STATES, TcpInfo


def test_a_live_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as sock:
        with listener.accept()[0] as peer:
            sock.sendall(b"hello")
            assert peer.recv(100) == b"hello"
            mine, theirs = TcpInfo.of(sock), TcpInfo.of(peer)
            assert mine.state_name == theirs.state_name == "ESTABLISHED"
            assert mine.snd_wscale == theirs.rcv_wscale
            assert mine.pmtu == 65535 or mine.pmtu > 1000
            assert theirs.bytes_received in (None, 5)
            assert mine.bytes_sent in (None, 5)
        assert TcpInfo.of(sock).state_name == "CLOSE_WAIT"
        assert TcpInfo.of(listener).state_name == "LISTEN"


def test_fields_stand_where_the_kernel_has_them() -> None:
    octets = bytearray(512)
    octets[0] = 1
    octets[6:8] = b"\x73\x03"
    struct.pack_into("=I", octets, 8, 204_000)
    struct.pack_into("=II", octets, 24, 3, 4096)
    struct.pack_into("=I", octets, 68, 250)
    struct.pack_into("=I", octets, 100, 7)
    struct.pack_into("=Q", octets, 104, 1 << 40)
    struct.pack_into("=I", octets, 144, 99)
    struct.pack_into("=Q", octets, 200, 12)
    struct.pack_into("=I", octets, 244, 5)
    info = TcpInfo.decode(bytes(octets))
    assert (info.rto, info.unacked, info.sacked, info.rtt, info.total_retrans) == (204_000, 3, 4096, 250, 7)
    assert (info.pacing_rate, info.notsent_bytes, info.bytes_sent, info.total_rto_time) == (1 << 40, 99, 12, 5)
    assert {info.snd_wscale, info.rcv_wscale} == {3, 7}


def test_fields_unknown_to_an_older_kernel_are_none() -> None:
    later = [field.name for field in dataclasses.fields(TcpInfo) if field.default is None]
    known = []
    for length in range(LEAST_OCTETS, 249):
        info = TcpInfo.decode(bytes(length))
        known.append(sum(getattr(info, name) is not None for name in later))
    assert known[0] == 0
    assert known == sorted(known)
    assert known[-1] == len(later)


def test_less_than_any_kernel_returns() -> None:
    with pytest.raises(ValueError, match="struct tcp_info has at least 104 octets, 103 were given"):
        TcpInfo.decode(bytes(103))


def test_a_socket_without_tcp_has_no_tcp_info() -> None:
    one, other = socket.socketpair()
    with one, other, pytest.raises(OSError, match="not supported"):
        TcpInfo.of(one)


def test_states_have_names() -> None:
    assert TcpInfo.decode(bytes([len(STATES)]) + bytes(200)).state_name == "13"
