"""One message to many: encoded once, in order, and nobody is waited for."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack
from typing import Any

import pytest

from fourtuple import Connection, Server, Service, events
from fourtuple.broadcast import Broadcast
from fourtuple.engine import ReadinessChoice
from fourtuple.errors import EncodeError
from fourtuple.framing import Line, u16
from fourtuple.stream import Reason
from limits.serving import Client, client, echo, says, serving, until


async def crowd(stack: AsyncExitStack, server: Server, count: int) -> list[Client]:
    talks = [await stack.enter_async_context(client(server)) for _ in range(count)]
    assert [await says(talk, b"x\n") for talk in talks] == [b"x\n"] * count
    return talks


def test_all_get_it_and_it_is_encoded_once(
    run_async: Any, readiness: ReadinessChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        encoded = []
        usual = Line.encode
        async with serving(readiness=readiness) as (server, _), AsyncExitStack() as stack:
            talks = await crowd(stack, server, 20)
            monkeypatch.setattr(Line, "encode", lambda self, message: encoded.append(message) or usual(self, message))
            assert server.broadcast(b"news") == Broadcast(20, 0, 0)
            assert [await reader.readline() for reader, _ in talks] == [b"news\n"] * 20
            assert encoded == [b"news"]
            assert server.statistics.messages_out == 40
            some = min(server.connections)
            assert server.broadcast(b"only you", to=lambda connection: connection.id == some) == Broadcast(1, 0, 0)

    run_async(main())


def test_from_another_thread(run_async: Any) -> None:
    async def main() -> None:
        async with serving() as (server, _), AsyncExitStack() as stack:
            talks = await crowd(stack, server, 3)
            thread = threading.Thread(target=lambda: server.call_soon(server.broadcast, b"news"))
            thread.start()
            assert [await reader.readline() for reader, _ in talks] == [b"news\n"] * 3
            thread.join()

    run_async(main())


def test_from_a_handler_behind_the_replies_made_before(run_async: Any) -> None:
    async def main() -> None:
        service = Service(Line())

        @service.reply
        def chat(message: bytes, connection: Connection) -> bytes:
            if message == b"all":
                assert connection.server is not None
                connection.server.broadcast(b"to all")
            return b"reply to " + message

        async with serving(service) as (server, _), client(server) as one, client(server) as other:
            assert await says(other, b"hello\n") == b"reply to hello\n"
            one[1].write(b"1\nall\n2\n")
            assert [await one[0].readline() for _ in range(4)] == [
                b"reply to 1\n",
                b"to all\n",
                b"reply to all\n",
                b"reply to 2\n",
            ]
            assert await other[0].readline() == b"to all\n"

    run_async(main())


@pytest.mark.parametrize("slow", ["skip", "close", "abort"])
def test_a_slow_consumer_is_not_waited_for(run_async: Any, slow: Any, readiness: ReadinessChoice) -> None:
    async def main() -> None:
        async with (
            serving(max_outbox=1 << 20, readiness=readiness) as (server, heard),
            client(server) as deaf,
            client(server) as quick,
        ):
            deaf[1].transport.pause_reading()
            await says(quick, b"x\n")
            await until(lambda: len(server.connections) == 2)
            block, missed = b"x" * 60_000, 0
            for number in range(300):
                sent = server.broadcast(block + b"%d" % number, slow=slow)
                assert await quick[0].readline() == block + b"%d\n" % number, "whoever reads misses nothing"
                missed += sent.slow
            assert missed > 0
            ended = heard.of(events.LimitExceeded)
            if slow == "skip":
                assert ended == []
                assert len(server.connections) == 2
                deaf[1].transport.resume_reading()
                assert (await deaf[0].readline()).endswith(b"x0\n")
            else:
                assert [event.limit for event in ended] == ["high_water"]
                assert missed == 1
            if slow == "abort":
                assert [event.reason for event in heard.of(events.Closed)] == [Reason.LIMIT]
            if slow == "close":
                deaf[1].transport.resume_reading()
                lines = (await deaf[0].read()).split(b"\n")
                assert lines.pop() == b"", "the last message is whole"
                assert [line[60_000:] for line in lines] == [b"%d" % number for number in range(len(lines))]

    run_async(main())


def test_each_framing_has_its_own_octets_and_an_error_reaches_nobody(run_async: Any) -> None:
    async def main() -> None:
        service = Service(Line())

        @service.conversation
        async def talk(connection: Connection) -> None:
            async for message in connection:
                if message == b"binary":
                    connection.change_framing(u16())
                await connection.send(message)

        async with serving(service) as (server, _), client(server) as text, client(server) as binary:
            assert await says(text, b"x\n") == b"x\n"
            binary[1].write(b"binary\n")
            assert await binary[0].readexactly(8) == b"\0\6binary"
            assert server.broadcast(b"news").sent == 2
            assert await text[0].readline() == b"news\n"
            assert await binary[0].readexactly(6) == b"\0\4news"
            with pytest.raises(EncodeError):
                server.broadcast(b"two\nlines")
            assert await says(text, b"y\n") == b"y\n"

    run_async(main())


def test_threads_and_those_who_leave_are_out_of_reach(run_async: Any) -> None:
    async def main() -> None:
        service = Service(Line())

        @service.conversation
        def talk(connection: Any) -> None:
            for message in connection:
                connection.send(message)

        async with serving(service) as (server, _), AsyncExitStack() as stack:
            await crowd(stack, server, 1)
            assert server.broadcast(b"news") == Broadcast(0, 0, 1)
        async with serving(echo()) as (server, _), AsyncExitStack() as stack:
            await crowd(stack, server, 1)
            (connection,) = server.connections.values()
            connection.close()
            assert server.broadcast(b"news") == Broadcast(0, 0, 1)
            await asyncio.sleep(0)

    run_async(main())
