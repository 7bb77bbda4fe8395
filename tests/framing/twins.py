"""The decoder in C and its reference in Python, driven alike: every call must come to the same.

``python tests/framing/twins.py 100000`` tries that many random conversations without a test runner, for the
instrumented build (see ``make sanitize``).
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import fourtuple.framing
from fourtuple.errors import EncodeError, FourTupleError, MessageError
from fourtuple.framing import Decoder, Framing, parse_framing, splitting
from fourtuple.testing.driving import same
from fourtuple.testing.fuzz import SPICE

#: Each of them is split in C: every option that the C knows, alone and with others.
FRAMINGS = (
    *("fixed:1", "fixed:3", "fixed:16", "fixed:20000", "u8", "u16", "u16le", "u24", "u32", "u32le", "u64", "u64le"),
    *("u32,max_message=8", "u64,max_message=none", "u8,inclusive=on", "u16,adjustment=-2"),
    *("u16,adjustment=3,max_message=9", "length:5", "length:6,byteorder=little", "u16,offset=2"),
    *("u16,offset=4,skip=0", "u8,offset=1,skip=0,inclusive=on", "u8,skip=5", "u8,skip=3,offset=1"),
    *(r"u16le,lead=\x02a,offset=2", "u8,offset=2,skip=1,adjustment=1,max_message=12", "u16,max_message=none", "line"),
    *("line:cr", "line:net", "line:net,keep=on", "line:net,max_message=2", "line:cr,max_message=3"),
    *("line:lf", "line:crlf", "line,max_message=4", "line:crlf,max_message=4", "line:lf,max_message=3"),
    *("line,keep=on", "line:crlf,keep=on", "line,max_message=2", "line:crlf,max_message=3"),
    *("line,keep=on,max_message=2", "line,max_message=none", "delimited:#", r"delimited:\x00"),
    *("delimited:ab", "delimited:abc", "delimited:aab"),
    *("delimited:abab,max_message=3", "delimited:abcd"),
    *("delimited:#,keep=on", "delimited:abc,keep=on,max_message=3", "delimited:ab,max_message=2"),
    *(r"delimited:\r\n,max_message=1", "netstring", "netstring,max_message=9"),
    *("netstring,max_message=none", "netstring,max_message=20000", "octet-counting", "octet-counting,max_message=12"),
    *("octet-counting,max_message=none", "syslog", "syslog,max_message=5", r"syslog,trailer=\x00"),
    *(r"syslog,trailer=\r\n,max_message=20000", "resp", "resp:3", "resp,inline=off", "resp:3,max_message=16"),
    *("resp:3,max_message_memory=1024", "resp,max_message_memory=1300,max_message=64"),
    *("resp,max_count=2,max_depth=2", "resp:3,max_count=2,max_depth=2", "resp,max_message=none"),
    *(r"syslog,trailer=\r\n", r"syslog,trailer=ab,max_message=3,write=trailer"),
    *("syslog,write=trailer", "u16+json", "fixed:2+struct:>H"),
    *("u32,max_sent=8", "u16,max_message=4,max_sent=9", "u8,inclusive=on,max_sent=3", "line,max_sent=4,max_message=3"),
    *("line:crlf,max_sent=2", "delimited:#,max_sent=2", "netstring,max_sent=3", "octet-counting,max_sent=2"),
    *("syslog,max_sent=5", "syslog,write=trailer,max_sent=3", "resp,max_sent=16", "resp:3,max_message=8,max_sent=10"),
)  # fmt: skip

#: What means something to one of them; those that the kit knows are added to them.
WORDS = (
    *(b"\0\0\0\2hi", b"\0\3abc", b"\2\0xy", b"\1", b"\0" * 7 + b"\1z", b"\xff" * 8, b"\x02a\3\0abc", b"\0\0"),
    *(b"one\n", b"two\r\n", b"\r\r\n", b"12345\n", b"1234567\r\n", b"a#", b"bc;", b"ab", b"abc", b"aba", b"\r"),
    *(b"\n", b"3:abc,", b"0:,", b"00:,", b"3 abc", b"10:0123456789,", b"5:hello;", b"1:", b"99999999999999999999:"),
    *(b"<34>x\n", b"123 ", b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", b"*1\r\n*2\r\n:1\r\n$-1\r\n", b"$5\r\nhello\r\n"),
    *(b"+OK\r\n", b"-E x\r\n", b":-42\r\n", b":9999999999999999999\r\n", b"%1\r\n+a\r\n:1\r\n"),
    *(b"|1\r\n+a\r\n:1\r\n", b">1\r\n:1\r\n", b"~0\r\n", b"=5\r\ntxt:a\r\n", b"!3\r\nERR\r\n", b",1.5\r\n"),
    *(b"#t\r\n", b"_\r\n", b"(123\r\n", b"*-1\r\n", b"*0\r\n", b"PING 'a b'\r\n", b"%1\r\n*0\r\n:1\r\n"),
    *(b"%2\r\n+a\r\n:1\r\n$1\r\na\r\n_\r\n", b"%1\r\n:1\r\n:2\r\n", b"~2\r\n:1\r\n+a\r\n", b">2\r\n", b"*5\r\n"),
    *(b"-" + b"x" * 60 + b"\r\n", b"!60\r\n" + b"y" * 60 + b"\r\n", b"$700\r\n" + b"z" * 700 + b"\r\n", b"$64\r\n"),
    *(b"a b c d e f g h i j\r\n", b"$+1\r\nx\r\n", b"$01\r\nx\r\n", b":\r\n", b"$\n", b"get\n", b"\r\n"),
    *(b"*3\r\n*3\r\n*3\r\n", b"$?\r\n", b";2\r\nab\r\n", b";0\r\n", b"*?\r\n", b"%?\r\n", b"~?\r\n", b".\r\n"),
    *(b";900\r\n" + b"c" * 900 + b"\r\n", b"*?\r\n:1\r\n", b"%?\r\n+a\r\n", b"|0\r\n", b">?\r\n"),
    *(b":-0\r\n", b",1e400\r\n"),
)  # fmt: skip

#: A call of the contract: its name and its argument. ``feed`` has octets and a limit; ``take`` says how many of the
#: latest messages nobody has seen, and what is taken is fed again, as a connection does that changes its framing.
Call = tuple[str, Any]


def in_c(framing: Framing) -> Decoder:
    """The framing's decoder in C, whatever ``FOURTUPLE_C`` says of the others."""
    decoder = framing.decoder()
    assert type(decoder) is not type(framing.reference()) or hasattr(framing, "inner"), f"{framing} is not split in C"
    return decoder


def compare(framing: Framing, calls: Iterable[Call]) -> None:
    """Make the same calls of both decoders; raise AssertionError at the first difference."""
    python, c = framing.reference(), in_c(framing)
    given = 0
    made: list[str] = []
    for name, argument in calls:
        if name == "take":
            argument = min(argument, given) if argument >= 0 else given
        outcomes = [outcome(decoder, name, argument) for decoder in (python, c)]
        made.append(f"{name}({shown(argument)})")
        told = f"{framing}: {' '.join(made[-12:])}: Python {shown(outcomes[0])}, C {shown(outcomes[1])}"
        assert same(*outcomes), told
        assert python.buffered == c.buffered, f"{told}; buffered are {python.buffered} and {c.buffered}"
        # Values of an unfinished message are held by Python alone: that of the twin, or the one to which the C left it.
        held = python.held - getattr(python, "_charged", 0)
        assert c.held in (held, python.held), f"{told}; held are {held} and {c.held}"
        assert python.skipped == c.skipped, f"{told}; skipped are {python.skipped} and {c.skipped}"
        result = outcomes[0]
        given = len(result) if isinstance(result, list) else 0
        if name == "take" and isinstance(result, bytes) and result:
            again = [outcome(decoder, "feed", (result, 2)) for decoder in (python, c)]
            assert same(*again), f"{told}; and fed again: Python {shown(again[0])}, C {shown(again[1])}"
            given = len(again[0]) if isinstance(again[0], list) else 0


def outcome(decoder: Decoder, name: str, argument: Any) -> Any:
    """What a call came to: its value, or the error's type and text."""
    try:
        if name == "feed":
            return decoder.feed(*argument)
        return decoder.take(argument) if name == "take" else getattr(decoder, name)()
    except (MessageError, ValueError) as error:
        return [type(error).__name__, str(error), vars(error)]


def encode_alike(framing: Framing, messages: Sequence[Any]) -> None:
    """``encode_many`` comes to the same in both."""
    assert isinstance(framing, splitting.Split)

    def one_by_one(messages: Sequence[Any]) -> bytes:
        return b"".join(map(framing.encode, messages))

    outcomes: list[Any] = []
    for encode in (framing.encode_many, framing._encode_many, one_by_one):
        try:
            outcomes.append(encode([*messages]))
        except EncodeError as error:
            outcomes.append(str(error))
    told = f"{framing}: {messages!r}: C {outcomes[0]!r}, Python {outcomes[1]!r}, one by one {outcomes[2]!r}"
    assert same(*outcomes[:2]), told
    assert same(*outcomes[1:]), told


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 400 else f"{text[:300]} ... {len(text)} characters"


def stream(framing: Framing, dice: random.Random) -> bytes:
    """What is right for the framing, what is right for another, and chance."""
    pieces = []
    for _ in range(dice.choice((1, 2, 5, 9))):
        message = bytes(dice.choices(b"ab#;\r\nxyz01,:", k=dice.choice((0, 1, 2, 3, 5, 16, 300))))
        if dice.random() < 0.02:
            message = bytes(dice.choices(b"xyz", k=20000 + dice.randrange(9)))
        match dice.randrange(6):
            case 0:
                pieces.append(dice.choice(WORDS))
            case 1:
                pieces.append(bytes(dice.choices(SPICE, k=dice.randrange(5))))
            case _:
                try:
                    pieces.append(framing.encode(message))
                except (FourTupleError, TypeError, ValueError):
                    pieces.append(dice.choice(WORDS))
    return b"".join(pieces)


def conversation(framing: Framing, dice: random.Random) -> list[Call]:
    octets = stream(framing, dice)
    calls: list[Call] = []
    at, longest = 0, dice.choice((1, 3, 20, 400, 9000, 1 << 20))
    while at < len(octets) and len(calls) < 400:
        size = dice.randint(0, longest)
        piece: Any = octets[at : at + size]
        piece = dice.choice((bytes, bytes, bytes, bytearray, memoryview))(piece)
        calls.append(("feed", (piece, dice.choice((None, None, None, 1, 2, 64)))))
        at += size
        for _ in range(dice.choice((0, 0, 1, 2))):
            other = dice.choice(("settle", "settle", "settle", "feed", "take", "gap"))
            calls.append(
                (other, {"feed": (b"", dice.choice((None, 1))), "take": dice.choice((-1, 0, 1, 2))}.get(other))
            )
    calls += [("finish", None)] * dice.choice((0, 1, 3))
    return calls


def main(cases: int, seed: int) -> None:
    """Try ``cases`` random conversations in turns over all framings."""
    framings = [parse_framing(text) for text in FRAMINGS]
    for case in range(cases):
        dice = random.Random(f"{seed} {case}")
        framing = framings[case % len(framings)]
        try:
            compare(framing, conversation(framing, dice))
            if not hasattr(framing, "inner"):
                choices: list[Any] = [
                    b"",
                    b"a",
                    b"ab",
                    b"abc",
                    b"#",
                    b"x\r",
                    b"\nx",
                    b"1" * 16,
                    b"\0\3\0\3",
                    b"long" * 9,
                ]
                encode_alike(framing, dice.choices([*choices, bytearray(b"abc"), "text"], (9,) * 10 + (1, 1), k=3))
        except AssertionError as error:
            raise AssertionError(f"case {case} of seed {seed}: {error}") from error
    print(f"{cases} conversations, {fourtuple.framing.__name__} in C and in Python alike")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
