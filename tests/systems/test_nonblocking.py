"""Blocking and non-blocking. receive_nowait with nothing there raises WouldBlock, and is usable afterwards."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fourtuple import Connection, Server, Service, serve_in_thread
from fourtuple.blocking import connect, wait
from fourtuple.errors import EndOfFile, WouldBlock
from fourtuple.services.upper import service


def test_the_blocking_connection() -> None:
    with serve_in_thread(service) as server, connect(server.address, service.framing) as client:
        for word in (b"one", b"two"):
            with pytest.raises(WouldBlock, match="no whole message has arrived yet"):
                client.receive_nowait()
            client.send(word)
            assert wait([client], timeout=100) == [client]
            assert client.receive_nowait() == word.upper()
        client.send_eof()
        assert wait([client], timeout=100) == [client]
        with pytest.raises(EndOfFile):
            client.receive_nowait()


def test_would_block_is_a_blocking_io_error() -> None:
    assert issubclass(WouldBlock, BlockingIOError)


def test_in_a_handler(run_async: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    import asyncio

    probing = Service("line")
    looks: list[str] = []

    @probing.conversation
    async def probe(connection: Connection) -> None:
        assert await connection.receive() == b"first"
        try:
            connection.receive_nowait()
        except WouldBlock:
            looks.append("nothing")
        await connection.send(b"your turn")
        assert await connection.receive() == b"second"
        assert connection.receive_nowait() == b"third"
        looks.append("there")

    async def main() -> None:
        async with Server(probing) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"first\n")
            assert await reader.readline() == b"your turn\n"
            writer.write(b"second\nthird\n")
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    run_async(main())
    assert looks == ["nothing", "there"]


def test_the_example(run_example: Callable[..., list[str]]) -> None:
    lines = run_example("nonblocking")
    assert lines[0].startswith("WouldBlock: 127.0.0.1:")
    assert lines[1:3] == ["receive() waited for b'HELLO'", "receive_nowait() found b'AGAIN'"]
