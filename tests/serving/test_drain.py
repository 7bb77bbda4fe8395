"""Stopping: gracefully, in bounded time, and at once."""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from fourtuple import BlockingConnection, Connection, Deadlines, Proxy, Reason, Server, Service, events
from fourtuple.errors import DeadlinePassed, ServiceError
from fourtuple.serving import tear_down
from fourtuple.serving.drain import shared_out
from fourtuple.testing import FlakyListener
from rig import PATIENT, FakeClock, Peer, echo, limits, serving, turns, until


def begin(server: Server) -> asyncio.Task[int]:
    return asyncio.ensure_future(server.drain())


# -- who is here ------------------------------------------------------------------------------------------


def test_queued_connections_are_served_and_then_none_is_accepted(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness) as (server, seen):
            server.pause()
            peers = [await Peer.connect(server) for _ in range(5)]
            for number, peer in enumerate(peers):
                await peer.send(b"%d\n" % number)
            address = server.address
            draining = begin(server)
            for number, peer in enumerate(peers):
                assert await peer.talk(b"") == b"%d\n" % number
                peer.close()
            assert await draining == 0
            with pytest.raises(ConnectionRefusedError):
                await Peer.connect(address)
            assert seen[-1] == events.Drained(0)

    run_async(main())


def test_one_that_has_not_spoken_gets_its_first_reply(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await seen.wait(events.Accepted)
                draining = begin(server)
                await seen.wait(events.Draining)
                await turns(100)
                await peer.send(b"first\n")
                assert await peer.receive_all() == b"first\n"
                peer.close()
                assert await draining == 0
                assert (await seen.closed()).reason is Reason.DRAINED

    run_async(main())


def test_a_balancers_header_is_no_word_of_the_peer(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        proxy = Proxy(protocol="required")
        async with serving(echo(), readiness, proxy=proxy) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
                await seen.wait(events.Accepted)
                draining = begin(server)
                await seen.wait(events.Draining)
                await asyncio.wait([draining], timeout=0.12)  # two looks of the drain
                await peer.send(b"first\n")
                assert await peer.receive_all() == b"first\n"
                peer.close()
                assert await draining == 0

    run_async(main())


def test_without_descriptors_a_drain_does_not_wait_for_its_accept_queue(run_async: Any, readiness: str) -> None:
    """accept(2) takes a descriptor before it looks: without one, an empty queue and a full one are the same to it."""

    async def main() -> None:
        async with serving(echo(), readiness) as (server, seen):
            (listener,) = server.listeners
            with FlakyListener(listener, *[errno.EMFILE] * 1000):
                assert await server.drain() == 0
            assert [event.error.errno for event in seen.of(events.AcceptFailed)] == [errno.EMFILE]

    run_async(main())


def test_one_in_the_middle_of_a_message_finishes_it(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"whole\nhalf")
                assert await peer.receive(6) == b"whole\n"
                draining = begin(server)
                await seen.wait(events.Draining)
                await turns(100)
                await peer.send(b" and half\n")
                assert await peer.receive_all() == b"half and half\n"
                peer.close()
                assert await draining == 0

    run_async(main())


def test_one_that_idles_is_half_closed_after_a_while(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        clock = FakeClock()
        deadlines = PATIENT.replace(drain_idle_timeout=1.0)
        async with serving(echo(), readiness, clock=clock, deadlines=deadlines) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                assert await peer.receive(2) == b"x\n"
                clock.now += 100.0  # idle before the drain does not count
                draining = begin(server)
                await seen.wait(events.Draining)
                clock.now += 0.9
                await asyncio.wait([draining], timeout=0.12)  # two looks of the drain
                await peer.send(b"on its way\n")
                assert await peer.receive(11) == b"on its way\n"
                clock.now += 1.0
                assert await peer.receive_all() == b""
                peer.close()
                assert await draining == 0

    run_async(main())


@pytest.mark.parametrize("kind", ["inline", "awaited", "conversation", "blocking"])
def test_one_that_never_idles_gets_the_end_of_file_behind_its_last_reply(
    run_async: Any, readiness: str, kind: str
) -> None:
    service = Service("line")

    def inline(message: bytes) -> bytes:
        return message

    async def awaited(message: bytes) -> bytes:
        await asyncio.sleep(0)
        return message

    async def conversation(connection: Connection) -> None:
        async for message in connection:
            await connection.send(message)

    def blocking(connection: BlockingConnection) -> None:
        for message in connection:
            connection.send(message)

    if kind in ("inline", "awaited"):
        service.reply({"inline": inline, "awaited": awaited}[kind])
    else:
        service.conversation({"conversation": conversation, "blocking": blocking}[kind])

    async def main() -> None:
        clock = FakeClock()
        clock.now = time.monotonic() - 3600  # a thread's connection has a clock of its own, which is ahead of this one
        deadlines = PATIENT.replace(drain_timeout=8.0, drain_idle_timeout=1.0, linger_timeout=2.0)
        async with serving(service, readiness, clock=clock, deadlines=deadlines) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"first\n")
                assert await peer.receive(6) == b"first\n"
                draining = begin(server)
                await seen.wait(events.Draining)
                for _ in range(7):
                    clock.now += 0.5
                    await peer.send(b"again\n")
                    assert await peer.receive(6) == b"again\n"
                    await asyncio.wait([draining], timeout=0.12)  # two looks of the drain
                clock.now += 0.5
                while True:
                    await peer.send(b"again\n")
                    reply = await peer.receive(6)
                    if not reply:
                        break
                    assert reply == b"again\n"
                    await asyncio.sleep(0.01)
                peer.close()
                assert await draining == 0
                assert (await seen.closed()).reason is Reason.DRAINED

    run_async(main())


def test_one_with_always_one_more_request_on_its_way_gets_all_that_was_read(run_async: Any, readiness: str) -> None:
    """Between two messages its handler is at work: only a stop of the reading brings a moment without."""

    async def main() -> None:
        clock, allowed = FakeClock(), asyncio.Semaphore(0)
        service = Service("line")

        @service.reply
        async def answer(message: bytes) -> bytes:
            await allowed.acquire()
            return message

        deadlines = PATIENT.replace(drain_timeout=8.0, drain_idle_timeout=1.0, linger_timeout=2.0)
        async with serving(service, readiness, clock=clock, deadlines=deadlines) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"0\n")
                await until(lambda: server._core.tasks)
                draining = begin(server)
                await seen.wait(events.Draining)
                clock.now += 4.0
                (runner,) = server._core.registry.living()
                sent = 1
                while not runner.stream.ends_at_boundary:
                    await peer.send(b"%d\n" % sent)
                    await until(lambda: runner.stream.inbox)  # it is read while the one before is handled
                    sent += 1
                    allowed.release()
                    await peer.receive(2)
                    await asyncio.wait([draining], timeout=0.06)
                await peer.send(b"too late\n")
                for _ in range(100):
                    allowed.release()
                assert await peer.receive_all() == b"%d\n" % (sent - 1)
                peer.close()
                assert await draining == 0

    run_async(main())


def test_a_running_handler_finishes_before_the_drain_ends(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        gate = asyncio.Event()

        @service.reply
        async def answer(message: bytes) -> bytes:
            await gate.wait()
            return message

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                await until(lambda: server._core.tasks)
                draining = begin(server)
                await seen.wait(events.Draining)
                await turns(100)
                assert not draining.done()
                gate.set()
                assert await peer.receive_all() == b"x\n"
                peer.close()
                assert await draining == 0

    run_async(main())


def test_a_task_whose_peer_has_gone_ends_before_the_tear_down(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        gate = asyncio.Event()
        order: list[str] = []

        @service.lifespan
        async def lifespan() -> AsyncIterator[None]:
            yield
            order.append("torn down")

        @service.conversation(cancel_on_lost=False)
        async def talk(connection: Connection) -> None:
            await connection.receive()
            await gate.wait()
            order.append("written")

        async with serving(service, readiness) as (server, seen):
            peer = await Peer.connect(server)
            await peer.send(b"x\n")
            await until(lambda: server.statistics.messages_in)
            await turns()
            peer.reset()
            await turns()
            draining = begin(server)
            await seen.wait(events.Draining)
            await turns(100)
            gate.set()
            await draining
            assert order == ["written", "torn down"]

    run_async(main())


@pytest.mark.parametrize("kind", ["async", "blocking"])
def test_a_conversation_that_waits_sees_the_end_of_file_of_a_peer_that_says_goodbye(
    run_async: Any, readiness: str, kind: str
) -> None:
    async def main() -> None:
        service = Service("line")
        ended: list[bool] = []

        if kind == "async":

            @service.conversation
            async def talk(connection: Connection) -> None:
                async for message in connection:
                    await connection.send(message)
                ended.append(True)

        else:

            @service.conversation
            def converse(connection: BlockingConnection) -> None:
                for message in connection:
                    connection.send(message)
                ended.append(True)

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                assert await peer.receive(2) == b"x\n"
                draining = begin(server)
                assert await peer.receive_all() == b""
                assert ended == []
                peer.finish()
                assert await draining == 0
                assert ended == [True]
                assert (await seen.closed()).reason is Reason.DRAINED
                assert not seen.of(events.HandlerRaised)

    run_async(main())


def test_a_conversation_may_wait_for_the_drain(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.conversation
        async def talk(connection: Connection) -> None:
            await connection.draining.wait()
            await connection.send(b"we are closing")

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await seen.wait(events.Accepted)
                draining = begin(server)
                assert await peer.receive_all() == b"we are closing\n"
                peer.close()
                assert await draining == 0

    run_async(main())


def test_a_conversation_in_raw_octets_is_drained_too(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.conversation
        async def talk(connection: Connection) -> None:
            while octets := await connection.receive_some():
                connection.send(octets)

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"x")
                assert await peer.receive(2) == b"x\n"
                draining = begin(server)
                assert await peer.receive_all() == b""
                peer.finish()
                assert await draining == 0

    run_async(main())


def test_a_drain_at_max_connections_lets_the_waiting_in_one_after_the_other(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness, limits=limits(max_connections=1)) as (server, seen):
            peers = [await Peer.connect(server) for _ in range(3)]
            await seen.wait(events.AcceptPaused)
            draining = begin(server)
            for peer in peers:
                assert await peer.talk(b"x\n") == b"x\n"
                peer.close()
            assert await draining == 0
            assert server.statistics.accepted == 3

    run_async(main())


# -- silence extends no drain -----------------------------------------------------------------------------


def test_one_that_stays_silent_is_half_closed_and_closed(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        clock = FakeClock()
        deadlines = PATIENT.replace(drain_first_message_timeout=2.0, linger_timeout=1.0)
        async with serving(echo(), readiness, clock=clock, deadlines=deadlines) as (server, seen):
            with await Peer.connect(server) as peer:
                await seen.wait(events.Accepted)
                clock.now += 100.0
                draining = begin(server)
                await seen.wait(events.Draining)
                clock.now += 1.9
                await asyncio.wait([draining], timeout=0.12)  # two looks of the drain
                assert [str(each).endswith("open>") for each in server.connections.values()] == [True]
                clock.now += 0.1
                assert await peer.receive_all() == b""
                clock.now += 1.0
                assert await draining == 0
                assert (await seen.closed()).reason is Reason.DRAINED

    run_async(main())


def test_what_the_server_says_is_no_sign_of_the_peer(run_async: Any, readiness: str) -> None:
    """A service that broadcasts again and again would keep its silent subscribers to the deadline."""

    async def main() -> None:
        clock = FakeClock()
        deadlines = PATIENT.replace(drain_idle_timeout=1.0)
        async with serving(echo(), readiness, clock=clock, deadlines=deadlines) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"subscribe\n")
                assert await peer.receive(10) == b"subscribe\n"
                draining = begin(server)
                await seen.wait(events.Draining)
                for _ in range(3):
                    server.broadcast(b"news")
                    assert await peer.receive(5) == b"news\n"
                    await asyncio.wait([draining], timeout=0.12)  # two looks of the drain
                    clock.now += 0.5
                assert await peer.receive_all() == b""
                peer.close()
                assert await draining == 0

    run_async(main())


def test_one_that_is_sent_to_all_the_time_is_drained_too(run_async: Any, readiness: str) -> None:
    """At each look of the drain something was just queued: by a fast timer, or by a broadcast."""

    async def main() -> None:
        clock = FakeClock()
        deadlines = PATIENT.replace(drain_idle_timeout=1.0)
        loop = asyncio.get_running_loop()
        async with serving(echo(), readiness, clock=clock, deadlines=deadlines) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"subscribe\n")
                assert await peer.receive(10) == b"subscribe\n"

                def push() -> None:
                    if any(str(each).endswith("open>") for each in server.connections.values()):
                        server.broadcast(b"news")
                        loop.call_soon(push)

                push()
                draining = begin(server)
                await seen.wait(events.Draining)
                told = asyncio.ensure_future(peer.receive_all())
                await asyncio.wait([draining], timeout=0.12)  # two looks of the drain
                clock.now += 1.0
                assert (await told).endswith(b"news\n")
                peer.close()
                assert await draining == 0

    run_async(main())


@pytest.mark.parametrize("kind", ["iteration", "receive", "blocking"])
@pytest.mark.parametrize("spoken", [True, False])
def test_a_conversation_whose_peer_does_not_answer_the_goodbye_goes_on_to_its_end(
    run_async: Any, readiness: str, kind: str, spoken: bool
) -> None:
    async def main() -> None:
        service = Service("line")
        ended: list[BaseException | None] = []

        if kind == "iteration":

            @service.conversation
            async def talk(connection: Connection) -> None:
                await connection.send(b"hello")
                async for message in connection:
                    await connection.send(message)
                ended.append(None)

        elif kind == "receive":

            @service.conversation
            async def receive(connection: Connection) -> None:
                await connection.send(b"hello")
                try:
                    while True:
                        await connection.send(await connection.receive())
                except BaseException as error:
                    ended.append(error)
                    raise

        else:

            @service.conversation(speaks_first=True)
            def converse(connection: BlockingConnection) -> None:
                connection.send(b"hello")
                for message in connection:
                    connection.send(message)
                ended.append(None)

        clock = FakeClock() if kind != "blocking" else None  # a thread's connection has a clock of its own
        deadlines = PATIENT.replace(linger_timeout=2.0 if clock else 0.2, drain_first_message_timeout=0.0)
        async with serving(service, readiness, clock=clock, deadlines=deadlines) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.receive(6) == b"hello\n"
                if spoken:
                    await peer.send(b"x\n")
                    assert await peer.receive(2) == b"x\n"
                draining = begin(server)
                assert await peer.receive_all() == b""
                if clock is not None:
                    await asyncio.wait([draining], timeout=0.12)  # two looks of the drain
                    assert ended == []
                    clock.now += 2.0
                assert await draining == 0
                assert len(ended) == 1
                assert not seen.of(events.HandlerRaised)
                assert (await seen.closed()).reason is Reason.DRAINED

    run_async(main())


# -- bounded ----------------------------------------------------------------------------------------------


def test_at_the_deadline_the_rest_is_aborted_and_counted(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        clock = FakeClock()
        async with serving(echo(), readiness, clock=clock) as (server, seen):
            with await Peer.connect(server) as silent, await Peer.connect(server) as half:
                await half.send(b"half")
                await seen.wait(events.Accepted, 2)
                await turns()
                draining = asyncio.ensure_future(server.drain(30.0))
                await seen.wait(events.Draining)
                clock.now += 30.0
                assert await draining == 2
                for peer in (silent, half):
                    with pytest.raises(ConnectionResetError):
                        await peer.receive_all()
                assert seen[-1] == events.Drained(2)
                assert server.statistics.aborted == 2
                assert {each.reason for each in seen.of(events.Closed)} == {Reason.ABORTED}

    run_async(main())


def test_an_abort_ends_a_drain(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await seen.wait(events.Accepted)
                draining = begin(server)
                await seen.wait(events.Draining)
                await server.abort()
                assert await draining == 1
                with pytest.raises(ConnectionResetError):
                    await peer.receive_all()
                assert len(seen.of(events.Drained)) == 1

    run_async(main())


def test_a_drain_after_an_abort_tells_nothing(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness) as (server, seen):
            await server.abort()
            assert await server.drain() == 0
            assert isinstance(seen[-1], events.Drained)
            assert seen.of(events.Draining) == []

    run_async(main())


def test_an_abort_cancels_and_awaits_the_handlers(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        order: list[str] = []

        @service.lifespan
        async def lifespan() -> AsyncIterator[None]:
            yield
            order.append("torn down")

        @service.conversation
        async def talk(connection: Connection) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                order.append("unwound")

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server):
                await seen.wait(events.Accepted)
                await turns()
                await server.abort()
                assert order == ["unwound", "torn down"]
                assert not server._core.tasks
                assert not seen.of(events.HandlerRaised)

    run_async(main())


def test_a_thread_that_never_comes_back_does_not_hold_the_stop(
    run_async: Any, readiness: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fourtuple.serving.drain.ABORT_SECONDS", 0.05)

    async def main() -> None:
        service = Service("line")
        gate = threading.Event()

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            gate.wait()

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                await until(lambda: server.connections and server._core.threads.busy)
                try:
                    await server.abort()
                    assert [event.handler.endswith("talk") for event in seen.of(events.HandlerAbandoned)] == [True]
                    assert seen[-1] == events.Drained(1, abandoned=1)
                    assert server.statistics.abandoned == 1
                    (closed,) = seen.of(events.Closed)
                    assert (closed.reason, closed.statistics.octets_in) == (Reason.ABORTED, 2)
                finally:
                    gate.set()
                await until(lambda: not server.connections)  # it did come back
                assert len(seen.of(events.Closed)) == 1
                await until(lambda: not any(each.is_alive() for each in server._core.threads._started))

    run_async(main())


def test_a_thread_that_goes_on_after_the_goodbye_was_aborted(run_async: Any, readiness: str) -> None:
    """The drain has half-closed its idle connection; the handler saw the end, and did not return."""

    async def main() -> None:
        service = Service("line")
        gate = threading.Event()

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            for message in connection:
                connection.send(message)
            gate.wait()

        deadlines = Deadlines(drain_timeout=0.4, drain_idle_timeout=0.0)
        async with serving(service, readiness, deadlines=deadlines) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                assert await peer.receive(2) == b"x\n"
                try:
                    assert await server.drain() == 1
                    (closed,) = seen.of(events.Closed)
                    assert closed.reason is Reason.ABORTED
                    assert seen[-1] == events.Drained(1, abandoned=1)
                finally:
                    gate.set()
                await until(lambda: not any(each.is_alive() for each in server._core.threads._started))

    run_async(main())


@pytest.mark.parametrize(("limit", "shares"), [(8.0, (6.0, 2.0)), (100.0, (98.0, 2.0)), (2.0, (1.5, 0.5))])
def test_what_comes_back_slowly_has_its_time_within_the_bound(limit: float, shares: tuple[float, float]) -> None:
    assert shared_out(limit) == shares


@pytest.mark.parametrize("kind", ["reply", "conversation"])
def test_a_handler_that_swallows_its_cancellation_is_cancelled_twice_reported_and_abandoned(
    run_async: Any, readiness: str, kind: str
) -> None:
    async def main() -> None:
        service = Service("line")
        cancelled: list[bool] = []
        enough = asyncio.Event()

        async def stubborn() -> None:
            while not enough.is_set():
                try:
                    await enough.wait()
                except asyncio.CancelledError:
                    cancelled.append(True)

        if kind == "reply":

            @service.reply
            async def answer(message: bytes) -> None:
                await stubborn()

        else:

            @service.conversation
            async def talk(connection: Connection) -> None:
                await stubborn()

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                await until(lambda: server._core.tasks)
                await turns()
                assert await server.drain(0.2) == 1
                assert cancelled == [True, True]
                (abandoned,) = seen.of(events.HandlerAbandoned)
                assert abandoned.handler.endswith("answer" if kind == "reply" else "talk")
                assert abandoned.id == (await seen.closed()).id
                assert seen[-1] == events.Drained(1, abandoned=1)
                left = list(server._core.tasks)
                assert len(left) == 1
                assert not asyncio.all_tasks() & set(left), "a loop that closes would wait for it"
                enough.set()
                await asyncio.wait(left)

    run_async(main())


def test_a_cancelled_wait_does_not_stop_the_drain(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await seen.wait(events.Accepted)
                impatient = begin(server)
                await seen.wait(events.Draining)
                impatient.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await impatient
                second = begin(server)
                assert await peer.talk(b"x\n") == b"x\n"
                assert await second == 0
                assert await server.drain() == 0
                await server.abort()
                assert len(seen.of(events.Draining)) == len(seen.of(events.Drained)) == 1

    run_async(main())


def stops_of(server: Server) -> list[asyncio.Task[Any]]:
    """The tasks of the drain and the abort that are under way."""
    return [task for task in asyncio.all_tasks() if task.get_coro().__qualname__ in ("Drain._drain", "Drain._abort")]


def test_a_drain_that_something_cancels_ends_with_an_abort(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness, deadlines=PATIENT) as (server, seen):
            with await Peer.connect(server):
                await until(lambda: server.connections)
                draining = begin(server)
                await seen.wait(events.Draining)
                for task in stops_of(server):
                    task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await draining
                await server.serve_forever()  # which was not cancelled
                assert server.stopped

    run_async(main())


@pytest.mark.parametrize("again", ["drain", "abort"])
def test_a_stop_that_something_cancels_is_begun_anew(run_async: Any, readiness: str, again: str) -> None:
    """A program that cancels all tasks but its own must not make its server impossible to stop."""
    stay = asyncio.Event()
    service = Service("line")

    @service.reply
    async def reply(message: bytes) -> bytes:
        while not stay.is_set():
            with suppress(asyncio.CancelledError):
                await stay.wait()
        return message

    async def main() -> None:
        async with serving(service, readiness, deadlines=PATIENT) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"a\n")
                await until(lambda: server._core.tasks)
                draining = begin(server)
                await seen.wait(events.Draining)
                while not draining.done():
                    for task in stops_of(server):
                        task.cancel()
                    await turns(1)
                assert draining.cancelled()
                assert (server.draining.is_set(), server.stopped) == (True, False)
                stay.set()
                await asyncio.wait_for(server.drain() if again == "drain" else server.abort(), 10)
                await server.serve_forever()
                assert server.stopped
                assert len(seen.of(events.Drained)) == 1

    run_async(main())


def test_a_drain_that_fails_aborts(run_async: Any, readiness: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails in it: a server that is draining for ever could not be stopped any more."""

    def fails(*_arguments: Any) -> Any:
        raise LookupError("a defect")

    monkeypatch.setattr("fourtuple.serving.drain.shared_out", fails)

    async def main() -> None:
        server = Server(echo(), deadlines=PATIENT)
        await server.start()
        with await Peer.connect(server):
            await until(lambda: server.connections)
            with pytest.raises(LookupError):
                await server.drain(5)
            assert server.stopped
            with pytest.raises(LookupError):
                await server.serve_forever()

    run_async(main())


def test_a_handler_may_stop_its_own_server(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        stopping: list[asyncio.Task[Any]] = []

        @service.reply
        def answer(message: bytes, connection: Connection) -> bytes:
            assert connection.server is not None
            how = connection.server.drain if message == b"drain" else connection.server.abort
            stopping.append(asyncio.ensure_future(how()))
            return b"stopping"

        for how in (b"drain", b"abort"):
            async with serving(service, readiness) as (server, _):
                with await Peer.connect(server) as peer:
                    await peer.send(how + b"\n")
                    assert await peer.receive(9) == b"stopping\n"
                    peer.finish()
                    await server.serve_forever()
                    await asyncio.gather(*stopping)

    run_async(main())


def test_a_server_that_was_never_started_stops_easily(run_async: Any) -> None:
    async def main() -> None:
        server = Server(echo())
        assert await server.drain() == 0
        await server.abort()

    run_async(main())


# -- lifespan ---------------------------------------------------------------------------------------------


def test_set_up_before_the_first_connection_tear_down_after_the_last(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        order: list[str] = []

        @service.lifespan
        async def lifespan() -> AsyncIterator[dict[str, bytes]]:
            order.append("set up")
            yield {"motto": b"in order"}
            order.append("torn down")

        @service.reply
        def answer(message: bytes, connection: Connection) -> bytes:
            motto: bytes = connection.service_state["motto"]
            return motto

        service.opened(lambda _: order.append("opened"))
        service.closed(lambda _: order.append("closed"))
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"x\n") == b"in order\n"
            await server.drain()
        assert order == ["set up", "opened", "closed", "torn down"]

    run_async(main())


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_tear_down_that_does_not_end_is_cancelled_and_abandoned(
    stubborn: bool, run_async: Any, readiness: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        service, told, over = echo(), [], asyncio.Event()
        monkeypatch.setattr(tear_down, "LAST_SECONDS", 0.05)

        @service.lifespan
        async def life() -> AsyncIterator[None]:
            yield
            while True:
                try:
                    await over.wait()
                    return
                except asyncio.CancelledError:
                    told.append("cancelled")
                    if not stubborn:
                        raise

        server = Server(service, deadlines=PATIENT.replace(tear_down_timeout=0.05))
        await server.start()
        with pytest.raises(DeadlinePassed, match=r"tear_down_timeout deadline of 0\.05 s passed") as caught:
            await server.drain()
        assert ("it ignores its cancellation" in str(caught.value)) is stubborn
        assert told == ["cancelled"]
        assert server.stopped
        assert not server.engine.channels
        over.set()
        await asyncio.sleep(0)

    run_async(main())


def test_a_set_up_that_fails_leaves_nothing_open(run_async: Any) -> None:
    async def main() -> None:
        service = echo()

        @service.lifespan
        async def lifespan() -> AsyncIterator[None]:
            raise ValueError("no database")
            yield

        server = Server(service)
        with pytest.raises(ValueError, match="no database"):
            await server.start()
        assert all(listener.closed for listener in server.listeners)
        await server.abort()

    run_async(main())


def test_a_tear_down_that_fails_is_raised_to_waiters(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = echo()

        @service.lifespan
        async def lifespan() -> AsyncIterator[None]:
            yield
            raise ValueError("the database is gone")

        server = Server(service)
        await server.start()
        serving = asyncio.ensure_future(server.serve_forever())
        for wait in (server.drain(), serving, server.abort(), server.abort()):
            with pytest.raises(ValueError, match="the database is gone") as raised:
                await wait
            assert raised.traceback[-1].name == "lifespan"
        assert server.engine.closed

    run_async(main())


@pytest.mark.parametrize(("times", "wrong"), [(0, "ended without a yield"), (2, "has a second yield")])
def test_a_lifespan_that_does_not_yield_once_is_named(run_async: Any, times: int, wrong: str) -> None:
    service = echo()

    @service.lifespan
    async def lifespan() -> AsyncIterator[None]:
        for _ in range(times):
            yield

    async def main() -> None:
        with pytest.raises(ServiceError, match=rf"lifespan: .*lifespan {wrong}; it yields once"):
            async with Server(service):
                pass

    run_async(main())


def test_a_server_is_started_once(run_async: Any) -> None:
    async def main() -> None:
        server = Server(echo())
        async with server:
            with pytest.raises(ServiceError, match="was started before; create another one"):
                await server.start()
        with pytest.raises(ServiceError):
            await server.start()

    run_async(main())


def test_a_loop_that_closes_in_the_middle_of_the_end_leaves_nothing_open(run_async: Any) -> None:
    """asyncio.Runner cancels all tasks at once: the program's, and the server's own."""
    torn_down: list[bool] = []

    async def main() -> None:
        service = echo()

        @service.lifespan
        async def lifespan() -> AsyncIterator[None]:
            yield
            torn_down.append(True)

        async def serve() -> None:
            async with Server(service, deadlines=PATIENT) as server:
                with await Peer.connect(server):
                    await until(lambda: server.connections)
                    begun.append(server)

        for stopped_after in range(4):
            begun: list[Server] = []
            serving = asyncio.ensure_future(serve())
            await until(lambda begun=begun: begun)
            await turns(stopped_after)
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.wait([serving])
            assert serving.cancelled() or stopped_after  # some turns later, the drain may be over
            assert begun[0].engine.closed
            assert len(torn_down) == stopped_after + 1

    run_async(main())


def test_a_drain_waits_for_few_of_many_tasks_at_a_time(run_async: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty times a second: to wait for a million each time would take the drain's whole time, and more."""
    service, at_once = Service("line"), list[int]()

    @service.reply(concurrency=1000)
    async def stay(message: bytes) -> None:
        await asyncio.Event().wait()

    wait = asyncio.wait

    async def counted(what: Any, **options: Any) -> Any:
        at_once.append(len(set(what)))
        return await wait(what, **options)

    async def main() -> None:
        async with serving(service) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"\n" * 1000)
                await until(lambda: len(asyncio.all_tasks()) > 1000)
                monkeypatch.setattr(asyncio, "wait", counted)
                assert await server.drain(timeout=0.5) == 1
        assert 0 < max(at_once) <= 17

    run_async(main())
