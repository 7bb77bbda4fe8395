"""Lines: ``stream`` begins a stream without an end, ``x`` is one message of a flood, anything else is answered.

The environment variable ``KIND`` says which kind of handler does it.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from fourtuple import BlockingConnection, Connection, Service, adapters

ROW = b"a row of some report, of about the usual length"
service = Service("line")
Talk = Callable[[Connection], Awaitable[None]]


def answer(message: bytes) -> bytes:
    """Return the line in capital letters."""
    return message.upper()


def after(microseconds: int) -> Callable[[bytes], bytes]:
    """Answer after computing for so long."""

    def slowly(message: bytes) -> bytes:
        if message == b"x":
            until = time.perf_counter_ns() + 1000 * microseconds
            while time.perf_counter_ns() < until:
                pass
        return message.upper()

    return slowly


async def awaited(message: bytes) -> bytes:
    """Answer without waiting for anything."""
    return message.upper()


async def awaited_slowly(message: bytes) -> bytes:
    """The same after computing for a millisecond."""
    return after(1000)(message)


def rows(message: bytes) -> Iterator[bytes]:
    """Yield rows without an end, or the answer."""
    while message == b"stream":
        yield ROW
    yield message.upper()


async def awaited_rows(message: bytes) -> AsyncIterator[bytes]:
    """Do the same, awaited."""
    for row in rows(message):
        yield row


def sends(row: bytes) -> Talk:
    """Send rows without an end."""

    async def talk(connection: Connection) -> None:
        async for message in connection:
            while message == b"stream":
                await connection.send(row)
            await connection.send(message.upper())

    return talk


async def receives(connection: Connection) -> None:
    """Receive a flood, and answer nothing of it."""
    async for message in connection:
        if message != b"x":
            await connection.send(message.upper())


async def echoes(connection: Connection) -> None:
    """Receive a flood, and answer it."""
    while True:
        await connection.send((await connection.receive()).upper())


def blocks(connection: BlockingConnection) -> None:
    """Send rows without an end, in a thread."""
    for message in connection:
        while message == b"stream":
            connection.send(ROW)
        connection.send(message.upper())


def spreads(message: bytes, connection: Connection) -> bytes | None:
    """Send each message of a flood to everybody."""
    if message != b"x":
        return message.upper()
    assert connection.server is not None
    connection.server.broadcast(ROW)
    return None


async def spreads_and_awaits(connection: Connection) -> None:
    """Send rows to everybody, without an end."""
    assert connection.server is not None
    async for message in connection:
        while message == b"stream":
            connection.server.broadcast(ROW)
            await connection.send(ROW)
        await connection.send(message.upper())


async def begins_tasks(connection: Connection) -> None:
    """Send rows without an end, from ten tasks."""

    async def pour() -> None:
        while True:
            await connection.send(ROW)

    async for message in connection:
        if message == b"stream":
            async with asyncio.TaskGroup() as group:
                for _ in range(10):
                    group.create_task(pour())
        await connection.send(message.upper())


def answers(messages: list[bytes]) -> list[bytes]:
    """Return the lines of a batch in capital letters."""
    return [message.upper() for message in messages]


async def callback(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer lines, or write rows without an end, as code for asyncio's streams does."""
    while line := await reader.readline():
        while line == b"stream\n":
            writer.write(ROW + b"\n")
            await writer.drain()
        writer.write(line.upper())
        await writer.drain()


async def reading_callback(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read a flood octet by octet, and answer the last of other lines."""
    while octet := await reader.read(1):
        if octet not in b"x\n":
            writer.write((octet + await reader.readline()).upper())
            await writer.drain()


#: By kind: what is registered, how.
KINDS: dict[str, Callable[[], object]] = {
    "reply": lambda: service.reply(answer),
    "slow reply": lambda: service.reply(after(1000)),
    "generator": lambda: service.reply(rows),
    "async reply": lambda: service.reply(awaited),
    "slow async reply": lambda: service.reply(awaited_slowly),
    "async generator": lambda: service.reply(awaited_rows),
    "concurrency=8": lambda: service.reply(concurrency=8)(awaited),
    "slow, concurrency=64": lambda: service.reply(concurrency=64)(awaited_slowly),
    "threads": lambda: service.reply(threads=True)(answer),
    "generator in a thread": lambda: service.reply(threads=True)(rows),
    "conversation sends": lambda: service.conversation(sends(ROW)),
    "conversation sends 256 KiB": lambda: service.conversation(sends(ROW * 5461)),
    "conversation receives": lambda: service.conversation(receives),
    "conversation echoes": lambda: service.conversation(echoes),
    "conversation of ten tasks": lambda: service.conversation(begins_tasks),
    "blocking conversation": lambda: service.conversation(blocks),
    "batches": lambda: service.replies(answers),
    "streams callback": lambda: adapters.streams(callback),
    "streams callback reads": lambda: adapters.streams(reading_callback),
    "broadcast": lambda: service.reply(spreads),
    "broadcast, awaited": lambda: service.conversation(spreads_and_awaits),
}
made = KINDS[os.environ["KIND"]]()
if isinstance(made, Service):  # that of an adapter
    service = made
