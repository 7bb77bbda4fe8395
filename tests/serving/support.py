"""A server in the test's loop, clients in the same loop, and the events of the observer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fourtuple import Limits, Server, Service, events
from fourtuple.framing import Framing, Line

E = TypeVar("E", bound=events.Event)

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def echo(framing: Framing | str = Line()) -> Service:  # noqa: B008 - a framing is a value
    service = Service(framing, name="echo")
    service.reply(lambda message: message)
    return service


class Heard(list[events.Event]):
    """An observer that records events."""

    def __call__(self, event: events.Event) -> None:
        self.append(event)

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self if isinstance(event, kind)]


class Clock:
    """A clock that moves only when the test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def serving(service: Service | None = None, **options: Any) -> AsyncIterator[tuple[Server, Heard]]:
    """A server with ``options``. Keywords that are limits become its ``limits``."""
    heard = Heard()
    limits = {name: options.pop(name) for name in list(options) if name in Limits.__dataclass_fields__}
    server = Server(service or echo(), limits=Limits(**limits), observer=heard, **options)
    try:
        async with server:
            yield server, heard
            await server.abort()
    finally:
        if server.engine is options.get("engine"):
            server.engine.close()


@asynccontextmanager
async def client(server: Server, **options: Any) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, **options)
    try:
        yield reader, writer
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            pass


async def says(talk: Client, line: bytes) -> bytes:
    """Send a line and return the reply; b"" at the end of file or after a reset."""
    reader, writer = talk
    try:
        writer.write(line)
        return await reader.readline()
    except ConnectionError:
        return b""


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until the condition is true. If it never is, the test's timeout ends it."""
    while not condition():
        await asyncio.sleep(0.001)
