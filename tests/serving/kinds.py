"""An echo by each kind of handler: a function gives it to a service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

from fourtuple import BlockingConnection, Connection, Service


def inline(service: Service) -> None:
    service.reply(lambda message: message)


def generator(service: Service) -> None:
    @service.reply
    def several(message: bytes) -> Iterator[bytes]:
        yield message


def awaited(service: Service) -> None:
    @service.reply
    async def answer(message: bytes) -> bytes:
        await asyncio.sleep(0)
        return message


def async_generator(service: Service) -> None:
    @service.reply
    async def several(message: bytes) -> AsyncIterator[bytes]:
        await asyncio.sleep(0)
        yield message


def concurrent(service: Service) -> None:
    @service.reply(concurrency=2)
    async def answer(message: bytes) -> bytes:
        await asyncio.sleep(0)
        return message


def in_thread(service: Service) -> None:
    service.reply(threads=True)(lambda message: message)


def conversation(service: Service) -> None:
    @service.conversation
    async def talk(connection: Connection) -> None:
        async for message in connection:
            await connection.send(message)
            del message  # nothing holds it while the next one is awaited


def blocking(service: Service) -> None:
    @service.conversation
    def talk(connection: BlockingConnection) -> None:
        for message in connection:
            connection.send(message)
            del message
