"""Two directions that are framed differently: this end's view, and the other end's."""

from __future__ import annotations

from typing import Any

import pytest

from fourtuple.errors import EncodeError, OptionError
from fourtuple.framing import Duplex, Line, Switch, duplex, headed, mapped, parse_framing, u16
from fourtuple.testing import drive

QUESTIONS, ANSWERS = "delimited:?", "delimited:."


def test_this_end_receives_one_and_sends_the_other() -> None:
    framing = duplex(QUESTIONS, ANSWERS)
    assert framing.decoder().feed(b"who?why.?") == [b"who", b"why."]
    assert framing.encode_many([b"me", b"so?"]) == b"me.so?."
    with pytest.raises(EncodeError):
        framing.encode(b"a.b")


def test_the_mirror_is_the_other_end() -> None:
    server = duplex(QUESTIONS, ANSWERS)
    client = server.mirror()
    assert client == duplex(ANSWERS, QUESTIONS)
    assert client.mirror() == server
    assert server.decoder().feed(client.encode(b"who")) == [b"who"]
    assert client.decoder().feed(server.encode(b"me")) == [b"me"]


@pytest.mark.parametrize("text", ["line", "u16", "line:net", "u16+json", "switch:$=line|\\x01=u8\\,offset=1"])
def test_most_framings_mirror_themselves(text: str) -> None:
    assert parse_framing(text).mirror() == parse_framing(text)


def test_a_mirror_reaches_the_framings_inside() -> None:
    both = duplex("line", "line:crlf")
    other = duplex("line:crlf", "line")
    to, back = (lambda line: line.decode()), (lambda text: text.encode())
    assert mapped(both, to, back).mirror() == mapped(other, to, back)
    assert headed(both, "last").mirror() == headed(other, "last")
    assert Switch({b"$": both}, both).mirror() == Switch({b"$": other}, other)


def test_two_that_are_equal_are_one() -> None:
    assert duplex(Line(), "line") == Line()
    assert duplex(duplex("line", "u16"), duplex("u8", "u32")) == duplex("line", "u32")


def test_the_text_form_reads_back() -> None:
    framing = duplex("line:crlf,max_message=512", "u16")
    assert str(framing) == "duplex:line:crlf\\,max_message=512,sends=u16"
    assert parse_framing(str(framing)) == framing
    assert parse_framing(f"{framing}+text").mirror() == parse_framing(f"{framing.mirror()}+text")


def test_its_bounds_are_those_of_its_directions() -> None:
    framing = duplex("line,max_message=9", "eof")
    assert (framing.max_buffered, framing.ends_stream, framing.delimits_itself) == (11, True, True)
    assert framing.mirror().delimits_itself is False
    assert duplex("gap:0.5", "line").gap_timeout == 0.5


def test_every_cut_is_that_of_the_framing_received() -> None:
    framing = duplex("switch:$=line|#=u8\\,offset=1", "line")
    stream = b"$one\n#\3two$\n!"
    whole = drive(framing, [stream])
    assert whole.messages == [b"$one", b"two", b"$"]
    assert drive(framing, [stream[at : at + 1] for at in range(len(stream))], 1) == whole
    decoder = framing.decoder()
    decoder.feed(stream[:12])
    assert decoder.take(2) == stream[5:12]


@pytest.mark.parametrize("given", [(5, u16()), (u16(), None)])
def test_what_is_no_framing_is_refused(given: tuple[Any, Any]) -> None:
    with pytest.raises(OptionError, match="expected a framing, got"):
        Duplex(*given)
