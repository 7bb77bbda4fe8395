"""threads=True: what one read brought goes to a thread in one hand-over, and slow functions hold no earlier replies."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from fourtuple import Reason, Server, Service, events, reply_and_close
from rig import Peer, limits, serving, turns, until


def hand_overs(server: Server, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the list to which each job for a thread is added from now on."""
    jobs: list[Any] = []
    threads = server._core.threads
    start = threads.start

    def noted(job: Any) -> None:
        jobs.append(job)
        start(job)

    monkeypatch.setattr(threads, "start", noted)
    return jobs


def test_a_read_is_one_hand_over(run_async: Any, readiness: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        service = Service("line")
        service.reply(threads=True)(bytes.upper)
        async with serving(service, readiness) as (server, _):
            jobs = hand_overs(server, monkeypatch)
            with await Peer.connect(server) as peer:
                for _ in range(3):
                    await peer.send(b"".join(b"x%d\n" % number for number in range(100)))
                    wanted = b"".join(b"X%d\n" % number for number in range(100))
                    assert await peer.receive(len(wanted)) == wanted
            assert len(jobs) <= 6  # a read may end within a message

    run_async(main())


def test_a_slow_message_does_not_hold_the_replies_before_it(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service, gates = Service("line"), {b"slow": threading.Event(), b"later": threading.Event()}

        @service.reply(threads=True)
        def answer(message: bytes) -> bytes:
            if message in gates:
                gates[message].wait(60)
            return message.upper()

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nb\nslow\nc\nlater\nd\n")
                assert await peer.receive(4) == b"A\nB\n"
                gates[b"slow"].set()
                assert await peer.receive(7) == b"SLOW\nC\n"
                gates[b"later"].set()
                assert await peer.receive(8) == b"LATER\nD\n"

    run_async(main())


@pytest.mark.parametrize("how", ["goodbye", "raise", "not encodable"])
def test_nothing_runs_behind_the_end(run_async: Any, readiness: str, how: str) -> None:
    async def main() -> None:
        service, handled = Service("line"), list[bytes]()

        @service.reply(threads=True)
        def answer(message: bytes) -> Any:
            handled.append(message)
            if message != b"end":
                return message.upper()
            if how == "raise":
                raise ValueError("on purpose")
            return reply_and_close(b"bye") if how == "goodbye" else b"two\nlines"

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nb\nend\nc\nd\n")
                assert await peer.receive_all() == b"A\nB\n" + (b"bye\n" if how == "goodbye" else b"")
            assert len(seen.of(events.HandlerRaised)) == (how != "goodbye")
            if how != "not encodable":  # only the loop sees that
                assert handled == [b"a", b"b", b"end"]
            await until(lambda: not server.connections)

    run_async(main())


def test_a_lost_connection_ends_its_batch(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service, handled, gate = Service("line"), list[bytes](), threading.Event()

        @service.reply(threads=True)
        def answer(message: bytes) -> bytes:
            handled.append(message)
            gate.wait(60)
            return message

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nb\nc\n")
                await until(lambda: handled)
                peer.reset()
                (runner,) = server._core.registry.living()
                await until(lambda: runner._lost)
                assert server.connections  # its place is held while the thread runs
                gate.set()
            await until(lambda: not server._core.threads.busy)
            assert handled == [b"a"]
            assert (await seen.closed()).reason is Reason.RESET
            assert not seen.of(events.HandlerRaised)

    run_async(main())


def test_a_drain_waits_for_a_batch(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service, handled, gate = Service("line"), list[bytes](), threading.Event()

        @service.reply(threads=True)
        def answer(message: bytes) -> bytes:
            handled.append(message)
            gate.wait(60)
            return message.upper()

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nb\n")
                await until(lambda: handled)
                draining = asyncio.create_task(server.drain(60))
                await turns()
                assert not draining.done()
                gate.set()
                assert await peer.receive_all() == b"A\nB\n"
            await draining

    run_async(main())


def test_replies_wait_for_room(run_async: Any, readiness: str) -> None:
    """A thread makes no more replies than the outbox may hold, and goes on when the peer has read."""

    async def main() -> None:
        service, handled = Service("line"), list[bytes]()

        @service.reply(threads=True)
        def answer(message: bytes) -> bytes:
            handled.append(message)
            return message * 100_000

        bounds = limits(high_water=300_000, low_water=100_000)
        async with serving(service, readiness, limits=bounds) as (server, _):
            with await Peer.connect(server, receive_buffer=4096) as peer:
                await peer.send(b"x\n" * 200)
                await until(lambda: handled)
                for _ in range(50):
                    await turns()
                assert len(handled) < 100
                peer.finish()
                assert len(await peer.receive_all()) == 200 * 100_001
            assert len(handled) == 200

    run_async(main())
