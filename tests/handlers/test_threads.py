"""Calls from a thread that is not the loop's: an error that says what to do, and nothing done."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from conftest import RunAsync
from fourtuple import Connection, Server, Service, serve_in_thread
from fourtuple import client as async_client
from fourtuple.blocking import connect
from fourtuple.engine import Engine
from fourtuple.errors import EndOfFile, WrongThread
from fourtuple.services.echo import service as echo

SOON = 20.0


def talking() -> Service:
    """A service whose connections stay: the loop of their conversations waits for messages."""
    service = Service("line")

    @service.conversation
    async def talk(connection: Connection) -> None:
        async for message in connection:
            await connection.send(message)

    return service


def elsewhere(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Await in a loop of this thread's own, as a call by mistake does."""
    with asyncio.Runner() as runner:
        return runner.run(coroutine)


PLAIN: dict[str, Callable[[Connection], Any]] = {
    "send": lambda c: c.send(b"x"),
    "send_many": lambda c: c.send_many([b"x"]),
    "send_eof": lambda c: c.send_eof(),
    "unread": lambda c: c.unread(b"x"),
    "change_framing": lambda c: c.change_framing("raw"),
    "start_tls": lambda c: c.start_tls(),
    "close": lambda c: c.close(),
    "abort": lambda c: c.abort(),
    "info": lambda c: c.info(),
}

AWAITED: dict[str, Callable[[Connection], Coroutine[Any, Any, Any]]] = {
    "receive": lambda c: c.receive(),
    "receive_exactly": lambda c: c.receive_exactly(1),
    "receive_until": lambda c: c.receive_until(b"x", 1),
    "receive_some": lambda c: c.receive_some(),
    "request": lambda c: c.request(b"x"),
    "wait_closed": lambda c: c.wait_closed(),
}

SERVERS_PLAIN: dict[str, Callable[[Server], Any]] = {
    "pause": lambda s: s.pause(),
    "resume": lambda s: s.resume(),
    "broadcast": lambda s: s.broadcast(b"x"),
    "change_limits": lambda s: s.change_limits(max_connections=1),
    "reload_certificates": lambda s: s.reload_certificates(),
}

SERVERS_AWAITED: dict[str, Callable[[Server], Coroutine[Any, Any, Any]]] = {
    "drain": lambda s: s.drain(),
    "abort": lambda s: s.abort(),
    "serve_forever": lambda s: s.serve_forever(),
}


def test_a_connections_methods() -> None:
    with serve_in_thread(talking()) as server, connect(server.address, "line") as client:
        client.request(b"hello", timeout=SOON)
        (theirs,) = server.connections.values()
        for name, call in PLAIN.items():
            with pytest.raises(WrongThread, match=rf"server.call_soon\(connection.{name}, ...\)") as caught:
                call(theirs)
            assert "'MainThread', its loop runs in 'fourtuple-server" in str(caught.value)
        with pytest.raises(WrongThread, match="call_soon"):
            theirs.receive_nowait()
        for name, awaited in AWAITED.items():
            text = "receive" if name.startswith("receive") else name
            with pytest.raises(
                WrongThread, match=rf"run_coroutine_threadsafe\(connection.{text}\(...\), server.loop\)"
            ):
                elsewhere(awaited(theirs))

        async def iterate() -> None:
            async for _ in theirs:
                pass

        with pytest.raises(WrongThread, match="call_soon"):
            elsewhere(iterate())
        assert client.request(b"undisturbed", timeout=SOON) == b"undisturbed"


def test_a_message_that_waits_is_not_taken() -> None:
    service, begun, go_on = Service("line"), threading.Event(), threading.Event()

    @service.conversation
    async def talk(connection: Connection) -> None:
        begun.set()
        await asyncio.get_running_loop().run_in_executor(None, go_on.wait)
        await connection.send(await connection.receive())

    with serve_in_thread(service) as server, connect(server.address, "line") as client:
        assert begun.wait(SOON)
        client.send(b"for the handler")
        (theirs,) = server.connections.values()
        while not theirs.statistics.inbox:
            pass
        for call in (theirs.receive, theirs.__anext__):
            with pytest.raises(WrongThread):
                elsewhere(call())
        with pytest.raises(WrongThread):
            theirs.receive_nowait()
        go_on.set()
        assert client.receive(SOON) == b"for the handler"


def test_a_servers_methods() -> None:
    with serve_in_thread(talking()) as server, connect(server.address, "line") as client:
        for name, call in SERVERS_PLAIN.items():
            with pytest.raises(WrongThread, match=rf"server.call_soon\(server.{name}, ...\)"):
                call(server)
        for name, awaited in SERVERS_AWAITED.items():
            with pytest.raises(WrongThread, match=rf"server.call_soon\(server.{name}\)"):
                elsewhere(awaited(server))
        for listener in server.listeners:
            for call in (listener.pause, listener.resume, listener.close):
                with pytest.raises(WrongThread, match=r"server.call_soon\(listener"):
                    call()
        assert client.request(b"undisturbed", timeout=SOON) == b"undisturbed"


def test_what_the_error_says_to_do_works() -> None:
    with serve_in_thread(talking()) as server, connect(server.address, "line") as client:
        client.request(b"hello", timeout=SOON)
        (theirs,) = server.connections.values()
        server.call_soon(theirs.send, b"news")
        assert client.receive(SOON) == b"news"
        server.call_soon(server.broadcast, b"more")
        assert client.receive(SOON) == b"more"
        relieved = asyncio.run_coroutine_threadsafe(theirs._relieved(), server.loop)
        assert relieved.result(SOON) is None
        server.call_soon(server.drain)
        with pytest.raises(EndOfFile):
            client.receive(SOON)


def test_a_handler_in_a_thread_is_reported() -> None:
    service: Service[bytes, bytes] = Service("line")

    @service.reply(threads=True)
    def reply(message: bytes, connection: Connection) -> bytes:
        try:
            connection.send(b"before it")
        except WrongThread:
            assert connection.server is not None
            connection.server.call_soon(connection.send, b"handed over")
        return message

    with serve_in_thread(service) as server, connect(server.address, "line") as client:
        client.send(b"hello")
        assert {client.receive(SOON), client.receive(SOON)} == {b"handed over", b"hello"}


def test_a_clients_connection(run_async: RunAsync) -> None:
    async def main() -> None:
        with serve_in_thread(echo) as server:
            async with async_client.connect(server.address, "line") as connection:
                loop = asyncio.get_running_loop()

                def by_mistake() -> None:
                    with pytest.raises(WrongThread, match=r"loop.call_soon_threadsafe\(connection.send, ...\)"):
                        connection.send(b"x")
                    loop.call_soon_threadsafe(connection.send, b"handed over")

                await loop.run_in_executor(None, by_mistake)
                assert await connection.receive(SOON) == b"handed over"
                await loop.shutdown_default_executor()

    run_async(main())


def test_a_loop_that_moves_to_another_thread_takes_its_engine_along() -> None:
    loop = asyncio.SelectorEventLoop()

    async def start() -> Server:
        server = Server(talking())
        await server.start()
        return server

    server = loop.run_until_complete(start())
    server.pause()
    server.resume()  # nobody is disturbed while the loop does not run
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    with connect(server.address, "line") as client:
        assert client.request(b"hello", timeout=SOON) == b"hello"
        with pytest.raises(WrongThread):
            server.pause()
    asyncio.run_coroutine_threadsafe(server.drain(), loop).result(SOON)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(SOON)
    loop.close()


def test_calls_after_the_end_disturb_no_other_connection() -> None:
    with serve_in_thread(talking()) as server, connect(server.address, "line") as client:
        client.request(b"hello", timeout=SOON)
        (theirs,) = server.connections.values()
    assert theirs.closed
    theirs.close()
    theirs.abort()
    assert theirs.fileno() == -1
    server.pause()


def test_the_engines_thread_is_the_one_that_made_it(run_async: RunAsync) -> None:
    async def main() -> None:
        engine = Engine()
        assert engine.thread == threading.get_ident()
        engine.close()

    run_async(main())
