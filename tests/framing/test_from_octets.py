"""Octets that a person gives, as messages of framings whose two directions differ."""

from __future__ import annotations

from typing import Any

import pytest

from fourtuple.errors import EncodeError
from fourtuple.framing import Line, Mapped, duplex, mapped, msgspec_mapping, parse_framing
from fourtuple.framing.fromoctets import check_sends_octets, from_octets, to_octets


class Reading:
    def __init__(self, octets: bytes) -> None:
        self.number = int(octets)


def written(reading: Reading) -> bytes:
    return b"%d" % reading.number


READINGS = mapped(Line(), Reading, written)


def test_the_direction_in_which_this_end_sends_values_is_named() -> None:
    framing = duplex(receives=Line(), sends=READINGS)
    for check in (from_octets, check_sends_octets):
        with pytest.raises(EncodeError, match="sends values, not octets; use the framing below its mapping, line"):
            check(framing, b"5")
    assert from_octets(duplex(receives=READINGS, sends=Line()), b"5") == b"5"


def test_json_and_text_have_one_form_in_either_direction() -> None:
    framing = duplex(receives=parse_framing("line+text"), sends=parse_framing("line+json"))
    assert from_octets(framing, b'{"a": 1}') == {"a": 1}
    assert to_octets(framing, "é") == "é".encode()


@pytest.mark.parametrize("text", ["fixed:2+struct:>H", "fixed:2+struct:BB", "line+struct:?", "line+struct:4s"])
@pytest.mark.parametrize("octets", [b"5", b"ab", b"[5]"])
def test_octets_are_no_values_of_a_struct(text: str, octets: bytes) -> None:
    """Octets are a sequence of numbers too, which a layout takes if their count is right."""
    framing = parse_framing(text)
    for check in (from_octets, check_sends_octets):
        with pytest.raises(EncodeError, match="sends values, not octets; use the framing below its mapping"):
            check(framing, octets)
    for given in (octets, bytearray(octets), memoryview(octets)):
        with pytest.raises(EncodeError, match="expected a tuple of values for the layout"):
            framing.encode(given)


def test_the_values_of_msgspec_are_typed_as_json(require_package: Any) -> None:
    msgspec = require_package("msgspec")

    class Reply(msgspec.Struct):
        code: int

    for framing in (parse_framing("line+msgspec-json"), Mapped(Line(), msgspec_mapping(Reply))):
        assert framing.encode(from_octets(framing, b'{"ask": 5}')) == b'{"ask":5}\n'
        with pytest.raises(EncodeError, match="sends JSON, and this is not"):
            from_octets(framing, b"ask")
    assert to_octets(framing, Reply(7)) == b'{"code":7}'
