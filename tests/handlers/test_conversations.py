"""Conversations: the handler drives the connection, on the loop or in a thread."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from fourtuple import BlockingConnection, Connection, Reason, Service, events
from fourtuple.connection.waking import wake_receiver
from fourtuple.errors import ConnectionBusy, ConnectionEnded, DeadlinePassed, HandlerFailed, PeerReset, WouldBlock
from rig import Peer, limits, serving, turns, until

# -- on the loop ------------------------------------------------------------------------------------------


def test_a_conversation_ends_with_the_peers_end_of_file(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.conversation
        async def talk(connection: Connection) -> None:
            async for message in connection:
                await connection.send(message.upper())
            await connection.send(b"bye")

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"a\nb\n") == b"A\nB\nbye\n"
            assert (await seen.closed()).reason is Reason.PEER_CLOSED

    run_async(main())


def test_send_then_wait_for_something_else(run_async: Any, readiness: str) -> None:
    """What was sent is with the peer at once, whatever the handler waits for next."""

    async def main() -> None:
        service = Service("line")
        gate = asyncio.Event()

        @service.conversation
        async def talk(connection: Connection) -> None:
            await connection.send(b"at once")
            await gate.wait()

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.receive(8) == b"at once\n"
                gate.set()
                assert await peer.receive_all() == b""

    run_async(main())


def test_many_senders_keep_each_message_whole_and_in_the_order_of_the_calls(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        order: list[bytes] = []

        @service.conversation
        async def talk(connection: Connection) -> None:
            async def send(number: int) -> None:
                for count in range(20):
                    message = b"%d.%d " % (number, count) + bytes([65 + number]) * 997
                    order.append(message)
                    await connection.send(message)
                    await asyncio.sleep(0)

            await asyncio.gather(*map(send, range(10)))

        async with serving(service, readiness, limits=limits(high_water=8192)) as (server, _):
            with await Peer.connect(server, receive_buffer=4096) as peer:
                got = await peer.receive_all()
        assert got.split(b"\n")[:-1] == order

    run_async(main())


def test_two_receivers_are_one_too_many(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.conversation
        async def talk(connection: Connection) -> None:
            first = asyncio.ensure_future(connection.receive())
            await asyncio.sleep(0)
            with pytest.raises(ConnectionBusy, match="another task is receiving"):
                await connection.receive()
            with pytest.raises(ConnectionBusy):
                connection.receive_nowait()
            connection.send(b"go on")
            connection.send(await first)

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.receive(6) == b"go on\n"
                assert await peer.talk(b"x\n") == b"x\n"
            assert not seen.of(events.HandlerRaised)

    run_async(main())


def test_receive_beside_requests_is_refused(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.conversation
        async def talk(connection: Connection) -> None:
            requests = [asyncio.ensure_future(connection.request(b"q%d" % number)) for number in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(ConnectionBusy, match="receive while 3 requests are outstanding"):
                await connection.receive()
            requests[1].cancel()
            replies = await asyncio.gather(*requests, return_exceptions=True)
            assert [replies[0], type(replies[1]), replies[2]] == [b"r0", asyncio.CancelledError, b"r2"]
            assert connection.statistics.late_replies == 1
            connection.send(b"extra " + await connection.receive())

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.receive(9) == b"q0\nq1\nq2\n"
                assert await peer.talk(b"r0\nr1\nr2\nmore\n") == b"extra more\n"
            await seen.closed()
            assert not seen.of(events.HandlerRaised)

    run_async(main())


def test_timeouts_and_cancellations_lose_no_octet(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        got: list[bytes] = []
        gate = asyncio.Event()

        @service.conversation
        async def talk(connection: Connection) -> None:
            with pytest.raises(DeadlinePassed, match="no octet was lost, call receive again"):
                await connection.receive(timeout=0.001)
            with pytest.raises(DeadlinePassed):
                await connection.receive_exactly(1000, timeout=0.001)
            connection.change_framing("line")
            connection.send(b"now")
            # The message comes and the receiver is cancelled, in the same turn of the loop.
            for _ in range(5):
                receiver = asyncio.ensure_future(connection.receive())
                await until(lambda: connection._receiving)
                connection._stream.received(b"message\n", 0.0)
                wake_receiver(connection)
                receiver.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await receiver
                got.append(await connection.receive())
            await gate.wait()
            got.append(await connection.receive())

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"fir")
                assert await peer.receive(4) == b"now\n"
                await until(lambda: len(got) == 5)
                gate.set()
                await peer.talk(b"st\n")
            await seen.closed()
            assert [str(each.error) for each in seen.of(events.HandlerRaised)] == []
            assert got == [b"firmessage", *[b"message"] * 4, b"st"]

    run_async(main())


def test_nothing_there_would_block(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.conversation
        async def talk(connection: Connection) -> None:
            with pytest.raises(WouldBlock):
                connection.receive_nowait()
            connection.send(b"nothing yet")
            connection.send(await connection.receive())

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.receive(12) == b"nothing yet\n"
                assert await peer.talk(b"x\n") == b"x\n"

    run_async(main())


def test_waiting_senders_are_woken_when_the_peer_goes(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        met: list[BaseException] = []

        @service.conversation
        async def talk(connection: Connection) -> None:
            async def pour() -> None:
                while True:
                    await connection.send(bytes(10_000))

            met.extend(await asyncio.gather(pour(), pour(), pour(), return_exceptions=True))

        async with serving(service, readiness, limits=limits(high_water=8192)) as (server, seen):
            peer = await Peer.connect(server, receive_buffer=4096)
            await seen.wait(events.Accepted)
            (connection,) = server.connections.values()
            await until(lambda: len(connection._waiting.senders) == 3)
            peer.reset()
            await seen.closed()
            await until(lambda: not server._core.tasks)
            assert [type(each) for each in met] == [PeerReset] * 3

    run_async(main())


def test_a_conversation_whose_connection_is_closed_from_outside(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        met: list[type[BaseException]] = []

        @service.conversation
        async def talk(connection: Connection) -> None:
            try:
                await connection.receive()
            except ConnectionEnded as error:
                met.append(type(error))

        async with serving(service, readiness) as (server, seen):
            for how in ("close", "abort"):
                with await Peer.connect(server) as peer:
                    await until(lambda: any(each._receiving for each in server.connections.values()))
                    getattr(next(iter(server.connections.values())), how)()
                    if how == "close":
                        assert await peer.receive_all() == b""
                await until(lambda: not server.connections)
            await until(lambda: len(met) == 2)
            assert not seen.of(events.HandlerRaised)

    run_async(main())


def test_a_conversation_that_raises(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        service.failed(lambda error, _: b"sorry" if isinstance(error, HandlerFailed) else None)

        @service.conversation
        async def talk(connection: Connection) -> None:
            connection.send(b"before")
            raise ValueError("a defect")

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.receive_all() == b"before\nsorry\n"
                peer.close()
                assert (await seen.closed()).reason is Reason.HANDLER_ERROR

    run_async(main())


# -- in a thread ------------------------------------------------------------------------------------------


def test_a_blocking_conversation(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.opened
        def opened(connection: Connection) -> bytes:
            connection.state = b"state"
            return b"hello"

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            assert threading.current_thread() is not threading.main_thread()
            for message in connection:
                connection.send(connection.state + b" " + message)
            connection.send(b"bye")

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.receive(6) == b"hello\n"
                assert await peer.talk(b"a\nb\n") == b"state a\nstate b\nbye\n"
            closed = await seen.closed()
            assert closed.reason is Reason.PEER_CLOSED
            assert closed.statistics.messages_in == 2

    run_async(main())


def test_a_blocking_conversation_that_speaks_first(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.conversation(speaks_first=True)
        def talk(connection: BlockingConnection) -> None:
            connection.send(b"who is there?")
            connection.send(b"hello " + connection.receive())

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.receive(14) == b"who is there?\n"
                assert await peer.talk(b"me\n") == b"hello me\n"

    run_async(main())


def test_silent_peers_hold_no_thread(run_async: Any, readiness: str) -> None:
    """As many silent conversations as there are threads, plus one, and the next one who speaks is served."""

    async def main() -> None:
        service = Service("line")

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            for message in connection:
                connection.send(message)

        async with serving(service, readiness, limits=limits(max_threads=2)) as (server, seen):
            silent = [await Peer.connect(server) for _ in range(3)]
            await seen.wait(events.Accepted, 3)
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"x\n") == b"x\n"
            assert not seen.of(events.AcceptPaused)
            for each in silent:
                assert await each.talk(b"y\n") == b"y\n"
                each.close()

    run_async(main())


def test_the_first_octet_gets_a_thread(run_async: Any, readiness: str) -> None:
    """Not the first message: a blocking conversation may read as it likes."""

    async def main() -> None:
        service = Service("line")
        begun = threading.Event()

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            begun.set()
            connection.send(b"%d" % len(connection.receive_some(100)))

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"half")
                await until(begun.is_set)
                assert await peer.receive_all() == b"4\n"

    run_async(main())


def test_without_a_free_thread_new_connections_wait_in_the_kernel(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            for message in connection:
                connection.send(message)

        async with serving(service, readiness, limits=limits(max_threads=1)) as (server, seen):
            with await Peer.connect(server) as first, await Peer.connect(server) as second:
                await first.send(b"a\n")
                assert await first.receive(2) == b"a\n"
                await seen.wait(events.AcceptPaused)
                third = await Peer.connect(server)
                await third.send(b"c\n")
                await turns()
                await until(lambda: server.listeners[0].accept_queue == 1)
                first.finish()
                assert await second.talk(b"b\n") == b"b\n"
                assert await third.talk(b"") == b"c\n"
                third.close()
            await seen.wait(events.Closed, 3)
            assert not server.listeners[0].paused

    run_async(main())


def test_a_blocking_conversation_that_raises_has_last_words(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        service.failed(lambda error, _: b"sorry")

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            connection.send(b"before " + connection.receive())
            raise ValueError("a defect")

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\nnever\n")
                assert await peer.receive_all() == b"before x\nsorry\n"
                peer.close()
                assert (await seen.closed()).reason is Reason.HANDLER_ERROR
                assert [str(each.error) for each in seen.of(events.HandlerRaised)] == ["a defect"]

    run_async(main())


def test_a_broken_message_in_a_blocking_conversation(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("fixed:4")
        service.failed(lambda error, _: b"oops")

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            for message in connection:
                connection.send(message)

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"good!") == b"goodoops"
            await seen.closed()
            assert len(seen.of(events.MessageFailed)) == 1
            assert not seen.of(events.HandlerRaised)

    run_async(main())


@pytest.mark.parametrize("how", ["abort", "close"])
@pytest.mark.parametrize("waits_for", ["a message", "room"])
def test_an_end_from_outside_wakes_a_blocking_conversation(
    run_async: Any, readiness: str, how: str, waits_for: str
) -> None:
    async def main() -> None:
        service = Service("line")
        met: list[BaseException | str] = []
        waiting = threading.Event()

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            try:
                connection.receive()
                waiting.set()
                while True:
                    if waits_for == "room":
                        connection.send(bytes(100_000))
                    else:
                        connection.receive()
            except BaseException as error:
                met.append(error)
                raise

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server, receive_buffer=4096) as peer:
                await peer.send(b"x\n")
                await until(waiting.is_set)
                (connection,) = server.connections.values()
                if waits_for == "room":
                    await until(lambda: connection.statistics.outbox)
                getattr(connection, how)()
                closed = await seen.closed()
                assert closed.reason is (Reason.ABORTED if how == "abort" else Reason.CLOSED)
                assert len(met) == 1
                if how == "abort":
                    assert isinstance(met[0], ConnectionEnded)
                    assert not seen.of(events.HandlerRaised)

    run_async(main())


def test_a_peer_that_comes_and_goes_gets_no_thread(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        called: list[object] = []

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            called.append(connection)

        async with serving(service, readiness) as (server, seen):
            (await Peer.connect(server)).close()
            (await Peer.connect(server)).reset()
            closed = await seen.wait(events.Closed, 2)
            assert all(each.probe for each in closed)
            assert server.statistics.probes == 2
            assert called == []

    run_async(main())
