"""The decoders in C beside their references: the same calls come to the same, and what only the C promises."""

from __future__ import annotations

import copy
import ctypes
import gc
import os
import pickle
import random
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fourtuple.errors import IncompleteMessage, MalformedMessage, MessageError, MessageTooLong
from fourtuple.framing import Fixed, Length, Line, Resp, Simple, parse_framing, splitting, u32
from fourtuple.testing import strategies
from framing.selection import few_by_default
from framing.twins import FRAMINGS, WORDS, Call, compare, conversation, encode_alike, in_c, outcome

#: There are many framings, and each is tried: a quarter of the examples where more cases are asked for, else a tenth.
some = settings(max_examples=settings().max_examples // (4 if "FOURTUPLE_FUZZ_CASES" in os.environ else 10))
every_framing = pytest.mark.parametrize("text", few_by_default(FRAMINGS))
limits = st.none() | st.integers(1, 3)
#: How often each conversation is held between two readings of the memory.
ROUNDS = 16


@st.composite
def calls(draw: st.DrawFn) -> list[Call]:
    """A stream of words that mean something to some framing, cut anywhere, with the other calls in between."""
    stream = b"".join(draw(st.lists(st.sampled_from(WORDS) | strategies.octets(8), max_size=6)))
    made: list[Call] = []
    for piece in draw(strategies.pieces(stream)):
        made.append(("feed", (piece, draw(limits))))
        again = st.tuples(st.just("feed"), st.tuples(st.just(b""), limits))
        take = st.tuples(st.just("take"), st.integers(-1, 3))
        others = st.sampled_from([("settle", None), ("gap", None), ("finish", None)])
        made += draw(st.lists(again | take | others, max_size=2))
    return [*made, ("finish", None), ("finish", None)]


@every_framing
@some
@given(made=calls())
def test_the_same_calls_come_to_the_same(text: str, made: list[Call]) -> None:
    compare(parse_framing(text), made)


@every_framing
def test_random_conversations_are_the_same_in_c_and_python(text: str) -> None:
    framing = parse_framing(text)
    for case in range(30):
        compare(framing, conversation(framing, random.Random(case)))


@pytest.mark.parametrize("text", few_by_default([text for text in FRAMINGS if "+" not in text]))
@some
@given(messages=st.lists(st.sampled_from(WORDS) | strategies.octets(20) | st.sampled_from([bytearray(b"a"), "a"])))
def test_encoders_write_the_same(text: str, messages: list[Any]) -> None:
    encode_alike(parse_framing(text), messages)


octets = st.binary(max_size=12)


@given(st.lists(octets | octets.map(Simple) | st.integers() | st.none() | st.lists(octets), max_size=6))
@example([Simple(b"OK"), b"", b"0123456789"])
@example([Simple(b"O\rK")])
@example([b"0123456789" * 3])
def test_replies_of_resp_are_written_the_same(values: list[Any]) -> None:
    encode_alike(Resp(max_message=32), values)


# -- what only the C promises -----------------------------------------------------------------------------------


def test_a_read_that_is_one_message_is_that_message() -> None:
    read = bytes(16)
    (message,) = Fixed(16).decoder().feed(read)
    assert message is read
    read = b"\0\4ab\0\0"
    (message,) = Length(2, skip=0).decoder().feed(read)
    assert message is read
    message = bytes(16)
    assert Fixed(16).encode_many([message]) is message


def test_what_is_no_octets_is_refused() -> None:
    for wrong in ("text", 5, None):
        with pytest.raises(TypeError):
            in_c(Fixed(1)).feed(wrong)  # type: ignore[arg-type]
    for arguments, named in (((), {}), ((b"", 1, 2), {}), ((b"",), {"most": 1})):
        with pytest.raises(TypeError, match="feed"):
            in_c(Fixed(1)).feed(*arguments, **named)
    with pytest.raises(ValueError, match="the latest feed gave 1 messages, 2 cannot be undelivered"):
        given_one(Fixed(1)).take(2)
    assert given_one(Fixed(1)).take(undelivered=1) == b"a"


def given_one(framing: Any) -> Any:
    decoder = in_c(framing)
    assert decoder.feed(b"a", limit=1) == [b"a"]
    return decoder


@every_framing
def test_an_idle_decoder_is_small_and_holds_nothing(text: str) -> None:
    framing = parse_framing(text)
    if "+" in text:
        return
    decoder = in_c(framing)
    read = bytes(bytearray(b"1:a,x\n#ab;e") * 50)
    before = sys.getrefcount(read)
    try:
        decoder.feed(read)
    except MessageError:
        pass
    decoder.take()
    assert sys.getrefcount(read) == before
    assert sys.getsizeof(decoder) < 120 + sys.getsizeof(object())  # an object's own fields: 16 octets, free-threaded 32
    assert decoder.buffered == 0


def test_an_announced_length_takes_no_memory_before_it_comes() -> None:
    decoder = in_c(u32(max_message=None))
    piece = bytes(10_000)
    decoder.feed(b"\x7f\xff\xff\xff" + piece)
    tracemalloc.start()
    for _ in range(10):
        assert decoder.feed(piece) == []
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert decoder.buffered == 110_004
    assert most < 3 * 110_004
    with pytest.raises(IncompleteMessage, match="expected 2147483651 octets, received 110004"):
        decoder.finish()
    with pytest.raises(MessageTooLong, match="message announces 2147483647 octets, no more than 1048576 are allowed"):
        in_c(u32()).feed(b"\x7f\xff\xff\xff")


def test_a_large_message_is_collected_in_its_final_buffer() -> None:
    """One room for all of it: beside the message there is never a second of its size."""
    size, piece = 1 << 20, bytes(1 << 16)
    decoder = in_c(u32())
    tracemalloc.start()
    decoder.feed((size).to_bytes(4, "big") + piece)
    messages = [message for _ in range(15) for message in decoder.feed(piece)]
    now, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [len(each) for each in messages] == [size]
    assert most < 1.2 * size
    assert decoder.take(1) == (size).to_bytes(4, "big") + bytes(size)
    assert now < 1.2 * size


@pytest.fixture
def work() -> Callable[[], tuple[int, int]]:
    """A function: the numbers of octets searched and copied since its last call."""
    if splitting.IN_C is None:
        pytest.skip("Python splits")
    assert splitting.IN_C.__file__ is not None
    counts = (ctypes.c_longlong * 2).in_dll(ctypes.CDLL(splitting.IN_C.__file__), "split_work")

    def work() -> tuple[int, int]:
        both = counts[0], counts[1]
        counts[:] = 0, 0
        return both

    in_c(u32()).feed(b"\0\0\0\1x\0")
    if work() == (0, 0):
        pytest.skip("the splitters in C were built without FOURTUPLE_COUNT")
    return work


@pytest.mark.parametrize("text", ["u32", "line", "line:crlf", "delimited:abc", "netstring", "octet-counting", "resp"])
def test_the_work_is_linear(text: str, work: Callable[[], tuple[int, int]]) -> None:
    """Octets searched and copied, in pieces of all sizes. The build that counts is that of ``make sanitize``."""
    framing = parse_framing(text)
    message: Any = [b"SET", b"k" * 40, [b"v", 1]] if text == "resp" else b"a message of some octets"
    large = [bytes(40_000)] if text == "resp" else b"x" * 40_000
    for octets in (framing.encode(message) * 300, framing.encode(large) * 2):
        for size in (1, 2, 7, 100, 5000, len(octets)):
            for limit in (None, 1):
                decoder = in_c(framing)
                work()
                for at in range(0, len(octets), size):
                    more = decoder.feed(octets[at : at + size], limit)
                    while more and limit:
                        decoder.settle()
                        more = decoder.feed(b"", limit)
                assert decoder.buffered == 0
                searched, copied = work()
                assert searched <= 3 * len(octets), (len(octets), size, limit)
                assert copied <= 6 * len(octets), (len(octets), size, limit)


@pytest.mark.parametrize("text", [text for text in FRAMINGS if "+" not in text])
def test_the_work_is_linear_when_attacked(text: str, work: Callable[[], tuple[int, int]]) -> None:
    """The same octets forever, behind the beginnings of messages."""
    for beginning in (b"", b"<", b"1", b"*3\r\n", b"*3\r\n$3000\r\n", b"\0\0\x10"):
        for filler in (b"0", b"1", b"x", b" ", b"\n", b"\r", b"\0", b"\xff", b"#", b"a", b"ab", b"*1\r\n", b"'\\"):
            octets = beginning + filler * (1200 // len(filler))
            for size in (1, 7, len(octets)):
                decoder = in_c(parse_framing(text))
                work()
                try:
                    for at in range(0, len(octets), size):
                        decoder.feed(octets[at : at + size])
                except MessageError:
                    pass
                searched, copied = work()
                assert searched <= 6 * len(octets) + 500, (beginning, filler, size)
                assert copied <= 6 * len(octets) + 500, (beginning, filler, size)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (b":x\r\n", "b'x' is not a number of at most 19 digits, without + and leading zeros"),
        (b"$1\r\nabc", "string of 1 octets ends with b'bc', not CR LF"),
        (b"*70000\r\n", "70000 elements announced, no more than 65536 are allowed"),
        (b"*1\r\n" * 32, "more than 32 nested aggregates"),
        (b"GET\r\n", "b'GET\\r' begins with no type of RESP"),
        (b"$650000\r\n", "message announces 1028019 octets, no more than 1000000 are allowed"),
        (None, "end of file inside a message: received 378008 octets and no end of it"),
    ],
)
def test_what_is_wrong_behind_many_values_is_said_without_making_them_again(wrong: bytes | None, told: str) -> None:
    decoder = in_c(parse_framing("resp,max_message=1000000"))
    values = b"*30000\r\n" + b"$10\r\n0123456789\r\n:1000000\r\n" * 14000

    def fail() -> None:
        with pytest.raises(MessageError) as caught:
            decoder.finish() if wrong is None else decoder.feed(wrong)
        assert str(caught.value) == told

    assert decoder.feed(values) == []
    assert calls_in_python(fail) < 200


@pytest.mark.parametrize(
    ("text", "rare", "message"),
    [
        ("resp:3", b"$?\r\n;2\r\nab\r\n;0\r\n", b"ab"),
        ("resp:3", b"|1\r\n+a\r\n:1\r\n*2\r\n:7\r\n*?\r\n.\r\n", [7, []]),
        ("resp:3", b"%1\r\n+a\r\n*1\r\n|0\r\n:1\r\n", {Simple(b"a"): [1]}),
        ("resp", b"PING 'a b'\r\n", [b"PING", b"a b"]),
        ("resp,max_depth=40", b"*1\r\n" * 33 + b":1\r\n", 1),
        ("line:crlf,max_message=2", b"ab\r\n", b"ab"),
    ],
)
def test_what_is_rare_is_left_to_python_which_leaves_the_rest_to_c(text: str, rare: bytes, message: Any) -> None:
    framing = parse_framing(text)
    usual, octets = ([b"k", 1], b"*2\r\n$1\r\nk\r\n:1\r\n") if "resp" in text else (b"x", b"x\r\n")
    for _ in range(33 if "depth" in text else 0):
        message = [message]
    stream = (octets + rare) * 2 + octets
    for size in (1, 3, len(stream)):
        decoder = in_c(framing)
        messages = []
        for at in range(0, len(stream), size):
            messages += decoder.feed(stream[at : at + size])
            decoder.settle()
        assert messages == [usual, message, usual, message, usual]
        assert decoder.buffered == decoder.held == 0
        fed = partial(decoder.feed, octets)
        assert calls_in_python(fed) == 0, "the reference goes on forever"
        assert decoder.take(1) == octets


def calls_in_python(call: Callable[[], object]) -> int:
    """How many functions in Python it calls."""
    calls = 0

    def count(_frame: Any, event: str, _: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        call()
    finally:
        sys.setprofile(None)
    return calls


def test_an_error_of_python_keeps_no_decoder() -> None:
    """The frames of its traceback refer to the decoder: if that referred to the error, no collector would find both."""
    framing = parse_framing("resp:3")

    def fail() -> None:
        decoder = in_c(framing)
        assert decoder.feed(b"$?\r\n;1\r\na") == []
        for call in (lambda: decoder.feed(b"bc"), lambda: decoder.feed(b"d"), decoder.finish):
            with pytest.raises(MalformedMessage, match="string of 1 octets ends with b'bc', not CR LF"):
                call()
        assert decoder.take() == b"$?\r\n;1\r\nabc"

    assert isinstance(framing, splitting.Split)
    counts = []
    for _ in range(2):
        fail()
        gc.collect()
        counts.append(sys.getrefcount(framing._in_c))
    assert counts[0] == counts[1]


def test_values_stay_values() -> None:
    framing = Line(keep=True)
    framing.decoder()
    for made in (copy.copy(framing), copy.deepcopy(framing), pickle.loads(pickle.dumps(framing))):
        assert made == framing
        assert hash(made) == hash(framing)
        assert made.decoder().feed(b"a\n") == [b"a\n"]


@pytest.mark.parametrize(
    "text",
    [
        *("u64,max_message=1125899906842624", "resp,max_count=1125899906842624", "u16,lead=$,offset=1,resync=on"),
        *("line,resync=on", "line,last=on", "delimited:#,resync=on", "delimited:#,swallow=on", "delimited:#|;"),
        *("syslog,drop_empty=on", r"syslog,trailer=\n|\x00"),
    ],
)
def test_rare_options_and_numbers_without_end_are_left_to_python(text: str) -> None:
    framing = parse_framing(text)
    assert type(framing.decoder()) is type(framing.reference())


@every_framing
def test_conversations_in_c_leak_no_memory(text: str) -> None:
    """Broken and whole conversations many times over: the number of blocks in use stays where it was."""
    framing = parse_framing(text)
    scripts = [conversation(framing, random.Random(case)) for case in range(3)]

    def in_use() -> int:
        for _ in range(ROUNDS):
            for made in scripts:
                decoder = in_c(framing)
                for name, argument in made:
                    outcome(decoder, name, 0 if name == "take" else argument)
        gc.collect()  # errors and the frames that saw them hold each other
        # The cache of the interpreter's types keeps the names of methods that C calls, up to 4096 of them.
        getattr(sys, "_clear_internal_caches" if sys.version_info >= (3, 13) else "_clear_type_cache")()
        return sys.getallocatedblocks()

    # A leak grows by ROUNDS or more at every reading. What the interpreter keeps for itself grows at some of them.
    counts = [in_use()]
    while len(counts) < 20:
        counts.append(in_use())
        if counts[-1] - counts[-2] < ROUNDS // 2:
            return
    pytest.fail(f"every reading is higher than the one before: {counts}")


def test_several_messages_of_one_size_come_behind_a_large_one() -> None:
    octets = b"".join(bytes((number,)) * 20_000 for number in range(5))
    decoder = in_c(Fixed(20_000))
    assert decoder.feed(octets[:10_000]) == []
    assert b"".join(decoder.feed(octets[10_000:])) == octets


def test_a_switch_of_framings_lends_its_buffer() -> None:
    decoder = parse_framing(r"switch:$=line|\x01=u16\,offset=1").decoder()
    assert decoder.feed(b"$a\n\x01\0\1b$") == [b"$a", b"b"]
    assert decoder.buffered == 1


@every_framing
def test_only_messages_of_one_size_tell_it(text: str) -> None:
    framing = parse_framing(text)
    for decoder in (in_c(framing), framing.reference()):
        assert decoder.whole == (framing.size if isinstance(framing, Fixed) else 0)
        if decoder.whole:
            assert decoder.feed(bytes(decoder.whole)) == [bytes(decoder.whole)]
            assert decoder.buffered == 0
