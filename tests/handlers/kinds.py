"""A service whose handler, of any kind, does what one function does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from fourtuple import BlockingConnection, Connection, Service

#: ``handle(message, connection)`` returns the reply.
Handle = Callable[[bytes, Any], bytes]


def service_by(kind: str, handle: Handle, service: Service | None = None) -> Service:
    """Register a handler of this kind that calls ``handle``; a conversation that cannot send any more drops the reply.

    The kinds are inline, generator, async, concurrent, async generator, conversation, and blocking.
    """
    service = Service("line") if service is None else service
    if kind == "inline":
        service.reply(handle)
    elif kind == "generator":

        @service.reply
        def several(message: bytes, connection: Connection) -> Iterator[bytes]:
            yield handle(message, connection)

    elif kind in ("async", "concurrent"):

        @service.reply(concurrency=3 if kind == "concurrent" else 1)
        async def awaiting(message: bytes, connection: Connection) -> bytes:
            return handle(message, connection)

    elif kind == "async generator":

        @service.reply
        async def asynchronously(message: bytes, connection: Connection) -> AsyncIterator[bytes]:
            yield handle(message, connection)

    elif kind == "conversation":

        @service.conversation
        async def talk(connection: Connection) -> None:
            async for message in connection:
                reply = handle(message, connection)
                if may_send(connection):
                    await connection.send(reply)

    else:
        assert kind == "blocking"

        @service.conversation
        def converse(connection: BlockingConnection) -> None:
            for message in connection:
                reply = handle(message, connection)
                if may_send(connection):
                    connection.send(reply)

    return service


def may_send(connection: Connection | BlockingConnection) -> bool:
    return not connection.closed and connection._stream.writing.value == "open"
