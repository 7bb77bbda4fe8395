"""A handler belongs to its connection: when that is lost the handler is told, once, and holds its place to its end."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any

import pytest

from fourtuple import BlockingConnection, Connection, Reason, Server, Service, events
from fourtuple.errors import ConnectionLost
from fourtuple.handlers import loss
from rig import PATIENT, FakeClock, Peer, limits, serving, turns, until

# -- handlers that are parked -----------------------------------------------------------------------------


class Parked:
    """A service whose handlers wait for news that have nothing to do with the peer."""

    def __init__(self, kind: str, **options: Any) -> None:
        self.service = Service("line")
        self.news = asyncio.Event()
        self.at_work = 0
        self.began = 0
        self.cancelled = 0
        self.ended = 0
        getattr(self, kind)(self.service, options)

    async def wait(self) -> None:
        self.began += 1
        self.at_work += 1
        try:
            await self.news.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.at_work -= 1
        self.ended += 1

    def conversation(self, service: Service, options: Any) -> None:
        @service.conversation(**options)
        async def talk(connection: Connection) -> None:
            async for message in connection:
                await self.wait()
                with suppress(ConnectionLost):
                    await connection.send(message)

    def reply(self, service: Service, options: Any) -> None:
        @service.reply(**options)
        async def answer(message: bytes) -> bytes:
            await self.wait()
            return message

    def concurrent(self, service: Service, options: Any) -> None:
        @service.reply(concurrency=3, **options)
        async def answer(message: bytes) -> bytes:
            await self.wait()
            return message

    def generator(self, service: Service, options: Any) -> None:
        @service.reply(**options)
        async def answer(message: bytes) -> AsyncIterator[bytes]:
            await self.wait()
            yield message


KINDS = ["conversation", "reply", "concurrent", "generator"]


async def park(server: Server, parked: Parked, message: bytes = b"x\n", **options: int) -> Peer:
    """Connect, and have the handler wait."""
    before = parked.at_work
    peer = await Peer.connect(server, **options)
    await peer.send(message)
    await until(lambda: parked.at_work > before)
    return peer


def books(server: Server) -> tuple[int, int, int, int]:
    """How many are here, as each of the books has it."""
    return (
        len(server.connections),
        server.statistics.active,
        sum(server._core.admission.policy.by_address.values()),
        len(server.engine.channels),
    )


NONE_LEFT, ONE = (0, 0, 0, 0), (1, 1, 1, 1)


# -- ways to lose a connection ----------------------------------------------------------------------------


async def by_reset(server: Server, peer: Peer) -> None:
    peer.reset()


async def by_abort(server: Server, peer: Peer) -> None:
    (connection,) = server.connections.values()
    connection.abort()


async def by_limit(server: Server, peer: Peer) -> None:
    server.change_limits(max_buffered_per_connection=1)
    await peer.send(b"half a message")
    (connection,) = server.connections.values()
    await until(lambda: connection.statistics.octets_in > 10)
    server._life.buffer_guards[0].look(server.engine.time() + 10, server.limits)


async def by_broadcast(server: Server, peer: Peer) -> None:
    """A consumer that is too slow is closed, lingering: nothing of it can be read, so that the end comes later."""
    server.change_limits(high_water=2, low_water=1)
    (connection,) = server.connections.values()
    connection._stream.write(b"waiting\n")
    assert server.broadcast(b"news", slow="close").slow == 1


WAYS = {
    "reset": (by_reset, Reason.RESET),
    "abort": (by_abort, Reason.ABORTED),
    "limit": (by_limit, Reason.LIMIT),
    "broadcast": (by_broadcast, Reason.LIMIT),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_is_cancelled_once_when_its_connection_is_lost(
    run_async: Any, readiness: str, kind: str, way: str
) -> None:
    async def main() -> None:
        parked = Parked(kind)
        lose, reason = WAYS[way]
        async with serving(parked.service, readiness) as (server, seen):
            with await park(server, parked) as peer:
                assert books(server) == ONE
                await lose(server, peer)
                await until(lambda: parked.cancelled)
                peer.close()
                await until(lambda: books(server) == NONE_LEFT)
            assert (await seen.closed()).reason is reason
            assert (parked.at_work, parked.cancelled, parked.ended) == (0, 1, 0)
            assert not seen.of(events.HandlerRaised)

    run_async(main())


@pytest.mark.parametrize("kind", KINDS)
def test_a_deadline_cancels_the_handler_and_the_last_words_arrive(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        parked = Parked(kind)
        clock = FakeClock()

        @parked.service.failed
        def failed(error: Exception, connection: Connection) -> bytes:
            return b"too slow"

        deadlines = PATIENT.replace(message_timeout=30.0)
        async with serving(parked.service, readiness, clock=clock, deadlines=deadlines) as (server, seen):
            with await park(server, parked) as peer:
                await peer.send(b"half")
                (connection,) = server.connections.values()
                await until(lambda: connection.statistics.octets_in == 6)
                clock.now += 31
                server.engine.sweep()
                assert await peer.receive_all() == b"too slow\n"
                await until(lambda: parked.cancelled)
                peer.close()
                await until(lambda: books(server) == NONE_LEFT)
            assert (await seen.closed()).reason is Reason.DEADLINE
            assert (parked.at_work, parked.cancelled, parked.ended) == (0, 1, 0)

    run_async(main())


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_writing_cancels_the_handler_even_with_messages_unread(
    run_async: Any, readiness: str, kind: str
) -> None:
    async def main() -> None:
        parked = Parked(kind)
        async with serving(parked.service, readiness) as (server, seen):
            with await park(server, parked, b"x\nmore\nand more\nof it\nand half") as peer:
                (connection,) = server.connections.values()
                peer.reset()
                connection._channel.flush()
                connection.send(b"a push")
                connection._channel.flush()
                await until(lambda: parked.cancelled and books(server) == NONE_LEFT)
            assert (await seen.closed()).reason is Reason.RESET
            assert parked.at_work == 0
            assert parked.cancelled == parked.began

    run_async(main())


@pytest.mark.parametrize("kind", KINDS)
def test_the_end_of_file_is_no_loss(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        parked = Parked(kind)
        async with serving(parked.service, readiness) as (server, _):
            with await park(server, parked) as peer:
                peer.finish()
                await turns(100)
                assert (parked.at_work, parked.cancelled) == (1, 0)
                parked.news.set()
                assert await peer.receive_all() == b"x\n"
            await until(lambda: books(server) == NONE_LEFT)
            assert parked.ended == 1

    run_async(main())


@pytest.mark.parametrize("kind", KINDS)
def test_a_reset_behind_the_end_of_file_is_a_loss(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        parked = Parked(kind)
        async with serving(parked.service, readiness) as (server, _):
            with await park(server, parked) as peer:
                (connection,) = server.connections.values()
                peer.finish()
                await until(lambda: connection._stream.reading.value == "ended")
                peer.reset()
                if readiness == "portable":
                    await turns(100)
                    server.engine.sweep()
                await until(lambda: parked.cancelled and books(server) == NONE_LEFT)

    run_async(main())


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_is_noticed_behind_a_rate_that_is_waited_for(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        parked = Parked(kind)
        clock = FakeClock()
        async with serving(parked.service, readiness, clock=clock, limits=limits(max_octet_rate=10.0)) as (server, _):
            with await park(server, parked) as peer:
                (connection,) = server.connections.values()
                await peer.send(b"half" * 10)
                await until(lambda: connection.statistics.octets_in == 10)
                await turns(100)
                assert connection.statistics.octets_in == 10
                peer.reset()
                if readiness == "portable":
                    await turns(100)
                    server.engine.sweep()
                await until(lambda: parked.cancelled and books(server) == NONE_LEFT)
            assert parked.cancelled == 1

    run_async(main())


# -- those who are to run to their end --------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_that_is_to_outlast_its_connection_keeps_its_place(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        parked = Parked(kind, cancel_on_lost=False)
        options = {"limits": limits(max_connections=2, max_connections_per_address=3)}
        async with serving(parked.service, readiness, **options) as (server, seen):
            (await park(server, parked)).reset()
            await seen.wait(events.Closed)
            await turns(100)
            assert (parked.at_work, parked.cancelled, books(server)) == (1, 0, ONE)
            (connection,) = server.connections.values()
            assert connection.closed
            (await park(server, parked)).reset()
            await seen.wait(events.Closed, 2)
            assert books(server) == (2, 2, 2, 2)
            assert server.listeners[0].paused == {"max_connections"}
            parked.news.set()
            await until(lambda: books(server) == NONE_LEFT)
            assert (parked.cancelled, parked.ended) == (0, 2)
            assert not server.listeners[0].paused
            assert len(seen.of(events.Closed)) == 2
            assert not seen.of(events.HandlerRaised)

    run_async(main())


@pytest.mark.parametrize("kind", KINDS)
def test_the_drain_waits_for_those_and_cancels_them_at_its_deadline(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        for patient in (True, False):
            parked = Parked(kind, cancel_on_lost=False)
            async with serving(parked.service, readiness) as (server, seen):
                (await park(server, parked)).reset()
                await seen.closed()
                draining = asyncio.create_task(server.drain(None if patient else 0.1))
                await seen.wait(events.Draining)
                if patient:
                    await turns(100)
                    parked.news.set()
                await draining
                assert (parked.cancelled, parked.ended) == ((0, 1) if patient else (1, 0))
                assert books(server) == NONE_LEFT

    run_async(main())


# -- told by a call, or by cancellation -------------------------------------------------------------------


def test_a_waiting_call_raises_the_loss_and_the_handler_may_clean_up(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        told: list[str] = []

        @service.conversation
        async def talk(connection: Connection) -> None:
            how = (await connection.receive()).decode()
            try:
                if how == "receive":
                    await connection.receive()
                elif how == "request":
                    await connection.request(b"and you?")
                elif how == "send":
                    while True:
                        await connection.send(b"x" * 100_000)
                else:
                    await connection.wait_closed()
                    told.append("closed")
            except ConnectionLost as error:
                told.append(type(error).__name__)
            finally:
                await asyncio.sleep(0)
                await turns()
                told.append("cleaned up")

        for how, error in (
            ("receive", "PeerReset"),
            ("request", "PeerReset"),
            ("send", "PeerReset"),
            ("end", "closed"),
        ):
            told.clear()
            async with serving(service, readiness) as (server, seen):
                peer = await Peer.connect(server)
                await peer.send(how.encode() + b"\n")
                await until(lambda: server.statistics.messages_in)
                await turns(50)
                peer.reset()
                await until(lambda: books(server) == NONE_LEFT)
                assert told == [error, "cleaned up"]
                assert not seen.of(events.HandlerRaised)

    run_async(main())


def test_a_handler_that_ignores_the_error_of_a_call_is_cancelled_later(
    run_async: Any, readiness: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss, "TOLD_SECONDS", 0.0)

    async def main() -> None:
        service = Service("line")
        cancelled: list[int] = []

        @service.conversation
        async def talk(connection: Connection) -> None:
            with suppress(ConnectionLost):
                await connection.receive()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(1)
                raise

        async with serving(service, readiness) as (server, seen):
            peer = await Peer.connect(server)
            await until(lambda: server.connections)
            await turns()
            peer.reset()
            await until(lambda: books(server) == NONE_LEFT)
            assert cancelled == [1]
            assert (await seen.closed()).reason is Reason.RESET

    run_async(main())


@pytest.mark.parametrize("end", ["close", "abort"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_handler_s_own_end_does_not_cancel_it(run_async: Any, readiness: str, kind: str, end: str) -> None:
    async def main() -> None:
        service = Service("line")
        gate, done = asyncio.Event(), []

        async def work(connection: Connection) -> None:
            getattr(connection, end)()
            await gate.wait()
            done.append(connection.closed)

        if kind == "conversation":

            @service.conversation
            async def talk(connection: Connection) -> None:
                await connection.receive()
                await work(connection)

        elif kind == "generator":

            @service.reply
            async def several(message: bytes, connection: Connection) -> AsyncIterator[bytes]:
                await work(connection)
                yield message

        else:

            @service.reply(concurrency=2 if kind == "concurrent" else 1)
            async def one(message: bytes, connection: Connection) -> bytes:
                await work(connection)
                return message

        closed: list[Connection] = []
        service.closed(closed.append)
        async with serving(service, readiness) as (server, seen):
            peer = await Peer.connect(server)
            await peer.send(b"x\n")
            if end == "close":
                assert await peer.receive_all() == b""
            else:
                with pytest.raises(ConnectionResetError):
                    await peer.receive_all()
            peer.reset()  # behind a close() this is not a loss either
            await seen.closed()
            await turns(100)
            assert (books(server), done, closed) == (ONE, [], [])
            gate.set()
            await until(lambda: books(server) == NONE_LEFT)
            assert done == [True]
            assert len(closed) == 1
            assert not seen.of(events.HandlerRaised)

    run_async(main())


def test_an_abort_by_one_of_several_handlers_cancels_the_others(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        cancelled: list[bytes] = []
        done: list[bytes] = []

        @service.reply(concurrency=3)
        async def answer(message: bytes, connection: Connection) -> bytes:
            try:
                if message == b"abort":
                    connection.abort()
                    await turns()
                else:
                    await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(message)
                raise
            done.append(message)
            return message

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"one\ntwo\nabort\n")
                await until(lambda: books(server) == NONE_LEFT and server.statistics.closed)
                assert sorted(cancelled) == [b"one", b"two"]
                assert done == [b"abort"]

    run_async(main())


def test_one_of_several_handlers_that_raises_costs_the_others_their_connection(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        gate, cancelled = asyncio.Event(), []

        @service.reply(concurrency=3)
        async def answer(message: bytes) -> bytes:
            if message == b"quick":
                return message
            if message == b"bad":
                await gate.wait()
                raise LookupError("bad")
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(message)
                raise
            return message

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"quick\nbad\nslow\n")
                assert await peer.receive(6) == b"quick\n"
                gate.set()
                assert await peer.receive_all() == b""
            await until(lambda: books(server) == NONE_LEFT)
            assert cancelled == [b"slow"]
            assert len(seen.of(events.HandlerRaised)) == 1

    run_async(main())


def test_a_handler_that_swallows_its_cancellation_is_cancelled_once_and_keeps_its_place(
    run_async: Any, readiness: str
) -> None:
    async def main() -> None:
        service = Service("line")
        notices = 0
        gate = asyncio.Event()

        @service.conversation
        async def talk(connection: Connection) -> None:
            nonlocal notices
            await connection.receive()
            while not gate.is_set():
                try:
                    await gate.wait()
                except asyncio.CancelledError:
                    notices += 1

        async with serving(service, readiness) as (server, _):
            peer = await Peer.connect(server)
            await peer.send(b"x\n")
            await until(lambda: server.statistics.messages_in)
            await turns()
            peer.reset()
            await until(lambda: notices)
            for _ in range(3):
                server.engine.sweep()
                await turns()
            assert (notices, books(server)) == (1, ONE)
            gate.set()
            await until(lambda: books(server) == NONE_LEFT)

    run_async(main())


# -- threads ----------------------------------------------------------------------------------------------


class InThreads:
    """A service whose handlers wait in threads."""

    def __init__(self, kind: str) -> None:
        self.service = Service("line")
        self.gate = threading.Event()
        self.log: list[str] = []
        getattr(self, kind)(self.service)

    def wait(self, _message: Any = None) -> None:
        self.log.append("at work")
        self.gate.wait()
        self.log.append("ended")

    def reply(self, service: Service) -> None:
        service.reply(threads=True)(self.wait)

    def concurrent(self, service: Service) -> None:
        service.reply(threads=True, concurrency=2)(self.wait)

    def generator(self, service: Service) -> None:
        @service.reply(threads=True)
        def several(message: bytes) -> Iterator[bytes]:
            try:
                self.wait()
                yield message
                self.log.append("went on")
            finally:
                self.log.append("closed")

    def conversation(self, service: Service) -> None:
        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            for _ in connection:
                self.wait()
                try:
                    connection.receive()
                except ConnectionLost as error:
                    self.log.append(type(error).__name__)
                    raise


ENDS = {
    "reply": ["at work", "ended"],
    "concurrent": ["at work", "ended"],
    "generator": ["at work", "ended", "closed"],
    "conversation": ["at work", "ended", "PeerReset"],
}


@pytest.mark.parametrize("kind", ENDS)
def test_a_thread_runs_to_its_end_and_keeps_the_place_so_long(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        threads = InThreads(kind)
        async with serving(threads.service, readiness) as (server, seen):
            peer = await Peer.connect(server)
            await peer.send(b"x\n")
            await until(lambda: threads.log)
            peer.reset()
            if kind != "conversation":
                await seen.closed()
            await turns(100)
            assert books(server) == ONE
            threads.gate.set()
            await until(lambda: books(server) == NONE_LEFT)
            assert threads.log == ENDS[kind]
            assert not seen.of(events.HandlerRaised)

    run_async(main())


@pytest.mark.parametrize("kind", ENDS)
def test_one_that_waits_for_a_thread_is_gone_when_its_connection_is_lost(
    run_async: Any, readiness: str, kind: str
) -> None:
    async def main() -> None:
        threads = InThreads(kind)
        async with serving(threads.service, readiness, limits=limits(max_threads=1)) as (server, seen):
            with await Peer.connect(server) as first:
                waiting = await Peer.connect(server)
                await until(lambda: len(server.connections) == 2)
                await first.send(b"x\n")
                await until(lambda: threads.log)
                await waiting.send(b"x\n")
                await until(lambda: server.statistics.messages_in == 2)
                waiting.reset()
                assert (await seen.closed()).reason is Reason.RESET
                await until(lambda: books(server) == ONE)
                assert threads.log == ["at work"]
                first.reset()
                threads.gate.set()
                await until(lambda: books(server) == NONE_LEFT)
            assert threads.log == ENDS[kind]

    run_async(main())


# -- what is plain ----------------------------------------------------------------------------------------


def test_a_generator_is_closed(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("raw")
        log: list[str] = []

        @service.reply
        def several(message: bytes) -> Iterator[bytes]:
            try:
                while True:
                    yield b"y" * 10_000
            finally:
                log.append("closed")

        async with serving(service, readiness) as (server, _):
            peer = await Peer.connect(server)
            await peer.send(b"x\n")
            assert await peer.receive(10)
            peer.reset()
            await until(lambda: books(server) == NONE_LEFT)
            assert log == ["closed"]

    run_async(main())


@pytest.mark.parametrize("hook", ["opened", "failed", "closed"])
def test_hooks_that_abort_leave_nothing_behind(run_async: Any, readiness: str, hook: str) -> None:
    async def main() -> None:
        parked = Parked("conversation")
        calls: list[str] = []

        def abort(*arguments: Any) -> None:
            calls.append(hook)
            arguments[-1].abort()

        getattr(parked.service, hook)(abort)
        async with serving(parked.service, readiness) as (server, seen):
            with socket.create_connection(("127.0.0.1", server.port)) as peer:
                if hook != "opened":
                    peer.send(b"x\n")
                    await until(lambda: parked.at_work)
                    if hook == "failed":
                        (runner,) = server._core.registry.living()
                        runner.handler_failed(LookupError("bad"))
                    Peer(peer).reset()
                await seen.closed()
                await until(lambda: books(server) == NONE_LEFT)
            assert calls == [hook]
            assert parked.at_work == 0

    run_async(main())


def test_many_that_are_reset_leave_no_room_for_more_than_there_may_be(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        parked = Parked("conversation")
        async with serving(parked.service, readiness, limits=limits(max_connections=10)) as (server, _):
            for count in range(100):
                (await park(server, parked)).reset()
                await until(lambda count=count: parked.cancelled == count + 1)  # type: ignore[misc]
                assert parked.at_work == 0
            await until(lambda: books(server) == NONE_LEFT)
            assert server.statistics.accepted == 100

    run_async(main())
