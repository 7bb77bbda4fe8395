"""Mistakes of a framing's author: each is named once, with the function, what it returned and what is expected."""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import functools
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from fourtuple.errors import (
    EncodeError,
    FramingMistake,
    IncompleteMessage,
    MalformedMessage,
    MessageTooLong,
    OptionError,
)
from fourtuple.framing import (
    NOT_YET,
    BufferedDecoder,
    Decoder,
    Fixed,
    Framing,
    Line,
    Mapped,
    Mapping,
    Parser,
    Resp,
    Switch,
    custom,
    decoder_of,
    event_parser,
    feed_parser,
    mapped,
    parse_framing,
    u16,
)
from fourtuple.testing import check_framing, drive

WANTED = "expected (message, used), the number of octets needed in all, or None"


# -- custom: decode -----------------------------------------------------------------------------------------


def octets_alone(buffer: bytearray, seen: int) -> Any:
    return bytes(buffer)


def a_list(buffer: bytearray, seen: int) -> Any:
    return [bytes(buffer), 3]


def swapped(buffer: bytearray, seen: int) -> Any:
    return 3, bytes(buffer)


def two_nones(buffer: bytearray, seen: int) -> Any:
    return None, None


def no_used(buffer: bytearray, seen: int) -> Any:
    return bytes(buffer), None


def a_view(buffer: bytearray, seen: int) -> Any:
    return memoryview(buffer)[:3]


def triple(buffer: bytearray, seen: int) -> Any:
    return bytes(buffer), 3, 3


def a_truth(buffer: bytearray, seen: int) -> Any:
    return False


def a_fraction(buffer: bytearray, seen: int) -> Any:
    return bytes(buffer), 3.0


def nothing_used(buffer: bytearray, seen: int) -> Any:
    return bytes(buffer), 0


def more_than_there_is(buffer: bytearray, seen: int) -> Any:
    return bytes(buffer), 4


def no_more_than_there_is(buffer: bytearray, seen: int) -> Any:
    return 3


def the_buffer(buffer: bytearray, seen: int) -> Any:
    return buffer, 3


def removes(buffer: bytearray, seen: int) -> Any:
    message = bytes(buffer[:2])
    del buffer[:2]
    return message, 1


def appends(buffer: bytearray, seen: int) -> Any:
    buffer += b"x"
    return None


kept: list[memoryview] = []


def keeps_a_view(buffer: bytearray, seen: int) -> Any:
    kept.append(memoryview(buffer))
    return bytes(buffer), 3


@pytest.mark.parametrize(
    ("decode", "told"),
    [
        (octets_alone, f"octets_alone() returned b'abc' (bytes); {WANTED}"),
        (a_list, f"a_list() returned [b'abc', 3] (list); {WANTED}"),
        (swapped, "swapped() returned (3, b'abc') (tuple); expected (message, used), in this order"),
        (
            two_nones,
            "two_nones() returned (None, None) (tuple); expected (message, used), of which used is a number of",
        ),
        (no_used, "no_used() returned (b'abc', None) (tuple); expected (message, used), of which used is a number of"),
        (a_view, "a_view() returned <memory at "),
        (triple, f"triple() returned (b'abc', 3, 3) (tuple); {WANTED}"),
        (a_truth, f"a_truth() returned False (bool); {WANTED}"),
        (
            a_fraction,
            "a_fraction() returned (b'abc', 3.0) (tuple); expected (message, used), of which used is a number",
        ),
        (
            nothing_used,
            "nothing_used() returned (b'abc', 0) (tuple); expected (message, used), with 1 to 3 octets used",
        ),
        (more_than_there_is, "returned (b'abc', 4) (tuple); expected (message, used), with 1 to 3 octets used"),
        (no_more_than_there_is, "returned 3 (int); expected (message, used), the number of octets needed in all"),
        (
            the_buffer,
            "the_buffer() returned (bytearray(b'abc'), 3) (tuple); expected (message, used), whose message is",
        ),
        (removes, "removes() left 1 octets of 3 in the buffer, which it may not change; expected (message, used)"),
        (appends, "appends() left 4 octets of 3 in the buffer, which it may not change"),
        (keeps_a_view, "keeps_a_view() keeps a view of the buffer; return slices of it as bytes"),
    ],
)
def test_what_decode_may_not_return(decode: Callable[[bytearray, int], Any], told: str) -> None:
    for decoder in (custom(decode).decoder(), Switch(((b"a", custom(decode)),)).decoder()):
        with pytest.raises(FramingMistake) as caught:
            decoder.feed(b"abc")
        assert told in str(caught.value)
        assert str(caught.value).startswith(f"{decode.__name__}: ")
        with pytest.raises(FramingMistake) as again:
            decoder.feed(b"more")
        assert again.value is caught.value
    kept.clear()


def test_a_mistake_behind_good_messages_comes_behind_them() -> None:
    def decode(buffer: bytearray, seen: int) -> Any:
        return bytes(buffer) if buffer.startswith(b"!") else (bytes(buffer[:1]), 1)

    outcome = drive(custom(decode), [b"ab!c"])
    assert outcome.messages == [b"a", b"b"]
    assert isinstance(outcome.error, FramingMistake)
    assert isinstance(pickle.loads(pickle.dumps(outcome.error)), FramingMistake)


def test_what_decode_raises_is_the_peers_doing_and_names_the_function() -> None:
    def decode(buffer: bytearray, seen: int) -> Any:
        return int(buffer), 1

    error = drive(custom(decode), [b"x"]).error
    assert type(error) is MalformedMessage
    assert "decode() cannot decode: ValueError: invalid literal for int()" in str(error)
    assert isinstance(error.__cause__, ValueError)


def angle(buffer: bytearray, seen: int) -> tuple[bytes, int] | None:
    at = buffer.find(b">", seen)
    return (bytes(buffer[: at + 1]), at + 1) if at >= 0 else None


def viewed(buffer: bytearray, seen: int) -> tuple[memoryview, int] | None:
    at = buffer.find(b">", seen)
    return (memoryview(buffer)[: at + 1], at + 1) if at >= 0 else None


def whole(message: bytes) -> bytes:
    if message[:1] != b"<" or message.find(b">") != len(message) - 1:
        raise ValueError("a message begins with < and has > at its end alone")
    return message


@pytest.mark.parametrize("decode", [angle, viewed])
def test_a_switch_around_two_functions(decode: Callable[[bytearray, int], Any]) -> None:
    """What they look at behind their message is another's, and stays where it is."""
    own = custom(decode, whole, max_message=4096)
    framing = Switch(((b"<", own), (b"$", Line()), (b"\1", u16(max_message=4096)), (b"(", custom(decode, name="b"))))
    check_framing(
        framing,
        [
            (b"<one>$two\n<three>$four\n", [b"<one>", b"$two", b"<three>", b"$four"]),
            (b"$\n<>$\n<>", [b"$", b"<>", b"$", b"<>"]),
            (b"<a><b>$c\n", [b"<a>", b"<b>", b"$c"]),
            (b"<a>$b\n<unfinished", [b"<a>", b"$b"], IncompleteMessage),
            (b"<a>!", [b"<a>"], MalformedMessage),
            (b"<" + b"x" * 5000, [], MessageTooLong),
        ],
        text=False,
        garbage=False,
    )
    inside = Switch(((b"<", own), (b"$", Switch(((b"$a", Line()), (b"$<", custom(decode, name="c")))))))
    stream = b"<1>$a2\n<3>$<4>$a5\n$<6><7>"
    for size in (1, 2, 5, len(stream)):
        outcome = drive(inside, [stream[at : at + size] for at in range(0, len(stream), size)])
        assert outcome.messages == [b"<1>", b"$a2", b"<3>", b"$<4>", b"$a5", b"$<6>", b"<7>"]
        assert outcome.error is None


def test_numbers_of_any_kind_are_numbers() -> None:
    class Size(enum.IntEnum):
        HEAD = 2

    def decode(buffer: bytearray, seen: int) -> Any:
        return (bytes(buffer[:2]), Size.HEAD) if len(buffer) >= Size.HEAD else Size.HEAD

    assert drive(custom(decode), [b"a", b"bcd"]).messages == [b"ab", b"cd"]


def test_a_large_value_is_cut_in_the_text_of_its_mistake() -> None:
    for value in (bytes(1 << 20), bytearray(1 << 20), "x" * (1 << 20), [0] * (1 << 20), memoryview(bytes(1 << 20))):
        error = drive(custom(returns_two(value)), [b"a"]).error
        assert isinstance(error, FramingMistake)
        assert len(str(error)) < 500


def returns_two(value: Any) -> Callable[[bytearray, int], Any]:
    return lambda buffer, seen: value


def test_none_for_a_message_skips_octets() -> None:
    def decode(buffer: bytearray, seen: int) -> Any:
        if buffer.startswith(b"#"):
            at = buffer.find(b"\n", seen)
            return (None, at + 1) if at >= 0 else None
        return (bytes(buffer[:2]), 2) if len(buffer) > 1 else 2

    def encode(message: bytes) -> bytes:
        if len(message) != 2 or message.startswith(b"#"):
            raise ValueError("a message has two octets")
        return message

    framing = custom(decode, encode, max_message=64)
    known = [(b"abcd", [b"ab", b"cd"]), (b"#x\nab#\n#\ncd", [b"ab", b"cd"], IncompleteMessage)]
    check_framing(framing, known[:1], text=False)
    for decoder in (framing.decoder(), Switch(((b"#", framing), (b"a", framing))).decoder()):
        assert decoder.feed(b"#comm") == []
        assert decoder.feed(b"ent\nab#\nac") == [b"ab", b"ac"]
        assert decoder.skipped == 11
        assert decoder.take(1) == b"#\nac"
    assert isinstance(drive(framing, [b"#" * 100]).error, MessageTooLong)


# -- encoders -----------------------------------------------------------------------------------------------


def returns(value: Any) -> Callable[[Any], Any]:
    def encoder(message: Any) -> Any:
        return value

    return encoder


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (5, "encoder() returned 5 (int); expected octets (bytes, bytearray, memoryview)"),
        ("text", "encoder() returned 'text' (str); expected octets"),
        (None, "encoder() returned None; expected octets"),
        ([1, 2], "encoder() returned [1, 2] (list); expected octets"),
    ],
)
def test_what_encode_may_not_return(value: Any, told: str) -> None:
    encoder = returns(value)
    for framing in (
        custom(angle, encoder),
        feed_parser(lambda: None, encoder),
        event_parser(lambda: None, encoder, need_data=()),
        Parser(lambda: None, lambda parser, octets: None, lambda parser: NOT_YET, encoder),
        mapped(u16(), bytes, encoder),
        mapped(Fixed(2), bytes, encoder),
        mapped(custom(angle, whole), bytes, encoder),
    ):
        for encode in (framing.encode, lambda message, framing=framing: framing.encode_many([message])):
            with pytest.raises(EncodeError) as caught:
                encode(b"<>")
            assert str(framing) in str(caught.value)
            if not isinstance(framing, Mapped) or "custom" not in repr(framing.inner).lower():
                assert told.partition(";")[0] in str(caught.value)


def test_octets_of_any_kind_are_octets() -> None:
    for value in (b"ab", bytearray(b"ab"), memoryview(b"ab")):
        for framing in (custom(angle, returns(value)), feed_parser(lambda: None, returns(value))):
            assert framing.encode(None) == b"ab"
            assert type(framing.encode_many([None])) is bytes


@dataclasses.dataclass(frozen=True)
class Own(Framing):
    """Somebody's own, whose encoder and decoder do what they are told."""

    word = "own"

    value: Any = b""
    kind: Any = None
    max_message: int | None = 64

    def decoder(self) -> Any:
        return self.kind(self) if self.kind is not None else self.value

    def encode(self, message: Any) -> Any:
        return self.value


@pytest.mark.parametrize("value", [5, "text", None, [1]])
def test_an_encode_method_of_ones_own(value: Any) -> None:
    for encode in (Own(value).encode, lambda message: Own(value).encode_many([message])):
        with pytest.raises(EncodeError, match=r"Own\.encode\(\) returned .*; expected octets"):
            encode(b"")
    assert type(Own(bytearray(b"x")).encode(b"")) is bytes
    assert Own(b"x").encode_many([1, 2]) == b"xx"


# -- a decoder of one's own ---------------------------------------------------------------------------------


class Wrong(Decoder):
    """A decoder that does one thing wrong."""

    def __init__(self, framing: Own) -> None:
        self.how = framing.value

    def _do(self, right: Any) -> Any:
        if isinstance(self.how, Exception):
            raise self.how
        return right if self.how == "right" else self.how

    def feed(self, data: Any, limit: int | None = None) -> list[Any]:
        messages: list[Any] = self._do([bytes(data)] if data else [])
        return messages

    def finish(self) -> list[Any]:
        messages: list[Any] = self._do([])
        return messages

    def gap(self) -> list[Any]:
        return self.finish()

    @property
    def buffered(self) -> int:
        count: int = self._do(0)
        return count

    def take(self, undelivered: int = 0) -> bytes:
        octets: bytes = self._do(b"")
        return octets

    def settle(self) -> None:
        self._do(None)


def test_a_decoder_of_ones_own_that_is_right() -> None:
    decoder = decoder_of(Own("right", Wrong))
    assert decoder.feed(b"ab") == [b"ab"]
    decoder.settle()
    assert (decoder.buffered, decoder.held, decoder.skipped) == (0, 0, 0)
    assert decoder.finish() == decoder.gap() == []
    assert decoder.take() == b""
    assert type(decoder_of(Line())) is type(Line().decoder()), "ours are asked directly"


@pytest.mark.parametrize(
    ("how", "told"),
    [
        (ValueError("what is this?"), r"raised ValueError: what is this\?"),
        (None, "returned None; expected a list"),
        ((b"x",), r"returned \(b'x',\) \(tuple\); expected a list"),
        ("abc", r"returned 'abc' \(str\); expected a list"),
    ],
)
def test_a_decoder_of_ones_own_that_is_wrong(how: Any, told: str) -> None:
    for name in ("feed", "finish", "gap"):
        decoder = decoder_of(Own(how, Wrong))
        with pytest.raises(FramingMistake, match=rf"Wrong\.{name}\(\) {told}") as caught:
            getattr(decoder, name)(*([b"x"] if name == "feed" else []))
        for again in (decoder.finish, decoder.gap, decoder.take, lambda: decoder.feed(b"")):  # noqa: B023
            with pytest.raises(FramingMistake) as repeated:
                again()
            assert repeated.value is caught.value
        assert decoder.buffered == decoder.held == decoder.skipped == 0
    for name in ("buffered", "held", "settle"):
        decoder = decoder_of(Own(how, Wrong))
        assert not (decoder.settle() if name == "settle" else getattr(decoder, name))  # type: ignore[func-returns-value]
        if isinstance(how, Exception) or name != "settle":
            with pytest.raises(FramingMistake, match=rf"Wrong\.{name}\(\) (raised|returned)"):
                decoder.feed(b"")


def test_a_decoder_that_cannot_be_made() -> None:
    def fails(framing: Own) -> Any:
        raise KeyError("no such thing")

    with pytest.raises(FramingMistake, match=r"Own\.decoder\(\) raised KeyError: 'no such thing'"):
        decoder_of(Own(kind=fails)).feed(b"x")
    with pytest.raises(FramingMistake, match=r"Own\.decoder\(\) returned 7 \(int\); expected a Decoder"):
        decoder_of(Own(7)).feed(b"x")
    with pytest.raises(FramingMistake, match=r"Own\.decoder\(\) returned 7"):
        decoder_of(mapped(Own(7), bytes, bytes)).feed(b"x")


@pytest.mark.parametrize("how", ["raises", "returns", "too many"])
def test_a_wrong_decoder_inside_of_a_switch(how: str) -> None:
    class Splits(BufferedDecoder):
        def _split(self, limit: int | None) -> Any:
            if how == "raises":
                raise IndexError("out of range")
            return {"returns": None, "too many": [b"a", b"b"]}[how]

    with pytest.raises(FramingMistake, match=r"Splits\._split\(\) (raised IndexError|returned (None|\[b'a', b'b'\]))"):
        Switch(((b"a", Own(kind=Splits)),)).decoder().feed(b"abc")


# -- what can be seen before a connection is there ------------------------------------------------------------


async def waits(message: bytes) -> bytes:
    await asyncio.sleep(0)
    return message


async def waits_for_octets(buffer: bytearray, seen: int) -> None:
    await asyncio.sleep(0)


class Waits:
    async def __call__(self, message: bytes) -> bytes:
        return message


def yields(message: bytes) -> Any:
    yield message


def one_argument(buffer: bytearray) -> None: ...


def no_argument() -> bytes:
    return b""


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: custom(5), "custom: decode: expected a function, called as decode(buffer, seen), got 5 (int)"),
        (
            lambda: custom(waits_for_octets),
            "custom: decode is waits_for_octets(), an async function, which is not awaited",
        ),
        (
            lambda: custom(one_argument),
            "decode is called as decode(buffer, seen), and one_argument(buffer: 'bytearray')",
        ),
        (lambda: custom(angle, "x"), "custom: encode: expected a function, called as encode(message), got 'x' (str)"),
        (lambda: custom(angle, waits), "custom: encode is waits(), an async function"),
        (lambda: custom(angle, functools.partial(waits)), "custom: encode is waits(), an async function"),
        (lambda: custom(angle, Waits()), "custom: encode is Waits(), an async function"),
        (lambda: custom(angle, yields), "custom: encode is yields(), a generator function; it returns, not yields"),
        (
            lambda: custom(angle, no_argument),
            "encode is called as encode(message), and no_argument() -> 'bytes' does not",
        ),
        (lambda: mapped(u16(), waits, bytes), "mapped: decode is waits(), an async function"),
        (lambda: mapped(u16(), no_argument, bytes), "mapped: decode is called as decode(message), and no_argument()"),
        (lambda: mapped(u16(), bytes, None), "mapped: encode: expected a function, called as encode(value), got None"),
        (
            lambda: mapped("u16", bytes, bytes),
            "mapped: 'u16' (str) is not a framing; parse_framing() makes one from a text",
        ),
        (lambda: Mapped(u16(), "json"), "mapped: 'json' (str) is not a Mapping; mapped() makes one of two functions"),
        (lambda: feed_parser(5), "parser: make: expected a function, called as make(), got 5 (int)"),
        (lambda: feed_parser(angle), "parser: make is called as make(), and angle(buffer: 'bytearray', seen: 'int')"),
        (lambda: feed_parser(dict, waits), "parser: encode is waits(), an async function"),
        (lambda: event_parser(dict, need_data=5), "parser: need_data is 5 (int); expected a tuple"),
        (
            lambda: event_parser(dict, need_data=(), resume=no_argument),
            "parser: resume is called as resume(parser),",
        ),
        (lambda: Parser(dict, angle, angle), "parser: get is called as get(parser), and angle(buffer"),
        (lambda: Switch(5), "switch: cases are 5 (int); expected at least one pair of octets and framing"),
        (lambda: Switch(()), "switch: cases are () (tuple); expected at least one pair"),
        (lambda: Switch("ab"), "switch: cases are 'ab' (str); expected at least one pair"),
        (lambda: Switch((b"a", Line())), "switch: a case is b'a' (bytes); expected a pair of octets and framing"),
        (
            lambda: Switch(((b"a", "line"),)),
            "switch: 'line' (str) is not a framing; parse_framing() makes one from a text",
        ),
        (lambda: Switch((("a", Line()),)), "switch: a case is 'a', it must be at least one octet"),
        (lambda: Switch(((b"a", Line()),), 5), "switch: 5 (int) is not a framing"),
    ],
)
def test_what_is_refused_where_the_framing_is_made(make: Callable[[], Any], told: str) -> None:
    with pytest.raises(OptionError) as caught:
        make()
    assert told in str(caught.value)


def test_cases_in_any_container() -> None:
    framing = Switch(((b"a", Line()), (b"b", u16())))
    assert Switch([[b"a", Line()], (b"b", u16())]) == framing  # type: ignore[arg-type]
    assert Switch({b"a": Line(), b"b": u16()}) == framing  # type: ignore[arg-type]
    assert hash(Switch({b"a": Line(), b"b": u16()})) == hash(framing)  # type: ignore[arg-type]


# -- other people's parsers -----------------------------------------------------------------------------------


class Scripted:
    """A parser that returns what it is told, and then ``last`` forever."""

    def __init__(self, script: list[Any], last: Any) -> None:
        self.script, self.last = [*script], last

    def feed(self, octets: bytes) -> None:
        pass

    def gets(self) -> Any:
        got = self.script.pop(0) if self.script else self.last
        if isinstance(got, Exception):
            raise got
        return got

    receive_data, next_event = feed, gets


class Paused:
    """A sentinel as h11 has them: a class."""


BARE = object()


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (Paused, "next_event() returned {!r} twice running; where that means not yet, add it to need_data="),
        (BARE, "next_event() returned {!r} (object) twice running; where that means not yet, add it to need_data="),
        (
            None,
            "next_event() returned 20 messages of 3 octets, the last None; where that means not yet, add it to need_",
        ),
        ("wait", "next_event() returned 20 messages of 3 octets, the last 'wait' (str); where that means not yet"),
    ],
    ids=["class", "object", "None", "text"],
)
def test_an_event_that_never_ends(last: Any, told: str) -> None:
    decoder = event_parser(lambda: Scripted(["one", "two"], last), need_data=(NOT_YET,)).decoder()
    with pytest.raises(FramingMistake) as caught:
        decoder.feed(b"abc")
    assert told.format(last) in str(caught.value)
    assert f"pass paused={last!r} and resume=" in str(caught.value)
    with pytest.raises(FramingMistake):
        decoder.feed(b"abc")
    assert decoder.take() == b"abc"


@pytest.mark.parametrize("last", [None, b"", 0, [], Paused])
def test_a_reply_that_never_ends(last: Any) -> None:
    decoder = feed_parser(lambda: Scripted([b"one"], last)).decoder()
    with pytest.raises(FramingMistake, match=r"gets\(\) returned .*; where that means not yet, pass incomplete="):
        decoder.feed(b"abc")


def test_many_events_of_few_octets_are_lawful() -> None:
    """h11 makes three events of the last octet of a request; values of RESP are the same one after the other."""
    script = ["end", "end", *[object() for _ in range(14)]]
    decoder = event_parser(lambda: Scripted(script, Paused), need_data=(Paused,)).decoder()
    assert decoder.feed(b"a") == script
    decoder = feed_parser(lambda: Scripted([None] * 17, Paused), incomplete=Paused).decoder()
    assert decoder.feed(b"a") == [None] * 17


@pytest.mark.parametrize(
    "error", [KeyError("unknown command"), IndexError("too short"), LookupError("unknown encoding")]
)
def test_what_a_parser_raises_does_not_mean_not_yet(error: Exception) -> None:
    for framing in (
        feed_parser(lambda: Scripted([b"good", error], False)),
        event_parser(lambda: Scripted([b"good", error], Paused), need_data=(Paused,)),
    ):
        decoder = framing.decoder()
        assert decoder.feed(b"abc") == [b"good"]
        with pytest.raises(MalformedMessage) as caught:
            decoder.feed(b"")
        assert caught.value.__cause__ is error
        assert str(error) in str(caught.value)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (dict, r"dict\(\) returned \{\} \(dict\); expected a parser with feed\(\) and gets\(\)"),
        (lambda: None, r"<lambda>\(\) returned None; expected a parser with feed\(\) and gets\(\)"),
        (lambda: 1 // 0, r"<lambda>\(\) raised ZeroDivisionError"),
    ],
)
def test_an_invalid_parser_is_refused(make: Callable[[], Any], told: str) -> None:
    decoder = feed_parser(make).decoder()
    with pytest.raises(FramingMistake, match=told):
        decoder.feed(b"x")


def test_a_parser_that_is_to_be_awaited() -> None:
    class Async:
        def feed(self, octets: bytes) -> None:
            pass

        async def gets(self) -> Any:
            return b"x"

    with pytest.raises(
        FramingMistake, match=r"gets\(\) returned a coroutine, which is not awaited here; expected a message"
    ):
        feed_parser(Async).decoder().feed(b"x")


def test_what_a_parser_makes_is_bounded(require_package: Any) -> None:
    """A message is looked at where it has octets enough to be large."""
    hiredis = require_package("hiredis")
    framing = feed_parser(lambda: hiredis.Reader(notEnoughData=Paused), incomplete=Paused)
    honest = b"*10000\r\n" + b"$10\r\n0123456789\r\n" * 10_000
    hostile = b"*60000\r\n" + b"*2\r\n*0\r\n*0\r\n" * 60_000
    assert len(drive(framing, [honest]).messages[0]) == 10_000
    error = drive(framing, [b"+OK\r\n", hostile]).error
    assert error is None or "octets of memory" in str(error)
    small = dataclasses.replace(framing, max_message_memory=1 << 20)
    outcome = drive(small, [b"+OK\r\n", hostile[:100_000], hostile[100_000:]])
    assert outcome.messages == [b"OK"]
    assert isinstance(outcome.error, MessageTooLong)
    assert outcome.error.allowed == 1 << 20


# -- the kit ----------------------------------------------------------------------------------------------------


def test_the_kit_names_a_mistake() -> None:
    with pytest.raises(AssertionError, match=r"FramingMistake\(.*octets_alone\(\) returned"):
        check_framing(custom(octets_alone), [(b"ab", [b"ab"])], text=False)


def test_a_mapping_is_a_value() -> None:
    assert Mapping(bytes.decode, str.encode, "text") == parse_framing("line+text").mapping  # type: ignore[attr-defined]
    with pytest.raises(EncodeError, match=r"encoder\(\) returned 5 \(int\); u16 takes octets"):
        mapped(u16(), bytes, returns(5)).encode(None)
    assert mapped(Resp(), list, returns(5)).encode(None) == b":5\r\n", "a framing of values takes them"


def undecoded(octets: Any, seen: int = 0) -> Any:
    return octets.decoed()


@pytest.mark.parametrize("framing", [custom(undecoded), mapped(Line(), undecoded, bytes)])
def test_check_framing_keeps_what_the_code_raised(framing: Framing) -> None:
    with pytest.raises(AssertionError) as caught:
        check_framing(framing, [(b"abc\n", [b"abc"])], text=False)
    cause = caught.value.__cause__
    while cause is not None and not isinstance(cause, AttributeError):
        cause = cause.__cause__
    assert isinstance(cause, AttributeError)
    assert traceback.extract_tb(cause.__traceback__)[-1].name == "undecoded"
