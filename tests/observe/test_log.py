"""Without an observer, a handler that raises is heard of all the same."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fourtuple import Server, Service
from fourtuple.errors import FramingError, FramingMistake, MalformedMessage, UnmappedMessage
from fourtuple.events import HandlerRaised
from fourtuple.framing import Framing, Line, Unmapped, custom, mapped
from fourtuple.observe import log_failures
from fourtuple.printable import printable


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
    assert record.getMessage().endswith("broken raised LookupError")
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], LookupError)


def lines_of(record: logging.LogRecord) -> list[str]:
    return logging.Formatter().format(record).split("\n")


@pytest.mark.parametrize("plain", [True, False])
def test_a_reply_that_cannot_be_sent_is_logged_in_one_line(
    run_async: Callable[[Coroutine[Any, Any, None]], None], caplog: pytest.LogCaptureFixture, plain: bool
) -> None:
    service: Service[Any, Any, Any, Any] = Service("line")

    def texts(message: bytes) -> str:
        return message.decode()

    async def texts_later(message: bytes) -> str:
        return message.decode()

    service.reply(texts if plain else texts_later)
    run_async(hello(service))
    (record,) = caplog.records
    (line,) = lines_of(record)
    assert f"{'texts' if plain else 'texts_later'}: its message cannot be sent: line takes octets" in line
    assert line.endswith("not str; encode it first, as in text.encode()")


@pytest.mark.parametrize("plain", [True, False])
def test_a_traceback_has_the_frames_of_the_users_code_alone(
    run_async: Callable[[Coroutine[Any, Any, None]], None], caplog: pytest.LogCaptureFixture, plain: bool
) -> None:
    service: Service[Any, Any, Any, Any] = Service("line")

    def number(message: bytes) -> int:
        try:
            return int(message)
        except ValueError as error:
            raise LookupError("no number") from error

    def broken(message: bytes, connection: Any) -> bytes:
        return b"%d" % number(message)

    async def sends(_message: bytes, connection: Any) -> None:
        await connection.send("text")

    service.reply(broken if plain else sends)
    run_async(hello(service))
    (record,) = caplog.records
    lines = lines_of(record)
    frames = [line for line in lines if line.lstrip().startswith('File "')]
    assert [line.rpartition(" ")[2] for line in frames] == (["number", "broken", "number"] if plain else ["sends"])
    assert all(f'File "{__file__}"' in line for line in frames)
    # What the user's exception came from is told, too.
    assert any(line.startswith("  ValueError: ") for line in lines) == plain
    assert lines[-1].startswith("  LookupError: no number" if plain else "  fourtuple.errors.EncodeError: ")


def test_an_exception_without_a_frame_of_the_users_keeps_all_of_them(caplog: pytest.LogCaptureFixture) -> None:
    try:
        printable(None)  # type: ignore[arg-type]
    except TypeError as error:
        log_failures(HandlerRaised(1, "peer", "echo", error.with_traceback(error.__traceback__.tb_next)))
    (record,) = caplog.records
    assert any("printable.py" in line for line in lines_of(record))


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
