"""A whole service without a socket: handlers, hooks, limits, deadlines and the drain, on connections in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fourtuple import BlockingConnection, Connection, Deadlines, Limits, Proxy, Service, Tls, events, reply_and_close
from fourtuple.errors import DeadlinePassed, EndOfFile, PeerReset, ServiceError
from fourtuple.framing import duplex
from fourtuple.testing import MemoryService
from rig import turns, until

KINDS = ["plain", "generator", "async", "concurrent", "threads", "batches", "async batches", "conversation"]


def upper(kind: str) -> Service:
    service = Service("line")
    if kind == "plain":
        service.reply(lambda message: message.upper())
    elif kind == "threads":
        service.reply(threads=True)(lambda message: message.upper())
    elif kind == "batches":
        service.replies(lambda messages: [message.upper() for message in messages])
    elif kind == "generator":

        @service.reply
        def several(message: bytes) -> Any:
            yield message.upper()

    elif kind == "async batches":

        @service.replies
        async def batch(messages: list[bytes]) -> list[bytes]:
            await asyncio.sleep(0)
            return [message.upper() for message in messages]

    elif kind == "conversation":

        @service.conversation
        async def talk(connection: Connection) -> None:
            async for message in connection:
                await connection.send(message.upper())

    else:

        @service.reply(concurrency=3 if kind == "concurrent" else 1)
        async def later(message: bytes) -> bytes:
            await asyncio.sleep(0)
            return message.upper()

    return service


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cut", [None, 1, [3, 1]])
def test_each_kind_of_handler_in_any_cut(run_async: Any, kind: str, cut: Any) -> None:
    async def main() -> None:
        async with MemoryService(upper(kind)) as served:
            client, far = served.connect(cut=cut)
            client.send_many([b"one", b"two", b"three"])
            assert [await client.receive() for _ in range(3)] == [b"ONE", b"TWO", b"THREE"]
            assert served.server.connections == {far.id: far}
            assert far.statistics.messages_in == 3
            await client.send_eof()
            with pytest.raises(EndOfFile):
                await client.receive()
            await until(lambda: not served.server.connections)
            assert served.server.statistics.closed == 1

    run_async(main())


def test_all_hooks_and_the_lifespan(run_async: Any) -> None:
    async def main() -> None:
        told: list[Any] = []
        service = Service("line", state=list)

        @service.lifespan
        async def database() -> AsyncIterator[dict[bytes, bytes]]:
            told.append("set up")
            yield {b"capital": b"Vienna"}
            told.append("torn down")

        @service.opened
        def greet(connection: Connection) -> bytes:
            return b"hello"

        @service.reply
        def look_up(message: bytes, connection: Connection) -> bytes:
            connection.state.append(message)
            found: bytes = connection.service_state[message]
            return found

        service.failed(lambda error, connection: b"sorry")
        service.closed(lambda connection: told.append(connection.state))
        async with MemoryService(service, may_raise=KeyError) as served:
            client, _ = served.connect()
            assert await client.receive() == b"hello"
            assert await client.request(b"capital") == b"Vienna"
            assert await client.request(b"population") == b"sorry"
            with pytest.raises(EndOfFile):
                await client.receive()
            await client.close()
            await until(lambda: len(told) == 2)
        assert told == ["set up", [b"capital", b"population"], "torn down"]

    run_async(main())


def test_a_handler_that_raises_fails_the_test(run_async: Any) -> None:
    async def main() -> None:
        service = Service("line")

        @service.reply
        def fail(message: bytes) -> bytes:
            raise ValueError(message)

        async def provoke() -> None:
            async with MemoryService(service) as served:
                client, _ = served.connect()
                await client.send(b"x")
                with pytest.raises(EndOfFile):
                    await client.receive()

        async def provoke_and_fail() -> None:
            async with MemoryService(service) as served:
                await served.connect().near.send(b"x")
                await turns()
                raise ZeroDivisionError

        with pytest.raises(
            BaseExceptionGroup, match="handlers or framings of the test's servers raised; may_raise= names"
        ) as caught:
            await provoke()
        assert [type(error) for error in caught.value.exceptions] == [ValueError]
        with pytest.raises(ZeroDivisionError) as raised:  # the test's own error is not hidden
            await provoke_and_fail()
        (note,) = raised.value.__notes__  # and neither is the handler's, which may be its cause
        assert note.startswith("fourtuple: a handler or framing of the test's servers raised ValueError: b'x'\n")
        assert "in fail" in note

    run_async(main())


def test_deadlines_and_timers_by_the_clock(run_async: Any) -> None:
    async def main() -> None:
        seen: list[Any] = []
        service = upper("plain")
        service.opened(lambda connection: connection.every(10, connection.send, b"ping") and None)
        deadlines = Deadlines(idle_timeout=60, first_message_timeout=25)
        async with MemoryService(service, deadlines=deadlines, observer=seen.append) as served:
            client, _ = served.connect()
            silent, _ = served.connect()
            assert await client.request(b"x") == b"X"
            served.clock.advance(11)
            assert await client.receive() == b"ping"
            served.clock.advance(10)
            assert await client.receive() == b"ping"
            served.clock.advance(10)
            assert [await silent.receive() for _ in range(2)] == [b"ping"] * 2
            with pytest.raises(EndOfFile):
                await silent.receive()
            (missed,) = [event for event in seen if isinstance(event, events.DeadlineMissed)]
            assert missed.error.which == "first_message_timeout"
            assert not client.closed

    run_async(main())


def test_the_client_does_not_have_the_deadlines_and_limits_of_the_service(run_async: Any) -> None:
    async def main() -> None:
        deadlines, limits = Deadlines(idle_timeout=60), Limits(high_water=100, low_water=1, max_outbox=100)
        async with MemoryService(upper("plain"), deadlines=deadlines, limits=limits) as served:
            client, _ = served.connect(capacity=1)
            for _ in range(9):
                client.send(b"x" * 99)  # more than the service may leave in its outbox
            assert await client.receive() == b"X" * 99
            for _ in range(8):
                await client.receive()
            served.clock.advance(61)
            with pytest.raises(EndOfFile):  # the server's, as over a socket: not a deadline of its own
                await client.receive()

    run_async(main())


def test_limits_refuse_it(run_async: Any) -> None:
    async def main() -> None:
        async with MemoryService(upper("plain"), limits=Limits(max_connections=1, refusal="full")) as served:
            one = served.connect()
            two = served.connect()
            assert two.far is None
            assert await two.near.receive() == b"full"
            with pytest.raises(EndOfFile):
                await two.near.receive()
            assert dict(served.server.refused) == {"max_connections": 1}
            await one.near.close()
            await until(lambda: not served.server.connections)
            assert await served.connect().near.request(b"x") == b"X"

    run_async(main())


def test_a_wire_is_held_and_released(run_async: Any) -> None:
    async def main() -> None:
        async with MemoryService(upper("plain")) as served:
            pair = served.connect()
            pair.back.hold()
            await pair.near.send(b"hello")
            await until(lambda: pair.back.in_flight == 6)
            with pytest.raises(DeadlinePassed):
                await pair.near.receive(timeout=0.001)
            pair.back.release()
            assert await pair.near.receive() == b"HELLO"
            pair.reset()
            with pytest.raises(PeerReset):
                await pair.near.receive()
            await until(lambda: not served.server.connections)

    run_async(main())


def test_broadcast_and_send_soon(run_async: Any) -> None:
    async def main() -> None:
        async with MemoryService(upper("plain")) as served:
            one, other = served.connect(), served.connect()
            assert served.server.broadcast(b"news", to=[one.far]).sent == 1
            assert served.server.broadcast(b"more").sent == 2
            assert [await one.near.receive() for _ in range(2)] == [b"news", b"more"]
            assert await other.near.receive() == b"more"
            thread = threading.Thread(target=other.far.send_soon, args=(b"soon",))
            thread.start()
            assert await other.near.receive() == b"soon"
            thread.join()

    run_async(main())


def test_a_drain_follows_the_clock_of_the_test(run_async: Any) -> None:
    async def main() -> None:
        service = upper("plain")
        service.goodbye(b"bye")
        async with MemoryService(service) as served:
            client, _ = served.connect()
            assert await client.request(b"x") == b"X"
            draining = asyncio.ensure_future(served.server.drain())
            await until(served.server.draining.is_set)
            served.clock.advance(1.5)
            assert await client.receive() == b"bye"
            with pytest.raises(EndOfFile):
                await client.receive()
            await client.close()
            assert await draining == 0

    run_async(main())


def test_tls_and_a_proxy_header(run_async: Any) -> None:
    async def main() -> None:
        proxy = Proxy(protocol="required", trusted="192.0.2.0/24")
        async with MemoryService(upper("async"), tls=Tls(dev=True), proxy=proxy) as served:
            client, far = served.connect(cut=7)
            client._stream.write(b"PROXY TCP4 203.0.113.9 192.0.2.2 1 2\r\n")
            await client.start_tls(Tls(verify="none"), server_hostname="x")
            assert await client.request(b"hello") == b"HELLO"
            assert str(far.name.remote) == "203.0.113.9:1"

    run_async(main())


def test_the_client_has_the_framing_of_the_other_end(run_async: Any) -> None:
    async def main() -> None:
        service = Service(duplex("delimited:?", "line"))
        service.reply(lambda message: b"it is " + message)
        async with MemoryService(service) as served:
            client, _ = served.connect()
            assert await client.request(b"what") == b"it is what"
            plain, _ = served.connect("raw")
            await plain.send(b"how?")
            assert await plain.receive() == b"it is how\n"

    run_async(main())


def test_a_last_reply(run_async: Any) -> None:
    async def main() -> None:
        service = Service("line")
        service.reply(lambda message: reply_and_close(b"bye"))
        async with MemoryService(service) as served:
            client, _ = served.connect()
            assert await client.request(b"quit") == b"bye"
            with pytest.raises(EndOfFile):
                await client.receive()

    run_async(main())


@pytest.mark.parametrize("kind", ["blocking", "program"])
def test_what_needs_a_socket_is_refused(run_async: Any, kind: str) -> None:
    async def main() -> None:
        service = Service("line")
        if kind == "program":
            service.program("cat")
        else:

            @service.conversation
            def talk(connection: BlockingConnection) -> None: ...

        with pytest.raises(ServiceError, match="needs a socket; test it with the fixture tcp_server"):
            MemoryService(service)

    run_async(main())


def test_after_its_end(run_async: Any) -> None:
    async def main() -> None:
        async with MemoryService(upper("plain")) as served:
            client, far = served.connect()
            assert await client.request(b"x") == b"X"
            assert repr(served).startswith("<MemoryService <Server ")
        assert client.closed
        assert far.closed
        with pytest.raises(PeerReset):
            client.send(b"x")
        assert served.server.stopped

    run_async(main())
