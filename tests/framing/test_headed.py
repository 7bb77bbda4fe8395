"""Heads that announce bodies: what the functions of an author may do, and what the encoder refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fourtuple.errors import (
    EncodeError,
    FramingMistake,
    FramingTextError,
    IncompleteMessage,
    MalformedMessage,
    MessageTooLong,
    OptionError,
)
from fourtuple.framing import (
    UNTIL_TRAILER,
    Delimited,
    Fixed,
    Line,
    Slip,
    custom,
    headed,
    mapped,
    parse_framing,
    struct_mapping,
)
from fourtuple.framing.mapped_framing import Mapped
from fourtuple.testing import Vector, check_framing

# -- SCPI: IEEE 488.2, 8.7.9 and 8.7.10: blocks of data in mid-line -------------------------------------------------


def scpi_head(buffer: bytearray, seen: int) -> tuple[bytes, int] | None:
    """The part of a line up to its end, or up to where a block's octets begin: ``#`` and ``0``, or digits."""
    at = max(0, seen - 11)
    while True:
        end, block = buffer.find(b"\n", at), buffer.find(b"#", at)
        if block < 0 or 0 <= end < block:
            return (bytes(buffer[:end]), end + 1) if end >= 0 else None
        if block + 1 >= len(buffer):
            return None
        size = block + 2 + int(buffer[block + 1 : block + 2])
        return (bytes(buffer[:size]), size) if size <= len(buffer) else None


def scpi_size(head: bytes) -> Any:
    """What stands behind the last ``#`` of a head: ``0``, or a digit and so many digits."""
    _, block, digits = head.rpartition(b"#")
    if not block:
        return None
    return UNTIL_TRAILER if digits == b"0" else int(digits[1:])


def scpi_write(head: bytes) -> bytes:
    return head if b"#" in head else head + b"\n"


def test_scpi_blocks_stand_in_mid_line() -> None:
    # A block of known size is followed by the rest of its line: the head of the next message.
    framing = headed(custom(scpi_head, scpi_write), lambda head: scpi_size(head))
    check_framing(
        framing,
        [
            Vector(b":DATA #15he\nlo;*OPC?\n", [(b":DATA #15", b"he\nlo"), (b";*OPC?", None)]),
            Vector(b"#3005#####\n*IDN?\n", [(b"#3005", b"#####"), (b"", None), (b"*IDN?", None)]),
            Vector(b":DATA #1", [], IncompleteMessage),
            Vector(b":DATA #41000x", [], IncompleteMessage),
            Vector(b"#x\n", [], MalformedMessage),
        ],
        text=False,
    )


def test_a_scpi_block_of_unknown_size_ends_with_its_line() -> None:
    framing = headed(custom(scpi_head, scpi_write), scpi_size, b"\n", max_message=4096)
    vectors = [
        Vector(b":DATA #0ab#c\n*IDN?\n", [(b":DATA #0", b"ab#c"), (b"*IDN?", None)]),
        Vector(b":DATA #41000" + b"\n" * 1000 + b"\n", [(b":DATA #41000", b"\n" * 1000)]),
        Vector(b":DATA #0abc", [], IncompleteMessage),
    ]
    check_framing(framing, vectors, text=False)


# -- the function ---------------------------------------------------------------------------------------------


def fails(head: bytes) -> int:
    return int(head)


@pytest.mark.parametrize(
    ("size", "kind", "text"),
    [
        (fails, MalformedMessage, "fails() cannot tell the size of a body: ValueError"),
        (lambda head: -1, MalformedMessage, "<lambda>() tells a body of -1 octets"),
        (
            lambda head: True,
            FramingMistake,
            "returned True (bool); expected a number of octets, None or",
        ),
        (lambda head: "3", FramingMistake, "returned '3' (str); expected"),
        (lambda head: 3.0, FramingMistake, "returned 3.0 (float); expected"),
        (lambda head: UNTIL_TRAILER, FramingMistake, "because there is no trailer"),
        ("last", MalformedMessage, "last word of the head b'good x' is not a number of octets"),
    ],
)
def test_what_is_wrong_is_named(size: Any, kind: type[Exception], text: str) -> None:
    framing = headed("line", size)
    decoder = framing.decoder()
    for _ in range(2):
        with pytest.raises(kind) as caught:
            decoder.feed(b"good x\n")
        assert text in str(caught.value)
    with pytest.raises(EncodeError) as refused:
        framing.encode((b"good x", b""))
    assert text in str(refused.value)


def test_messages_before_a_mistake_come_first() -> None:
    decoder = headed("line", lambda head: None if head == b"ok" else -1).decoder()
    assert decoder.feed(b"ok\nok\nno\nok\n") == [(b"ok", None), (b"ok", None)]
    with pytest.raises(MalformedMessage, match="-1 octets"):
        decoder.feed(b"")


def test_undelivered_messages_are_cut_again() -> None:
    asked = []

    def size(head: bytes) -> int:
        asked.append(head)
        return len(head)

    decoder = headed("line", size, b";").decoder()
    assert decoder.feed(b"a\n1;bc\n23;d\n") == [(b"a", b"1"), (b"bc", b"23")]
    assert decoder.take(1) == b"bc\n23;d\n"
    assert asked[:3] == [b"a", b"bc", b"d"]


def test_a_head_that_does_not_map_ends_the_stream() -> None:
    framing = headed(mapped(Line(), lambda line: int(line), lambda size: b"%d" % size), lambda size: size)
    decoder = framing.decoder()
    assert decoder.feed(b"2\nhix\n") == [(2, b"hi")]
    with pytest.raises(MalformedMessage, match="the head does not map, so that the size of its body is unknown"):
        decoder.feed(b"")
    assert framing.encode((2, b"hi")) == b"2\nhi"


def test_the_size_is_checked_before_the_body_comes() -> None:
    decoder = headed("line", "last", b"\r\n", max_message=16).decoder()
    with pytest.raises(MessageTooLong) as caught:
        decoder.feed(b"put 9\n")
    assert (caught.value.size, caught.value.allowed) == (6 + 9 + 2, 16)
    assert decoder.buffered == 6
    assert headed("line", "last", b"\r\n", max_message=16).decoder().feed(b"put 8\n12345678\r\n")


def test_a_head_is_bounded_by_the_whole() -> None:
    framing = headed("line", "last", max_message=8)
    assert framing.max_buffered == 10
    with pytest.raises(MessageTooLong):
        framing.decoder().feed(b"123456789")
    assert headed(Mapped(Fixed(6), struct_mapping(">HI")), "1", max_message=8).max_buffered == 8


# -- the encoder ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ((b"put 3", b"four"), "announces 3 octets, and the body has 4"),
        ((b"put 3", None), "announces a body, and the message has none"),
        ((b"get", b""), "announces no body, and the message has one"),
        ((b"until", b"a;b"), "the trailer (b';') inside, at octet 1"),
        ((b"put 3", "abc"), "takes octets (bytes, bytearray, memoryview), not str"),
        ((b"a\nput 3", b"abc"), "a line ending"),
        (b"put 3", "expected a tuple (head, body)"),
        ((b"put 3", b"abc", 1), "expected a tuple (head, body)"),
        ((b" put 3", b"abc"), "which the peer would swallow"),
    ],
)
def test_what_the_peer_could_not_read_is_refused(message: Any, text: str) -> None:
    def size(head: bytes) -> Any:
        return {b"get": None, b"until": UNTIL_TRAILER}.get(head, 3)

    framing = headed("line", size, b";", swallow=b" ")
    with pytest.raises(EncodeError) as caught:
        framing.encode(message)
    assert text in str(caught.value)


def test_octets_of_every_kind_are_sent() -> None:
    framing = headed("line", "last")
    assert framing.encode((bytearray(b"put 3"), memoryview(b"abc"))) == b"put 3\nabc"
    assert framing.encode_many([(b"a 1", b"x"), (b"b 0", b"")]) == b"a 1\nxb 0\n"


# -- making one -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: headed(Slip(), "last"), "slip drops octets after its messages, where the body begins"),
        (lambda: headed("json", "last"), "json drops octets"),
        (lambda: headed(Delimited(b"#", swallow=True), "last"), "drops octets"),
        (lambda: headed("line,resync=on", "last"), "drops octets"),
        (lambda: headed("eof", "last"), "the messages of eof do not end in the stream itself"),
        (lambda: headed("raw", "last"), "do not end in the stream itself"),
        (lambda: headed("line", 5), "size: expected a function, called as size(head), got 5 (int)"),
        (lambda: headed("line", lambda: 5), "does not take that"),
        (lambda: headed("line", "first"), "'first' is not one of 'last', '4'"),
        (lambda: headed("line", "a:1|A:2"), "gives two places for A"),
        (lambda: headed("line", "last", "\n"), "trailer is"),
    ],
)
def test_mistakes_are_named_when_it_is_made(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(OptionError) as caught:
        make()
    assert text in str(caught.value)


def test_the_text_form() -> None:
    framing = headed("line:crlf,max_message=512", "PUB:last|HPUB:last", b"\r\n", max_message=1 << 16)
    assert str(framing) == (
        "headed:line:crlf\\,max_message=512,size=PUB:last|HPUB:last,trailer=\\x0d\\x0a,max_message=65536"
    )
    assert parse_framing(str(framing)) == framing
    assert str(headed("line", scpi_size)) == "headed:line,size=scpi_size()"
    with pytest.raises(FramingTextError, match="headed needs its size, as in headed:line:crlf,size=last"):
        parse_framing("headed:line")
    with pytest.raises(FramingTextError, match=r"'scpi_size\(\)' is not one of"):
        parse_framing("headed:line,size=scpi_size()")
