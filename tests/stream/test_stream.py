"""One connection without its socket: every decision about a conversation, with octets and a clock as arguments."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fourtuple.errors import (
    ConnectionBusy,
    ConnectionEnded,
    DeadlinePassed,
    EncodeError,
    EndOfFile,
    IncompleteMessage,
    MessageTooLong,
    OutboxFull,
    PeerReset,
    WouldBlock,
)
from fourtuple.four_tuple import FourTuple
from fourtuple.framing import Framing, parse_framing
from fourtuple.options import Deadlines, Limits
from fourtuple.stream import NOT_YET, Half, Reason, Stream, new_id

NAME = FourTuple("192.0.2.1", 9999, "192.0.2.2", 40000)
WHO = "192.0.2.1:9999 <- 192.0.2.2:40000"


def make(framing: str | Framing = "u8", *, first_message: bool = False, **limits: Any) -> Stream:
    return Stream(parse_framing(framing), NAME, Limits(**limits), 0.0, first_message=first_message)


def received(stream: Stream) -> list[Any]:
    """All messages that are there now."""
    messages = []
    while True:
        try:
            messages.append(stream.next_message())
        except WouldBlock:
            return messages


@given(st.lists(st.integers(1, 40), max_size=8), st.sampled_from(["fixed:16", "fixed:1", "line", "u8"]))
def test_a_message_taken_from_its_read_is_the_one_that_would_be_received(sizes: list[int], framing: str) -> None:
    taking, waiting = make(framing), make(framing)
    octets = b"\x0fpeter piper\npi\n" * 40
    for size in sizes:
        data, octets = octets[:size], octets[size:]
        got = taking.feed(data, 1.0, True)
        assert waiting.feed(data, 1.0, False) is NOT_YET
        expected = received(waiting)
        assert ([] if got is NOT_YET else [got]) + received(taking) == expected
        assert got is NOT_YET or (len(expected) == 1 and taking.message_since is None)
        assert taking.statistics == waiting.statistics
        assert (taking.path, taking.message_since) == (waiting.path, waiting.message_since)
        assert taking.decoder.buffered == waiting.decoder.buffered


@pytest.mark.parametrize("sizes", [[8, 16, 8], [40, 16, 24], [16, 16], [8, 24, 16]])
def test_octets_held_come_before_a_read_of_the_size_of_a_message(sizes: list[int]) -> None:
    stream, octets, messages = make("fixed:16"), bytes(range(96)), []
    for size in sizes:
        data, octets = octets[:size], octets[size:]
        got = stream.feed(data, 1.0, True)
        messages += [] if got is NOT_YET else [got]
        messages += received(stream)
    assert b"".join(messages) + stream.decoder.take() == bytes(range(sum(sizes)))
    assert {len(message) for message in messages} == {16}


def written(stream: Stream, *, at_most: int = 1 << 20) -> bytes:
    """Whatever is to be written, as a kernel that takes ``at_most`` octets at a time gets it."""
    taken = b""
    while stream.outbox_size:
        chunk = bytes(stream.outgoing()[:at_most])
        stream.sent(len(chunk), 1.0)
        taken += chunk
    assert stream.outgoing() == b""
    return taken


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % (len(octets) + 1) for place in places} | {0, len(octets)})
    return [octets[start:end] for start, end in pairwise(ends)]


MESSAGES = st.lists(st.binary(max_size=5), max_size=12)
CUTS = st.lists(st.integers(0, 1000), max_size=8)


# -- octets in --------------------------------------------------------------------------------------------


@given(MESSAGES, CUTS, st.sampled_from([1, 2, 512]))
def test_messages_do_not_depend_on_the_cut(messages: list[bytes], places: list[int], max_batch: int) -> None:
    stream = make(max_batch=max_batch)
    octets = stream.framing.encode_many(messages)
    got = []
    for piece in cut(octets, places):
        stream.received(piece, 1.0)
        got += received(stream)
    assert got == messages
    assert stream.statistics.messages_in == len(messages)
    assert stream.statistics.octets_in == len(octets)
    assert stream.at_boundary


@given(MESSAGES, st.integers(1, 5), CUTS)
def test_the_end_of_file_comes_behind_the_last_message(messages: list[bytes], missing: int, places: list[int]) -> None:
    stream = make()
    whole = stream.framing.encode_many([*messages, b"12345"])
    for piece in cut(whole[:-missing], places):
        stream.received(piece, 1.0)
        while stream.inbox:
            assert stream.next_message() == messages.pop(0)
    stream.received_eof(2.0)
    assert received_to_the_end(stream) == messages
    error = stream.read_error
    assert isinstance(error, IncompleteMessage)
    assert (error.received, error.expected) == (6 - missing, 6 if missing < 6 else None)
    assert str(error).endswith(f"from {WHO}")
    assert stream.exhausted
    with pytest.raises(IncompleteMessage):
        stream.next_message()


def received_to_the_end(stream: Stream) -> list[Any]:
    messages = []
    while True:
        try:
            messages.append(stream.next_message())
        except (EndOfFile, IncompleteMessage):
            return messages


def test_end_of_file_at_a_boundary() -> None:
    stream = make()
    stream.received(b"\1a", 1.0)
    stream.received_eof(2.0)
    assert not stream.exhausted
    assert stream.next_message() == b"a"
    assert stream.exhausted
    assert stream.readable
    for _ in range(2):
        with pytest.raises(EndOfFile, match=r"192\.0\.2\.1:9999 <- 192\.0\.2\.2:40000: the peer sent end of file"):
            stream.next_message()
    assert stream.reason is Reason.PEER_CLOSED


def test_end_of_file_that_is_the_end_of_the_message() -> None:
    stream = make("eof")
    stream.received(b"one", 1.0)
    stream.received(b" file", 2.0)
    assert not stream.readable
    stream.received_eof(3.0)
    assert stream.next_message() == b"one file"
    with pytest.raises(EndOfFile):
        stream.next_message()


def test_nothing_there_would_block_and_is_no_harm() -> None:
    stream = make()
    for _ in range(2):
        with pytest.raises(WouldBlock, match="no whole message has arrived yet"):
            stream.next_message()
    stream.received(b"\1a", 1.0)
    assert stream.next_message() == b"a"


def test_a_broken_message_comes_behind_the_good_ones() -> None:
    stream = make("u8,max_message=2")
    stream.received(b"\1a\2bb\3ccc\1d", 1.0)
    assert received_until_error(stream) == [b"a", b"bb"]
    assert isinstance(stream.read_error, MessageTooLong)
    assert str(stream.read_error) == f"message announces 3 octets, no more than 2 are allowed, from {WHO}"
    assert stream.reason is Reason.MESSAGE_ERROR
    assert stream.exhausted


def received_until_error(stream: Stream) -> list[Any]:
    messages = []
    while True:
        try:
            messages.append(stream.next_message())
        except MessageTooLong:
            return messages


# -- the end that the world makes -------------------------------------------------------------------------


@pytest.mark.parametrize("max_batch", [1, 2, 512])
def test_messages_before_a_reset_are_delivered(max_batch: int) -> None:
    stream = make(max_batch=max_batch)
    stream.received(b"\1a\1b\1c\5d", 1.0)
    stream.lost(ConnectionResetError(104, "Connection reset by peer"))
    assert [stream.next_message() for _ in range(3)] == [b"a", b"b", b"c"]
    assert stream.exhausted
    with pytest.raises(PeerReset, match="reset by the peer") as caught:
        stream.next_message()
    assert caught.value.__cause__ is None, "its text says all that the system's error said"
    assert stream.reason is Reason.RESET
    assert stream.over


def test_octets_behind_a_change_of_framing_survive_a_reset() -> None:
    stream = make()
    stream.received(b"\1a\1b", 1.0)
    assert stream.next_message() == b"a"
    stream.change_framing(parse_framing("fixed:2"))
    stream.broken(PeerReset("gone"))
    assert stream.next_message() == b"\1b"
    with pytest.raises(PeerReset):
        stream.next_message()


def test_raw_octets_survive_a_reset() -> None:
    stream = make()
    stream.received(b"\1a\1b", 1.0)
    stream.broken(PeerReset("gone"))
    assert stream.take_exactly(3) == b"\1a\1"
    assert stream.take_some(10) == b"b"
    with pytest.raises(PeerReset):
        stream.take_some(10)


def test_the_first_error_stays() -> None:
    stream = make("u8,max_message=1")
    stream.received(b"\2", 1.0)
    stream.broken(PeerReset("gone"))
    with pytest.raises(MessageTooLong):
        stream.next_message()
    assert stream.reason is Reason.MESSAGE_ERROR


def test_other_failures_are_a_lost_connection() -> None:
    stream = make()
    stream.lost(TimeoutError(110, "Connection timed out"))
    assert stream.reason is Reason.LOST
    assert str(stream.read_error) == f"{WHO}: Connection timed out"


def test_what_was_sent_before_a_failed_write_can_be_read() -> None:
    stream = make()
    stream.send(b"x")
    stream.write_lost(ConnectionResetError(104, "Connection reset by peer"))
    assert stream.outbox_size == 0
    assert stream.wants_read
    stream.received(b"\1a", 1.0)
    assert stream.next_message() == b"a"
    with pytest.raises(PeerReset):
        stream.send(b"y")
    # The kernel tells a reset once; to the reader it then looks like an end of file, and is none.
    stream.received_eof(2.0)
    with pytest.raises(PeerReset):
        stream.next_message()
    assert stream.reason is Reason.RESET


# -- batches: the framing changes, or raw octets are asked for, at every message of one -------------------

BATCH = [b"", b"a", b"bb", b"ccc", b"\r\n", b"dddd"]
WAYS: dict[str, Callable[[Stream, bytes], bytes]] = {
    "exactly": lambda stream, rest: stream.take_exactly(len(rest)),
    "until": lambda stream, rest: stream.take_until(rest, len(rest)) if rest else b"",
    "some": lambda stream, rest: stream.take_some(len(rest)) if rest else b"",
    "framing": lambda stream, rest: change(stream, f"fixed:{len(rest)}") if rest else b"",
}


def change(stream: Stream, framing: str) -> bytes:
    stream.change_framing(parse_framing(framing))
    message: bytes = stream.next_message()
    return message


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("delivered", range(len(BATCH) + 1))
@pytest.mark.parametrize("max_batch", [1, 3, 512])
@pytest.mark.parametrize("size", [1, 4, 100])
def test_batches_do_not_leak(way: str, delivered: int, max_batch: int, size: int) -> None:
    stream = make(max_batch=max_batch)
    octets = stream.framing.encode_many(BATCH) + b"\7half"
    got: list[bytes] = []
    for start in range(0, len(octets), size):
        stream.received(octets[start : start + size], 1.0)
        while len(got) < delivered and stream.readable:
            got.append(stream.next_message())
        if len(got) == delivered:
            octets = octets[: start + size]
            break
    else:
        start = len(octets)
    assert got == BATCH[:delivered]
    rest = octets[len(stream.framing.encode_many(got)) :]
    assert WAYS[way](stream, rest) == rest
    assert stream.statistics.octets_in == len(octets)
    with pytest.raises(WouldBlock):
        stream.next_message()


class Twin(RuleBasedStateMachine):
    """The stream beside a model of it: one string of octets from which everything is cut naively."""

    def __init__(self) -> None:
        super().__init__()
        self.held = b""
        self.width: int | None = None  # of the fixed framing; None: u8

    @initialize(max_batch=st.sampled_from([1, 2, 512]))
    def begin(self, max_batch: int) -> None:
        self.stream = make(max_batch=max_batch)

    @rule(octets=st.binary(max_size=12).map(lambda octets: bytes(octet % 6 for octet in octets)))
    @precondition(lambda self: self.stream.wants_read)
    def read(self, octets: bytes) -> None:
        if octets:
            self.stream.received(octets, 1.0)
            self.held += octets

    @rule()
    def receive(self) -> None:
        size = self.width or (self.held[0] + 1 if self.held else 1)
        if len(self.held) < size:
            with pytest.raises(WouldBlock):
                self.stream.next_message()
            return
        message, self.held = self.held[:size], self.held[size:]
        assert self.stream.next_message() == (message if self.width else message[1:])

    @rule(width=st.one_of(st.none(), st.integers(1, 4)))
    def change(self, width: int | None) -> None:
        self.width = width
        self.stream.change_framing(parse_framing(f"fixed:{width}" if width else "u8"))

    @rule(size=st.integers(0, 9))
    def exactly(self, size: int) -> None:
        if len(self.held) < size:
            assert self.stream.take_exactly(size) is NOT_YET
            return
        assert self.stream.take_exactly(size) == self.held[:size]
        self.held = self.held[size:]

    @rule(separator=st.sampled_from([b"\1", b"\1\2", b"\0\0", b"\3\1\2"]), most=st.integers(1, 9))
    def until(self, separator: bytes, most: int) -> None:
        at = self.held[:most].find(separator)
        if at < 0:
            if len(self.held) < most:
                assert self.stream.take_until(separator, most) is NOT_YET
                return
            with pytest.raises(MessageTooLong):
                self.stream.take_until(separator, most)
            return
        size = at + len(separator)
        assert self.stream.take_until(separator, most) == self.held[:size]
        self.held = self.held[size:]

    @rule(most=st.integers(1, 9))
    def some(self, most: int) -> None:
        if not self.held:
            assert self.stream.take_some(most) is NOT_YET
            return
        assert self.stream.take_some(most) == self.held[:most]
        self.held = self.held[most:]

    @rule(octets=st.binary(max_size=3).map(lambda octets: bytes(octet % 6 for octet in octets)))
    def unread(self, octets: bytes) -> None:
        self.stream.unread(octets)
        self.held = octets + self.held

    @rule()
    def look(self) -> None:
        size = self.width or (self.held[0] + 1 if self.held else 1)
        assert self.stream.readable == (len(self.held) >= size)

    @invariant()
    def nothing_ended(self) -> None:
        if hasattr(self, "stream"):
            assert self.stream.reading is Half.OPEN
            assert self.stream.read_error is None


TestTwin = Twin.TestCase
TestTwin.settings = settings(stateful_step_count=40)


def test_a_bad_message_is_good_in_another_framing() -> None:
    stream = make("u8,max_message=2")
    stream.received(b"\1a\3xyz", 1.0)
    assert stream.next_message() == b"a"
    with pytest.raises(MessageTooLong):
        stream.next_message()
    stream.change_framing(parse_framing("fixed:4"))
    assert stream.next_message() == b"\3xyz"
    assert stream.reason is None


def test_raw_at_the_end_of_file() -> None:
    stream = make()
    stream.received(b"abc", 1.0)
    stream.received_eof(2.0)
    with pytest.raises(IncompleteMessage, match="expected 4 octets, received 3, from"):
        stream.take_exactly(4)
    with pytest.raises(IncompleteMessage, match="received 3 octets and no end of it"):
        stream.take_until(b"\n", 10)
    assert stream.take_some(10) == b"abc"
    for call in (lambda: stream.take_some(1), lambda: stream.take_exactly(1), lambda: stream.take_until(b"\n", 9)):
        with pytest.raises(EndOfFile):
            call()


def test_a_separator_that_does_not_come() -> None:
    stream = make()
    stream.received(b"abcdef", 1.0)
    with pytest.raises(MessageTooLong, match=r"text without b'.n' has reached 6 octets, no more than 4 are allowed"):
        stream.take_until(b"\n", 4)
    assert stream.take_exactly(6) == b"abcdef"


def test_another_separator_is_searched_from_the_beginning() -> None:
    stream = make()
    stream.received(b"a\nb", 1.0)
    assert stream.take_until(b"\r\n", 100) is NOT_YET
    assert stream.take_until(b"\n", 100) == b"a\n"


def test_a_separator_is_searched_once() -> None:
    """Linear: with many small reads, what was searched is not searched again."""
    stream = make()
    stream.go_raw()
    for _ in range(1000):
        stream.received(b"xxxxxxxxx\r", 1.0)
        assert stream.take_until(b"\r\n", 100_000) is NOT_YET
        assert len(stream.go_raw().octets) - stream.go_raw()._searched == 1  # an unfinished separator, no more
    stream.received(b"\n", 1.0)
    assert len(stream.take_until(b"\r\n", 100_000)) == 10_001


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda stream: stream.take_exactly(-1), "size: expected a whole number of octets, not negative, got -1"),
        (lambda stream: stream.take_some(0), "max_octets: expected a whole number of octets, 1 or more, got 0"),
        (lambda stream: stream.take_until(b"", 1), "separator: expected at least one octet .bytes., got b''"),
    ],
)
def test_impossible_raw_calls(call: Callable[[Stream], bytes], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        call(make())


# -- requests ---------------------------------------------------------------------------------------------


def test_replies_come_in_order() -> None:
    stream = make()
    woken: list[int] = []
    requests = [stream.request(b"q", lambda number=number: woken.append(number)) for number in range(3)]
    assert written(stream) == b"\1q" * 3
    stream.received(b"\1a\1", 1.0)
    assert woken == [0]
    stream.received(b"b\1c", 2.0)
    assert woken == [0, 1, 2]
    assert [request.result() for request in requests] == [b"a", b"b", b"c"]
    assert stream.outstanding == 0


def test_a_request_that_was_given_up_keeps_its_place() -> None:
    stream = make()
    first, second = stream.request(b"1"), stream.request(b"2")
    first.abandoned = True
    assert stream.outstanding == 1
    stream.received(b"\1a\1b", 1.0)
    assert second.result() == b"b"
    assert not first.done
    assert stream.statistics.late_replies == 1


def test_messages_behind_the_replies_are_received() -> None:
    stream = make()
    request = stream.request(b"1")
    stream.received(b"\1a\1b", 1.0)
    assert request.result() == b"a"
    assert stream.next_message() == b"b"


def test_receive_beside_requests_is_refused() -> None:
    stream = make()
    request = stream.request(b"1")
    with pytest.raises(ConnectionBusy, match="receive while 1 requests are outstanding"):
        stream.check_receive()
    request.abandoned = True
    stream.check_receive()


@pytest.mark.parametrize("max_batch", [1, 512])
def test_a_request_behind_undelivered_messages_is_refused(max_batch: int) -> None:
    stream = make(max_batch=max_batch)
    stream.received(b"\1a\1b", 1.0)
    assert stream.next_message() == b"a"
    with pytest.raises(ConnectionBusy, match="1 messages wait for receive"):
        stream.request(b"q")
    assert stream.outbox_size == 0


def test_a_request_ends_raw_mode() -> None:
    stream = make()
    stream.received(b"raw", 1.0)
    assert stream.take_exactly(3) == b"raw"
    request = stream.request(b"q")
    stream.received(b"\1a", 2.0)
    assert request.result() == b"a"


def test_raw_calls_beside_requests_are_refused() -> None:
    stream = make()
    stream.request(b"q")
    with pytest.raises(ConnectionBusy, match="1 requests are outstanding, and their replies must be whole messages"):
        stream.take_some(1)
    with pytest.raises(ConnectionBusy):
        stream.change_framing(parse_framing("line"))


def test_many_held_replies_are_answered_without_recursion() -> None:
    stream = make(max_batch=1)
    requests = [stream.request(b"") for _ in range(5000)]
    stream.received(b"\0" * 5000, 1.0)
    assert all(request.done for request in requests)


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (lambda stream: stream.received_eof(1.0), EndOfFile),
        (lambda stream: stream.broken(PeerReset("gone")), PeerReset),
        (lambda stream: stream.close(), ConnectionEnded),
    ],
)
def test_requests_fail_with_the_connection(end: Callable[[Stream], None], error: type[Exception]) -> None:
    stream = make()
    answered, given_up, failed = stream.request(b"1"), stream.request(b"2"), stream.request(b"3")
    given_up.abandoned = True
    stream.received(b"\1a", 0.5)
    end(stream)
    assert answered.result() == b"a"
    with pytest.raises(error):
        failed.result()
    assert not given_up.done


def test_a_broken_reply_fails_the_request_behind_the_good_ones() -> None:
    stream = make("u8,max_message=1")
    first, second = stream.request(b"1"), stream.request(b"2")
    stream.received(b"\1a\2bb", 1.0)
    assert first.result() == b"a"
    with pytest.raises(MessageTooLong):
        second.result()


def test_a_request_after_the_end_of_file_fails_at_once() -> None:
    stream = make()
    stream.received_eof(1.0)
    with pytest.raises(EndOfFile):
        stream.request(b"q").result()


def test_the_last_reply_may_be_the_end_of_file() -> None:
    stream = make("eof")
    request = stream.request(b"everything")
    assert stream.writing is Half.ENDING
    stream.received(b"the reply", 1.0)
    stream.received_eof(2.0)
    assert request.result() == b"the reply"


# -- octets out -------------------------------------------------------------------------------------------


@given(st.lists(st.one_of(st.binary(max_size=30), st.lists(st.binary(max_size=9), max_size=4))), st.data())
def test_partial_writes_lose_and_double_nothing(sends: list[Any], data: st.DataObject) -> None:
    stream = make()
    expected, taken = b"", b""

    def kernel_takes() -> None:
        nonlocal taken
        chunk = stream.outgoing()
        count = data.draw(st.integers(0, len(chunk)))
        taken += chunk[:count]
        stream.sent(count, 1.0)

    for each in sends:
        if isinstance(each, list):
            stream.send_many(each)
            expected += stream.framing.encode_many(each)
        else:
            stream.send(each)
            expected += stream.framing.encode(each)
        kernel_takes()
        assert stream.outbox_size == len(expected) - len(taken)
    taken += written(stream, at_most=7)
    assert taken == expected
    assert stream.statistics.octets_out == len(expected)


def test_small_chunks_are_joined_and_large_ones_are_not_copied() -> None:
    stream = make("raw")
    for _ in range(3):
        stream.send(b"abc")
    assert bytes(stream.outgoing()) == b"abcabcabc"
    large = bytes(1 << 20)
    stream.sent(9, 1.0)
    stream.send(large)
    stream.send(b"x")
    assert stream.outgoing() is large


def test_encode_errors_take_nothing() -> None:
    stream = make("fixed:2")
    with pytest.raises(EncodeError):
        stream.send(b"abc")
    with pytest.raises(EncodeError):
        stream.send_many([b"ab", b"abc"])
    assert (stream.outbox_size, stream.messages_out) == (0, 0)
    stream.send_many([])
    assert stream.outbox_size == 0


def test_reading_stops_at_high_water_and_resumes_at_low_water() -> None:
    stream = make("raw", high_water=100, low_water=10)
    stream.send(bytes(99))
    assert (stream.crowded, stream.wants_read) == (False, True)
    stream.send(b"x")
    assert (stream.crowded, stream.relieved, stream.wants_read) == (True, False, False)
    stream.sent(89, 1.0)
    assert (stream.crowded, stream.relieved) == (False, False)
    stream.sent(1, 1.0)
    assert stream.relieved


def test_the_outbox_is_bounded() -> None:
    stream = make("raw", max_outbox=100, high_water=100, low_water=0)
    stream.send(bytes(99))
    assert not stream.crowded
    stream.send(bytes(101))  # who was not told to wait is not refused, however large the message
    text = r"the outbox holds 200 octets and takes no more from 100 on \(max_outbox\), so not these 1"
    with pytest.raises(OutboxFull, match=text) as caught:
        stream.send(b"x")
    assert (caught.value.held, caught.value.allowed) == (200, 100)
    assert stream.messages_out == 2
    stream.sent(101, 1.0)
    stream.send(bytes(50))


def test_pending_replies_keep_their_order() -> None:
    stream = make()
    stream.pending = [b"a", b"b"]
    stream.send(b"c")
    assert written(stream) == b"\1a\1b\1c"
    stream.pending = [b"d"]
    stream.change_framing(parse_framing("line"))
    stream.pending.append(b"e")
    stream.close()
    assert written(stream) == b"\1de\n"


def test_a_reply_that_cannot_be_encoded_takes_the_ones_before_it() -> None:
    stream = make("fixed:1")
    stream.pending = [b"a", b"bb", b"c"]
    with pytest.raises(EncodeError):
        stream.commit()
    assert written(stream) == b"a"
    assert (stream.messages_out, stream.pending) == (1, [])


@pytest.mark.parametrize(
    "act",
    [
        lambda stream: stream.send(b"n"),
        lambda stream: stream.send_many([b"n", b"m"]),
        lambda stream: stream.end_writing(),
        lambda stream: stream.close(),
        lambda stream: stream.change_framing(parse_framing("line")),
        lambda stream: stream.commit_ahead(),
    ],
    ids=["send", "send_many", "send_eof", "close", "change_framing", "broadcast"],
)
@pytest.mark.parametrize("behind", [0, 1])
def test_calls_after_a_reply_that_cannot_be_encoded_are_not_blamed(act: Callable[[Stream], Any], behind: int) -> None:
    stream = make("fixed:1")
    stream.pending = [b"a", b"bb", *[b"c"] * behind]
    act(stream)
    act(stream) if stream.writing is Half.OPEN else None  # nor the next one
    stream.pending.append(b"d")
    with pytest.raises(EncodeError, match="this one has 2"):
        stream.commit()
    assert written(stream) == b"a", "nothing follows it"
    assert (stream.messages_out, stream.pending) == (1, [])


def test_sending_an_unencodable_message_raises_whatever_waits() -> None:
    for waits in ([], [b"a"], [b"bb"]):
        stream = make("fixed:1")
        stream.pending = waits
        for send in (stream.send, lambda message, stream=stream: stream.send_many([b"x", message])):
            with pytest.raises(EncodeError, match="this one has 3"):
                send(b"ccc")


# -- the states of both directions ------------------------------------------------------------------------


def test_a_half_close_follows_what_was_sent() -> None:
    stream = make()
    stream.send(b"last")
    stream.end_writing()
    assert (stream.writing, stream.fin_due) == (Half.ENDING, False)
    with pytest.raises(ConnectionEnded, match="send after its end of file was sent"):
        stream.send(b"more")
    written(stream)
    assert stream.fin_due
    stream.fin_sent(3.0)
    assert (stream.writing, stream.fin_due, stream.over) == (Half.ENDED, False, False)
    stream.received(b"\1a", 4.0)
    assert stream.next_message() == b"a"
    stream.received_eof(5.0)
    assert stream.over


def test_close_writes_what_is_left_and_discards_what_comes() -> None:
    stream = make()
    stream.received(b"\1a\1b", 1.0)
    assert stream.next_message() == b"a"
    stream.send(b"bye")
    stream.close()
    stream.close(Reason.DEADLINE)
    assert stream.readable
    for receive in (stream.next_message, lambda: stream.take_some(1)):
        with pytest.raises(ConnectionEnded, match=r"receive after close\(\)"):
            receive()
    with pytest.raises(ConnectionEnded, match=r"send after close\(\)"):
        stream.send(b"x")
    assert written(stream) == b"\3bye"
    assert stream.fin_due
    stream.fin_sent(2.0)
    assert stream.wants_read
    stream.received(b"\1c", 3.0)
    stream.received_eof(4.0)
    assert stream.over
    assert stream.reason is Reason.CLOSED
    assert stream.statistics.messages_in == 1


def test_a_break_ends_both_directions() -> None:
    stream = make()
    stream.send(b"x")
    stream.broken(ConnectionEnded("aborted"), Reason.ABORTED)
    assert (stream.outbox_size, stream.over, stream.wants_read, stream.fin_due) == (0, True, False, False)
    with pytest.raises(ConnectionEnded, match="aborted"):
        stream.send(b"x")
    with pytest.raises(ConnectionEnded, match="aborted"):
        stream.next_message()
    stream.received_eof(1.0)
    assert stream.reason is Reason.ABORTED


def test_reading_waits_until_messages_are_taken() -> None:
    stream = make(read_size=4)
    stream.received(b"\1a\1b", 1.0)
    assert not stream.wants_read
    received(stream)
    assert stream.wants_read
    stream.unread(b"12345")
    assert not stream.wants_read
    assert stream.take_exactly(100) is NOT_YET
    assert stream.wants_read


# -- deadlines, with the clock as an argument -------------------------------------------------------------

ALL = Deadlines(
    first_message_timeout=5.0, message_timeout=2.0, idle_timeout=20.0, write_timeout=3.0, linger_timeout=1.0
)


def due(stream: Stream) -> tuple[float, str] | None:
    found = stream.next_deadline(ALL)
    return None if found is None else found[:2]


def test_the_first_message_has_a_deadline_where_the_peer_speaks_first() -> None:
    assert due(make()) == (20.0, "idle_timeout")
    stream = make(first_message=True)
    assert due(stream) == (5.0, "first_message_timeout")
    stream.received(b"\2a", 1.0)
    assert due(stream) == (3.0, "message_timeout")
    stream.received(b"b", 2.0)
    stream.next_message()
    assert due(stream) == (22.0, "idle_timeout")


def test_a_trickle_does_not_move_the_deadline_of_a_message() -> None:
    stream = make()
    stream.received(b"\3a", 1.0)
    stream.received(b"b", 2.5)
    assert due(stream) == (3.0, "message_timeout")
    stream.received(b"c\1", 2.6)
    stream.next_message()
    assert due(stream) == (4.6, "message_timeout")


def test_progress_moves_the_deadline_of_writing() -> None:
    stream = make("raw")
    stream.send(bytes(5000))
    assert due(stream) is None  # what was not offered to the kernel yet is nobody's delay
    stream.sent(100, 1.0)
    assert due(stream) == (4.0, "write_timeout")
    stream.sent(1000, 2.0)
    assert due(stream) == (4.0, "write_timeout")
    stream.sent(24, 2.5)
    assert due(stream) == (5.5, "write_timeout")
    stream.sent(3876, 3.0)
    assert due(stream) == (23.0, "idle_timeout")


def test_lingering_is_bounded() -> None:
    stream = make()
    stream.send(b"x")
    stream.close()
    assert due(stream) is None
    written(stream)
    stream.fin_sent(7.0)
    assert due(stream) == (8.0, "linger_timeout")


def test_the_clocks_of_the_peer_stop_while_we_do_not_read() -> None:
    stream = make(first_message=True)
    stream.received(b"\3a", 1.0)
    stream.paused(2.0)
    assert due(stream) is None
    stream.paused(3.0)
    stream.resumed(10.0)
    assert due(stream) == (11.0, "message_timeout")  # one of its two seconds was used before the pause
    stream.received(b"bc", 10.5)
    stream.next_message()
    assert due(stream) == (30.5, "idle_timeout")


def test_no_clock_of_the_peer_runs_while_its_messages_wait_for_us() -> None:
    stream = make(max_batch=2)
    stream.received(b"\1a\1b\1c\2d", 1.0)
    assert due(stream) is None
    stream.next_message()
    stream.next_message()
    assert due(stream) == (21.0, "idle_timeout")  # what is held behind a full batch may be whole, as it is here
    assert stream.next_message() == b"c"
    assert due(stream) == (3.0, "message_timeout")


def test_a_peer_that_spoke_in_raw_octets_has_spoken() -> None:
    stream = make(first_message=True)
    stream.received(b"abc", 1.0)
    assert stream.take_some(10) == b"abc"
    assert due(stream) == (21.0, "idle_timeout")


def test_an_error_that_ended_reading_is_reported_after_the_close() -> None:
    stream = make()
    stream.receive_fails(DeadlinePassed("idle_timeout", 20.0))
    stream.close()
    with pytest.raises(DeadlinePassed):
        stream.next_message()


def test_deadlines_can_be_off() -> None:
    off = Deadlines(
        first_message_timeout=None, message_timeout=None, idle_timeout=None, write_timeout=None, linger_timeout=None
    )
    stream = make(first_message=True)
    stream.received(b"\3a", 1.0)
    stream.send(b"x")
    stream.sent(0, 1.0)
    assert stream.next_deadline(off) is None


# -- what can be seen -------------------------------------------------------------------------------------


def test_repr_and_statistics_tell_the_truth() -> None:
    stream = make()
    stream.received(b"\1a\1b\2c", 1.0)
    stream.send(b"xyz")
    assert stream.next_message() == b"a"
    statistics = stream.statistics
    assert (statistics.messages_in, statistics.inbox, statistics.outbox, statistics.octets_in) == (2, 1, 4, 6)
    assert repr(stream) == f"<Stream {WHO} u8, reading open, writing open, inbox 1, outbox 4>"


def test_numbers_are_unique() -> None:
    assert new_id() < new_id()


# -- messages that silence ends ---------------------------------------------------------------------------


def test_silence_is_counted_from_the_last_octets() -> None:
    stream = make("gap:0.5")
    assert stream.gap_at is None
    stream.received(b"a", 1.0)
    assert stream.gap_at == 1.5
    stream.received(b"b", 1.4)
    stream.send(b"what we say does not count")
    written(stream)
    assert received(stream) == []
    assert (stream.gap_at, stream.message_since) == (1.9, 1.0)
    stream.silence(1.9)
    assert (stream.gap_at, stream.message_since, stream.messages_in) == (None, None, 1)
    assert received(stream) == [b"ab"]
    stream.silence(9.0)
    assert received(stream) == []
    stream.received(b"c", 9.0)
    assert (stream.gap_at, stream.at_boundary) == (9.5, False)


def test_silence_answers_requests() -> None:
    stream = make("gap")
    one, other = stream.request(b"a"), stream.request(b"b")
    stream.received(b"A", 1.0)
    stream.silence(2.0)
    assert (one.result(), other.done) == (b"A", False)
    other.abandoned = True
    stream.received(b"B", 3.0)
    stream.silence(4.0)
    assert stream.statistics.late_replies == 1


def test_no_silence_is_awaited_for_raw_octets() -> None:
    stream = make("gap")
    stream.received(b"abc", 1.0)
    assert stream.take_exactly(1) == b"a"
    assert stream.gap_at is None
    stream.change_framing(parse_framing("gap:2"))
    assert received(stream) == []
    assert stream.gap_at == 3.0
    stream.silence(3.0)
    stream.go_raw()
    assert stream.take_some(9) == b"bc"  # the message was not delivered
    stream.change_framing(parse_framing("line"))
    stream.received(b"x", 4.0)
    assert stream.gap_at is None


def test_silence_behind_a_broken_message() -> None:
    stream = make("gap:1,max_message=2")
    stream.received(b"abc", 1.0)
    stream.silence(2.0)
    with pytest.raises(MessageTooLong):
        stream.next_message()


def test_octets_of_no_message_stay_counted() -> None:
    """After the end, too, when the decoder is let go of: then an observer and the user may look at the counters."""
    stream = make("mllp")
    stream.received(b"hey\x0bone\x1c\rhey", 1.0)
    assert received(stream) == [b"one"]
    assert (stream.statistics.messages_in, stream.statistics.skipped) == (1, 6)
    stream.let_go()
    assert stream.statistics.skipped == 6
