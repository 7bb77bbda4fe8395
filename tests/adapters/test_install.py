"""install(): a whole program on our listeners, and the examples of the documentation of Python, as they are there."""

from __future__ import annotations

import asyncio
import os
import socket
import socketserver
from asyncio.base_events import BaseEventLoop
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from certificates import serving_context, trusting
from fourtuple import Limits, Server, adapters, events, serve_in_thread
from fourtuple.errors import ServiceError
from rig import until


# The echo server of the chapter "Streams".
async def handle_echo(reader, writer):  # type: ignore[no-untyped-def]
    data = await reader.read(100)
    message = data.decode()
    addr = writer.get_extra_info("peername")

    print(f"Received {message!r} from {addr!r}")

    print(f"Send: {message!r}")
    writer.write(data)
    await writer.drain()

    print("Close the connection")
    writer.close()
    await writer.wait_closed()


# The echo server of the chapter "Transports and Protocols".
class EchoServerProtocol(asyncio.Protocol):
    def connection_made(self, transport):  # type: ignore[no-untyped-def]
        peername = transport.get_extra_info("peername")
        print(f"Connection from {peername}")
        self.transport = transport

    def data_received(self, data):  # type: ignore[no-untyped-def]
        message = data.decode()
        print(f"Data received: {message!r}")

        print(f"Send: {message!r}")
        self.transport.write(data)

        print("Close the client socket")
        self.transport.close()


# The handlers of the chapter "socketserver".
class MyTCPHandler(socketserver.BaseRequestHandler):
    def handle(self):  # type: ignore[no-untyped-def]
        # self.request is the TCP socket connected to the client
        pieces = [b""]
        total = 0
        while b"\n" not in pieces[-1] and total < 10_000:
            pieces.append(self.request.recv(2000))
            total += len(pieces[-1])
        self.data = b"".join(pieces)
        print(f"Received from {self.client_address[0]}:")
        print(self.data.decode("utf-8"))
        # just send back the same data, but upper-cased
        self.request.sendall(self.data.upper())
        # after we return, the socket will be closed.


class MyStreamHandler(socketserver.StreamRequestHandler):
    def handle(self):  # type: ignore[no-untyped-def]
        # self.rfile is a file-like object created by the handler.
        # We can now use e.g. readline() instead of raw recv() calls.
        # We limit ourselves to 10000 bytes to avoid abuse by the sender.
        self.data = self.rfile.readline(10000).rstrip()
        print(f"{self.client_address[0]} wrote:")
        print(self.data.decode("utf-8"))
        # Likewise, self.wfile is a file-like object used to write back
        # to the client
        self.wfile.write(self.data.upper())


@pytest.mark.parametrize(
    ("service", "reply"),
    [
        (adapters.streams(handle_echo), b"hello\n"),
        (adapters.protocol(EchoServerProtocol), b"hello\n"),
        (adapters.socketserver(MyTCPHandler), b"HELLO\n"),
        (adapters.socketserver(MyStreamHandler), b"HELLO"),
    ],
    ids=lambda value: getattr(value, "name", "reply"),
)
def test_documented_examples(service: Any, reply: bytes, capsys: Any) -> None:
    with serve_in_thread(service) as server, socket.create_connection(("127.0.0.1", server.port), 20) as sock:
        sock.sendall(b"hello\n")
        received = b""
        while data := sock.recv(100):
            received += data
    assert received == reply
    assert "hello" in capsys.readouterr().out


async def ask(*where: Any, **options: Any) -> bytes:
    reader, writer = await (
        asyncio.open_unix_connection(*where) if len(where) == 1 else asyncio.open_connection(*where, **options)
    )
    writer.write(b"hello")
    received = await reader.read()
    writer.close()
    await writer.wait_closed()
    return received


def test_a_whole_program(run_async: Any, readiness: Any, tmp_path: Path) -> None:
    made: list[Server] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        first = await asyncio.start_server(handle_echo, "127.0.0.1", 0)
        second = await loop.create_server(EchoServerProtocol, "127.0.0.1", 0, ssl=serving_context())
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        third = await loop.create_server(EchoServerProtocol, sock=bound, start_serving=False)
        path = str(tmp_path / "socket")
        fourth = await asyncio.start_unix_server(handle_echo, path)
        assert not third.is_serving()
        await third.start_serving()
        ports = [server.sockets[0].getsockname()[1] for server in (first, second, third)]
        assert await ask("127.0.0.1", ports[0]) == b"hello"
        assert await ask("127.0.0.1", ports[1], ssl=trusting(), server_hostname="localhost") == b"hello"
        assert await ask("127.0.0.1", ports[2]) == b"hello"
        assert await ask(path) == b"hello"
        assert [server.statistics.accepted for server in made] == [1, 1, 1, 1]
        for server in (first, second, third, fourth):
            assert server.is_serving()
            assert server.get_loop() is loop
            server.close()
            server.close()
            await server.wait_closed()
            assert not server.is_serving()
            assert server.sockets == ()
        assert all(server.stopped for server in made)
        with socket.create_server(("127.0.0.1", ports[0])):
            pass  # the port is free again
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", ports[1])
        if os.path.exists(path):  # up to Python 3.12 asyncio leaves it, too
            os.unlink(path)

    with adapters.install(on_server=made.append, readiness=readiness):
        run_async(main())


def test_serve_forever_ends_by_cancellation_and_open_connections_go_on(run_async: Any, readiness: Any) -> None:
    async def main() -> None:
        server = await asyncio.start_server(handle_echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        forever = asyncio.ensure_future(server.serve_forever())
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: made[0].connections)
        server.close()
        writer.write(b"still here")
        assert await reader.read() == b"still here"
        writer.close()
        await writer.wait_closed()
        await server.wait_closed()
        with pytest.raises(asyncio.CancelledError):
            await forever
        await until(lambda: made[0].stopped)

    made: list[Server] = []
    with adapters.install(on_server=made.append, readiness=readiness):
        run_async(main())


@pytest.mark.parametrize("closes", ["the server", "the program"])
@pytest.mark.parametrize("said", ["what it is", "AF_UNIX"])
def test_a_programs_own_socket_stays_its_own(said: str, closes: str, run_async: Any, readiness: Any) -> None:
    async def once() -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        name = sock.getsockname()
        if said == "AF_UNIX":  # as uvicorn does with --fd
            number = sock.detach()
            sock = socket.fromfd(number, socket.AF_UNIX, socket.SOCK_STREAM)
            os.close(number)
        number, loop = sock.fileno(), asyncio.get_running_loop()
        server = await loop.create_server(EchoServerProtocol, sock=sock)
        assert (sock.getsockname(), sock.fileno(), sock.gettimeout()) == (name, number, 0)
        assert [each.fileno() for each in server.sockets] == [number]
        reader, writer = await asyncio.open_connection(*name)
        writer.write(b"hello")
        assert await reader.read() == b"hello"
        writer.close()
        await writer.wait_closed()
        if closes == "the program":
            sock.close()
            if said != "what it is" or not isinstance(loop, BaseEventLoop):
                assert [each.getsockname() for each in server.sockets] == [name]
        server.close()
        await server.wait_closed()
        assert sock.fileno() == -1
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*name)

    async def main() -> None:
        before: set[str] = set()
        for _ in range(3):
            before = set(os.listdir("/proc/self/fd"))
            await once()
        assert len(os.listdir("/proc/self/fd")) == len(before), "no descriptor is left"

    with adapters.install(readiness=readiness):
        run_async(main())


def test_a_programs_own_socket_after_a_server_that_was_not_made(run_async: Any, tmp_path: Path) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_UNIX) as sock, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            path = str(tmp_path / "sock")
            sock.bind(path)
            with pytest.raises(ValueError, match=r"(?i)stream socket was expected"):
                await asyncio.start_server(handle_echo, sock=datagrams)
            with pytest.raises(ValueError, match="same time"):
                await asyncio.start_unix_server(handle_echo, path, sock=sock)
            server = await asyncio.start_unix_server(handle_echo, sock=sock, start_serving=False)
            assert sock.getsockname() == path
            server.close()
            await server.wait_closed()
            assert sock.fileno() == -1
            assert datagrams.fileno() >= 0

    with adapters.install():
        run_async(main())


class FullEcho(asyncio.Protocol):
    """Writes more than the kernel takes, and notes what it is told."""

    def __init__(self, how: str, low: int, told: list[str]) -> None:
        self.how, self.low, self.told = how, low, told

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=100, low=self.low)

    def data_received(self, data: bytes) -> None:
        self.transport.write(bytes(8 << 20))
        if self.how == "close":
            self.transport.close()
        elif self.how == "abort":
            self.transport.abort()

    def eof_received(self) -> None:
        self.told.append("eof")

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.told.append(f"lost {exc}")


@pytest.mark.parametrize("by", ["the loop", "us"])
@pytest.mark.parametrize("low", [0, 50])
@pytest.mark.parametrize("how", ["eof", "close", "abort"])
def test_a_paused_protocol_is_resumed_while_its_connection_ends(
    by: str, how: str, low: int, run_async: Any, readiness: Any
) -> None:
    told: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: FullEcho(how, low, told), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello")
        await until(lambda: "pause" in told)
        if how == "eof":
            writer.write_eof()
            await until(lambda: "eof" in told)
        read = b"x"
        with suppress(ConnectionResetError):
            while read:
                read = await reader.read(1 << 16)
        writer.close()
        await until(lambda: told[-1].startswith("lost"))
        server.close()
        await server.wait_closed()

    with adapters.install(readiness=readiness) if by == "us" else nullcontext():
        run_async(main())
    expected = {
        "eof": ["pause", "eof", "resume", "lost None"],
        "close": ["pause", "resume", "lost None"],
        "abort": ["pause", "lost None"],
    }
    assert told == expected[how]


def test_limits_and_errors(run_async: Any, readiness: Any) -> None:
    told: list[events.Event] = []

    async def main() -> None:
        async with await asyncio.start_server(handle_echo, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            assert await ask("127.0.0.1", port) == b""
            with pytest.raises(OSError, match="address already in use"):
                await asyncio.start_server(handle_echo, "127.0.0.1", port)
        with socket.socket() as sock, pytest.raises(ValueError, match="host/port and sock can not be specified"):
            await asyncio.start_server(handle_echo, "127.0.0.1", 0, sock=sock)

    with adapters.install(limits=Limits(deny="127.0.0.0/8"), observer=told.append, readiness=readiness):
        with pytest.raises(ServiceError, match="installed already"):
            adapters.install()
        run_async(main())
    assert [event.limit for event in told if isinstance(event, events.Refused)] == ["deny"]
    adapters.uninstall()
    adapters.uninstall()
    assert asyncio.SelectorEventLoop.create_server is asyncio.BaseEventLoop.create_server


def test_a_connection_that_a_closed_loop_leaves_open_is_called_a_transport(readiness: Any) -> None:
    """As asyncio calls it: test suites filter its warnings by these words."""

    async def main() -> socket.socket:
        made = asyncio.Event()

        class Protocol(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                made.set()

        server = await asyncio.get_running_loop().create_server(Protocol, "127.0.0.1", 0)
        peer = socket.create_connection(server.sockets[0].getsockname())
        await made.wait()
        server.close()
        return peer

    loop = asyncio.SelectorEventLoop()
    with adapters.install(readiness=readiness):
        peer = loop.run_until_complete(main())
        with pytest.warns(ResourceWarning, match="^unclosed transport <Channel"):
            loop.close()
    with peer:
        peer.settimeout(30)
        assert peer.recv(1) == b""
