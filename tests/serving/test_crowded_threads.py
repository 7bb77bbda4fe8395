"""All threads taken by peers that say one line and then nothing: who waits for a thread gets one."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from fourtuple import BlockingConnection, Deadlines, Reason, Service, events
from fourtuple.errors import DeadlinePassed
from rig import PATIENT, Peer, Seen, limits, serving, until

SOON = PATIENT.replace(crowded_idle_timeout=0.001)


class Echo:
    """A blocking conversation that answers each line; it holds back the answer to ``work`` until it may go on."""

    def __init__(self) -> None:
        self.service = Service("line")
        self.service.conversation(self.talk)
        self.go_on = threading.Event()
        self.working = threading.Semaphore(0)
        self.raised: list[Exception] = []

    def talk(self, connection: BlockingConnection) -> None:
        try:
            while True:
                message = connection.receive()
                if message == b"work":
                    self.working.release()
                    self.go_on.wait()
                connection.send(message)
        except Exception as error:
            self.raised.append(error)
            raise


def missed(seen: Seen) -> list[str]:
    return [each.error.which for each in seen.of(events.DeadlineMissed)]  # type: ignore[attr-defined]


async def says(peer: Peer, line: bytes) -> None:
    await peer.send(line + b"\n")
    assert await peer.receive(len(line) + 1) == line + b"\n"


async def all_wait(server: Any, count: int) -> None:
    """Until the threads of so many conversations wait for their peers."""
    await until(lambda: sum(each.idle_since is not None for each in server._core.registry.runners.values()) == count)


def test_the_longest_idle_one_makes_room(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        echo = Echo()
        async with serving(echo.service, readiness, limits=limits(max_threads=2), deadlines=SOON) as (server, seen):
            peers = [await Peer.connect(server) for _ in range(2)]
            for peer in peers:
                await says(peer, b"one line")
                await all_wait(server, peers.index(peer) + 1)
            third = await Peer.connect(server)
            await says(third, b"hello")
            assert await peers[0].receive_all() == b""
            assert (await seen.closed()).reason is Reason.DEADLINE
            assert missed(seen) == ["crowded_idle_timeout"]
            (error,) = echo.raised
            assert isinstance(error, DeadlinePassed)
            assert "2 threads are busy, 1 connections wait for one" in str(error)
            assert not seen.of(events.HandlerRaised)
            await says(peers[1], b"still here")
            for peer in (*peers, third):
                peer.close()

    run_async(main())


def test_one_that_was_accepted_and_waits_for_a_thread(run_async: Any, readiness: str) -> None:
    """It does not stand in the accept queue: it came before the last thread was taken."""

    async def main() -> None:
        echo = Echo()
        async with serving(echo.service, readiness, limits=limits(max_threads=1), deadlines=SOON) as (server, seen):
            with await Peer.connect(server) as waiting, await Peer.connect(server) as silent:
                await until(lambda: len(server.connections) == 2)
                await says(silent, b"one line")
                await says(waiting, b"hello")
                assert missed(seen) == ["crowded_idle_timeout"]

    run_async(main())


def test_no_connection_is_ended_while_none_waits(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        echo = Echo()
        async with serving(echo.service, readiness, limits=limits(max_threads=2), deadlines=SOON) as (server, seen):
            peers = [await Peer.connect(server) for _ in range(2)]
            for peer in peers:
                await says(peer, b"one line")
            await all_wait(server, 2)
            for _ in range(5):
                server.engine.sweep()
            for peer in peers:
                await says(peer, b"again")
                peer.close()
            assert missed(seen) == []

    run_async(main())


@pytest.mark.parametrize("seconds", [None, 1000.0])
def test_one_that_is_not_idle_for_long_enough_stays(run_async: Any, readiness: str, seconds: float | None) -> None:
    async def main() -> None:
        echo = Echo()
        deadlines = PATIENT.replace(crowded_idle_timeout=seconds)
        options: dict[str, Any] = {"limits": limits(max_threads=1), "deadlines": deadlines}
        async with serving(echo.service, readiness, **options) as (server, seen):
            with await Peer.connect(server) as first:
                await says(first, b"one line")
                with await Peer.connect(server) as second:
                    await second.send(b"hello\n")
                    await all_wait(server, 1)
                    for _ in range(5):
                        server.engine.sweep()
                    await says(first, b"again")
                    assert missed(seen) == []
                    first.close()
                    assert await second.receive(6) == b"hello\n"

    run_async(main())


def test_a_handler_at_work_is_not_ended(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        echo = Echo()
        async with serving(echo.service, readiness, limits=limits(max_threads=1), deadlines=SOON) as (server, seen):
            with await Peer.connect(server) as first, await Peer.connect(server) as second:
                await until(lambda: len(server.connections) == 2)
                await first.send(b"work\n")
                await asyncio.to_thread(echo.working.acquire)
                await second.send(b"hello\n")
                await until(lambda: server._core.threads.waiting)
                for _ in range(5):
                    server.engine.sweep()
                assert missed(seen) == []
                echo.go_on.set()
                assert await first.receive(5) == b"work\n"
                assert await second.receive(6) == b"hello\n"

    run_async(main())


def test_only_as_many_as_wait_are_ended(run_async: Any) -> None:
    """Also while those that were ended have not returned yet."""

    async def main() -> None:
        service, go_on = Service("line"), threading.Event()

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            try:
                for message in connection:
                    connection.send(message)
            finally:
                go_on.wait()

        async with serving(service, "auto", limits=limits(max_threads=4), deadlines=SOON) as (server, seen):
            peers = [await Peer.connect(server) for _ in range(4)]
            for peer in peers:
                await says(peer, b"one line")
            await all_wait(server, 4)
            more = [await Peer.connect(server) for _ in range(2)]
            await until(lambda: len(missed(seen)) == 2)
            for _ in range(5):
                server.engine.sweep()
            assert len(missed(seen)) == 2
            go_on.set()
            for peer in more:
                await says(peer, b"hello")
            for peer in (*peers, *more):
                peer.close()

    run_async(main())


def test_a_unix_socket_tells_no_length_of_its_queue(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        echo, where = Echo(), f"unix:{tmp_path}/socket"
        async with serving(echo.service, "auto", where, limits=limits(max_threads=1), deadlines=SOON) as (server, seen):
            with await Peer.connect(server) as silent:
                await says(silent, b"one line")
                with await Peer.connect(server) as other:
                    await says(other, b"hello")
                    assert missed(seen) == ["crowded_idle_timeout"]

    run_async(main())


def test_it_is_on_by_default() -> None:
    assert Deadlines().crowded_idle_timeout == 30.0
