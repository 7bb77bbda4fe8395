"""Recordings: what --pcap writes, what others write, and what is none."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from fourtuple import events
from fourtuple.errors import OptionError
from fourtuple.four_tuple import FourTuple
from fourtuple.framing import Raw
from fourtuple.observe.pcap import Capture, Conversation
from fourtuple.options import Limits
from fourtuple.relay.recording import read_recordings
from fourtuple.stream import Stream

NAMES = [FourTuple("127.0.0.1", 9999, "192.0.2.7", 40000), FourTuple("2001:db8::1", 9999, "2001:db8::2", 40001)]
TURNS = [(True, b"question"), (False, b"answer, in two pieces"), (True, b"thanks")]


def test_our_own_captures(tmp_path: Path) -> None:
    with Capture(tmp_path / "x.pcap") as capture:
        for number, name in enumerate(NAMES):
            capture(events.Accepted(number, name))
        streams = [Stream(Raw(), name, Limits(), 0.0) for name in NAMES]
        for inward, octets in ((True, b"question"), (False, b"answer"), (False, b", in two pieces"), (True, b"thanks")):
            for stream in streams:
                capture.tap(stream, inward, octets)
    assert [each.turns for each in read_recordings((tmp_path / "x.pcap").read_bytes())] == [TURNS, TURNS]


def test_a_half_close_stands_where_it_came(tmp_path: Path) -> None:
    with Capture(tmp_path / "x.pcap") as capture:
        stream = Stream(Raw(), NAMES[0], Limits(), 0.0)
        capture.tap(stream, True, b"question")
        capture.half_close(NAMES[0], True)
        capture.tap(stream, False, b"answer")
        statistics = events.Statistics(8, 6, 0, 0, 0, 0, 0)
        capture(events.Closed(1, NAMES[0], events.Reason.PEER_CLOSED, statistics, 0.1, False))
    (recording,) = read_recordings((tmp_path / "x.pcap").read_bytes())
    assert recording.turns == [(True, b"question"), (True, b""), (False, b"answer"), (False, b"")]


def file_of(link: int, packets: list[bytes], order: str = "<") -> bytes:
    head = struct.pack(f"{order}IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link)
    return head + b"".join(struct.pack(f"{order}IIII", 0, 0, len(each), len(each)) + each for each in packets)


def conversation() -> list[bytes]:
    made = Conversation(NAMES[0])
    packets = [made.packet(True, 0x02), made.packet(False, 0x12), made.packet(True, 0x10)]
    packets += [made.packet(True, 0x18, each) for each in (b"one ", b"two ", b"three")]
    return packets


def test_segments_in_another_order_and_twice() -> None:
    syn, ack, established, one, two, three = conversation()
    packets = [syn, ack, established, three, one, one, two, one]
    assert read_recordings(file_of(101, packets))[0].turns == [(True, b"one two three")]
    missing = [syn, ack, established, one, three]
    assert read_recordings(file_of(101, missing))[0].turns == [(True, b"one ")], "what is missing ends it"


@pytest.mark.parametrize(("link", "head"), [(1, b"\0" * 12 + b"\x08\0"), (113, bytes(16)), (0, bytes(4))])
@pytest.mark.parametrize("order", ["<", ">"])
def test_other_links_and_byte_orders(link: int, head: bytes, order: str) -> None:
    packets = [head + each for each in conversation()]
    assert read_recordings(file_of(link, packets, order))[0].turns == [(True, b"one two three")]


@pytest.mark.parametrize(
    ("octets", "said"),
    [
        (b"", "too short"),
        (bytes(100), "this is not a pcap file: it begins with"),
        (b"\n\r\r\n" + bytes(100), "tshark -r FILE -F pcap"),
        (file_of(195, []), "link type 195"),
    ],
)
def test_a_file_that_is_none(octets: bytes, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        read_recordings(octets)


def test_what_is_cut_off_or_no_tcp_is_passed_over() -> None:
    assert read_recordings(file_of(101, [b"", b"\x45" + bytes(10), b"\x45" + bytes(60), b"\x60" + bytes(60)])) == []
    whole = file_of(101, conversation())
    for size in range(24, len(whole)):
        read_recordings(whole[:size])
