"""A server in the test's loop, clients in the same loop, and the events of the observer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fourtuple import Limits, Server, Service
from rig import Seen, echo

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def serving(service: Service | None = None, **options: Any) -> AsyncIterator[tuple[Server, Seen]]:
    """A server with ``options``. Keywords that are limits become its ``limits``."""
    seen = Seen()
    limits = {name: options.pop(name) for name in list(options) if name in Limits.__dataclass_fields__}
    server = Server(service or echo(), limits=Limits(**limits), observer=seen, **options)
    try:
        async with server:
            yield server, seen
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
