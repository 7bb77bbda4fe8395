"""Recordings of what networks do: segments twice, late, cut anew and over each other (RFC 9293, 3.10.7.4)."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from effort import effort
from fourtuple.relay import recording
from fourtuple.relay.recording import read_recordings

FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
HEAD = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
CLIENT, SERVER = 40000, 9999


def segment(by_client: bool, sequence: int, flags: int, payload: bytes = b"", cut: int = 0) -> bytes:
    """A segment of a conversation on loopback, without its last ``cut`` octets."""
    ports = (CLIENT, SERVER) if by_client else (SERVER, CLIENT)
    tcp = struct.pack("!HHIIBBHHH", *ports, sequence & 0xFFFFFFFF, 0, 0x50, flags, 65535, 0, 0) + payload
    here = bytes((127, 0, 0, 1))
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, here, here) + tcp
    size = len(ip) - cut
    return struct.pack("<IIII", 0, 0, size, len(ip)) + ip[:size]


def client(sequence: int, payload: bytes = b"", flags: int = ACK) -> bytes:
    return segment(True, sequence, flags, payload)


def server(sequence: int, payload: bytes = b"", flags: int = ACK) -> bytes:
    return segment(False, sequence, flags, payload)


SYN_ONE, SYN_ACK = client(0, flags=SYN), server(0, flags=SYN | ACK)


def turns(*packets: bytes) -> list[tuple[bool, bytes]]:
    """The turns of the only conversation of a file."""
    (found,) = read_recordings(HEAD + b"".join(packets))
    return found.turns


def test_a_syn_ack_sent_twice() -> None:
    said = (client(1, b"hi"), server(1, b"one"), SYN_ACK, server(4, b"two"), server(7, flags=FIN | ACK))
    assert turns(SYN_ONE, SYN_ACK, *said) == [(True, b"hi"), (False, b"onetwo"), (False, b"")]


def test_a_syn_sent_twice() -> None:
    assert turns(SYN_ONE, SYN_ACK, client(1, b"hi"), SYN_ONE, client(3, b" you")) == [(True, b"hi you")]


def test_a_shorter_segment_does_not_replace_a_longer_one_that_waits() -> None:
    late = (client(4, b"defghi"), client(4, b"de"), client(1, b"abc"), client(10, b"jkl"))
    assert turns(SYN_ONE, *late) == [(True, b"abcdefghijkl")]
    late = (client(4, b"de"), client(4, b"defghi"), client(1, b"abc"), client(10, b"jkl"))
    assert turns(SYN_ONE, *late) == [(True, b"abcdefghijkl")]


def test_segments_that_lie_over_each_other() -> None:
    assert turns(SYN_ONE, client(3, b"cdef"), client(2, b"bc"), client(1, b"ab"), client(5, b"efgh")) == [
        (True, b"abcdefgh")
    ]


def test_octets_in_a_syn() -> None:
    fast = client(0, b"fast", SYN)  # RFC 7413
    assert turns(fast, SYN_ACK, client(1, b"fast"), client(5, b" open")) == [(True, b"fast open")]


def test_a_fin_that_comes_early_waits() -> None:
    said = (client(4, b"def", FIN | ACK), server(1, b"so far"), client(1, b"abc"))
    assert turns(SYN_ONE, SYN_ACK, *said) == [(False, b"so far"), (True, b"abcdef"), (True, b"")]


def test_nothing_counts_behind_a_fin_and_a_fin_counts_once() -> None:
    said = (client(1, b"abc", FIN | ACK), client(4, b"more"), client(1, b"abc", FIN | ACK), client(1, b"abcdef"))
    assert turns(SYN_ONE, *said) == [(True, b"abc"), (True, b"")]


def test_a_fin_of_a_packet_that_is_cut_off_is_not_reached() -> None:
    assert turns(SYN_ONE, segment(True, 1, FIN | ACK, b"abcdef", cut=3)) == [(True, b"abc")]


def test_nothing_counts_behind_a_reset() -> None:
    assert turns(SYN_ONE, client(1, b"abc"), client(4, flags=RST), client(4, b"more")) == [(True, b"abc")]
    # RFC 5961, 3.2: one with another number is ignored.
    assert turns(SYN_ONE, client(1, b"abc"), client(2, flags=RST), client(4, b"more")) == [(True, b"abcmore")]


def test_a_probe_of_keepalive_says_nothing() -> None:
    said = (client(1, b"abc"), client(3, b"\0"), client(3), client(4, b"def"))
    assert turns(SYN_ONE, *said) == [(True, b"abcdef")]


def test_the_same_ends_speak_again() -> None:
    one = (SYN_ONE, SYN_ACK, client(1, b"one"))
    two = (SYN_ONE, SYN_ACK, client(1, b"two"))
    ends: list[tuple[bytes, ...]] = [
        (client(4, flags=FIN | ACK), server(1, flags=FIN | ACK)),
        (client(4, flags=RST),),
    ]
    for end in ends:
        first, second = read_recordings(HEAD + b"".join((*one, *end, *two)))
        assert (first.turns[0], second.turns[0]) == ((True, b"one"), (True, b"two"))
    # The end is not in the file, but the number of the SYN is another one.
    three = (client(70, flags=SYN), client(71, b"three"))
    assert [each.turns for each in read_recordings(HEAD + b"".join((*one, *three)))] == [
        [(True, b"one")],
        [(True, b"three")],
    ]


def test_a_file_that_begins_with_the_syn_ack() -> None:
    assert turns(SYN_ACK, client(1, b"question"), server(1, b"answer")) == [(True, b"question"), (False, b"answer")]


def test_both_ends_send_a_syn() -> None:
    said = (server(0, flags=SYN), SYN_ACK, client(1, b"question"), server(1, b"answer"))
    assert turns(SYN_ONE, *said) == [(True, b"question"), (False, b"answer")]


@st.composite
def segments(draw: st.DrawFn, by_client: bool, stream: bytes) -> list[bytes]:
    """The segments of a stream: cut anywhere, some again in other pieces, in another order within a window."""
    began = draw(st.sampled_from([0, 77, 0xFFFFFFFF, 0xFFFFFFFF - len(stream) // 2, 0x7FFFFFFF]))
    cuts = sorted(draw(st.sets(st.integers(0, len(stream)), max_size=12)) | {0, len(stream)})
    pieces = list(itertools.pairwise(cuts))
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(stream)))
        again = start, draw(st.integers(start, len(stream)))
        pieces.insert(draw(st.integers(0, len(pieces))), again)
    packets = [segment(by_client, began + 1 + start, ACK, stream[start:end]) for start, end in pieces]
    packets.append(segment(by_client, began + 1 + len(stream), FIN | ACK))
    window = draw(st.integers(1, 8))
    for at in range(0, len(packets), window):
        packets[at : at + window] = draw(st.permutations(packets[at : at + window]))
    syn = segment(by_client, began, SYN if by_client else SYN | ACK)
    packets.insert(draw(st.integers(0, len(packets))), syn)
    return [syn, *packets]


@given(st.data(), st.binary(max_size=60), st.binary(max_size=60))
def test_any_segments_are_the_streams_again(data: st.DataObject, asked: bytes, answered: bytes) -> None:
    (syn, *there), (syn_ack, *back) = data.draw(segments(True, asked)), data.draw(segments(False, answered))
    merged = [syn, syn_ack]
    while there or back:
        take = there if there and (not back or data.draw(st.booleans())) else back
        merged.append(take.pop(0))
    found = read_recordings(HEAD + b"".join(merged))
    if not asked and not answered:
        assert found == []
        return
    for by_client, stream in ((True, asked), (False, answered)):
        own = [octets for whom, octets in found[0].turns if whom is by_client]
        assert (b"".join(own), own[-1], own.count(b"")) == (stream, b"", 1)


def in_order(count: int) -> bytes:
    return HEAD + SYN_ONE + b"".join(client(1 + at * 100, bytes(100)) for at in range(count))


def behind_a_gap(count: int) -> bytes:
    return HEAD + SYN_ONE + b"".join(client(2 + at, b"b") for at in range(count)) + client(1, b"a")


def backwards(count: int) -> bytes:
    return HEAD + SYN_ONE + b"".join(client(1 + at, b"b") for at in reversed(range(count)))


@pytest.mark.parametrize("file", [in_order, behind_a_gap, backwards])
def test_the_effort_is_linear(file: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    copied = 0

    class Counted(bytes):
        """Octets that count how many are copied when others are added."""

        def __getitem__(self, key: Any) -> Any:
            return Counted(super().__getitem__(key))

        def __add__(self, other: Any) -> Counted:
            nonlocal copied
            copied += len(self) + len(other)
            return Counted(bytes(self) + bytes(other))

    original = recording._segments

    def counted_segments(octets: bytes) -> Iterator[Any]:
        for *rest, payload in original(octets):
            yield (*rest, Counted(payload))

    spent = []
    for count in (200, 400):
        monkeypatch.setattr(recording, "_segments", original)
        work = effort(read_recordings, file(count))
        monkeypatch.setattr(recording, "_segments", counted_segments)
        copied = 0
        read_recordings(file(count))
        spent.append(work + copied)
    assert spent[1] < 2.5 * spent[0]
