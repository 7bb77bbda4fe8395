"""The sixteen-octet server and client: exact reads, an honest error, SO_REUSEADDR, the names shown."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from fourtuple import Server, events
from fourtuple.blocking import connect
from fourtuple.errors import IncompleteMessage
from fourtuple.services.sixteen import service
from systems.programs import EXAMPLES, serving

MESSAGE = b"Hi there, server"
REPLY = b"Farewell, client"


def exchange(address: tuple[str, int], *pieces: bytes) -> bytes:
    """Send the pieces one by one, then end of file; return all that comes back."""
    with socket.create_connection(address) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(4096), b""))


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([MESSAGE], id="whole"),
        pytest.param([bytes([octet]) for octet in MESSAGE], id="octet by octet"),
        pytest.param([MESSAGE[:5], MESSAGE[5:] + MESSAGE[:5], MESSAGE[5:]], id="across"),
        pytest.param([MESSAGE * 1000], id="a thousand at once"),
    ],
)
def test_reads_are_exact_however_the_octets_arrive(
    run_async: Callable[[Coroutine[Any, Any, bytes]], bytes], pieces: list[bytes]
) -> None:
    async def main() -> bytes:
        async with Server(service) as server:
            return await asyncio.to_thread(exchange, ("127.0.0.1", server.port), *pieces)

    assert run_async(main()) == REPLY * (sum(map(len, pieces)) // 16)


def test_the_server_says_what_was_missing(run_async: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    seen: list[events.Event] = []

    async def main() -> None:
        async with Server(service, observer=seen.append) as server:
            assert await asyncio.to_thread(exchange, ("127.0.0.1", server.port), MESSAGE + b"and") == REPLY

    run_async(main())
    failed = next(event for event in seen if isinstance(event, events.MessageFailed))
    assert str(failed.error) == f"end of file inside a message: expected 16 octets, received 3, from {failed.name}"


def test_the_client_says_what_was_missing() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as passive,
        connect(str(passive.getsockname()[1]), "fixed:16") as client,
    ):
        active, _ = passive.accept()
        with active:
            active.sendall(b"Farew")
        with pytest.raises(IncompleteMessage, match="expected 16 octets, received 5") as caught:
            client.receive(timeout=10)
    assert (caught.value.expected, caught.value.received) == (16, 5)


def test_a_restart_does_not_wait_for_time_wait(run_async: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    async def main() -> None:
        async with Server(service) as first:
            address = first.address
            with socket.socket(fileno=first.listeners[0].fileno()) as passive:
                assert passive.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 1
                passive.detach()
            reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
            writer.write(MESSAGE)
            assert await reader.readexactly(16) == REPLY
            await first.drain()  # the server closes first: TIME_WAIT is on its side
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
        async with Server(service, address) as second:
            assert second.address == address

    run_async(main())


def client_of(address: str) -> list[str]:
    command = [sys.executable, "-W", "error", str(EXAMPLES / "sixteen_client.py"), address]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=100).stdout.splitlines()


def test_the_examples_talk_and_show_their_names() -> None:
    with serving("sixteen") as server:
        local, remote, reply = client_of(server.address)
    assert local.startswith("local  127.0.0.1:")
    assert remote == f"remote {server.address}"
    assert reply == REPLY.decode()


def test_the_example_ends_with_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as passive:
        command = [sys.executable, str(EXAMPLES / "sixteen_client.py"), f"127.0.0.1:{passive.getsockname()[1]}"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
            active, _ = passive.accept()
            with active:
                assert active.recv(16, socket.MSG_WAITALL) == MESSAGE
                active.sendall(b"Farew")
            _, said = client.communicate(timeout=100)
    assert client.returncode == 1
    assert said.startswith("end of file inside a message: expected 16 octets, received 5, from 127.0.0.1:")
    assert said.count("\n") == 1
