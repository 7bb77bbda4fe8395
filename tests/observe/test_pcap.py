"""The capture file: read back by a reader of our own, and by tcpdump and Wireshark's tshark."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourtuple import Server, Service, events
from fourtuple.four_tuple import FourTuple, UnixName
from fourtuple.framing import Raw
from fourtuple.observe.pcap import ACK, FIN, MAX_PAYLOAD, PSH, RST, SYN, Capture, Conversation, checksum
from fourtuple.options import Limits
from fourtuple.stream import Reason, Statistics, Stream
from rig import echo, until
from serving.support import client, says

NAMES = [
    FourTuple("127.0.0.1", 9999, "192.0.2.7", 40000),
    FourTuple("2001:db8::1", 9999, "fe80::1%eth0", 40001),
    UnixName("/run/x", 4711, 0),
]


@dataclass
class Packet:
    source: str
    target: str
    sequence: int
    acknowledged: int
    flags: int
    payload: bytes


def packets(path: Path) -> Iterator[Packet]:
    octets = path.read_bytes()
    assert struct.unpack_from("=IHHiIII", octets) == (0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    at = 24
    while at < len(octets):
        _, microseconds, size, whole = struct.unpack_from("=IIII", octets, at)
        assert microseconds < 1_000_000
        assert size == whole
        yield packet(octets[at + 16 : at + 16 + size])
        at += 16 + size


def packet(octets: bytes) -> Packet:
    """Read a packet; assert its lengths and checksums."""
    if octets[0] >> 4 == 4:
        assert checksum(octets[:20]) == 0
        length, ip = struct.unpack_from("!H", octets, 2)[0], 20
        assert length == len(octets)
        source, target = octets[12:16], octets[16:20]
    else:
        length, ip = struct.unpack_from("!H", octets, 4)[0], 40
        assert length == len(octets) - 40
        source, target = octets[8:24], octets[24:40]
    segment = octets[ip:]
    assert checksum(source + target + struct.pack("!II", len(segment), 6) + segment) == 0
    here, there, sequence, acknowledged, offset, flags = struct.unpack_from("!HHIIBB", segment)
    ends = [f"{ipaddress.ip_address(ip)}:{port}" for ip, port in ((source, here), (target, there))]
    return Packet(*ends, sequence, acknowledged, flags, segment[(offset >> 4) * 4 :])


@given(st.binary(max_size=64))
def test_the_checksum_of_rfc_1071(octets: bytes) -> None:
    padded = octets + b"\0" * (len(octets) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    assert checksum(octets) == 0xFFFF - total


@given(st.sampled_from(NAMES), st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=2000)), max_size=20))
def test_sequence_numbers_count_what_is_sent(name: Any, moves: list[tuple[bool, bytes]]) -> None:
    conversation = Conversation(name)
    sent = {True: bytearray(), False: bytearray()}
    for inward, payload in moves:
        read = packet(conversation.packet(inward, PSH | ACK, payload))
        assert (read.sequence, read.acknowledged) == (len(sent[inward]), len(sent[not inward]))
        assert read.payload == payload
        sent[inward] += payload


def test_sequence_numbers_wrap() -> None:
    conversation = Conversation(NAMES[0])
    conversation.next = [0, 0xFFFFFFFF]
    assert packet(conversation.packet(True, ACK, b"two")).sequence == 0xFFFFFFFF
    assert packet(conversation.packet(True, ACK)).sequence == 2


def captured(path: Path, *ends: Reason) -> Path:
    """Conversations of all kinds of names, each with a large message; the ends as asked for."""
    with Capture(path) as capture:
        for number, reason in enumerate(ends):
            name = NAMES[number % len(NAMES)]
            stream = Stream(Raw(), name, Limits(), 0.0)
            capture(events.Accepted(number, name))
            capture.tap(stream, True, b"hello\x1b[2J")
            capture.tap(stream, False, b"x" * (MAX_PAYLOAD + 1))
            capture.tap(stream, True, b"bye")
            capture(events.Closed(number, name, reason, Statistics(1, 1, 1, 1, 0, 0, 0), 1.0, False))
    return path


def test_each_end_has_its_segments(tmp_path: Path) -> None:
    def flags(reason: Reason) -> list[tuple[str, int]]:
        found = packets(captured(tmp_path / "x", reason))
        return [("peer" if each.source == "192.0.2.7:40000" else "us", each.flags) for each in found][7:]

    assert flags(Reason.PEER_CLOSED) == [("peer", FIN | ACK), ("us", FIN | ACK), ("peer", ACK)]
    assert flags(Reason.CLOSED) == [("us", FIN | ACK), ("peer", FIN | ACK), ("us", ACK)]
    assert flags(Reason.RESET) == [("peer", RST | ACK)]
    assert flags(Reason.ABORTED) == [("us", RST | ACK)]


def test_a_whole_conversation(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        with Capture(tmp_path / "x.pcap") as capture:
            limits = Limits(deny="127.0.0.2")
            async with Server(echo(), observer=capture, tap=capture.tap, limits=limits) as server:
                async with client(server) as talk:
                    assert await says(talk, b"hello\n") == b"hello\n"
                await until(lambda: not server.connections)
                async with client(server, local_addr=("127.0.0.2", 0)) as talk:
                    await says(talk, b"refused\n")
            assert capture._conversations == {} == capture._names
        talked, refused = (
            [each for each in packets(tmp_path / "x.pcap") if ip in each.source + each.target]
            for ip in ("127.0.0.1:", "127.0.0.2:")
        )
        talked = [each for each in talked if each not in refused]
        assert [(each.flags, each.payload) for each in talked] == [
            (SYN, b""), (SYN | ACK, b""), (ACK, b""), (PSH | ACK, b"hello\n"), (PSH | ACK, b"hello\n"),
            (FIN | ACK, b""), (FIN | ACK, b""), (ACK, b""),
        ]  # fmt: skip
        assert [(each.sequence, each.acknowledged) for each in talked] == [
            (0, 0), (0, 1), (1, 1), (1, 1), (1, 7), (7, 7), (7, 8), (8, 8),
        ]  # fmt: skip
        assert [each.flags for each in refused] == [SYN, SYN | ACK, ACK, FIN | ACK, FIN | ACK, ACK]
        assert (tmp_path / "x.pcap").stat().st_mode & 0o777 == 0o600

    run_async(main())


def test_blocking_conversations_and_resets(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        service = Service("line")

        @service.conversation
        def talk(connection: Any) -> None:
            for message in connection:
                connection.send(message)

        with Capture(tmp_path / "x.pcap") as capture:
            async with Server(service, observer=capture, tap=capture.tap) as server:
                reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
                assert await says((reader, writer), b"hello\n") == b"hello\n"
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.close()
                await until(lambda: not server.connections)
        assert [each.flags for each in packets(tmp_path / "x.pcap")][-1] == RST | ACK

    run_async(main())


def test_a_full_disk_stops_the_capture_and_nothing_else() -> None:
    with Capture("/dev/full") as capture:
        assert capture.error is not None
        capture(events.Accepted(1, NAMES[0]))
    capture(events.Accepted(2, NAMES[1]))


def filled(file: Path, size: int) -> str:
    """Capture in a process whose files may have so many octets; what it printed."""
    program = f"""
import resource, signal
from observe.test_pcap import NAMES, Capture, Limits, Raw, Stream
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, resource.RLIM_INFINITY))
told = []
with Capture({str(file)!r}, on_error=told.append) as capture:
    stream = Stream(Raw(), NAMES[0], Limits(), 0.0)
    for _ in range(50):
        capture.tap(stream, True, b"x" * 100)
print(len(told), capture.error is told[0])
"""
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=tests, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("size", [1000, 1001, 1010, 1100, 3333])
def test_on_a_full_disk_the_capture_ends_with_a_whole_packet(tmp_path: Path, size: int) -> None:
    assert filled(tmp_path / "x.pcap", size) == "1 True\n"  # told once
    found = list(packets(tmp_path / "x.pcap"))  # which reads to the very end
    assert [each.flags for each in found[:3]] == [SYN, SYN | ACK, ACK]
    assert all(each.payload == b"x" * 100 for each in found[3:])
    left = size - (tmp_path / "x.pcap").stat().st_size
    assert 0 <= left < 200


def test_what_stands_there_is_replaced_and_its_readers_see_nothing(tmp_path: Path) -> None:
    path, aim = tmp_path / "x.pcap", tmp_path / "aim"
    aim.write_text("old")
    aim.chmod(0o644)
    for make in (lambda: path.write_text("old"), lambda: path.symlink_to(aim)):
        path.unlink(missing_ok=True)
        make()
        if not path.is_symlink():
            path.chmod(0o644)
        with open(path) as reader:
            captured(path, Reason.CLOSED)
            assert reader.read() == "old"
        assert not path.is_symlink()
        assert path.stat().st_mode & 0o777 == 0o600
        assert next(packets(path)).flags == SYN
    assert aim.read_text() == "old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["aim", "x.pcap"]


def test_a_fifo_is_written_to_and_never_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    with pytest.raises(OSError, match="no process reads from it; start the reader first"):
        Capture(path)
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader, Capture(path) as capture:
        stream = Stream(Raw(), NAMES[0], Limits(), 0.0)
        capture.tap(stream, True, b"hello")
        assert reader.read(24)[:4] == struct.pack("=I", 0xA1B2C3D4)
        for _ in range(1000):
            capture.tap(stream, True, bytes(1000))  # more than it holds
        assert isinstance(capture.error, BlockingIOError)


@pytest.mark.peers
def test_tcpdump_reads_it(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    file = captured(tmp_path / "x.pcap", *Reason)
    done = subprocess.run(
        [require_program("tcpdump"), "-nvvr", file], capture_output=True, text=True, check=True, timeout=30
    )
    assert "incorrect" not in done.stdout
    assert "bad" not in done.stdout
    assert "192.0.2.7.40000 > 127.0.0.1.9999: Flags [S], cksum" in done.stdout
    assert "fe80::1.40001 > 2001:db8::1.9999: Flags [P.], cksum" in done.stdout
    assert done.stdout.count("(correct)") == sum(1 for _ in packets(file))


@pytest.mark.peers
def test_tshark_accepts_the_capture(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    file = captured(tmp_path / "x.pcap", Reason.PEER_CLOSED, Reason.CLOSED, Reason.RESET)
    options = ["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]
    fields = ["tcp.checksum.status", "tcp.analysis.flags", "tcp.len", "tcp.flags.str"]
    asked = [word for field in fields for word in ("-e", field)]
    done = subprocess.run(
        [require_program("tshark"), "-nr", file, *options, "-T", "fields", *asked],
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(rows) == sum(1 for _ in packets(file))
    assert {row[0] for row in rows} == {"1"}, "1 is a good checksum"
    assert {row[1] for row in rows} == {""}, "no retransmission, no gap, nothing out of order"
