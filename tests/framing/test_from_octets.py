"""Octets that a person gives, as messages of framings whose two directions differ."""

from __future__ import annotations

import pytest

from fourtuple.errors import EncodeError
from fourtuple.framing import Line, duplex, mapped, parse_framing
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
