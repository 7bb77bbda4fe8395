"""A function of a framing's author that raises something that is not an Exception: the mistake of one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from fourtuple.errors import MessageError
from fourtuple.framing import Framing, Line, Unmapped, custom, event_parser, feed_parser, headed, mapped


class Panic(BaseException):
    """As the panics of parsers in Rust come out in Python."""


BAD = [Panic("no"), asyncio.CancelledError(), GeneratorExit()]


def cut(error: BaseException) -> Framing:
    def decode(buffer: bytearray, seen: int) -> tuple[bytes, int] | None:
        if buffer[:3] == b"bad":
            raise error
        end = buffer.find(b"\n")
        return (bytes(buffer[:end]), end + 1) if end >= 0 else None

    return custom(decode, lambda message: message + b"\n")


def head(error: BaseException) -> Framing:
    def size(head: bytes) -> None:
        if head == b"bad":
            raise error

    return headed("line", size)


class Parser:
    def __init__(self, error: BaseException) -> None:
        self.octets, self.error = b"", error

    def feed(self, data: bytes) -> None:
        self.octets += data

    def get(self) -> Any:
        line, end, rest = self.octets.partition(b"\n")
        if not end:
            return None
        if line == b"bad":
            raise self.error
        self.octets = rest
        return line

    receive_data, next_event, gets = feed, get, get


@pytest.mark.parametrize("error", BAD, ids=repr)
@pytest.mark.parametrize(
    "make",
    [
        cut,
        head,
        lambda error: event_parser(lambda: Parser(error), need_data=(None,)),
        lambda error: feed_parser(lambda: Parser(error), incomplete=None),
    ],
    ids=["custom", "headed", "events", "feed"],
)
def test_good_messages_come_first_and_then_one_error(make: Callable[[Any], Framing], error: BaseException) -> None:
    decoder = make(error).decoder()
    good = decoder.feed(b"one\ntwo\nbad\n")
    assert [each[0] if isinstance(each, tuple) else each for each in good] == [b"one", b"two"]
    for _ in range(2):
        with pytest.raises(MessageError) as caught:
            decoder.feed(b"")
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", BAD, ids=repr)
def test_a_mapping_gives_a_message_that_does_not_map(error: BaseException) -> None:
    def decode(message: bytes) -> bytes:
        if message == b"bad":
            raise error
        return message

    one, bad, two = mapped(Line(), decode, lambda value: value).decoder().feed(b"one\nbad\ntwo\n")
    assert (one, two) == (b"one", b"two")
    assert isinstance(bad, Unmapped)
    assert bad.error.__cause__ is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_what_ends_the_program_passes(error: BaseException) -> None:
    with pytest.raises(type(error)):
        cut(error).decoder().feed(b"bad\n")
