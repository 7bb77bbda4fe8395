"""Connections without sockets: the vocabulary of a connection, on a wire that the test holds in its hand."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import pytest

from fourtuple import Deadlines, Limits
from fourtuple.blocking import wait
from fourtuple.errors import (
    ConnectionBusy,
    ConnectionEnded,
    ConnectionLost,
    DeadlinePassed,
    EndOfFile,
    IncompleteMessage,
    MessageTooLong,
    OptionError,
    WouldBlock,
)
from fourtuple.framing import Line
from fourtuple.stream import Reason
from fourtuple.testing import Clock, Stuck, async_memory_pair, memory_pair
from fourtuple.testing.wire import socket_of
from rig import turns

# -- blocking ---------------------------------------------------------------------------------------------


def test_messages_go_both_ways() -> None:
    near, far = memory_pair("line")
    near.send(b"hello")
    near.send_many([b"and", b"more"])
    assert [far.receive() for _ in range(3)] == [b"hello", b"and", b"more"]
    far.send(b"yes")
    assert near.receive() == b"yes"
    assert near.name == far.name.reversed  # type: ignore[union-attr]
    assert near.statistics.octets_out == far.statistics.octets_in == 15
    assert near.id != far.id


def test_no_descriptor_is_opened() -> None:
    before = os.listdir("/proc/self/fd")
    near, far = memory_pair("line")
    near.send(b"hello")
    assert far.receive() == b"hello"
    assert os.listdir("/proc/self/fd") == before
    assert near.fileno() < 0


@pytest.mark.parametrize(("cut", "reads"), [(1, [1] * 6), ([4, 1], [4, 1, 1]), (None, [6])])
def test_cut_decides_what_one_read_gets(cut: Any, reads: list[int]) -> None:
    pair = memory_pair("raw", cut=cut)
    pair.near.send(b"abcdef")
    assert [len(pair.far.receive()) for _ in reads] == reads
    pair.back.cut(2)
    pair.far.send(b"xyz")
    assert [pair.near.receive(), pair.near.receive()] == [b"xy", b"z"]


def test_octet_by_octet_the_messages_are_the_same() -> None:
    near, far = memory_pair("u16", cut=1)
    near.send_many([b"", b"one", b"\0" * 300])
    near.send_eof()
    assert list(far) == [b"", b"one", b"\0" * 300]
    assert far.statistics.octets_in == 309


def test_each_end_has_its_framing() -> None:
    near, far = memory_pair("raw", far_framing="line")
    near.send(b"a\nb")
    assert far.receive() == b"a"
    far.send(b"c")
    assert near.receive() == b"c\n"


def test_a_request_whose_reply_comes_later() -> None:
    near, far = memory_pair("line")
    pending = near.begin(b"two?")
    with pytest.raises(ConnectionBusy):
        near.receive()
    assert far.receive() == b"two?"
    far.send(b"2")
    assert pending.receive() == b"2"


def test_a_request_that_times_out_keeps_its_place() -> None:
    pair = memory_pair("line")
    with pytest.raises(DeadlinePassed):
        pair.near.request(b"slow?", timeout=3)
    assert pair.clock() == pytest.approx(3, abs=1e-5)  # and the look before the request
    pair.far.send_many([b"late", b"in time"])
    assert pair.near.request(b"fast?") == b"in time"
    assert pair.near.statistics.late_replies == 1


def test_the_raw_family_and_another_framing_in_the_middle() -> None:
    near, far = memory_pair("raw", far_framing="line", cut=3)
    near.send(b"header\n12345|tail\nend")
    assert far.receive() == b"header"
    assert far.receive_exactly(5) == b"12345"
    assert far.receive_until(b"|", 10) == b"|"
    far.unread(b"re")
    far.change_framing("line")
    assert far.receive() == b"retail"
    assert far.receive_some() == b"end"


def test_would_block_and_wait() -> None:
    near, far = memory_pair("line")
    also_near, also_far = memory_pair("line")
    with pytest.raises(WouldBlock):
        far.receive_nowait()
    assert wait([far, also_far], timeout=1) == []
    also_near.send(b"x")
    assert wait([far, also_far]) == [also_far]
    near.send(b"y")
    assert wait([far, also_far]) == [far, also_far]
    assert far.receive_nowait() == b"y"


def test_what_would_wait_for_ever_says_so() -> None:
    near, far = memory_pair("line", capacity=4, deadlines=Deadlines(write_timeout=None))
    with pytest.raises(Stuck, match="waits for octets, and no other thread sends"):
        near.receive()
    with pytest.raises(Stuck, match="waits for octets"):
        wait([near, far])
    with pytest.raises(Stuck, match="waits for room, and no other thread reads"):
        near.send(b"longer than that")
    assert far.receive_some() == b"long"  # usable as before


def test_a_timeout_passes_at_once_and_loses_nothing() -> None:
    pair = memory_pair("line")
    near, far = pair
    near.send(b"whole")
    pair.there.hold()
    with pytest.raises(DeadlinePassed) as caught:
        far.receive(timeout=600)
    assert "600" in str(caught.value)
    assert pair.clock() == 600
    pair.there.deliver(3)
    with pytest.raises(DeadlinePassed, match="3 octets of an unfinished message are held"):
        far.receive(timeout=0.1 + 0.2)
    pair.there.release()
    assert far.receive() == b"whole"


def test_a_held_end_of_file() -> None:
    pair = memory_pair("line")
    pair.there.hold()
    pair.near.send(b"last")
    pair.near.send_eof()
    pair.there.deliver(5)
    assert pair.far.receive() == b"last"
    with pytest.raises(WouldBlock):
        pair.far.receive_nowait()
    pair.there.deliver()
    with pytest.raises(EndOfFile):
        pair.far.receive()


def test_a_full_wire_takes_no_more() -> None:
    pair = memory_pair("raw", capacity=10)
    with pytest.raises(DeadlinePassed, match="5 octets wait in the outbox"):
        pair.near.send(b"x" * 15, timeout=1)
    assert pair.there.in_flight == 10
    assert pair.far.receive_exactly(10) == b"x" * 10
    pair.near.send(b"")  # a call of any kind takes what is left along
    assert pair.far.receive_exactly(5) == b"x" * 5


def test_half_close_then_close() -> None:
    pair = memory_pair("line")
    near, far = pair
    near.send(b"bye")
    near.send_eof()
    assert list(far) == [b"bye"]
    far.send(b"and to you")
    far.close()  # the other FIN is there already: no time passes
    assert pair.clock() == 0
    assert list(near) == [b"and to you"]
    near.close()
    assert near.closed
    with pytest.raises(ConnectionEnded):
        near.send(b"late")


def test_close_lingers_as_long_as_it_may() -> None:
    pair = memory_pair("line", deadlines=Deadlines(linger_timeout=7))
    pair.near.send(b"last words")
    pair.near.close()
    assert pair.clock() == 7
    assert pair.far.receive() == b"last words"
    with pytest.raises(EndOfFile):
        pair.far.receive()


def test_a_truncated_message() -> None:
    near, far = memory_pair("raw", far_framing="fixed:4")
    near.send(b"abcdef")
    near.close()
    assert far.receive() == b"abcd"
    with pytest.raises(IncompleteMessage) as caught:
        far.receive()
    assert (caught.value.received, caught.value.expected) == (2, 4)


def test_abort_is_a_reset_behind_what_arrived() -> None:
    near, far = memory_pair("line")
    near.send(b"arrived")
    near.abort()
    assert far.receive() == b"arrived"
    with pytest.raises(ConnectionLost, match="reset"):
        far.receive()
    with pytest.raises(ConnectionLost):
        far.send(b"nobody is there")


def test_a_close_with_octets_unread_is_a_reset() -> None:
    pair = memory_pair("line")
    pair.back.hold()
    pair.far.send(b"never read")
    pair.near.close()
    with pytest.raises(ConnectionLost, match="reset"):
        pair.far.receive()


def test_the_network_breaks() -> None:
    pair = memory_pair("line")
    pair.there.hold()
    pair.near.send(b"on its way")
    pair.far.send(b"arrived")
    pair.reset()
    assert pair.near.receive() == b"arrived"
    for end in pair:
        with pytest.raises(ConnectionLost):
            end.receive()


def test_a_send_to_an_end_that_is_gone() -> None:
    near, far = memory_pair("line", deadlines=Deadlines(linger_timeout=1))
    far.close()
    near.send(b"succeeds, as it does on a network")
    with pytest.raises(ConnectionLost):
        near.send(b"does not")


def test_an_end_that_was_closed_is_no_socket() -> None:
    near, far = memory_pair("line")
    number = near.fileno()
    assert socket_of(number)
    near.close()
    assert near.fileno() == -1
    with pytest.raises(ValueError, match="not a connection in memory"):
        socket_of(number)
    with pytest.raises(OSError, match="no kernel behind it"):
        far.info()


def test_a_pair_with_threads_has_no_clock() -> None:
    pair = memory_pair("line", threads=True)
    with pytest.raises(OptionError, match="clock: a pair with threads=True has none, because time is real there"):
        pair.clock.advance(1)
    pair.reset()


def test_the_two_ends_may_be_in_two_threads() -> None:
    near, far = memory_pair("line", threads=True, capacity=64)

    def serve() -> None:
        for message in far:
            far.send(message.upper())
        far.close()

    thread = threading.Thread(target=serve)
    thread.start()
    assert near.request_many([b"x" * 40] * 50) == [b"X" * 40] * 50
    assert near.request(b"more", timeout=30) == b"MORE"
    near.close()
    thread.join()


@pytest.mark.parametrize("call", ["send", "receive"])
def test_two_threads_and_the_end(call: str) -> None:
    near, _far = memory_pair("line", threads=True, capacity=64)
    ended: list[type[Exception]] = []

    def work() -> None:
        try:
            if call == "send":
                near.send(bytes(100))
            else:
                near.receive()
        except ConnectionEnded as error:
            ended.append(type(error))

    thread = threading.Thread(target=work)
    thread.start()
    while not near.statistics.outbox and not near._receiving:
        pass
    near.abort()
    thread.join()
    assert ended == [ConnectionEnded]


@pytest.mark.parametrize("bad", [0, [], [1, 0], "1", True, 1.0, ["1"], Line()])
def test_a_cut_that_cuts_nothing(bad: Any) -> None:
    with pytest.raises(ValueError, match="cut: expected None, or a whole number of octets, 1 or more, or several"):
        memory_pair("line", cut=bad)


def test_a_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="cannot go back"):
        Clock().advance(-1)


# -- async ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [None, 1, [2, 3]])
def test_async_messages_and_requests(run_async: Any, cut: Any) -> None:
    async def main() -> None:
        near, far = async_memory_pair("line", cut=cut)

        async def serve() -> None:
            async for message in far:
                await far.send(message.upper())
            await far.close()

        serving = asyncio.create_task(serve())
        assert await near.request(b"hello") == b"HELLO"
        assert await asyncio.gather(near.request(b"a"), near.request(b"b")) == [b"A", b"B"]
        near.send_eof()
        with pytest.raises(EndOfFile):
            await near.receive()
        await near.close()
        await serving
        assert near.closed
        assert far.closed

    run_async(main())


def test_async_raw_octets_would_block_and_another_framing(run_async: Any) -> None:
    async def main() -> None:
        near, far = async_memory_pair("raw", far_framing="line", cut=4)
        with pytest.raises(WouldBlock):
            far.receive_nowait()
        await near.send(b"head\n123rest\n")
        assert await far.receive() == b"head"
        assert await far.receive_exactly(3) == b"123"
        far.change_framing("line")
        assert await far.receive() == b"rest"
        near.abort()
        with pytest.raises(ConnectionLost):
            await far.receive()

    run_async(main())


def test_an_async_send_waits_for_capacity(run_async: Any) -> None:
    async def main() -> None:
        pair = async_memory_pair("raw", capacity=10, limits=Limits(high_water=20, low_water=5))
        near, far = pair

        async def send() -> None:
            await near.send(b"x" * 50)

        task = asyncio.create_task(send())
        await turns()
        assert not task.done()
        assert pair.there.in_flight == 10
        assert await far.receive_exactly(50) == b"x" * 50
        await task

    run_async(main())


def test_async_deadlines_by_the_clock(run_async: Any) -> None:
    async def main() -> None:
        pair = async_memory_pair("line", deadlines=Deadlines(message_timeout=10, idle_timeout=60))
        near, far = pair
        pair.there.hold()
        near.send(b"slow")
        await turns()
        pair.there.deliver(2)
        await turns()
        assert pair.clock is not None
        pair.clock.advance(9.9)
        await turns()
        assert not far.closed
        pair.clock.advance(0.2)
        with pytest.raises(DeadlinePassed, match="message_timeout"):
            await far.receive()
        with pytest.raises(EndOfFile):
            await near.receive()
        assert far._stream.reason is Reason.DEADLINE

    run_async(main())


def test_async_truncation_and_reset(run_async: Any) -> None:
    async def main() -> None:
        near, far = async_memory_pair("raw", far_framing="fixed:4")
        near.send(b"abcdef")
        near.close()
        assert await far.receive() == b"abcd"
        with pytest.raises(IncompleteMessage):
            await far.receive()
        await far.close()
        pair = async_memory_pair("line")
        pair.reset()
        for end in pair:
            with pytest.raises(ConnectionLost):
                await end.receive()

    run_async(main())


def test_async_too_long(run_async: Any) -> None:
    async def main() -> None:
        near, far = async_memory_pair("raw", far_framing="line,max_message=4", cut=1)
        near.send(b"fine\nnot fine\n")
        assert await far.receive() == b"fine"
        with pytest.raises(MessageTooLong):
            await far.receive()

    run_async(main())
