"""Without an observer, a handler that raises is heard of all the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fourtuple import Server, Service


def test_a_handler_that_raises_is_logged_by_default(
    run_async: Callable[[Coroutine[Any, Any, None]], None], caplog: pytest.LogCaptureFixture
) -> None:
    service = Service("line")

    @service.reply
    def broken(_message: bytes) -> bytes:
        raise LookupError("no such thing")

    async def main() -> None:
        async with Server(service) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"hello\n")
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    with caplog.at_level(logging.INFO, logger="fourtuple"):
        run_async(main())
    (record,) = caplog.records
    assert "broken raised" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)
