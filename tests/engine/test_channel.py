"""One connected socket: reading, backpressure, both ways to end, and everything a peer can do to it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from fourtuple.engine.readiness import ERR, IN
from fourtuple.errors import ConnectionEnded, ConnectionLost, PeerReset
from fourtuple.stream import Half, Reason
from rig import PATIENT, FakeClock, Recorder, channel, engine_of, limits, tcp_pair, turns, until

SMALL = limits(high_water=32 * 1024, read_size=4096)


def small_pair() -> tuple[socket.socket, socket.socket]:
    """A pair whose kernel buffers are soon full."""
    near, far = tcp_pair()
    for end in (near, far):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    return near, far


def echo(recorder: Recorder) -> None:
    """Send back what came."""
    while recorder.messages:
        recorder.stream.send(recorder.messages.pop(0))


# -- backpressure -----------------------------------------------------------------------------------------


def test_a_peer_that_floods_an_echo_and_never_reads_is_not_read_any_more(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine, act=echo, limits=SMALL, pair=small_pair())
            flood = bytes(1 << 20)
            sent = -1
            total = 0
            while sent != 0:  # until neither the kernel nor we take more
                sent = one.peer.send_what_fits(flood)
                total += sent
                await turns(50)
            assert one.stream.outbox_size <= SMALL.high_water + SMALL.read_size
            assert one.stream.inbox == []
            assert one.stream.octets_in < total  # the rest waits in the kernel, on the peer's account
            served = len(one.recorder.calls)
            await turns(50)
            assert len(one.recorder.calls) == served  # and it costs no turns
            # Once it reads, every octet comes back.
            one.peer.finish()
            one.recorder.act = lambda r: (echo(r), r.stream.exhausted and one.channel.close())
            assert len(await one.peer.receive_all()) == total
            one.peer.close()

    run_async(main())


def test_writers_are_told_at_the_low_mark_not_before(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine, limits=SMALL, pair=small_pair())
            while not one.stream.crowded:
                one.stream.send(bytes(8192))
                one.channel.flush()
            one.channel.update()
            assert "writable" not in one.recorder.calls
            while "writable" not in one.recorder.calls:
                assert one.stream.crowded or one.stream.outbox_size > SMALL.low_water
                await one.peer.receive(2048)
            assert one.stream.outbox_size <= SMALL.low_water
            one.peer.close()

    run_async(main())


@pytest.mark.parametrize("who", ["settle", "consumer"])
def test_writers_are_told_by_a_write_that_no_event_asked_for(run_async: Any, readiness: str, who: str) -> None:
    # The kernel takes octets again before it says so (EPOLLOUT): a read settles the outbox on its way, or the consumer
    # that was given it writes.
    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine, limits=SMALL, pair=small_pair())
            while not one.stream.crowded:
                one.stream.send(bytes(8192))
                one.channel.flush()
            one.channel.update()

            def empty(write: Callable[[], None]) -> None:  # the loop has no turn meanwhile
                while one.stream.outbox_size:
                    with suppress(BlockingIOError):
                        one.peer.socket.recv(65536)
                    write()
                assert "writable" not in one.recorder.calls

            if who == "settle":
                empty(one.channel.settle)
            else:
                one.recorder.act = lambda _: empty(one.channel.flush)
                one.channel.on_ready(0)
            await until(lambda: "writable" in one.recorder.calls)
            one.peer.close()

    run_async(main())


def test_an_error_that_comes_alone_leaves_no_outbox_behind(run_async: Any) -> None:
    # A reset is seen as ERR, and HUP and OUT a moment later, while the kernel discards what it had to send. Reading is
    # paused, so there is only the outbox to find out by.
    async def main() -> None:
        async with engine_of("nested") as engine:
            one = channel(engine, limits=SMALL, pair=small_pair())
            while not one.stream.crowded:
                one.stream.send(bytes(8192))
                one.channel.flush()
            one.channel.update()
            size = one.stream.octets_out + one.stream.outbox_size
            engine._serve([(one.channel, ERR)])
            assert len(await one.peer.receive(size)) == size
            one.peer.close()

    run_async(main())


def test_reading_stops_while_messages_are_not_taken(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine, take=False, limits=SMALL)
            await one.peer.send(bytes(4096))
            await until(lambda: one.stream.inbox)
            await one.peer.send(bytes(4096))
            await turns()
            assert one.stream.octets_in == 4096
            assert not one.channel.mask & IN
            one.stream.inbox.clear()
            one.channel.consumed()
            await until(lambda: one.stream.octets_in == 8192)
            one.peer.close()

    run_async(main())


def test_partial_writes_lose_and_double_nothing(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            near, far = tcp_pair()
            near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
            one = channel(engine, limits=SMALL, pair=(near, far))
            expected = b"".join(bytes([number]) * (1 + 997 * number) for number in range(40))
            for number in range(40):
                one.stream.send(bytes([number]) * (1 + 997 * number))
            one.channel.close()
            assert await one.peer.receive_all() == expected
            one.peer.close()
            await until(lambda: one.channel.socket is None)

    run_async(main())


# -- half-close and close ---------------------------------------------------------------------------------


def test_the_peers_half_close_leaves_our_half_open(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine)
            one.peer.finish()
            await until(lambda: one.stream.reading is Half.ENDED)
            calls = len(one.recorder.calls)
            await turns()
            assert len(one.recorder.calls) == calls  # told once
            one.stream.send(b"later")
            one.channel.flush_soon()
            assert await one.peer.receive(5) == b"later"
            one.channel.close()
            assert await one.peer.receive_all() == b""
            await until(lambda: one.channel.socket is None)
            assert one.stream.reason is Reason.PEER_CLOSED
            one.peer.close()

    run_async(main())


def test_our_half_close_leaves_the_peers_half_open(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine)
            one.stream.send(b"done")
            one.stream.end_writing()
            one.channel.flush_soon()
            assert await one.peer.receive_all() == b"done"
            await one.peer.send(b"still talking")
            await until(lambda: one.recorder.messages == [b"still talking"])
            one.peer.finish()
            await until(lambda: one.channel.socket is None)
            one.peer.close()

    run_async(main())


def test_the_last_octet_arrives_though_the_peer_still_sends(run_async: Any, readiness: str) -> None:
    """Closing with octets unread would answer them by RST, which takes our reply from the peer's queue."""

    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine, act=lambda r: r.stream.closing or bye(r))

            def bye(recorder: Recorder) -> None:
                recorder.stream.send(b"goodbye")
                one.channel.close()

            await one.peer.send(b"x")
            for _ in range(50):
                await one.peer.send(bytes(1000))
                await turns(1)
            assert await one.peer.receive_all() == b"goodbye"
            one.peer.finish()
            await until(lambda: one.channel.socket is None)
            assert one.stream.octets_in == 50_001  # read and thrown away
            assert one.recorder.messages == [b"x"] or len(one.recorder.messages[0]) % 1000 == 1
            one.peer.close()

    run_async(main())


def test_close_is_idempotent_and_a_closed_channel_takes_every_call(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine)
            for _ in range(3):
                one.channel.close()
            one.peer.finish()
            await until(lambda: one.channel.socket is None)
            for call in (one.channel.close, one.channel.abort, one.channel.flush, one.channel.settle):
                call()
            one.channel.update()
            one.channel.flush_soon()
            one.channel.consumed()
            one.channel.on_ready(0x1D)
            one.channel.take_back()
            await turns()
            assert one.recorder.calls.count("closed") == 1
            one.peer.close()

    run_async(main())


# -- breaking ---------------------------------------------------------------------------------------------


def test_abort_is_an_rst(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine)
            one.stream.send(b"lost")
            one.channel.abort()
            one.channel.abort()
            with pytest.raises(ConnectionResetError):
                await one.peer.receive_all()
            assert one.stream.reason is Reason.ABORTED
            assert isinstance(one.stream.read_error, ConnectionEnded)
            assert one.recorder.calls == ["closed"]
            one.peer.close()

    run_async(main())


def test_a_reset_is_named_and_ends_the_channel(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine)
            one.peer.reset()
            await until(lambda: one.channel.socket is None)
            assert isinstance(one.stream.read_error, PeerReset)
            assert str(one.stream.read_error) == f"{one.channel.name}: reset by the peer"
            assert one.stream.reason is Reason.RESET
            assert one.recorder.calls == ["readable", "closed"]

    run_async(main())


def test_a_reset_while_reading_is_paused_is_found_when_it_goes_on(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine, take=False)
            await one.peer.send(b"x")
            await until(lambda: one.stream.inbox)
            one.peer.reset()
            await turns()
            assert one.stream.next_message() == b"x"
            one.channel.consumed()
            await until(lambda: one.channel.socket is None)
            assert one.stream.reason is Reason.RESET

    run_async(main())


def test_what_the_peer_sent_before_a_write_failed_is_still_read(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine, "line")
            one.peer.socket.send(b"one\ntwo\n")
            one.peer.reset()
            # The write meets the reset first: no turn has read yet.
            one.stream.send(b"reply")
            one.channel.flush()
            assert isinstance(one.stream.write_error, PeerReset)
            await until(lambda: one.channel.socket is None)
            assert one.recorder.messages == [b"one", b"two"]
            assert one.stream.reason is Reason.RESET

    run_async(main())


class Refusing:
    """A socket whose writes fail in a way that is not a reset."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock

    def send(self, _octets: bytes) -> int:
        raise OSError(errno.ENOBUFS, "No buffer space available")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.socket, name)


def test_a_write_that_fails_otherwise_ends_the_channel(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            near, far = tcp_pair()
            one = channel(engine, pair=(Refusing(near), far))  # type: ignore[arg-type]
            one.stream.send(b"x")
            one.channel.flush_soon()
            await until(lambda: one.channel.socket is None)
            assert isinstance(one.stream.write_error, ConnectionLost)
            assert str(one.stream.write_error) == f"{one.channel.name}: No buffer space available"
            assert one.stream.reason is Reason.LOST
            one.peer.close()

    run_async(main())


def test_a_peer_that_is_gone_after_its_end_of_file_is_found(run_async: Any, readiness: str) -> None:
    """FIN, then RST, while a reply is on its way."""

    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine, limits=SMALL, pair=small_pair())
            one.peer.finish()
            await until(lambda: one.stream.reading is Half.ENDED)
            one.stream.send(bytes(1 << 20))
            one.channel.flush_soon()
            await turns()
            one.peer.reset()
            await until(lambda: one.channel.socket is None)
            assert isinstance(one.stream.write_error, ConnectionLost)

    run_async(main())


# -- deadlines --------------------------------------------------------------------------------------------


def test_one_look_before_the_shortest_deadline_is_enough(run_async: Any) -> None:
    """A channel is not looked at again before a deadline can have passed, whatever was stamped in between."""

    async def main() -> None:
        clock = FakeClock()
        deadlines = PATIENT.replace(message_timeout=10.0, write_timeout=60.0)
        async with engine_of("nested", clock=clock) as engine:
            one = channel(engine, "fixed:4", deadlines=deadlines)
            engine.sweep()
            assert one.channel.due == clock.now + 10.0
            clock.now += 9.0
            await one.peer.send(b"ab")
            await until(lambda: one.stream.message_since is not None)
            clock.now += 1.0
            engine.sweep()
            assert one.channel.due == clock.now + 9.0
            clock.now += 8.999
            engine.sweep()
            assert one.recorder.errors == []
            clock.now += 0.001
            engine.sweep()
            assert [str(each) for each in one.recorder.errors] == [
                f"message_timeout deadline of 10 s passed on {one.channel.name}"
            ]
            assert one.stream.closing
            one.peer.close()

    run_async(main())


def test_a_lent_channel_has_its_deadlines(run_async: Any) -> None:
    async def main() -> None:
        clock = FakeClock()
        async with engine_of("nested", clock=clock) as engine:
            one = channel(engine, "fixed:4", deadlines=PATIENT.replace(message_timeout=10.0))
            engine.sweep()
            lent = one.channel.detach()
            one.stream.received(b"ab", clock.now + 5.0)  # the borrower did
            clock.now += 15.0
            engine.sweep()
            engine.sweep()
            assert [each.which for each in one.recorder.errors] == ["message_timeout"]  # type: ignore[attr-defined]
            assert lent.recv(1) == b""
            assert one.stream.reason is Reason.DEADLINE
            one.channel.take_back()
            await turns()
            assert one.recorder.calls == ["closed"]
            one.peer.close()

    run_async(main())


def test_the_outbox_of_a_lent_channel_is_not_emptied_under_its_borrower(run_async: Any) -> None:
    async def main() -> None:
        async with engine_of("nested") as engine:
            one = channel(engine)
            one.channel.detach()
            one.stream.send(b"abc")
            one.channel.abort()
            one.stream.sent(2, 0.0)  # the borrower was between send(2) and this
            assert one.stream.outbox_size == 1
            one.channel.take_back()
            one.peer.close()

    run_async(main())


def test_the_abort_of_a_lent_channel_wakes_the_borrower_and_is_an_rst(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            one = channel(engine)
            lent = one.channel.detach()
            one.channel.abort()
            assert lent.recv(1) == b""
            await turns()
            with pytest.raises(BlockingIOError):
                one.peer.socket.recv(1)  # no FIN, which would look like an end in good order
            one.channel.take_back()
            with pytest.raises(ConnectionResetError):
                await one.peer.receive_all()
            assert one.recorder.calls == ["closed"]
            one.peer.close()

    run_async(main())
