"""The bound of third-party parsers: it is the same however the stream is cut, and the parser gets no more octets."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from typing import Any

import pytest

from fourtuple.errors import IncompleteMessage, MessageTooLong
from fourtuple.framing import Framing, event_parser, feed_parser
from fourtuple.testing import check_framing, drive


class Lines:
    """A parser of lines, in its initial state after each of them."""

    def __init__(self) -> None:
        self.held = b""
        self.most = self.feeds = 0

    def feed(self, octets: bytes) -> None:
        self.held += octets
        self.most = max(self.most, len(self.held))
        self.feeds += 1

    def gets(self) -> Any:
        line, found, rest = self.held.partition(b"\n")
        if not found:
            return None
        self.held = rest
        return line


class Turns(Lines):
    """A parser that keeps state: the lines after the first one begin with the number of the line before."""

    number = 0

    def gets(self) -> Any:
        line = super().gets()
        if line is None:
            return None
        if self.number and line[:1] != b"%d" % (self.number % 10):
            raise ValueError("out of turn")
        if not self.number and line[:1] != b"a":
            raise ValueError("not a beginning")
        self.number += 1
        return line


def cuts(stream: bytes, seed: int = 0) -> Iterator[list[bytes]]:
    dice = random.Random(seed)
    yield [stream]
    yield [stream[at : at + 1] for at in range(len(stream))]
    for _ in range(30):
        places = sorted(dice.sample(range(len(stream)), min(len(stream), dice.randint(1, 8))))
        yield [stream[one:two] for one, two in zip([0, *places], [*places, len(stream)], strict=True)]


def outcomes(framing: Framing, stream: bytes) -> tuple[list[Any], BaseException | None]:
    """The outcome, which is the same for all cuts."""
    first = drive(framing, [stream])
    for pieces in cuts(stream):
        for limit in (None, 1, 2):
            assert drive(framing, pieces, limit) == first, (pieces, limit)
    return list(first.messages), first.error


@pytest.mark.parametrize("size", [62, 63, 64, 65, 100, 1000])
def test_a_message_is_bounded_however_the_stream_is_cut(size: int) -> None:
    framing = feed_parser(Lines, incomplete=None, max_message=64)
    good = [b"x" * each for each in (0, 1, 63, 10, 62, 63, 63, 5)]
    last = b"y" * size
    stream = b"".join(each + b"\n" for each in [*good, last, b"end"])
    messages, error = outcomes(framing, stream)
    if size < 64:  # the line feed counts: a parser does not tell what of its octets was the message
        assert messages == [*good, last, b"end"]
        assert error is None
    else:
        assert messages == good
        assert isinstance(error, MessageTooLong)
        assert (error.size, error.allowed) == (65, 64)
    outcome = outcomes(framing, b"ab\n" + b"x" * 64)
    assert outcome[0] == [b"ab"]
    assert isinstance(outcome[1], IncompleteMessage)


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))])
def test_the_bound_of_a_parser_with_state_is_at_most_an_eighth_late(seed: int) -> None:
    framing = dataclasses.replace(feed_parser(Turns, incomplete=None, max_message=80), stateful=True)
    dice = random.Random(seed)
    kinds = set()
    allowed, beyond = (2, 3, 10, 40, 79, 80), (81, 85, 90, 91, 95, 200)
    for conversation in range(50):
        sizes = [dice.choice(allowed if conversation % 10 == 0 else allowed + beyond) for _ in range(8)]
        lines = [b"%d%s\n" % (number % 10, b"x" * (size - 2)) for number, size in enumerate(sizes)]
        lines[0] = b"a" + lines[0][1:]
        messages, error = outcomes(framing, b"".join(lines))
        refused = len(messages)
        assert all(len(each) <= 90 for each in lines[:refused])
        kinds.add(type(error))
        if isinstance(error, MessageTooLong):
            assert len(lines[refused]) > 80
            assert (error.size, error.allowed) == (81, 80)
        else:
            assert refused == len(lines)
    assert {MessageTooLong, type(None)} <= kinds


def test_a_parser_whose_state_is_not_declared_is_bounded_too() -> None:
    framing = feed_parser(Turns, incomplete=None, max_message=80)
    lines = [b"a\n", b"1" + b"x" * 70 + b"\n", b"2\n", b"3" + b"x" * 78 + b"\n", b"4" + b"x" * 90 + b"\n"]
    for pieces in cuts(b"".join(lines)):
        outcome = drive(framing, pieces)
        assert outcome.messages == [each[:-1] for each in lines[:4]]
        assert isinstance(outcome.error, MessageTooLong)


def test_a_parser_gets_no_more_octets_of_a_message_than_its_bound() -> None:
    made: list[Lines] = []

    def make() -> Lines:
        made.append(Lines())
        return made[-1]

    framing = feed_parser(make, incomplete=None, max_message=64)
    decoder = framing.decoder()
    with pytest.raises(MessageTooLong):
        decoder.feed(b"x" * 10_000)
    assert decoder.parser is made[0]
    assert made[0].most == 64
    decoder = framing.decoder()
    assert len(decoder.feed(b"x\n" * 100_000)) == 100_000
    assert decoder.parser.most <= 64


def test_the_steps_cost_little() -> None:
    decoder = feed_parser(Lines, incomplete=None, max_message=1 << 20).decoder()
    for _ in range(64):
        decoder.feed(b"x" * 15 + b"\n")
    assert decoder.parser.feeds == 64  # a read is fed as it is
    decoder.feed(b"y" * (1 << 19))
    assert decoder.parser.feeds <= 64 + 5  # and a large one in eighths of the bound


def test_hiredis_is_bounded(require_package: Any) -> None:
    hiredis = require_package("hiredis")
    framing = feed_parser(hiredis.Reader, lambda octets: b"$%d\r\n%s\r\n" % (len(octets), octets), max_message=64)
    known = [(b"$5\r\nhello\r\n", [b"hello"]), (b"$58\r\n" + b"x" * 58 + b"\r\n", [], MessageTooLong)]
    check_framing(framing, known, text=False)
    for size in (58, 100, 1000):
        messages, error = outcomes(framing, framing.encode(b"x" * 56) + framing.encode(b"x" * size))
        assert messages == [b"x" * 56]
        assert isinstance(error, MessageTooLong)


def test_h11_is_bounded(require_package: Any) -> None:
    h11 = require_package("h11")
    framing = event_parser(lambda: h11.Connection(h11.SERVER), need_data=(h11.NEED_DATA,), max_message=200)
    for size in (100, 168, 169, 300, 3000):
        stream = b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * size + b"\r\n\r\n"
        errors = {type(drive(framing, pieces).error) for pieces in cuts(stream)}
        assert errors == {MessageTooLong if len(stream) > 200 else type(None)}
