"""A callback of asyncio's streams that never waits has its share of the loop, and then others go first.

Counted, not timed: how many calls return between two turns of the loop. The peer keeps up, so that nothing ever waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fourtuple import Server, adapters
from handlers.test_share import FLOOD, MESSAGES, ONE, Count, keeping_up
from rig import PATIENT, until

Callback = Callable[[asyncio.StreamReader, asyncio.StreamWriter, Count], Awaitable[None]]


class Ending(Count):
    """What was read or written; it ends the callback once that was measured."""

    over = False

    def __call__(self, message: Any = None) -> Any:
        if self.over:
            raise EOFError
        return super().__call__(message)


async def writes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Count) -> None:
    while True:
        writer.write(count(b"row\n"))
        await writer.drain()


async def writes_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Count) -> None:
    while True:
        writer.writelines([count(b"row\n"), b"row\n"])
        await writer.drain()


async def writes_large_ones(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Count) -> None:
    writer.transport.set_write_buffer_limits(high=40)  # all that is written is above it, and the kernel takes it
    while True:
        writer.write(count(bytes(50)))
        await writer.drain()


async def reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Count) -> None:
    while await reader.read(1):
        count()


async def reads_lines(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Count) -> None:
    async for _ in reader:
        count()


async def reads_exactly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Count) -> None:
    while await reader.readexactly(2):
        count()


async def reads_until(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Count) -> None:
    while await reader.readuntil(b"x"):
        count()


async def echoes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Count) -> None:
    while line := await reader.readline():
        writer.write(count(line))
        await writer.drain()


async def reads_behind_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, count: Count) -> None:
    reader.feed_eof()
    while not writer.is_closing():
        await reader.read()
        count()


EVERY = [
    *((each, ONE) for each in (writes, writes_lines, writes_large_ones, reads_behind_the_end)),
    *((each, FLOOD) for each in (reads, reads_lines, reads_exactly, reads_until, echoes)),
]


@pytest.mark.parametrize("installed", [False, True], ids=["streams", "install"])
@pytest.mark.parametrize(("talk", "octets"), EVERY, ids=[each.__name__ for each, _ in EVERY])
def test_no_more_than_a_share_between_two_turns_of_the_loop(
    run_async: Any, readiness: Any, talk: Callback, octets: bytes, installed: bool
) -> None:
    async def main() -> None:
        count, over = Ending(), asyncio.Event()

        async def callback(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await talk(reader, writer, count)
            except (EOFError, ConnectionError):
                assert count.over
            finally:
                writer.close()
                over.set()

        async def measure(server: Server) -> None:
            server.engine.turn_seconds, server.engine.share.messages = 60.0, MESSAGES
            with keeping_up(server, octets):
                # One in the engine's turn, one for the tasks of the loop between that and the next.
                assert await count.most(server) <= 2 * MESSAGES
            count.over = True
            await over.wait()

        if not installed:
            async with Server(adapters.streams(callback), readiness=readiness, deadlines=PATIENT) as server:
                await measure(server)
            return
        servers: list[Server] = []
        with adapters.install(readiness=readiness, on_server=servers.append):
            async with await asyncio.start_server(callback, "127.0.0.1", 0):
                await measure(servers[0])

    run_async(main())


def test_a_read_that_is_cancelled_while_others_go_first_loses_nothing(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        lines: list[Any] = []
        cancelled: list[int] = []
        over = asyncio.Event()

        async def callback(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while len(lines) < 1000:
                reading = asyncio.ensure_future(reader.readline())
                await asyncio.sleep(0)
                if not reading.done():
                    reading.cancel()
                    cancelled.append(len(lines))
                    lines.extend(await asyncio.gather(reading, return_exceptions=True))
                    lines.pop()
                    reading = asyncio.ensure_future(reader.readline())
                lines.append(await reading)
            writer.close()
            over.set()

        async with Server(adapters.streams(callback), readiness=readiness, deadlines=PATIENT) as server:
            server.engine.share.messages = 1
            _, writer = await asyncio.open_connection(server.address.host, server.address.port)
            sent = [b"%d\n" % number for number in range(1000)]
            writer.write(b"".join(sent))
            await over.wait()
            writer.close()
            assert lines == sent
            assert len(cancelled) > 500

    run_async(main())


def test_a_protocol_that_takes_over_is_not_resumed_for_the_one_that_was_paused(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        told: list[str] = []

        class Next(asyncio.Protocol):
            def resume_writing(self) -> None:
                told.append("resumed")

        async def callback(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            transport = writer.transport
            before: Any = transport.get_protocol()
            while not before._paused:
                writer.write(b"row\n")
            transport.set_protocol(Next())
            assert not before._paused
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            told.append("over")
            transport.close()

        async with Server(adapters.streams(callback), readiness=readiness, deadlines=PATIENT) as server:
            with keeping_up(server, ONE):
                await until(lambda: told)
                assert told == ["over"]

    run_async(main())
