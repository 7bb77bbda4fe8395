"""After the FIN of a drain, a conversation gets no message any more: it could not reply."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from fourtuple import BlockingConnection, Connection, Deadlines, Reason, Service, events
from fourtuple.errors import ConnectionEnded
from fourtuple.serving.farewells import Farewells
from rig import PATIENT, FakeClock, Peer, serving, until


@pytest.mark.parametrize("kind", ["iteration", "receive", "octets", "blocking", "blocking octets"])
def test_a_message_that_comes_after_the_fin_is_not_delivered(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        service = Service("line")
        got: list[bytes] = []
        ended: list[BaseException | None] = []

        if kind == "blocking":

            @service.conversation
            def converse(connection: BlockingConnection) -> None:
                for message in connection:
                    got.append(message)
                    connection.send(message)
                ended.append(None)

        elif kind == "blocking octets":

            @service.conversation
            def copy(connection: BlockingConnection) -> None:
                try:
                    while True:
                        got.append(connection.receive_exactly(2)[:1])
                        connection.send(got[-1])
                except BaseException as error:
                    ended.append(error)
                    raise

        elif kind == "iteration":

            @service.conversation
            async def talk(connection: Connection) -> None:
                async for message in connection:
                    got.append(message)
                    await connection.send(message)
                ended.append(None)

        else:

            @service.conversation
            async def receive(connection: Connection) -> None:
                exactly = kind == "octets"
                try:
                    while True:
                        got.append((await connection.receive_exactly(2))[:1] if exactly else await connection.receive())
                        await connection.send(got[-1])
                except BaseException as error:
                    ended.append(error)
                    raise

        clock = None if "blocking" in kind else FakeClock()  # a thread's connection has a clock of its own
        deadlines = PATIENT.replace(linger_timeout=2.0 if clock is not None else None)
        async with serving(service, readiness, clock=clock, deadlines=deadlines) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                assert await peer.receive(2) == b"x\n"
                draining = asyncio.ensure_future(server.drain())
                assert await peer.receive_all() == b""
                assert ended == []
                await peer.send(b"y\nz\n")
                await until(lambda: ended)
                assert got == [b"x"]
                if ended != [None]:
                    assert [type(error) for error in ended] == [ConnectionEnded]
                if clock is not None:
                    clock.now += 2.0  # this peer never says its goodbye
                else:
                    peer.finish()
                assert await draining == 0
                assert not seen.of(events.HandlerRaised)
                assert (await seen.closed()).reason is Reason.DRAINED

    run_async(main())


def test_a_thread_that_takes_a_message_in_this_moment_replies_before_the_fin(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        gate, began = threading.Event(), threading.Event()

        @service.conversation
        def converse(connection: BlockingConnection) -> None:
            for message in connection:
                began.set()
                gate.wait()
                connection.send(message)

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                await until(began.is_set)
                (runner,) = server._core.registry.living()
                try:
                    runner.half_close()  # the drain saw it wait a moment ago
                finally:
                    gate.set()
                assert await peer.receive(2) == b"x\n"
                draining = asyncio.ensure_future(server.drain())
                assert await peer.receive_all() == b""
                peer.finish()
                assert await draining == 0
                assert (await seen.closed()).reason is Reason.DRAINED

    run_async(main())


@pytest.mark.parametrize("kind", ["async", "blocking"])
def test_one_that_waits_for_a_reply_of_the_peer_is_at_work(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        service = Service("line")

        if kind == "async":

            @service.conversation
            async def talk(connection: Connection) -> None:
                async for _ in connection:
                    await connection.send(b"hello " + await connection.request(b"who?"))

        else:

            @service.conversation
            def converse(connection: BlockingConnection) -> None:
                for _ in connection:
                    connection.send(b"hello " + connection.request(b"who?"))

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                assert await peer.receive(5) == b"who?\n"
                draining = asyncio.ensure_future(server.drain())
                await seen.wait(events.Draining)
                await asyncio.wait([draining], timeout=0.12)  # two looks of the drain
                await peer.send(b"me\n")
                assert await peer.receive_all() == b"hello me\n"
                peer.finish()
                assert await draining == 0

    run_async(main())


def test_one_that_was_not_half_closed_after_all_is_not_hung_up() -> None:
    """PURE: a thread took a message just when the drain would half-close."""
    tried: list[float] = []
    stream = SimpleNamespace(closing=False, octets_in=1, last_activity=0.0, reason=None)
    runner: Any = SimpleNamespace(
        stream=stream, channel=SimpleNamespace(id=1), at_rest=True, has_spoken=True, may_half_close=True
    )
    farewells = Farewells(100.0, Deadlines(drain_idle_timeout=1.0, linger_timeout=2.0))

    def half_close() -> None:
        tried.append(now)
        if len(tried) > 1:
            stream.reason = Reason.DRAINED

    def hang_up() -> None:
        tried.append(-now)

    runner.half_close, runner.hang_up = half_close, hang_up
    for now in (101.0, 103.0, 104.0, 105.0):
        for say in farewells.due([runner], now):
            say()
    assert tried == [101.0, 103.0, -105.0]
