"""Values that decoders make: no key's hash is the peer's choice, and what they take in memory is known and bounded."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourtuple.errors import EncodeError, MalformedMessage, MessageTooLong, OptionError
from fourtuple.framing import (
    NULL,
    NULL_ARRAY,
    Inline,
    Members,
    Pairs,
    Push,
    Resp,
    Simple,
    parse_framing,
)
from fourtuple.testing import drive, strategies
from fourtuple.testing.driving import same
from framing.conftest import inside

KIB, MIB = 1 << 10, 1 << 20


# -- keys -------------------------------------------------------------------------------------------------

SCALARS = [
    b":7\r\n",
    b"+a\r\n",
    b"$1\r\na\r\n",
    b"$1\r\nb\r\n",
    b"_\r\n",
    b"#t\r\n",
    b",1.5\r\n",
    b"(99\r\n",
    b"-E\r\n",
]
values = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: (
        st.builds(
            lambda kind, inside: b"%b%d\r\n%b" % (kind, len(inside) // (2 if kind == b"%" else 1), b"".join(inside)),
            st.sampled_from([b"*", b"~", b">"]),
            st.lists(inner, max_size=4),
        )
        | st.lists(st.tuples(inner, inner), max_size=4).map(
            lambda pairs: b"%%%d\r\n" % len(pairs) + b"".join(each for pair in pairs for each in pair)
        )
    ),
)


@given(octets=values)
def test_keys_are_octets(octets: bytes) -> None:
    """Whatever comes: a key of a dict is octets, nothing is a member of a set, and no pair is lost."""
    framing = parse_framing("resp:3")
    (message,) = drive(framing, [octets]).messages
    for each in inside(message):
        assert not isinstance(each, set | frozenset)
        if isinstance(each, dict):
            assert all(type(key) in (bytes, Simple) for key in each)
    assert drive(framing, [framing.encode(message)]).messages == [message]


def test_a_map_that_is_no_dict_is_pairs_and_a_set_members() -> None:
    colliding = [(1 << 61) - 1 << shift for shift in range(3)]
    octets = b"%3\r\n" + b"".join(b"(%d\r\n_\r\n" % key for key in colliding)
    (message,) = drive(parse_framing("resp:3"), [octets + b"~2\r\n:1\r\n:2\r\n"]).messages[:1]
    assert type(message) is Pairs
    assert message == tuple((key, None) for key in colliding)
    assert repr(Pairs(((1, 2),))) == "Pairs(((1, 2),))"
    assert repr(Members((1, 2))) == "Members((1, 2))"
    assert repr(Push([1])) == "Push([1])"


@pytest.mark.parametrize("value", [{b"a": 1}, {1: b"a"}, Pairs(((1, b"a"),)), Members((1, 2)), {1}, frozenset((1, 2))])
def test_maps_and_sets_are_written_in_resp3_alone(value: Any) -> None:
    (message,) = drive(Resp(3), [Resp(3).encode(value)]).messages
    if isinstance(value, set | frozenset):
        value = Members(value)
    elif value == {1: b"a"}:
        value = Pairs(value.items())
    assert same(message, value)
    with pytest.raises(EncodeError, match="needs RESP3; use resp:3"):
        Resp().encode(value)


@pytest.mark.parametrize("value", [Pairs((1, 2)), Pairs(((1, 2, 3),)), "\udc80", {"\udc80": 1}])
def test_what_is_no_value_is_refused(value: Any) -> None:
    with pytest.raises(EncodeError, match="resp:3"):
        Resp(3).encode(value)


@pytest.mark.parametrize(
    "octets", [b"_", b"#t", b",1.5", b"(12", b"!3\r\nERR", b"=5\r\ntxt:a", b"~0", b"%0", b">0", b"|0"]
)
def test_resp3_is_read_where_it_is_asked_for(octets: bytes) -> None:
    for stream in (octets + b"\r\n", b"*1\r\n" + octets + b"\r\n"):
        error = drive(parse_framing("resp"), [stream]).error
        assert type(error) is MalformedMessage
        assert "begins with a type of RESP3, which resp:3 reads" in str(error)
        assert not isinstance(drive(parse_framing("resp:3"), [stream]).error, MalformedMessage)


# -- memory -----------------------------------------------------------------------------------------------

#: Small octets and large values: what one of them repeated announces and takes.
HOSTILE = {
    "arrays": b"*1\r\n*0\r\n",
    "arrays of numbers": b"*2\r\n:1000\r\n:2000\r\n",
    "maps": b"%1\r\n_\r\n_\r\n",
    "maps of octets": b"%1\r\n+aa\r\n+bb\r\n",
    "sets": b"~1\r\n_\r\n",
    "pushes": b">0\r\n",
    "words": b"$2\r\nab\r\n",
    "numbers": b":1000\r\n",
    "floats": b",1.5\r\n",
    "errors": b"-ab\r\n",
    "errors that are not text": b"-\xff\xff\xff\xff\xf0\x9f\x98\x80\r\n",
    "big numbers": b"(" + b"9" * 100 + b"\r\n",
    "attributes": b"|1\r\n+aa\r\n*1\r\n:1000\r\n:1000\r\n",
}


#: By default a container, one with keys, octets and a number are tried; the others are slow.
FEW = ("arrays", "maps of octets", "words", "numbers")


def each(names: Iterable[str]) -> list[Any]:
    return [pytest.param(name, marks=[] if name in FEW else [pytest.mark.slow]) for name in names]


@pytest.mark.parametrize("name", each(HOSTILE))
@pytest.mark.parametrize("ended", [False, True])
def test_what_is_charged_is_no_less_than_what_is_taken(name: str, ended: bool, split_by: str) -> None:
    """An unfinished message, and a whole one: what ``held`` says is there, and not much more."""
    unit, count = HOSTILE[name], 10_000
    decoder = parse_framing("resp:3").decoder()
    stream = b"*%d\r\n" % (count if ended else count + 1) + unit * count
    tracemalloc.start()
    messages = [each for at in range(0, len(stream), 5000) for each in decoder.feed(stream[at : at + 5000])]
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(messages) == ended
    # The octets of a batch are kept, in a buffer with room for more.
    assert taken < decoder.held + len(stream) + 64 * KIB
    assert decoder.held < 8 * taken + 64 * KIB
    if not ended and split_by == "c" and name != "attributes":  # these the C leaves to Python
        assert decoder.held == decoder.buffered, "what is not whole is octets, and no values"
    decoder.settle()
    if ended:
        assert decoder.held == decoder.buffered == 0


@pytest.mark.parametrize("name", each(name for name in HOSTILE if name not in ("attributes", "big numbers")))
def test_values_are_bounded(name: str) -> None:
    """However the octets are cut, a message ends at the same value, with the same number, and is let go of."""
    unit = HOSTILE[name]
    stream = b":1\r\n*16384\r\n" + b"*15000\r\n" + unit * (175_000 // len(unit)) + b"*15000\r\n" + unit
    for framing in (parse_framing("resp:3,max_message_memory=1750k"), parse_framing("resp:3,max_message_memory=1600k")):
        told = set()
        for size in (4096, 65536, len(stream)):
            decoder = framing.decoder()
            outcome = drive(framing, [stream[at : at + size] for at in range(0, len(stream), size)], decoder=decoder)
            assert outcome.messages == [1]
            error = outcome.error
            assert isinstance(error, MessageTooLong)
            assert error.size > error.allowed == framing.max_message_memory  # type: ignore[attr-defined]
            assert decoder.held == decoder.buffered
            told.add(str(error))
        (text,) = told
        assert "octets of memory, no more than" in text


def test_announced_structure_is_refused_before_it_comes() -> None:
    decoder = parse_framing("resp:3,max_message_memory=8m").decoder()
    assert decoder.feed(b"*65536\r\n") == []
    assert decoder.held <= 8 + 96
    with pytest.raises(MessageTooLong, match=r"message announces 11520288 octets of memory, .*\(max_message_memory\)"):
        decoder.feed(b"%60000\r\n")
    decoder = parse_framing("resp:3,max_message_memory=8k").decoder()
    with pytest.raises(MessageTooLong, match="message announces 8193 octets of memory, no more than 8192 are allowed"):
        decoder.feed(b"$8097\r\n")


def test_attributes_that_were_dropped_are_held_no_more() -> None:
    decoder = parse_framing("resp:3").decoder()
    decoder.feed(b"*2\r\n|1\r\n+a\r\n")
    assert decoder.held == decoder.buffered + 96 + 96 + 97
    decoder.feed(b"*3\r\n:1\r\n:1\r\n:1\r\n:7\r\n")
    assert decoder.held == decoder.buffered + 96 + 97
    assert decoder.feed(b":8\r\n") == [[7, 8]]
    assert decoder.held == 96 + 97 + 97


def test_attributes_of_whatever_size_are_refused_alike() -> None:
    """They count while they come, and no longer."""
    many = b"|1\r\n+a\r\n*5\r\n" + b":1\r\n" * 5
    for stream in (b"*2\r\n" + many * 50 + b":1\r\n:1\r\n", b"*2\r\n|1\r\n+a\r\n*8\r\n" + b":1\r\n" * 8):
        outcomes = [
            drive(
                parse_framing("resp:3,max_message_memory=1024"), [stream[at : at + size] for at in range(0, 4000, size)]
            )
            for size in (1, 7, 4000)
        ]
        assert outcomes[0] == outcomes[1] == outcomes[2]
        assert outcomes[0].messages == ([[1, 1]] if b"*5" in stream else [])
        assert isinstance(outcomes[0].error, MessageTooLong if b"*8" in stream else type(None))


def test_an_honest_message_of_any_size_fits() -> None:
    framing = parse_framing("resp:3")
    word = b"$7\r\n0123456\r\n"
    for stream in (
        b"*65000\r\n" + word * 65000,
        b"%30000\r\n" + word * 60000,
        b"$1000000\r\n" + bytes(1_000_000) + b"\r\n",
    ):
        outcome = drive(framing, [stream])
        assert outcome.error is None
        assert len(outcome.messages) == 1


def test_the_bound_goes_with_that_of_the_octets() -> None:
    large = b"$30000000\r\n" + bytes(30_000_000) + b"\r\n"
    for text in ("resp,max_message=64m", "resp,max_message=none", "resp,max_message=64m,max_message_memory=none"):
        assert drive(parse_framing(text), [large]).error is None
    error = drive(parse_framing("resp,max_message=64m,max_message_memory=20m"), [large]).error
    assert (
        str(error)
        == "message announces 30000096 octets of memory, no more than 20971520 are allowed (max_message_memory)"
    )
    for wrong in (0, 1023, True, "1m"):
        with pytest.raises(OptionError, match=r"max_message_memory is .*, it must be None or at least 1024 octets"):
            Resp(max_message_memory=wrong)  # type: ignore[arg-type]


def test_a_command_of_too_many_words() -> None:
    error = drive(parse_framing("resp"), [b"a " * 65537 + b"\r\n"]).error
    assert str(error) == "inline command of more than 65536 words, no more are allowed"
    error = drive(parse_framing("resp,max_count=1m"), [b"a " * 400_000 + b"\r\n"]).error
    assert isinstance(error, MessageTooLong)
    assert "octets of memory" in str(error)


@given(data=st.data())
def test_what_is_held_is_reported_wherever_the_stream_is_cut(data: st.DataObject) -> None:
    """Octets alone say it: the same at every place, whatever came in one piece, and nothing once all is delivered."""
    stream = b"*2\r\n*3\r\n:1\r\n$2\r\nab\r\n%1\r\n+k\r\n*0\r\n$-1\r\nget k\r\n"
    framing = parse_framing("resp:3")
    place = data.draw(st.integers(0, len(stream)))
    whole, parts = framing.decoder(), framing.decoder()
    whole.feed(stream[:place])
    for piece in data.draw(strategies.pieces(stream[:place])):
        parts.feed(piece)
    assert whole.held >= whole.buffered
    whole.settle()
    parts.settle()
    assert whole.held == parts.held


def test_a_switch_reports_the_memory_of_its_framings() -> None:
    decoder = parse_framing(r"switch:*=resp|$=line").decoder()
    decoder.feed(b"$a\n*1\r\n:1\r\n*2\r\n*2\r\n:1\r\n")
    assert decoder.buffered == 12
    assert decoder.held == 12 + (2 * 96 + 1) + (3 * 96 + 1)
    decoder.settle()
    assert decoder.held == 12 + (3 * 96 + 1)
    decoder.feed(b"x")
    with pytest.raises(MalformedMessage):
        decoder.feed(b"\r\n")
    assert decoder.held == decoder.buffered


def test_resp_writes_what_only_some_commands_need() -> None:
    resp = parse_framing("resp")
    assert resp.encode([NULL_ARRAY, NULL]) == b"*2\r\n*-1\r\n$-1\r\n"
    assert (
        parse_framing("resp:3").encode([NULL_ARRAY, Members((1,)), {b"x"}])
        == b"*3\r\n_\r\n~1\r\n:1\r\n~1\r\n$1\r\nx\r\n"
    )
    assert resp.decoder().feed(resp.encode(NULL_ARRAY)) == [None]
    command = Inline((b"set", b"k", b'a "b"\r\n', b"", b"\xff'\\"))
    assert resp.encode(command) == b'set k "a \\x22b\\x22\\x0d\\x0a" "" "\\xff\'\\x5c"\r\n'
    assert resp.decoder().feed(resp.encode(command)) == [[*command]]


@pytest.mark.parametrize("command", [(), (b"*1",), (b"+OK",), ([b"x"],)])
def test_what_cannot_be_typed_is_refused(command: Any) -> None:
    value = [Inline((b"x",))] if command and isinstance(command[0], list) else Inline(command)
    with pytest.raises(EncodeError, match="cannot be sent inline"):
        parse_framing("resp").encode(value)
    with pytest.raises(EncodeError, match="cannot be sent inline"):
        parse_framing("resp,inline=off").encode(Inline((b"PING",)))


def test_noise_before_the_first_flag_is_skipped_and_counted() -> None:
    for pieces in ([b"noise~a~b~"], [bytes((each,)) for each in b"noise~a~b~"]):
        decoder = parse_framing("hdlc").decoder()
        assert [message for piece in pieces for message in decoder.feed(piece)] == [b"a", b"b"]
        assert decoder.skipped == 5


def test_after_a_change_of_framing_nothing_is_noise() -> None:
    decoder = parse_framing("hdlc").decoder()
    assert decoder.feed(b"noise~a~b~") == [b"a", b"b"]
    assert decoder.take(1).lstrip(b"~") == b"b~"
    assert decoder.feed(b"b~c~") == [b"b", b"c"]
    again = parse_framing("hdlc").decoder()
    assert again.feed(b"noise~a~b~") == [b"a", b"b"]
    assert again.take(2) == b"noise~a~b~"
    assert again.feed(b"noise~a~b~") == [b"a", b"b"]


def test_slip_without_a_lead_and_mllp_with_a_marker_inside() -> None:
    assert parse_framing("slip,lead=off").encode(b"a") == b"a\xc0"
    for octets in (b"a\x0bb", b"a\x1cb"):
        with pytest.raises(EncodeError, match="a VT or FS"):
            parse_framing("mllp").encode(octets)


#: Accepted by hiredis' own tests, or next to what they refuse. Those of the third list hiredis reads and we do not.
NUMBERS = (
    *(b":0", b":1", b":-1", b":9223372036854775807", b":-9223372036854775808", b"$0\r\n", b"*0", b"#t", b"#f", b"_"),
    *(b",3.14159265358979323846", b",inf", b",-inf", b",nan", b",-nan", b",1", b",-0.0", b",1e5", b",5."),
    *(b"(3492890328409238509324850943850943825024385", b"(-1", b"(0", b"(007", b",1E-7", b",-12.5e+3"),
)  # fmt: skip
NO_NUMBERS = (
    *(b":", b":+5", b":05", b":00", b":-0", b":-05", b":- 5", b": 5", b":5 ", b":1_0", b":0x1"),
    *(b":9223372036854775808", b",+1.5", b"#", b"#true", b"#1", b"_nil", b",", b",3.14\0015", b",1e400"),
    *(b":-9223372036854775809", b":99999999999999999999", b"$+1\r\nx", b"$01\r\nx", b"$-0\r\n", b"$-2", b"*-2"),
    *(b"*+1\r\n:1", b"*01\r\n:1", b"*72057594037927936"),
    *(b",infinity", b",1,5", b",0." + b"1" * 400, b"(+1", b"(1.5", b"(1e5", b",--1", b",1e", b",1_0"),
)  # fmt: skip
LOOSE = (b",INF", b",0x10", b",.5", b", 1", b"#T", b"(-", b"(")


@pytest.mark.parametrize("text", [*NUMBERS, *NO_NUMBERS])
def test_numbers_are_read_as_strictly_as_hiredis_reads_them(text: bytes, require_package: Any) -> None:
    hiredis = require_package("hiredis")
    outcome = drive(parse_framing("resp:3"), [text + b"\r\n"])
    reader = hiredis.Reader()
    reader.feed(text + b"\r\n")
    if text in NO_NUMBERS:
        assert outcome.messages == []
        assert outcome.error is not None
        with pytest.raises(hiredis.ProtocolError):
            reader.gets()
        return
    assert outcome.error is None
    (value,), its = outcome.messages, reader.gets()
    assert same(value, float(its) if type(value) is float else its if type(value) is not int else int(its))


@pytest.mark.parametrize("text", LOOSE)
def test_what_only_hiredis_takes_for_a_number_is_refused(text: bytes) -> None:
    assert isinstance(drive(parse_framing("resp:3"), [text + b"\r\n"]).error, MalformedMessage)


def test_a_streamed_string_is_held_once_and_costs_what_it_has() -> None:
    """Chunks of one octet are 7 octets of stream and one of memory."""
    chunks = b"$?\r\n" + b";1\r\nx\r\n" * 900
    outcome = drive(parse_framing("resp:3,max_message_memory=1024"), [chunks, b";0\r\n"])
    assert (outcome.messages, outcome.error) == ([b"x" * 900], None)
    error = drive(parse_framing("resp:3,max_message_memory=1024"), [chunks, b";29\r\n"]).error
    assert str(error) == "message announces 1025 octets of memory, no more than 1024 are allowed (max_message_memory)"


def test_streamed_types_are_read_in_resp3_alone() -> None:
    error = drive(parse_framing("resp"), [b"$?\r\n"]).error
    assert isinstance(error, MalformedMessage)
    wrong = {
        b"%?\r\n:1\r\n.\r\n": "a streamed map ends after a key, its value was expected",
        b"$?\r\n:1\r\n": "b':1\\r' in a streamed string, a chunk was expected",
        b"*?\r\n:1\r\n:1\r\n:1\r\n": "more than 2 elements of a streamed aggregate, no more are allowed",
    }
    for octets, told in wrong.items():
        assert str(drive(parse_framing("resp:3,max_count=2"), [octets]).error) == told
