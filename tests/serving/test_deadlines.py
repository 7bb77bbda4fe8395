"""Deadlines on a clock that moves when it is told to: each by its name, with its event, and no sooner."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from fourtuple import BlockingConnection, Connection, Deadlines, Reason, Server, Service, Sockets, events
from fourtuple.errors import DeadlinePassed
from fourtuple.services import chargen
from rig import PATIENT, FakeClock, Peer, Seen, echo, limits, serving, turns, until


class Timed:
    """A server with a clock of its own."""

    def __init__(self, server: Server, seen: Seen, clock: FakeClock) -> None:
        self.server, self.seen, self.clock = server, seen, clock

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        self.server.engine.sweep()

    def missed(self) -> list[str]:
        return [each.error.which for each in self.seen.of(events.DeadlineMissed)]  # type: ignore[attr-defined]


@asynccontextmanager
async def timed(service: Service, readiness: str, deadlines: Deadlines, **options: Any) -> AsyncIterator[Timed]:
    clock = FakeClock()
    async with serving(service, readiness, clock=clock, deadlines=deadlines, **options) as (server, seen):
        yield Timed(server, seen, clock)


async def is_cut(rig: Timed, peer: Peer, which: str, seconds: float) -> None:
    """The deadline passes at its moment, not before; the peer sees an end in good order."""
    rig.pass_time(seconds - 0.01)
    assert rig.missed() == []
    rig.pass_time(0.0101)
    assert rig.missed() == [which]
    assert await peer.receive_all() == b""
    peer.close()
    assert (await rig.seen.closed()).reason is Reason.DEADLINE


def test_the_first_message(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with timed(echo(), readiness, PATIENT.replace(first_message_timeout=5.0)) as rig:
            with await Peer.connect(rig.server) as peer, await Peer.connect(rig.server) as other:
                await rig.seen.wait(events.Accepted, 2)
                rig.pass_time(2.0)
                await other.send(b"x\n")
                assert await other.receive(2) == b"x\n"
                await is_cut(rig, peer, "first_message_timeout", 3.0)
                rig.pass_time(100.0)
                assert await other.talk(b"still here\n") == b"still here\n"

    run_async(main())


def test_the_first_message_of_a_trickle(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with timed(echo(), readiness, PATIENT.replace(first_message_timeout=5.0)) as rig:
            with await Peer.connect(rig.server) as peer:
                for _ in range(4):
                    await peer.send(b"x")
                    await until(lambda: rig.server.statistics.octets_in)
                    rig.pass_time(1.0)
                await is_cut(rig, peer, "first_message_timeout", 1.0)

    run_async(main())


def greets(service: Service) -> None:
    service.opened(lambda _: b"hello")
    service.reply(lambda message: message)


def greets_in_a_conversation(service: Service) -> None:
    @service.conversation
    async def talk(connection: Any) -> None:
        await connection.send(b"hello")
        async for message in connection:
            await connection.send(message)


def greets_in_a_thread(service: Service) -> None:
    @service.conversation(speaks_first=True)
    def talk(connection: Any) -> None:
        connection.send(b"hello")
        for message in connection:
            connection.send(message)


GREETING = pytest.mark.parametrize("greeting", [greets, greets_in_a_conversation, greets_in_a_thread])


async def waits_for_the_peers(server: Server) -> None:
    await until(lambda: not any(runner.busy for runner in server._core.registry.inside()))


@GREETING
def test_a_greeting_does_not_exempt_a_silent_peer(run_async: Any, readiness: str, greeting: Any) -> None:
    async def main() -> None:
        service = Service("line")
        greeting(service)
        async with timed(service, readiness, PATIENT.replace(first_message_timeout=5.0)) as rig:
            with await Peer.connect(rig.server) as peer, await Peer.connect(rig.server) as other:
                assert await peer.receive(6) == b"hello\n"
                await other.send(b"x\n")
                assert await other.receive(8) == b"hello\nx\n"
                await waits_for_the_peers(rig.server)
                rig.pass_time(3.0)
                await turns()
                assert rig.missed() == []
                await is_cut(rig, peer, "first_message_timeout", 2.0)

    run_async(main())


@GREETING
def test_silent_peers_are_a_choice_of_the_service(run_async: Any, readiness: str, greeting: Any) -> None:
    async def main() -> None:
        service = Service("line", silent_peers=True)
        greeting(service)
        async with timed(service, readiness, PATIENT.replace(first_message_timeout=5.0)) as rig:
            with await Peer.connect(rig.server) as peer:
                assert await peer.receive(6) == b"hello\n"
                await waits_for_the_peers(rig.server)
                rig.pass_time(100.0)
                assert await peer.talk(b"x\n") == b"x\n"

    run_async(main())


def test_the_first_message_has_its_time_from_when_the_handler_waits_for_it(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service, ready = Service("line"), asyncio.Event()

        @service.conversation
        async def prepares(connection: Any) -> None:
            await ready.wait()
            await connection.send(b"hello")
            await connection.receive()

        async with timed(service, readiness, PATIENT.replace(first_message_timeout=5.0)) as rig:
            with await Peer.connect(rig.server) as peer:
                await until(lambda: rig.server.statistics.active)
                rig.pass_time(100.0)
                ready.set()
                assert await peer.receive(6) == b"hello\n"
                await waits_for_the_peers(rig.server)
                rig.pass_time(4.0)
                assert rig.missed() == []
                await is_cut(rig, peer, "first_message_timeout", 1.0)

    run_async(main())


def test_chargen_sends_to_a_peer_that_only_listens(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with timed(chargen.service, readiness, PATIENT.replace(first_message_timeout=5.0)) as rig:
            with await Peer.connect(rig.server) as peer:
                await peer.receive(7400)
                for _ in range(3):
                    rig.pass_time(100.0)
                    assert len(await peer.receive(7400)) == 7400
                assert rig.missed() == []

    run_async(main())


def test_a_trickle_does_not_reset_the_deadline_of_a_message(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with timed(echo(), readiness, PATIENT.replace(message_timeout=10.0)) as rig:
            with await Peer.connect(rig.server) as peer:
                await peer.send(b"whole\n")
                assert await peer.receive(6) == b"whole\n"
                rig.pass_time(100.0)  # between two messages there is no hurry
                (connection,) = rig.server.connections.values()
                for count in range(9):
                    await peer.send(b"x")
                    await until(lambda seen=count + 7: connection.statistics.octets_in == seen)
                    rig.pass_time(1.0)
                await is_cut(rig, peer, "message_timeout", 1.0)

    run_async(main())


def test_each_message_has_a_deadline_of_its_own(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with timed(echo(), readiness, PATIENT.replace(message_timeout=10.0)) as rig:
            with await Peer.connect(rig.server) as peer:
                for _ in range(5):
                    await peer.send(b"beginning")
                    await turns()
                    rig.pass_time(8.0)
                    await peer.send(b" and end\n")
                    assert await peer.receive(18) == b"beginning and end\n"
                assert rig.missed() == []

    run_async(main())


def test_an_idle_connection(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with timed(echo(), readiness, PATIENT.replace(idle_timeout=60.0)) as rig:
            with await Peer.connect(rig.server) as peer:
                for _ in range(3):
                    await peer.send(b"x\n")
                    assert await peer.receive(2) == b"x\n"
                    rig.pass_time(59.0)
                await is_cut(rig, peer, "idle_timeout", 1.0)

    run_async(main())


def test_a_peer_that_reads_an_octet_a_second_makes_no_progress(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        service.reply(lambda _: bytes(1 << 20))
        deadlines = PATIENT.replace(write_timeout=30.0)
        async with timed(service, readiness, deadlines, sockets=Sockets(send_buffer=8192)) as rig:
            with await Peer.connect(rig.server, receive_buffer=4096) as peer:
                await peer.send(b"x\n")
                await until(lambda: rig.server.connections)
                (connection,) = rig.server.connections.values()
                await until(lambda: connection.statistics.outbox)
                for _ in range(29):
                    await peer.receive(1)
                    rig.pass_time(1.0)
                assert rig.missed() == []
                rig.pass_time(1.01)
                assert rig.missed() == ["write_timeout"]
                with pytest.raises(ConnectionResetError):
                    await peer.receive_all()
                assert (await rig.seen.closed()).reason is Reason.DEADLINE

    run_async(main())


def test_a_peer_that_does_not_answer_our_fin(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = echo()
        service.opened(lambda connection: connection.close() and None)
        async with timed(service, readiness, PATIENT.replace(linger_timeout=2.0)) as rig:
            with await Peer.connect(rig.server) as peer:
                assert await peer.receive_all() == b""
                rig.pass_time(1.99)
                await turns()
                assert not rig.seen.of(events.Closed)
                rig.pass_time(0.01)
                assert (await rig.seen.closed()).reason is Reason.CLOSED
                assert rig.missed() == []  # it is not a fault

    run_async(main())


class Slow:
    """Services that answer ``slow`` only when they are let, in every way that can be waited for."""

    def __init__(self, kind: str) -> None:
        self.gate: Any = asyncio.Event()
        self.told: list[Exception] = []
        self.at_work = 0
        self.service = Service("line")
        getattr(self, kind)(self.service)
        self.service.failed(self.failed)

    def failed(self, error: Exception, _: Connection) -> bytes:
        self.told.append(error)
        return b"too slow"

    async def _work(self, message: bytes) -> bytes:
        self.at_work += 1
        if message == b"slow":
            await self.gate.wait()
        return message

    def awaited(self, service: Service) -> None:
        @service.reply
        async def answer(message: bytes) -> bytes:
            return await self._work(message)

    def concurrent(self, service: Service) -> None:
        @service.reply(concurrency=3)
        async def answer(message: bytes) -> bytes:
            return await self._work(message)

    def generator(self, service: Service) -> None:
        @service.reply
        async def answer(message: bytes) -> AsyncIterator[bytes]:
            yield b"first of " + message
            yield await self._work(message)

    def thread(self, service: Service) -> None:
        self.gate = threading.Event()

        @service.reply(threads=True)
        def answer(message: bytes) -> bytes:
            self.at_work += 1
            if message == b"slow":
                self.gate.wait()
            return message

    def thread_generator(self, service: Service) -> None:
        self.gate = threading.Event()

        @service.reply(threads=True)
        def answer(message: bytes) -> Iterator[bytes]:
            yield b"first of " + message
            self.at_work += 1
            if message == b"slow":
                self.gate.wait()
            yield message


KINDS = ["awaited", "concurrent", "generator", "thread", "thread_generator"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_handler_that_takes_too_long(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        slow = Slow(kind)
        first = b"first of slow\n" if "generator" in kind else b""
        async with timed(slow.service, readiness, PATIENT.replace(handler_timeout=30.0)) as rig:
            with await Peer.connect(rig.server) as peer:
                await peer.send(b"slow\n")
                assert await peer.receive(len(first)) == first
                await until(lambda: slow.at_work)
                rig.pass_time(29.9)
                await turns()
                assert rig.missed() == []
                rig.pass_time(0.2)
                assert await peer.receive_all() == b"too slow\n"
                peer.close()
                assert rig.missed() == ["handler_timeout"]
                assert (await rig.seen.closed()).reason is Reason.DEADLINE
                (error,) = slow.told
                assert isinstance(error, DeadlinePassed)
                assert "handler_timeout deadline of 30 s passed" in str(error)
                assert "answer" in str(error)
                assert not rig.seen.of(events.HandlerRaised)
            slow.gate.set()

    run_async(main())


def test_each_message_and_each_reply_of_a_generator_has_the_time_for_itself(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        for kind in ("awaited", "generator"):
            slow = Slow(kind)
            async with timed(slow.service, readiness, PATIENT.replace(handler_timeout=30.0)) as rig:
                with await Peer.connect(rig.server) as peer:
                    for _ in range(3):
                        await peer.send(b"quick\n")
                        reply = b"first of quick\nquick\n" if kind == "generator" else b"quick\n"
                        assert await peer.receive(len(reply)) == reply
                        rig.pass_time(29.0)
                    assert rig.missed() == []

    run_async(main())


def test_a_handler_that_outlasts_its_peer_has_its_deadline_too(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        begun, ended = asyncio.Event(), asyncio.Event()

        @service.reply
        async def answer(message: bytes) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        async with timed(service, readiness, PATIENT.replace(handler_timeout=30.0)) as rig:
            with await Peer.connect(rig.server) as peer:
                await peer.send(b"x\n")
                await begun.wait()
                peer.reset()
                await rig.seen.closed()
            rig.clock.now += 31.0  # and no sweep of ours: there is no connection that the engine would look after
            await ended.wait()

    run_async(main())


@pytest.mark.parametrize("kind", [*KINDS, "conversation", "thread_conversation"])
def test_a_peer_that_waits_for_a_handler_does_not_idle(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        if kind in KINDS:
            slow = Slow(kind)
        else:
            slow = Slow("thread" if kind == "thread_conversation" else "awaited")
            slow.service = Service("line")
            if kind == "conversation":

                @slow.service.conversation
                async def talk(connection: Connection) -> None:
                    async for message in connection:
                        slow.at_work += 1
                        await slow.gate.wait()
                        connection.send(message)
            else:

                @slow.service.conversation
                def talk_too(connection: BlockingConnection) -> None:
                    for message in connection:
                        slow.at_work += 1
                        slow.gate.wait()
                        connection.send(message)

        async with timed(slow.service, readiness, PATIENT.replace(idle_timeout=60.0)) as rig:
            with await Peer.connect(rig.server) as peer:
                await peer.send(b"slow\n")
                await until(lambda: slow.at_work)
                for _ in range(4):
                    rig.pass_time(59.0)
                    await turns()
                assert rig.missed() == []
                slow.gate.set()
                reply = b"first of slow\nslow\n" if "generator" in kind else b"slow\n"
                assert await peer.receive(len(reply)) == reply
                if kind != "thread_conversation":  # its stamps are the machine's, see below
                    await until(lambda: not rig.server._core.tasks or kind == "conversation")
                    rig.pass_time(59.0)
                    await turns()
                    assert rig.missed() == []
                    rig.pass_time(60.1)
                    assert await peer.receive_all() == (b"too slow\n" if kind in KINDS else b"")
                    assert rig.missed() == ["idle_timeout"]

    run_async(main())


def test_last_words_at_a_deadline(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = echo()
        service.failed(lambda error, _: str(error.which).encode())
        async with timed(service, readiness, PATIENT.replace(idle_timeout=60.0)) as rig:
            with await Peer.connect(rig.server) as peer:
                await rig.seen.wait(events.Accepted)
                rig.pass_time(60.0)
                assert await peer.receive_all() == b"idle_timeout\n"

    run_async(main())


# -- conversations ----------------------------------------------------------------------------------------


def test_a_conversation_learns_which_deadline_passed_and_is_not_blamed(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        met: list[Exception] = []

        @service.conversation
        async def talk(connection: Connection) -> None:
            try:
                await connection.receive()
            except DeadlinePassed as error:
                met.append(error)
                raise

        async with timed(service, readiness, PATIENT.replace(idle_timeout=60.0)) as rig:
            with await Peer.connect(rig.server) as peer:
                await rig.seen.wait(events.Accepted)
                await turns()
                await is_cut(rig, peer, "idle_timeout", 60.0)
                assert [each.which for each in met] == ["idle_timeout"]  # type: ignore[attr-defined]
                assert not rig.seen.of(events.HandlerRaised)

    run_async(main())


def test_raw_octets_count_as_the_first_message(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.conversation
        async def talk(connection: Connection) -> None:
            while True:
                connection.send(await connection.receive_exactly(2))

        async with timed(service, readiness, PATIENT.replace(first_message_timeout=5.0)) as rig:
            with await Peer.connect(rig.server) as peer:
                await peer.send(b"ab")
                assert await peer.receive(3) == b"ab\n"
                rig.pass_time(100.0)
                assert await peer.talk(b"cd") == b"cd\n"
                assert rig.missed() == []

    run_async(main())


def test_the_peers_clocks_stand_while_a_slow_handler_holds_its_messages(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        gate = asyncio.Semaphore(0)

        @service.reply
        async def answer(message: bytes) -> bytes:
            await gate.acquire()
            return message

        deadlines = PATIENT.replace(message_timeout=10.0, idle_timeout=10.0)
        async with timed(service, readiness, deadlines, limits=limits(max_batch=2)) as rig:
            with await Peer.connect(rig.server) as peer:
                await peer.send(b"1\n2\n3\n4\n5\n")
                await until(lambda: rig.server.statistics.messages_in)
                for number in range(4):
                    await turns()
                    rig.pass_time(9.0)
                    assert rig.missed() == [], f"at message {number}"
                    gate.release()
                    assert await peer.receive(2) == b"%d\n" % (number + 1)
                gate.release()
                assert await peer.receive(2) == b"5\n"

    run_async(main())


def test_a_blocking_conversation_has_the_deadlines_too(run_async: Any, readiness: str) -> None:
    """Its clock is the machine's: the thread stamps what it reads."""

    async def main() -> None:
        service = Service("line")
        met: list[Exception] = []

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            connection.send(connection.receive())
            try:
                connection.receive()
            except DeadlinePassed as error:
                met.append(error)
                raise

        async with serving(service, readiness, deadlines=PATIENT.replace(message_timeout=0.05)) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                assert await peer.receive(2) == b"x\n"
                await peer.send(b"unfinished")
                assert await peer.receive_all() == b""
                assert (await seen.closed()).reason is Reason.DEADLINE
                assert [each.which for each in met] == ["message_timeout"]  # type: ignore[attr-defined]
                assert not seen.of(events.HandlerRaised)

    run_async(main())
