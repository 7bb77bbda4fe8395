"""How a connection keeps its name."""

from __future__ import annotations

import asyncio
from typing import Any

from fourtuple import FourTuple, Server, Service, events


def test_a_connection_that_waits_keeps_its_name_packed_until_it_is_read(run_async: Any) -> None:
    """With the C, for a handler whose connections Python accepts; the events at both ends have the same name."""
    service: Service = Service("line")
    seen: list[events.Event] = []

    @service.reply
    async def reply(message: bytes) -> bytes:
        return message

    async def main() -> None:
        async with Server(service, "127.0.0.1:0", observer=seen.append) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"hello\n")
            assert await reader.readline() == b"hello\n"
            (runner,) = server._core.registry.runners.values()
            stream = runner.channel.stream
            assert isinstance(stream._name, bytes) == server.engine.fast_path
            assert stream.name == FourTuple("127.0.0.1", server.port, *writer.get_extra_info("sockname"))
            writer.close()
            await writer.wait_closed()
        assert [event.name for event in seen if isinstance(event, events.Accepted | events.Closed)] == 2 * [stream.name]

    run_async(main())
