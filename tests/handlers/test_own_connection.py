"""What a handler does to its own connection just before it replies holds for the reply, too."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import Any

import pytest

from certificates import serving_context, trusting
from fourtuple import Connection, Reason, Server, Service, events
from fourtuple.blocking import connect
from fourtuple.errors import OutboxFull
from rig import Peer, limits, serving


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize(("framing", "reply", "octets"), [("eof", b"all", b"all"), ("eof+json", {"a": 1}, b'{"a":1}')])
def test_behind_a_reply_that_ends_the_stream_comes_fin(
    run_async: Any, readiness: str, before: int, framing: str, reply: Any, octets: bytes
) -> None:
    async def main() -> None:
        service = Service("line")

        @service.reply
        def handle(message: bytes, connection: Connection) -> Any:
            if message != b"last":
                return message
            connection.change_framing(framing)
            connection.send(reply)
            return None

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n" * before + b"last\n")
                assert await peer.receive_all() == b"x\n" * before + octets
            assert not seen.of(events.HandlerRaised)

    run_async(main())


def test_a_reply_behind_start_tls_is_encrypted(run_async: Any, readiness: str) -> None:
    """A value, which is encoded at once, as well as octets."""

    async def main() -> None:
        service = Service("line+json")

        @service.reply
        def handle(message: Any, connection: Connection) -> Any:
            if message == "tls":
                connection.send("go ahead")
                connection.start_tls(serving_context())
            return {"seen": message}

        async with serving(service, readiness) as (server, _):
            reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
            writer.write(b'"tls"\n')
            assert await reader.readline() == b'"go ahead"\n'
            await writer.start_tls(trusting(), server_hostname="localhost")
            assert await reader.readline() == b'{"seen":"tls"}\n'
            writer.write(b"1\n")
            assert await reader.readline() == b'{"seen":1}\n'
            writer.close()
            await writer.wait_closed()

    run_async(main())


@pytest.mark.parametrize("octets", [b"1\n", b"1\n2\n"])
@pytest.mark.parametrize("framing", ["line", "line+json"])
def test_a_full_outbox_refuses_what_a_handler_sends(
    run_async: Any, readiness: str, framing: str, octets: bytes
) -> None:
    """And not what it returns."""

    async def main() -> None:
        service = Service(framing)

        @service.reply
        def handle(message: Any, connection: Connection) -> Any:
            connection.send(message)  # the last that it takes, however large it is
            connection.send("x" * 600 if framing == "line+json" else b"x" * 600)
            with pytest.raises(OutboxFull):
                connection.send(message)
            return message

        async with serving(service, readiness, limits=limits(max_outbox=500)) as (server, seen):
            with await Peer.connect(server) as peer:
                large = b'"' + b"x" * 600 + b'"' if framing == "line+json" else b"x" * 600
                sent = b"".join(each + large + b"\n" + each for each in octets.splitlines(keepends=True))
                assert await peer.talk(octets) == sent
            assert seen.of(events.HandlerRaised) == []
            closed = await seen.closed()
            assert (closed.statistics.messages_out, closed.reason) == (sent.count(b"\n"), Reason.PEER_CLOSED)

    run_async(main())


@pytest.mark.parametrize("framing", ["line", "line+json"], ids=["in C", "in Python"])
def test_a_sender_that_awaits_each_send_is_never_refused(run_async: Any, readiness: str, framing: str) -> None:
    """Not for what another connection's handler has sent meanwhile, and not for a message larger than max_outbox."""

    async def main() -> None:
        service = Service(framing)
        sizes = [300, 150_000, 1, 99_999, 100_001]

        @service.conversation
        async def talk(connection: Connection) -> None:
            async for _ in connection:
                for size in sizes:
                    await connection.send("x" * size if framing == "line+json" else b"x" * size)
                    connection.send("news" if framing == "line+json" else b"news")  # as another one would

        async with serving(service, readiness, limits=limits(max_outbox=100_000, high_water=10_000)) as (server, seen):
            with await Peer.connect(server) as peer:
                words = [b"x" * size if word == 0 else b"news" for size in sizes for word in range(2)]
                lines = [b'"' + word + b'"' if framing == "line+json" else word for word in words]
                assert await peer.talk(b"1\n") == b"".join(line + b"\n" for line in lines)
            assert seen.of(events.HandlerRaised) == []

    run_async(main())


def test_a_conversation_that_never_awaits_fills_its_outbox(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        refused: list[OutboxFull] = []
        service = Service("line")

        @service.conversation
        async def talk(connection: Connection) -> None:
            async for message in connection:
                for _ in range(10):
                    try:
                        connection.send(message)
                    except OutboxFull as error:
                        refused.append(error)

        async with serving(service, readiness, limits=limits(max_outbox=500)) as (server, seen):
            with await Peer.connect(server) as peer:
                line = b"x" * 99 + b"\n"
                assert await peer.talk(line) == line * 5
            assert len(refused) == 5
            assert (await seen.closed()).statistics.messages_out == 5

    run_async(main())


@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_connection_is_closed_as_soon_as_this_side_has_ended_it(run_async: Any, readiness: Any, end: str) -> None:
    """Also while it lingers: its socket is open still."""
    seen: list[tuple[bool, bool]] = []
    service = Service("line")

    @service.conversation
    async def ends(connection: Connection) -> None:
        await connection.receive()
        before = connection.closed
        if end == "abort":
            connection.abort()
        else:
            closing = asyncio.ensure_future(connection.close())
            await asyncio.sleep(0)
        seen.append((before, connection.closed))
        if end == "close":
            await closing

    async def main() -> None:
        async with Server(service, "127.0.0.1:0", readiness=readiness) as server:
            reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
            writer.write(b"x\n")
            with suppress(ConnectionResetError):
                await reader.read()
            writer.close()
            while not seen:
                await asyncio.sleep(0)

    run_async(main())
    assert seen == [(False, True)]


@pytest.mark.parametrize("end", ["close", "abort"])
def test_a_blocking_connection_is_closed_as_soon_as_this_side_has_ended_it(end: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = connect(f"127.0.0.1:{listener.getsockname()[1]}", "line")
        assert not connection.closed
        getattr(connection, end)()
        assert connection.closed
