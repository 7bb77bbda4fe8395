"""A server whose loop was closed, and calls of a server in another loop than its own: each says so at once."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fourtuple import Connection, Server, Service, serve_in_thread
from fourtuple.blocking import connect
from fourtuple.errors import LoopClosed, ServiceError, WrongThread
from fourtuple.testing import MemoryService
from rig import PATIENT, echo

SOON = 30
COROUTINES = ["drain", "abort", "serve_forever"]


@pytest.fixture
def new_loop(loop: str) -> Callable[[], asyncio.AbstractEventLoop]:
    from conftest import LOOPS

    return LOOPS[loop] or asyncio.new_event_loop


def talks() -> Service:
    """A service whose conversations wait in a task."""
    service = Service("line", name="talks")

    @service.conversation
    async def talk(connection: Connection) -> None:
        async for message in connection:
            await connection.send(message)

    return service


@contextmanager
def left_behind(*expected: str) -> Iterator[None]:
    """What a loop that was closed too early leaves is told in warnings, as asyncio tells it."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    texts = [str(each.message) for each in told]
    assert [each for each in expected if not any(each in text for text in texts)] == []


@pytest.mark.filterwarnings("ignore:.*was never awaited:RuntimeWarning")
@pytest.mark.parametrize("make", [echo, talks])
def test_a_loop_that_was_closed_too_early_ends_the_server(
    new_loop: Any, readiness: Any, tmp_path: Path, make: Callable[[], Service]
) -> None:
    path = tmp_path / "socket"
    loop = new_loop()
    loop.set_exception_handler(lambda loop, context: None)  # tasks that were destroyed
    server = Server(make(), "127.0.0.1:0", f"unix:{path}", readiness=readiness, deadlines=PATIENT)
    loop.run_until_complete(server.start())
    address = server.address
    with socket.create_connection(("127.0.0.1", address.port)) as peer:
        peer.sendall(b"hello\n")
        peer.settimeout(SOON)

        async def served() -> bytes:
            return await loop.sock_recv(peer, 100)

        peer.setblocking(False)
        assert loop.run_until_complete(served()) == b"hello\n"
        peer.settimeout(SOON)
        assert server.statistics.active == 1
        with left_behind("unclosed <Listener 127.0.0.1:", "unclosed <Listener unix:", "unclosed <Channel "):
            loop.close()
        assert peer.recv(1) == b""
    assert repr(server).startswith(f"<Server {server.service.name} loop closed at {address}, ")
    assert repr(server).endswith(" 0 connections>")
    assert (server.stopped, server.connections, server.statistics.active, server.statistics.closed) == (False, {}, 0, 1)
    assert server.statistics.messages_in == 1
    assert not path.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", address.port))

    ours, theirs = socket.socketpair()
    calls: dict[str, Callable[[], Any]] = {
        "adopt": lambda: server.adopt(theirs),
        "broadcast": lambda: server.broadcast(b"x"),
        "call_soon": lambda: server.call_soon(print),
        "change_limits": lambda: server.change_limits(max_connections=1),
        "dial": lambda: server.dial(address),
        "pause": server.pause,
        "reload_certificates": server.reload_certificates,
        "resume": server.resume,
    }
    for name, call in calls.items():
        with pytest.raises(LoopClosed, match=rf"{name}.*: the server's event loop was closed before it had stopped: "):
            call()
    with ours:
        assert ours.recv(1) == b""  # a socket that is given is closed

    async def elsewhere() -> None:
        for name in COROUTINES:
            with pytest.raises(LoopClosed, match=rf"server.{name}\(\): the server's event loop was closed before"):
                await getattr(server, name)()

    asyncio.run(elsewhere())


@pytest.mark.parametrize("how", ["drain", "abort"])
def test_a_stopped_server_whose_loop_was_closed(new_loop: Any, how: str) -> None:
    server = Server(echo())

    async def main() -> None:
        await server.start()
        await getattr(server, how)()

    loop = new_loop()
    loop.run_until_complete(main())
    loop.close()
    gc.collect()
    assert repr(server) == f"<Server echo stopped at {server.address}, 0 connections>"
    asyncio.run(stop_again(server))
    with pytest.raises(LoopClosed, match=r"server.call_soon\(\): the server's event loop was closed$"):
        server.call_soon(print)


def test_the_lifespan_of_a_server_that_is_left_running_is_closed_with_the_loop(new_loop: Any) -> None:
    told: list[dict[str, Any]] = []
    steps: list[str] = []
    service = echo()

    @service.lifespan
    async def lifespan() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.sleep(0)
            steps.append("torn down")

    server = Server(service)
    with left_behind("unclosed <Listener "), asyncio.Runner(loop_factory=new_loop) as runner:
        runner.get_loop().set_exception_handler(lambda loop, context: told.append(context))
        runner.run(server.start())
    assert (steps, told) == (["torn down"], [])


def test_a_failed_start_whose_loop_was_closed(new_loop: Any) -> None:
    service = echo()

    @service.lifespan
    async def lifespan() -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    server = Server(service)
    loop = new_loop()
    with pytest.raises(OSError, match="no database"):
        loop.run_until_complete(server.start())
    loop.close()
    assert repr(server) == "<Server echo failed to start>"
    asyncio.run(stop_again(server))
    with pytest.raises(ServiceError, match="failed to start> does not serve"):
        asyncio.run(server.serve_forever())


async def stop_again(server: Server) -> None:
    assert await server.drain() == 0
    await server.abort()


def test_a_thread_that_has_a_socket_sees_the_end_of_the_loop(new_loop: Any, readiness: Any) -> None:
    ended = threading.Event()
    service = Service("line")

    @service.conversation
    def talk(connection: Any) -> None:
        try:
            for message in connection:
                connection.send(message)
        finally:
            ended.set()

    loop = new_loop()
    server = Server(service, readiness=readiness, deadlines=PATIENT)
    loop.run_until_complete(server.start())
    before = set(threading.enumerate())
    with connect(server.address, "line") as client:

        async def request() -> bytes:
            return await asyncio.to_thread(client.request, b"hello")

        assert loop.run_until_complete(request()) == b"hello"
        loop.run_until_complete(loop.shutdown_default_executor())
        with left_behind("unclosed <Channel "):
            loop.close()
            assert ended.wait(SOON)
            for thread in set(threading.enumerate()) - before:
                thread.join(SOON)
            del server, loop  # and with them the socket, which the thread can give to no one


@pytest.mark.parametrize("name", COROUTINES)
def test_a_coroutine_in_another_loop_of_this_thread(new_loop: Any, name: str) -> None:
    server = Server(echo(), deadlines=PATIENT)
    loop = new_loop()
    loop.run_until_complete(server.start())
    text = (
        rf"<Server echo serving at .*>: server.{name}\(\) was awaited in another event loop than the server's, which "
        rf"does not run; hand it over: server.loop.run_until_complete\(server.{name}\(\)\)"
    )
    with pytest.raises(WrongThread, match=text):
        asyncio.run(getattr(server, name)())
    loop.run_until_complete(server.drain())
    loop.close()
    assert server.stopped


@pytest.mark.parametrize("name", COROUTINES)
def test_a_coroutine_in_the_loop_of_another_thread(name: str) -> None:
    with serve_in_thread(echo(), deadlines=PATIENT) as server:
        with pytest.raises(WrongThread, match=rf"hand it over: server.call_soon\(server.{name}\)"):
            asyncio.run(getattr(server, name)())
        assert not server.draining.is_set()


@pytest.mark.parametrize("name", ["drain", "abort"])
def test_call_soon_runs_a_coroutine_function(name: str) -> None:
    with serve_in_thread(echo(), deadlines=PATIENT) as server:
        server.call_soon(getattr(server, name))
        while not server.stopped:
            pass


def test_a_coroutine_function_of_call_soon_that_fails_is_reported(run_async: Any) -> None:
    async def main() -> None:
        told: list[dict[str, Any]] = []
        reported = asyncio.Event()

        def report(_loop: Any, context: dict[str, Any]) -> None:
            told.append(context)
            reported.set()

        asyncio.get_running_loop().set_exception_handler(report)

        async def fails(text: str) -> None:
            raise ValueError(text)

        async with MemoryService(echo()) as memory:
            memory.server.call_soon(fails, "no")
            await reported.wait()
        assert "fails" in told[0]["message"]
        assert str(told[0]["exception"]) == "no"

    run_async(main())


def test_call_soon_before_the_start() -> None:
    with pytest.raises(ServiceError, match="call_soon: <Server echo not started> has no event loop before"):
        Server(echo()).call_soon(print)
