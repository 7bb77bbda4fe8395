"""Messages of 16 octets, and a handler of the kind that KIND names in the environment."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator

from fourtuple import BlockingConnection, Connection, Service
from fourtuple.framing import Fixed

service = Service(Fixed(16))


def plain(message: bytes) -> bytes:
    """Return the message in capital letters."""
    return message.upper()


def with_connection(message: bytes, connection: Connection) -> bytes:
    """As plain()."""
    return message.upper()


async def awaited(message: bytes) -> bytes:
    """As plain()."""
    return message.upper()


async def awaited_and_waits(message: bytes) -> bytes:
    """As plain(), after other tasks have run."""
    await asyncio.sleep(0)
    return message.upper()


def generator(message: bytes) -> Iterator[bytes]:
    """As plain(): one reply."""
    yield message.upper()


async def async_generator(message: bytes) -> AsyncIterator[bytes]:
    """As plain(): one reply."""
    yield message.upper()


async def conversation(connection: Connection) -> None:
    """Answer each message with itself in capital letters."""
    async for message in connection:
        await connection.send(message.upper())


def blocking_conversation(connection: BlockingConnection) -> None:
    """As conversation()."""
    for message in connection:
        connection.send(message.upper())


#: By kind: what is registered, how.
KINDS: dict[str, Callable[[], object]] = {
    "def": lambda: service.reply(plain),
    "def with connection": lambda: service.reply(with_connection),
    "async def": lambda: service.reply(awaited),
    "async def that waits": lambda: service.reply(awaited_and_waits),
    "generator": lambda: service.reply(generator),
    "async generator": lambda: service.reply(async_generator),
    "threads": lambda: service.reply(threads=True)(plain),
    "conversation": lambda: service.conversation(conversation),
    "blocking conversation": lambda: service.conversation(blocking_conversation),
}
KINDS[os.environ["KIND"]]()
