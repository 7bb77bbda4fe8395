"""Messages that are framed well and mean nothing: an event, and the service's decision."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from fourtuple import BlockingConnection, Connection, Reason, Service, events, reply_and_close
from fourtuple import connect as connect_async
from fourtuple.blocking import connect
from fourtuple.errors import EncodeError, EndOfFile, HandlerFailed, ServiceError, UnmappedMessage
from fourtuple.framing import Unmapped
from fourtuple.service import ReplyKind
from rig import Peer, serving, until

GENERATORS = (ReplyKind.INLINE_GENERATOR, ReplyKind.ASYNC_GENERATOR, ReplyKind.THREAD_GENERATOR)
WHY = "Expecting value: line 1 column 1 (char 0)"


def double(value: Any) -> Any:
    """A handler that would fail on anything else than what the mapping promises."""
    return {"twice": value["n"] * 2}


def json_service(kind: str, handler: Callable[[Any], Any] = double) -> Service:
    """A service over JSON lines with a handler of every kind; ``concurrent`` has four at once, in threads."""

    def plain(message: Any) -> Any:
        return handler(message)

    def generator(message: Any) -> Any:
        yield handler(message)

    async def awaiting(message: Any) -> Any:
        await asyncio.sleep(0)
        return handler(message)

    async def async_generator(message: Any) -> Any:
        await asyncio.sleep(0)
        yield handler(message)

    service = Service("json-lines")
    function: Callable[..., Any] = {
        "INLINE": plain,
        "THREAD": plain,
        "INLINE_GENERATOR": generator,
        "THREAD_GENERATOR": generator,
        "ASYNC": awaiting,
        "ASYNC_GENERATOR": async_generator,
        "concurrent": plain,
        "concurrent async": awaiting,
    }[kind]
    options: dict[str, Any] = {"threads": kind in ("THREAD", "THREAD_GENERATOR", "concurrent")}
    if kind.startswith("concurrent"):
        options["concurrency"] = 4
    service.reply(**options)(function)
    return service


every_kind = pytest.mark.parametrize("kind", [*(kind.name for kind in ReplyKind), "concurrent", "concurrent async"])


def said(octets: bytes) -> list[Any]:
    return [json.loads(line) for line in octets.splitlines()]


@every_kind
def test_the_service_decides(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        service = json_service(kind)
        asked: list[tuple[Unmapped, Connection]] = []

        @service.unmapped
        def no_json(message: Unmapped, connection: Connection) -> Any:
            asked.append((message, connection))
            return None if message.octets == b"hush" else {"error": message.octets.decode()}

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                stream = b'{"n":1}\nnonsense\n{"n":2}\nhush\nmore\n{"n":3}\nlast\n'
                assert said(await peer.talk(stream)) == [
                    {"twice": 2},
                    {"error": "nonsense"},
                    {"twice": 4},
                    {"error": "more"},
                    {"twice": 6},
                    {"error": "last"},
                ]
                closed = await seen.closed()
                assert closed.reason is Reason.PEER_CLOSED
                assert closed.statistics.messages_in == 7
            assert [message.octets for message, _ in asked] == [b"nonsense", b"hush", b"more", b"last"]
            assert {connection.id for _, connection in asked} == {closed.id}
            told = seen.of(events.MessageUnmapped)
            assert [event.id for event in told] == [closed.id] * 4
            assert str(told[0].error) == f"message of 8 octets does not map: {WHY}, from {closed.name}"
            assert seen.of(events.MessageFailed) == []

    run_async(main())


@every_kind
def test_an_unmapped_message_without_a_hook_costs_the_connection(run_async: Any, readiness: str, kind: str) -> None:
    """As a broken message does: behind the replies before it, with last words. No handler sees it."""

    async def main() -> None:
        service = json_service(kind)
        errors: list[Exception] = []

        @service.failed
        def last_words(error: Exception, _connection: Connection) -> Any:
            errors.append(error)
            return {"failed": type(error).__name__}

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b'{"n":1}\n{"n":2}\nnonsense\n{"n":3}\n')
                assert said(await peer.receive_all()) == [{"twice": 2}, {"twice": 4}, {"failed": "UnmappedMessage"}]
                peer.close()
                closed = await seen.closed()
            assert closed.reason is Reason.MESSAGE_ERROR
            assert [event.error for event in seen.of(events.MessageFailed)] == errors
            assert isinstance(errors[0].__cause__, json.JSONDecodeError)
            assert seen.of(events.MessageUnmapped) == []
            assert seen.of(events.HandlerRaised) == []

    run_async(main())


@every_kind
def test_a_decision_may_be_the_end(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        service = json_service(kind)

        @service.unmapped
        def no_more(message: Unmapped, _connection: Connection) -> Any:
            return reply_and_close({"goodbye": len(message.octets)})

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b'{"n":1}\nnonsense\n{"n":3}\nmore nonsense\n')
                assert said(await peer.receive_all()) == [{"twice": 2}, {"goodbye": 8}]
                peer.close()
                assert (await seen.closed()).reason is Reason.CLOSED

    run_async(main())


@every_kind
def test_a_decision_that_raises_costs_the_connection(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        service = json_service(kind)
        service.failed(lambda error, _connection: {"failed": type(error).__name__})

        @service.unmapped
        def broken(_message: Unmapped, _connection: Connection) -> Any:
            raise LookupError("a defect")

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b'{"n":1}\nnonsense\n{"n":3}\n')
                assert said(await peer.receive_all()) == [{"twice": 2}, {"failed": HandlerFailed.__name__}]
                peer.close()
                assert (await seen.closed()).reason is Reason.HANDLER_ERROR
            (raised,) = seen.of(events.HandlerRaised)
            assert raised.handler.endswith("broken")

    run_async(main())


@every_kind
@pytest.mark.parametrize("before", [b"", b'{"n":1}\n{"n":2}\n'], ids=["first", "behind replies"])
def test_a_decision_that_cannot_be_encoded_costs_the_connection(
    run_async: Any, readiness: str, kind: str, before: bytes
) -> None:
    """As one that raises does: the greeting and the replies before it are sent, then last words, and FIN."""

    async def main() -> None:
        service = json_service(kind)
        service.opened(lambda _connection: "welcome")
        service.failed(lambda error, _connection: {"failed": type(error).__name__})

        @service.unmapped
        def broken(_message: Unmapped, _connection: Connection) -> Any:
            return b"octets are no JSON value"

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(before + b'nonsense\n{"n":3}\n')
                assert said(await peer.receive_all()) == [
                    "welcome",
                    *({"twice": 2 * number} for number in (1, 2) if before),
                    {"failed": HandlerFailed.__name__},
                ]
                peer.close()
                assert (await seen.closed()).reason is Reason.HANDLER_ERROR
            (raised,) = seen.of(events.HandlerRaised)
            assert isinstance(raised.error, EncodeError)
            assert raised.handler.endswith("broken")

    run_async(main())


def test_a_full_batch_of_them(run_async: Any, readiness: str) -> None:
    """More than one batch holds, decided on without recursion and in turns."""

    async def main() -> None:
        for kind in ("INLINE", "INLINE_GENERATOR", "ASYNC", "concurrent async"):
            service = json_service(kind)
            service.unmapped(lambda message, _connection: {"no": int(message.octets[1:])})
            async with serving(service, readiness) as (server, _):
                with await Peer.connect(server) as peer:
                    stream = b"".join(b"x%d\n" % number for number in range(3000))
                    assert said(await peer.talk(stream)) == [{"no": number} for number in range(3000)]

    run_async(main())


# -- conversations ----------------------------------------------------------------------------------------


def test_a_conversation_decides_where_it_receives(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("json-lines")

        @service.conversation
        async def talk(connection: Connection) -> None:
            while True:
                try:
                    await connection.send(double(await connection.receive()))
                except UnmappedMessage as error:
                    await connection.send({"error": error.octets.decode()})
                except EndOfFile:
                    return

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert said(await peer.talk(b'one\n{"n":1}\ntwo\n')) == [
                    {"error": "one"},
                    {"twice": 2},
                    {"error": "two"},
                ]
                await seen.closed()
            assert len(seen.of(events.MessageUnmapped)) == 2
            assert seen.of(events.MessageFailed) == []

    run_async(main())


def test_a_blocking_conversation_decides_too(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("json-lines")

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            while True:
                try:
                    for message in connection:
                        connection.send(double(message))
                    return
                except UnmappedMessage as error:
                    connection.send({"error": error.octets.decode()})

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert said(await peer.talk(b'one\n{"n":1}\ntwo\n')) == [
                    {"error": "one"},
                    {"twice": 2},
                    {"error": "two"},
                ]
                await seen.closed()
            assert len(seen.of(events.MessageUnmapped)) == 2
            assert seen.of(events.MessageFailed) == []

    run_async(main())


@pytest.mark.parametrize("blocking", [False, True], ids=["async", "blocking"])
def test_a_conversation_that_makes_no_decision(run_async: Any, readiness: str, blocking: bool) -> None:
    async def main() -> None:
        service = Service("json-lines")
        service.failed(lambda error, _connection: {"failed": type(error).__name__})
        if blocking:

            @service.conversation
            def talk(connection: BlockingConnection) -> None:
                for message in connection:
                    connection.send(double(message))
        else:

            @service.conversation
            async def talk_async(connection: Connection) -> None:
                async for message in connection:
                    await connection.send(double(message))

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b'{"n":1}\nnonsense\n{"n":2}\n')
                assert said(await peer.receive_all()) == [{"twice": 2}, {"failed": "UnmappedMessage"}]
                peer.close()
                assert (await seen.closed()).reason is Reason.MESSAGE_ERROR
            assert len(seen.of(events.MessageFailed)) == 1
            assert seen.of(events.HandlerRaised) == []

    run_async(main())


def test_an_unmapped_reply_to_the_handlers_own_client_is_the_handlers_failure(run_async: Any, readiness: str) -> None:
    """A handler that is a client, too, and does not look: a defect of the handler, not of its peer."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            service = Service("json-lines")

            @service.reply
            async def ask_the_other(message: Any) -> Any:
                async with connect_async(f"127.0.0.1:{other.getsockname()[1]}", "json-lines") as client:
                    return await client.request(message)

            async with serving(service, readiness) as (server, seen):
                with await Peer.connect(server) as peer:
                    await peer.send(b"1\n")
                    other.setblocking(False)
                    accepted, _ = await asyncio.get_running_loop().sock_accept(other)
                    with accepted:
                        accepted.send(b"nonsense\n")
                        assert await peer.receive_all() == b""
                    peer.close()
                    assert (await seen.closed()).reason is Reason.HANDLER_ERROR

    run_async(main())


# -- clients ----------------------------------------------------------------------------------------------


def test_the_async_client_goes_on_behind_it(run_async: Any) -> None:
    async def main() -> None:
        service = Service("line")
        service.reply(lambda message: message)
        async with serving(service) as (server, _), connect_async(server.address, "json-lines") as client:
            client.change_framing("line")
            await client.send_many([b"1", b"nonsense", b"2", b"nonsense"])
            client.change_framing("json-lines")
            assert await client.receive() == 1
            with pytest.raises(UnmappedMessage, match="message of 8 octets does not map") as caught:
                await client.receive()
            assert caught.value.octets == b"nonsense"
            assert isinstance(caught.value.__cause__, json.JSONDecodeError)
            assert await client.receive() == 2
            await until(lambda: client._stream.inbox)
            with pytest.raises(UnmappedMessage):
                client.receive_nowait()
            assert await client.request({"a": 1}) == {"a": 1}

    run_async(main())


def test_a_reply_that_does_not_map_fails_its_request_alone(run_async: Any) -> None:
    async def main() -> None:
        service = Service("line")
        service.reply(lambda message: b"nonsense" if b"bad" in message else message)

        def talk(address: str) -> None:
            with connect(address, "json-lines") as client:
                good, bad, better = (client.begin(each) for each in ("good", "bad", "better"))
                assert good.receive() == "good"
                with pytest.raises(UnmappedMessage):
                    bad.receive()
                assert better.receive() == "better"
                with pytest.raises(UnmappedMessage):
                    client.request("bad")
                assert client.request("good") == "good"
                client.send("bad")
                client.send(1)
                with pytest.raises(UnmappedMessage):
                    client.receive()
                assert client.receive() == 1

        async with serving(service) as (server, _):
            await asyncio.to_thread(talk, str(server.address))
            async with connect_async(server.address, "json-lines") as client:
                requests = [asyncio.create_task(client.request(each)) for each in ("good", "bad", "better")]
                good, bad, better = await asyncio.gather(*requests, return_exceptions=True)
                assert (good, better) == ("good", "better")
                assert isinstance(bad, UnmappedMessage)

    run_async(main())


# -- declarations -----------------------------------------------------------------------------------------


def test_a_hook_that_would_never_be_called_is_refused() -> None:
    def hook(_message: Unmapped, _connection: Connection) -> None:
        """Never asked."""

    service = Service("json-lines")
    service.unmapped(hook)
    with pytest.raises(ServiceError, match=r"hook is never called beside .*talk: in a conversation receive.. raises"):

        @service.conversation
        async def talk(_connection: Connection) -> None:
            """Never run."""

    other = Service("json-lines")
    other.program("cat")
    with pytest.raises(ServiceError, match="hook is never called beside cat"):
        other.unmapped(hook)
    with pytest.raises(ServiceError, match="late is an async def; expected a plain def"):

        @Service("json-lines").unmapped
        async def late(_message: Unmapped, _connection: Connection) -> None:
            """Never run."""
