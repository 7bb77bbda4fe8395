"""Octets that are put back are handled next, however many they are, whoever puts them back."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fourtuple import Connection, Reason, Service, events
from fourtuple.framing import Unmapped
from handlers.kinds import service_by
from rig import Peer, limits, serving, until

#: One, about a batch, and more octets than a read takes.
COUNTS = [1, 600, 20_000]
ORDERED = ["inline", "generator", "async", "async generator", "conversation", "blocking"]


def put_back(message: bytes, connection: Any) -> bytes:
    """Echo; ``u600`` puts six hundred lines back."""
    if message.startswith(b"u"):
        connection.unread(b"again\n" * int(message[1:]))
    return message


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", ORDERED)
def test_what_a_handler_puts_back_comes_next(run_async: Any, readiness: str, kind: str, count: int) -> None:
    async def main() -> None:
        async with serving(service_by(kind, put_back), readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                for before, behind in ((b"", b""), (b"first\n", b"last\n")):
                    octets = before + b"u%d\n" % count + behind
                    expected = before + b"u%d\n" % count + b"again\n" * count + behind
                    await peer.send(octets)
                    assert await peer.receive(len(expected)) == expected
                assert await peer.talk(b"fin\n") == b"fin\n"  # and the peer is heard as before
            assert (await seen.closed()).reason is Reason.PEER_CLOSED
            assert not seen.of(events.HandlerRaised)

    run_async(main())


@pytest.mark.parametrize("count", COUNTS)
def test_several_at_once_share_what_one_puts_back(run_async: Any, readiness: str, count: int) -> None:
    async def main() -> None:
        async with serving(service_by("concurrent", put_back), readiness) as (server, _):
            with await Peer.connect(server) as peer:
                got = await peer.talk(b"a\nu%d\nb\nc\nd\n" % count)
                assert sorted(got.splitlines()) == sorted([b"a", b"u%d" % count, b"b", b"c", b"d", *[b"again"] * count])

    run_async(main())


def test_a_free_place_takes_what_one_at_work_puts_back(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service, gate = Service("line"), asyncio.Event()
        handled: list[bytes] = []

        @service.reply(concurrency=2)
        async def handle(message: bytes, connection: Connection) -> bytes:
            handled.append(message)
            if message == b"first":
                connection.unread(b"second\n")
                await gate.wait()
            return message

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"first\n")
                await until(lambda: handled == [b"first", b"second"])
                gate.set()
                assert await peer.receive(13) == b"first\nsecond\n"

    run_async(main())


def test_a_free_place_takes_what_one_that_receives_leaves(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service, gate = Service("line"), asyncio.Event()
        handled: list[bytes] = []

        @service.reply(concurrency=2)
        async def handle(message: bytes, connection: Connection) -> bytes:
            handled.append(message)
            if message == b"first":
                handled.append(await connection.receive_exactly(3))
                await gate.wait()
            return message

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"first\n")
                await until(lambda: handled == [b"first"])
                await peer.send(b"rawsecond\n")
                await until(lambda: handled == [b"first", b"raw", b"second"])
                gate.set()
                assert await peer.receive(13) == b"first\nsecond\n"

    run_async(main())


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("kind", [*ORDERED, "concurrent"])
def test_octets_put_back_before_the_peer_has_spoken(run_async: Any, readiness: str, kind: str, count: int) -> None:
    async def main() -> None:
        service = service_by(kind, put_back)
        service.opened(lambda connection: connection.unread(b"again\n" * count))
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.receive(6 * count) == b"again\n" * count
                assert await peer.talk(b"x\n") == b"x\n"

    run_async(main())


def test_octets_put_back_by_the_decision_about_an_unmapped_message(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line+json")
        service.reply(lambda message: message)

        @service.unmapped
        def decide(_message: Unmapped, connection: Connection) -> str:
            connection.unread(b"1\n2\n")
            return "what?"

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"{\n")
                assert await peer.receive(12) == b'"what?"\n1\n2\n'
                assert await peer.talk(b"}\n3\n") == b'"what?"\n1\n2\n3\n'

    run_async(main())


def test_octets_put_back_wake_another_task_that_receives(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.conversation
        async def talk(connection: Connection) -> None:
            receiving = asyncio.create_task(connection.receive())
            await until(lambda: connection._receiving)
            connection.unread(b"back\n")
            await connection.send(await receiving)

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.receive_all() == b"back\n"

    run_async(main())


def test_a_thread_puts_back_through_call_soon(run_async: Any, readiness: str) -> None:
    again = b"again" * 12 + b"\n"

    async def main() -> None:
        service = Service("line")

        @service.reply(threads=True)
        def handle(message: bytes, connection: Connection) -> bytes:
            if message == b"u":
                connection.server.call_soon(connection.unread, again * 2000)
            return message

        async with serving(service, readiness, limits=limits(max_threads=1)) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"u\n")
                assert await peer.receive(2 + len(again) * 2000) == b"u\n" + again * 2000

    run_async(main())


@pytest.mark.parametrize("kind", [*ORDERED, "concurrent"])
def test_behind_a_close_nothing_comes_back(run_async: Any, readiness: str, kind: str) -> None:
    def handle(message: bytes, connection: Any) -> bytes:
        handled.append(message)
        connection.close()
        connection.unread(b"again\n")
        return message

    handled: list[bytes] = []

    async def main() -> None:
        async with serving(service_by(kind, handle), readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"x\n") == b""
            await seen.closed()
            assert handled == [b"x"]

    run_async(main())


def test_what_is_put_back_counts_as_buffered(run_async: Any, readiness: str) -> None:
    """The bound of what a handler may put back is the one of everything else that is held for a connection."""

    async def main() -> None:
        service = service_by("inline", lambda _message, connection: connection.unread(bytes(10_000)))  # no newline

        async with serving(service, readiness, limits=limits(max_buffered_per_connection=5000)) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                await until(lambda: server.find(next(iter(server.connections.values())).name)._stream.buffered > 5000)
                server.engine.sweep()
                with pytest.raises(ConnectionResetError):
                    await peer.receive_all()
            assert (await seen.closed()).reason is Reason.LIMIT

    run_async(main())
