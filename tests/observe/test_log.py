"""Without an observer, a handler that raises is heard of all the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fourtuple import Server, Service
from fourtuple.errors import FramingError, FramingMistake, MalformedMessage, UnmappedMessage
from fourtuple.framing import Framing, Line, Unmapped, custom, mapped


async def hello(service: Service[Any, Any, Any, Any]) -> None:
    """Serve one client, which sends a line and gets nothing but the end of file."""
    async with Server(service) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"hello\n")
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


def test_a_handler_that_raises_is_logged_by_default(
    run_async: Callable[[Coroutine[Any, Any, None]], None], caplog: pytest.LogCaptureFixture
) -> None:
    service = Service("line")

    @service.reply
    def broken(_message: bytes) -> bytes:
        raise LookupError("no such thing")

    with caplog.at_level(logging.INFO, logger="fourtuple"):
        run_async(hello(service))
    (record,) = caplog.records
    assert "broken raised" in record.getMessage()
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


def misspelled(buffer: bytearray, seen: int) -> Any:
    return bytes(buffer[:leng]), len(buffer)  # type: ignore[name-defined] # noqa: F821


def no_pair(buffer: bytearray, seen: int) -> Any:
    return bytes(buffer)


def refuses(buffer: bytearray, seen: int) -> Any:
    raise ValueError("no message begins like this")


def undecoded(message: bytes) -> Any:
    return message.decoed()  # type: ignore[attr-defined]


@pytest.mark.parametrize("decides", [False, True])
@pytest.mark.parametrize(
    ("framing", "error", "cause"),
    [
        (custom(misspelled, bytes), MalformedMessage, NameError),
        (custom(no_pair, bytes), FramingMistake, type(None)),
        (mapped(Line(), undecoded, bytes), UnmappedMessage, AttributeError),
        (custom(refuses, bytes), None, None),
        (mapped(Line(), int, bytes), None, None),
    ],
)
def test_a_mistake_of_a_framing_is_logged_by_default(
    run_async: Callable[[Coroutine[Any, Any, None]], None],
    caplog: pytest.LogCaptureFixture,
    framing: Framing[Any, Any],
    error: type[FramingError] | None,
    cause: type[BaseException] | None,
    decides: bool,
) -> None:
    service = Service(framing)
    service.reply(lambda message: message)

    if decides:

        @service.unmapped
        def unmapped(message: Unmapped, connection: Any) -> None:
            connection.close()

    with caplog.at_level(logging.INFO, logger="fourtuple"):
        run_async(hello(service))
    if error is None or cause is None:
        assert not caplog.records
        return
    (record,) = caplog.records
    assert "a mistake in the framing's code" in record.getMessage()
    assert record.exc_info is not None
    found = record.exc_info[1]
    assert isinstance(found, error)
    assert isinstance(found.__cause__, cause)
    if found.__cause__ is not None:
        assert f'File "{__file__}", line ' in str(record.exc_text)
