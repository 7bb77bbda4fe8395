"""A stream that is held to rates: what came above them waits, is delivered in the end, and once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourtuple.errors import EndOfFile, IncompleteMessage, MessageTooLong, PeerReset, WouldBlock
from fourtuple.four_tuple import FourTuple
from fourtuple.framing import Framing, parse_framing
from fourtuple.options import Deadlines, Limits
from fourtuple.rates.throttle import Throttle
from fourtuple.stream import Half, Stream

NAME = FourTuple("192.0.2.1", 9999, "192.0.2.2", 40000)


class Throttled:
    """A stream, its clock, and what its owner would do when it is told to wait."""

    def __init__(self, framing: str | Framing = "line", *, first_message: bool = False, **limits: Any) -> None:
        self.now = 0.0
        given = Limits(**limits)
        self.stream = Stream(parse_framing(framing), NAME, given, 0.0, first_message=first_message)
        self.until: list[float] = []
        self.stream.be_throttled(Throttle(given, lambda: self.now, self.until.append, lambda: True))

    def receive(self, octets: bytes) -> None:
        self.stream.received(octets, self.now)

    def messages(self) -> list[Any]:
        """What may be had now."""
        found = []
        while True:
            try:
                found.append(self.stream.next_message())
            except (WouldBlock, EndOfFile):
                return found


def test_what_is_above_the_rate_is_not_delivered_and_stops_the_reading() -> None:
    world = Throttled(max_message_rate=2.0)
    world.receive(b"a\nb\nc\nd\ne\n")
    assert world.messages() == [b"a", b"b"]
    assert world.stream.held_back
    assert not world.stream.wants_read
    assert world.stream.messages_in == 2, "what is counted is what was delivered"
    assert world.until[-1] == pytest.approx(0.5, rel=1e-4)
    world.now = 0.5
    assert world.messages() == [b"c"]
    world.now = 10.0
    assert world.messages() == [b"d", b"e"]
    assert not world.stream.held_back
    assert world.stream.wants_read


def test_a_read_without_a_token_is_kept_as_it_came() -> None:
    world = Throttled(max_message_rate=1.0)
    world.receive(b"a\n")
    assert world.messages() == [b"a"]
    world.receive(b"b\nhalf ")
    assert world.messages() == []
    assert world.stream.buffered == 7
    with pytest.raises(WouldBlock, match="above the allowed rate"):
        world.stream.next_message()
    world.now = 1.0
    assert world.messages() == [b"b"]
    world.now = 2.0
    world.receive(b"and half\n")
    assert world.messages() == [b"half and half"]


@pytest.mark.parametrize("framing", ["line", "eof", "u8", "json", "gap:0.5"])
def test_the_end_of_file_comes_behind_what_waits(framing: str) -> None:
    world = Throttled(framing, max_message_rate=1.0)
    octets = {"line": b"a\nb\nc\n", "u8": b"\1a\1b\1c", "json": b'"a" "b" "c"'}.get(framing, b"abc")
    assert world.stream.throttle is not None
    world.stream.throttle.delivered(world.stream.throttle.messages(512))  # by another message
    world.receive(octets)
    world.stream.received_eof(0.0)
    world.stream.end_writing()
    world.stream.fin_sent(0.0)
    found = []
    for _ in range(10):
        assert not world.stream.exhausted
        assert not world.stream.readable
        assert not world.stream.over, "both have finished, and something waits"
        assert world.messages() == []
        world.now += 1.0
        found += [world.stream.next_message()]
        if world.stream.exhausted:
            break
    assert found in ([b"a", b"b", b"c"], [b'"a"', b'"b"', b'"c"'], [b"abc"])
    with pytest.raises(EndOfFile):
        world.stream.next_message()
    assert world.stream.over


def test_an_end_of_file_in_mid_message_is_reported_behind_what_waits() -> None:
    world = Throttled("u8", max_message_rate=1.0)
    world.receive(b"\1a\1b\3c")
    world.stream.received_eof(0.0)
    assert world.messages() == [b"a"]
    world.now = 1.0
    assert world.stream.next_message() == b"b"
    assert not world.stream.exhausted, "half a message: it could be a whole one"
    world.now = 2.0
    with pytest.raises(IncompleteMessage):
        world.stream.next_message()


def test_a_broken_message_is_reported_behind_what_waits() -> None:
    world = Throttled("line,max_message=4", max_message_rate=1.0)
    world.receive(b"a\nb\nmuch too long\n")
    assert world.messages() == [b"a"]
    assert world.stream.read_error is None
    world.now = 1.0
    assert world.stream.next_message() == b"b"
    world.now = 2.0
    with pytest.raises(MessageTooLong):
        world.stream.next_message()


def test_a_lost_connection_is_lost_at_once() -> None:
    world = Throttled(max_message_rate=1.0)
    world.receive(b"a\nb\nc\n")
    assert world.messages() == [b"a"]
    world.stream.lost(ConnectionResetError())
    assert world.stream.exhausted
    assert world.stream.over
    with pytest.raises(PeerReset):
        world.stream.next_message()


def test_what_waits_can_be_dropped() -> None:
    world = Throttled(max_message_rate=1.0)
    world.receive(b"a\nb\nc\n")
    assert world.messages() == [b"a"]
    world.stream.write_lost(ConnectionResetError())
    assert world.stream.held_back
    world.stream.drop_waiting()
    assert world.stream.discarded == 4
    assert world.stream.over
    world.now = 10.0
    with pytest.raises(PeerReset):
        world.stream.next_message()


def test_after_a_close_nothing_waits() -> None:
    world = Throttled(max_message_rate=1.0, max_octet_rate=6.0)
    world.receive(b"a\nb\nc\n")
    assert world.messages() == [b"a"]
    world.stream.close()
    assert not world.stream.held_back
    assert world.stream.wants_read, "what still comes is discarded"
    assert world.stream.read_size == 65536
    world.stream.received_eof(0.0)
    world.stream.fin_sent(0.0)
    assert world.stream.over


def test_octets_that_may_be_read() -> None:
    world = Throttled(max_octet_rate=100.0)
    assert world.stream.read_size == 100
    world.receive(bytes(90))
    assert world.stream.read_size == 10
    world.receive(bytes(10))
    assert world.stream.read_size == 0
    assert not world.stream.wants_read
    world.now = 0.25
    assert world.stream.read_size == 25
    assert world.stream.wants_read


def test_raw_octets_wait_for_no_message() -> None:
    world = Throttled(max_message_rate=1.0)
    world.receive(b"a\nb\nc\nrest")
    assert world.messages() == [b"a"]
    assert world.stream.take_until(b"\n", 10) == b"b\n"
    assert not world.stream.held_back
    assert world.stream.take_exactly(4) == b"c\nre"
    assert world.messages() == []
    world.now = 1.0
    world.receive(b" of it\n")
    assert world.messages() == [b"st of it"]


def test_another_framing_costs_no_message_twice() -> None:
    world = Throttled(max_message_rate=10.0)
    world.receive(b"a\nb\nc\nd\ne\n")
    for expected in (b"a", b"b", b"c", b"d", b"e"):
        assert world.stream.next_message() == expected
        world.stream.change_framing(parse_framing("line"))
    assert world.stream.throttle is not None
    assert world.stream.throttle.messages(512) == 5


def test_messages_ended_by_silence_count_too() -> None:
    world = Throttled("gap:0.25", max_message_rate=1.0)
    world.receive(b"a")
    world.receive(b"b")
    world.now = 0.25
    world.stream.silence(world.now)
    assert world.messages() == [b"ab"]
    world.receive(b"cd")
    assert world.stream.held_back, "it may not be cut, and so nothing is told of it"
    world.now = 1.25
    assert world.messages() == []
    assert world.stream.gap_at is not None
    world.stream.throttle.delivered(1)  # type: ignore[union-attr] # by another message meanwhile
    world.stream.silence(world.now)
    assert world.messages() == []
    assert not world.stream.wants_read, "the silence was, and the message waits"
    world.now = 2.25
    assert world.messages() == [b"cd"]


class Vanishing(Stream):
    """Its rate is lifted by another thread between any two looks at it."""

    rates: list[Throttle]

    @property
    def throttle(self) -> Throttle | None:  # type: ignore[override]
        return self.rates.pop() if self.rates else None

    @throttle.setter
    def throttle(self, throttle: Throttle | None) -> None:
        self.rates = [] if throttle is None else [throttle]


@pytest.mark.parametrize(
    "use",
    [
        lambda stream: stream.read_size,
        lambda stream: stream.wants_read,
        lambda stream: stream.received(b"a\n", 0.0),
        lambda stream: stream.replenish(),
        lambda stream: stream.silence(0.0),
        lambda stream: stream.take_some(10),
        lambda stream: stream._finish(),
    ],
)
def test_a_rate_may_be_lifted_by_another_thread_at_any_moment(use: Any) -> None:
    limits = Limits(max_message_rate=10.0, max_octet_rate=100.0)
    stream = Vanishing(parse_framing("line"), NAME, limits, 0.0)
    stream.unread(b"x\n")
    stream.be_throttled(Throttle(limits, lambda: 0.0, lambda _: None, lambda: True))
    use(stream)


def test_nothing_is_held_back_by_a_rate_that_is_no_more() -> None:
    world = Throttled(max_message_rate=1.0)
    world.receive(b"a\nb\n")
    assert world.messages() == [b"a"]
    world.stream.be_throttled(None)
    world.stream.held_back = True  # as a thread notes that had asked before
    assert world.messages() == [b"b"]
    assert world.stream.wants_read
    world.stream.received_eof(0.0)
    assert world.stream.readable
    assert world.stream.exhausted
    with pytest.raises(EndOfFile):
        world.stream.next_message()


def test_the_peers_clocks_stand_still_while_it_is_held_back() -> None:
    deadlines = Deadlines(first_message_timeout=5.0, message_timeout=2.0, idle_timeout=20.0)
    world = Throttled("u8", max_message_rate=1.0, first_message=True)
    throttle = world.stream.throttle
    assert throttle is not None
    throttle.delivered(1)
    world.receive(b"\1a\3b")
    assert world.messages() == []
    assert world.stream.next_deadline(deadlines) is None
    world.now = 30.0
    assert world.messages() == [b"a"]
    assert world.stream.next_deadline(deadlines) is None, "what is held might be whole"
    world.now = 31.0
    assert world.messages() == []
    assert world.stream.wants_read
    world.stream.resumed(world.now)
    due = world.stream.next_deadline(deadlines)
    assert due is not None
    assert due[:2] == (33.0, "message_timeout")


@given(
    st.lists(st.binary(max_size=3).filter(lambda each: b"\n" not in each), max_size=40),
    st.lists(st.tuples(st.integers(1, 30), st.floats(0, 3)), max_size=20),
    st.floats(0.5, 20),
    st.booleans(),
)
def test_all_messages_come_once_in_order_and_no_faster(
    messages: list[bytes], steps: list[tuple[int, float]], rate: float, end: bool
) -> None:
    world = Throttled("line", max_message_rate=rate)
    wire = b"".join(message + b"\n" for message in messages)
    found: list[Any] = []
    for size, pause in steps:
        if world.stream.wants_read and wire:
            world.receive(wire[:size])
            wire = wire[size:]
        found += world.messages()
        assert len(found) <= max(1.0, rate) + rate * world.now + 1e-3
        world.now += pause
    for _ in range(200):
        if world.stream.wants_read and wire:
            world.receive(wire)
            wire = b""
        elif end and not wire and world.stream.reading is Half.OPEN:
            world.stream.received_eof(world.now)
        found += world.messages()
        world.now += 1.0
    assert found == [message.removesuffix(b"\r") for message in messages]
