"""Messages with the octets that were their own, in any cut of the stream."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourtuple.framing import Unmapped, parse_framing
from fourtuple.relay.cutting import Cut, Cutter

STREAMS = {
    "line": (b"one\r\ntwo\n\nthree\n", [b"one", b"two", b"", b"three"]),
    "u16": (b"\0\3one\0\0\0\3two", [b"one", b"", b"two"]),
    "netstring": (b"3:one,0:,3:two,", [b"one", b"", b"two"]),
    "json-lines": (b'{"a": 1}\n[2]\n', [{"a": 1}, [2]]),
    "resp": (b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n+OK\r\n", None),
    "mllp": (b"\x0bone\x1c\r\x0btwo\x1c\r", [b"one", b"two"]),
    "slip": (b"\xc0one\xc0\xc0two\xc0", [b"one", b"two"]),
}


@pytest.mark.parametrize("framing", STREAMS)
@given(cuts=st.lists(st.integers(0, 40), max_size=6))
def test_octets_are_neither_lost_nor_moved(framing: str, cuts: list[int]) -> None:
    octets, messages = STREAMS[framing]
    cutter = Cutter(parse_framing(framing))
    found: list[Cut] = []
    places = [0, *sorted(min(cut, len(octets)) for cut in cuts), len(octets)]
    for start, end in pairwise(places):
        if end > start:
            found += cutter.feed(octets[start:end])
    found += cutter.finish()
    assert b"".join(cut.octets for cut in found) == octets
    if messages is not None:
        assert [cut.message for cut in found if cut.is_message] == messages
    assert cutter.error is None
    for cut in found:  # each message's own octets make it again
        if cut.is_message and framing not in ("slip",):
            assert [each.message for each in Cutter(parse_framing(framing)).feed(cut.octets)] == [cut.message]


def test_what_breaks_the_framing_passes_and_is_reported() -> None:
    cutter = Cutter(parse_framing("netstring"))
    assert cutter.feed(b"3:one,garbage") == [Cut(b"3:one,", b"one"), Cut(b"garbage", is_message=False)]
    assert cutter.error is not None
    assert cutter.feed(b"3:two,") == [Cut(b"3:two,", is_message=False)]
    assert cutter.finish() == []


def test_an_unfinished_message_passes_at_the_end_and_is_reported() -> None:
    cutter = Cutter(parse_framing("u16"))
    assert cutter.feed(b"\0\5ab") == []
    assert cutter.held == 4
    assert cutter.finish() == [Cut(b"\0\5ab", is_message=False)]
    assert cutter.error is not None


def test_a_message_that_does_not_map_keeps_its_octets() -> None:
    (cut,) = Cutter(parse_framing("json-lines")).feed(b"nonsense\n")
    assert cut.octets == b"nonsense\n"
    assert isinstance(cut.message, Unmapped)


def test_silence_ends_a_message() -> None:
    cutter = Cutter(parse_framing("gap:0.05"))
    assert cutter.feed(b"abc") == []
    assert cutter.gap() == [Cut(b"abc", b"abc")]
    assert cutter.gap() == []
