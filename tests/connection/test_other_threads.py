"""send_soon() from any thread, and in_thread() for one call that blocks."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from fourtuple import BlockingConnection, Connection, Limits, Reason, Server, Service, connect, events
from fourtuple.connection.waiters import Waiters
from fourtuple.engine import mailbox
from fourtuple.errors import ConnectionBusy, ConnectionEnded, EncodeError, OutboxFull, WouldBlock, WrongThread
from rig import Peer, echo, limits, serving, turns, until


async def connection_of(server: Server[Any, Any, Any, Any]) -> Connection:
    await until(lambda: server.connections)
    return next(iter(server.connections.values()))


# -- send_soon() ------------------------------------------------------------------------------------------


def test_threads_send_in_the_order_of_their_calls(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness) as (server, _):
            with await Peer.connect(server) as peer:
                connection = await connection_of(server)

                def send(name: int) -> None:
                    for number in range(500):
                        connection.send_soon(b"%d %d" % (name, number))

                threads = [threading.Thread(target=send, args=(name,)) for name in range(4)]
                for thread in threads:
                    thread.start()
                got: list[bytes] = []
                while len(got) < 2000:
                    line = b""
                    while not line.endswith(b"\n"):
                        line += await peer.receive(1)
                    got.append(line.rstrip())
                for thread in threads:
                    thread.join()
                for name in range(4):
                    of_one = [line for line in got if line.startswith(b"%d " % name)]
                    assert of_one == [b"%d %d" % (name, number) for number in range(500)]

    run_async(main())


def test_on_the_loop_it_sends_in_the_next_iteration(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness) as (server, _):
            with await Peer.connect(server) as peer:
                connection = await connection_of(server)
                connection.send_soon(b"soon")
                connection.send(b"now")
                assert await peer.receive(9) == b"now\nsoon\n"

    run_async(main())


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_a_buffer_may_be_filled_again(run_async: Any, kind: Any) -> None:
    async def main() -> None:
        async with serving(echo()) as (server, _):
            with await Peer.connect(server) as peer:
                connection, buffer = await connection_of(server), bytearray(3)
                message = buffer if kind is bytearray else memoryview(buffer)
                for number in range(30):
                    buffer[:] = b"%03d" % number
                    connection.send_soon(message)
                assert await peer.receive(120) == b"".join(b"%03d\n" % number for number in range(30))

    run_async(main())


def test_the_loop_is_woken_once_for_all_that_wait(run_async: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with serving(echo()) as (server, _):
            with await Peer.connect(server) as peer:
                connection = await connection_of(server)
                woken: list[Any] = []
                wake = server.loop.call_soon_threadsafe
                monkeypatch.setattr(
                    server.loop, "call_soon_threadsafe", lambda *call: woken.append(call) or wake(*call)
                )
                for number in range(1000):
                    connection.send_soon(b"%d" % number)
                assert len(woken) == 1
                assert await peer.receive(10) == b"0\n1\n2\n3\n4\n"
                await until(lambda: connection.statistics.messages_out == 1000)
                assert len(woken) == 1

    run_async(main())


@pytest.mark.parametrize(("message", "kind"), [(b"two\nlines", EncodeError), (b"x" * 3000, OutboxFull)])
def test_what_cannot_be_sent_costs_the_connection(run_async: Any, readiness: str, message: bytes, kind: Any) -> None:
    async def main() -> None:
        few = limits(max_outbox=2000)
        async with serving(echo(), readiness, limits=few) as (server, seen):
            with await Peer.connect(server) as peer, await Peer.connect(server) as other:
                await until(lambda: len(server.connections) == 2)
                connection = server.connections[min(server.connections)]
                connection.send_soon(message)
                if kind is OutboxFull:
                    connection.send_soon(message)
                (raised,) = await seen.wait(events.HandlerRaised)
                assert isinstance(raised.error, kind)
                peer.finish()
                await peer.discard()
                peer.close()
                assert (await seen.closed()).reason is Reason.HANDLER_ERROR
                assert await other.talk(b"still here\n") == b"still here\n"

    run_async(main())


def test_a_message_for_one_that_has_ended_meanwhile_is_dropped(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness) as (server, seen):
            with await Peer.connect(server):
                connection = await connection_of(server)
                connection.send_soon(b"never")
                connection.abort()
                await turns()
                with pytest.raises(ConnectionEnded, match=r"send_soon\(\) after its end"):
                    connection.send_soon(b"too late")
            assert seen.of(events.HandlerRaised) == []

    run_async(main())


def test_threads_that_are_faster_than_the_loop_get_an_error(run_async: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(mailbox, "MOST_WAITING", 10)
        async with serving(echo()) as (server, _):
            with await Peer.connect(server) as peer:
                connection = await connection_of(server)
                for _ in range(10):
                    connection.send_soon(b"x")
                with pytest.raises(WouldBlock, match="10 messages of other threads wait for the loop"):
                    connection.send_soon(b"x")
                assert await peer.receive(20) == b"x\n" * 10
                connection.send_soon(b"y")
                assert await peer.receive(2) == b"y\n"

    run_async(main())


def test_a_connection_that_a_thread_has_is_left_to_it(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            for message in connection:
                connection.send(message)

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                assert await peer.receive(2) == b"x\n"
                connection = await connection_of(server)
                with pytest.raises(ConnectionBusy, match="a thread or a program has the socket"):
                    connection.send_soon(b"x")
                peer.finish()
                assert await peer.receive_all() == b""

    run_async(main())


def test_after_its_loop(run_async: Any) -> None:
    kept: list[Connection] = []

    async def main() -> None:
        async with serving(echo()) as (server, _):
            with await Peer.connect(server):
                kept.append(await connection_of(server))

    run_async(main())
    with pytest.raises(ConnectionEnded):
        kept[0].send_soon(b"x")


# -- in_thread() ------------------------------------------------------------------------------------------


def test_a_handler_chooses_for_each_message(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        ran_in: dict[bytes, bool] = {}

        def work(message: bytes, *, loud: bool) -> bytes:
            ran_in[message] = threading.current_thread() is threading.main_thread()
            return message.upper() if loud else message

        @service.reply
        async def choose(message: bytes, connection: Connection) -> bytes:
            if message == b"quick":
                return work(message, loud=True)
            return await connection.in_thread(work, message, loud=True)

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"quick\nslow\n") == b"QUICK\nSLOW\n"
        assert ran_in == {b"quick": True, b"slow": False}

    run_async(main())


@pytest.mark.parametrize("kind", ["conversation", "client"])
def test_it_raises_what_the_function_raises_and_passes_the_context(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        user = contextvars.ContextVar("user", default="nobody")

        async def use(connection: Connection) -> bytes:
            user.set("alice")
            with pytest.raises(ZeroDivisionError):
                await connection.in_thread(divmod, 1, 0)
            return (await connection.in_thread(user.get)).encode()

        service = Service("line")

        @service.conversation
        async def talk(connection: Connection) -> None:
            await connection.receive()
            await connection.send(await use(connection))

        async with serving(service, readiness) as (server, _), connect(server.address, "line") as client:
            if kind == "client":
                assert await use(client) == b"alice"
            else:
                assert await client.request(b"x") == b"alice"
        await asyncio.get_running_loop().shutdown_default_executor()

    run_async(main())


@pytest.mark.parametrize("kind", ["reply", "concurrent", "conversation", "timer"])
def test_a_lost_connection_is_in_the_books_until_its_thread_has_returned(
    run_async: Any, readiness: str, kind: str
) -> None:
    async def main() -> None:
        service = Service("line")
        running, go_on = threading.Event(), threading.Event()
        ended: list[int] = []

        def block() -> None:
            running.set()
            go_on.wait(20)

        if kind == "conversation":

            @service.conversation
            async def talk(connection: Connection) -> None:
                await connection.in_thread(block)

        elif kind == "timer":
            service.opened(lambda connection: connection.later(0, connection.in_thread, block) and None)
            service.reply(lambda message: message)

        else:

            @service.reply(concurrency=1 if kind == "reply" else 4)
            async def reply(message: bytes, connection: Connection) -> None:
                await connection.in_thread(block)

        service.closed(lambda connection: ended.append(connection.id))
        async with serving(service, readiness, limits=Limits(max_threads=2)) as (server, seen):
            peer = await Peer.connect(server)
            await peer.send(b"x\n")
            await until(running.is_set)
            peer.reset()
            await seen.closed()
            await turns()
            assert (server.statistics.active, ended) == (1, [])
            go_on.set()
            await until(lambda: not server.statistics.active)
            assert len(ended) == 1
            assert server._core.in_threads == {}

    run_async(main())


def test_without_a_free_thread_it_waits_and_accept_pauses(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        go_on = threading.Event()

        @service.reply
        async def reply(message: bytes, connection: Connection) -> bytes:
            await connection.in_thread(go_on.wait, 20)
            return message

        async with serving(service, readiness, limits=Limits(max_threads=1)) as (server, seen):
            with await Peer.connect(server) as one, await Peer.connect(server) as other:
                await one.send(b"1\n")
                await other.send(b"2\n")
                await seen.wait(events.AcceptPaused)
                await until(lambda: len(server._core.in_threads) == 2)
                assert server._core.threads.busy == 1
                go_on.set()
                assert await one.receive(2) == b"1\n"
                assert await other.receive(2) == b"2\n"

    run_async(main())


def test_in_another_thread_and_after_the_end_it_is_refused(run_async: Any) -> None:
    async def main() -> None:
        async with serving(echo()) as (server, seen):
            with await Peer.connect(server):
                connection = await connection_of(server)

                def call() -> None:
                    with pytest.raises(WrongThread):
                        connection.in_thread(print).send(None)

                await asyncio.to_thread(call)
                connection.abort()
                await seen.closed()
                await until(lambda: not server.statistics.active)
                with pytest.raises(ConnectionEnded, match=r"in_thread\(\) after its end"):
                    await connection.in_thread(print)

    run_async(main())


def test_a_connection_that_needs_none_of_this_has_no_memory_for_it(run_async: Any) -> None:
    async def main() -> None:
        async with serving(echo()) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"x\n") == b"x\n"
                assert not [each for each in Connection.__slots__ if "timer" in each or "mail" in each]
                assert "_timers" in Waiters.__slots__

    run_async(main())
