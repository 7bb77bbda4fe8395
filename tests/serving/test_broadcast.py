"""One message to many: encoded once, in order, and nobody is waited for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from fourtuple import Connection, Server, Service, events
from fourtuple.engine import ReadinessChoice
from fourtuple.errors import ConnectionEnded, EncodeError, OptionError
from fourtuple.four_tuple import FourTuple
from fourtuple.framing import Line, u16
from fourtuple.serving.values import Broadcast
from fourtuple.stream import Reason
from rig import echo, until
from serving.support import Client, client, says, serving


async def crowd(stack: AsyncExitStack, server: Server, count: int) -> list[Client]:
    talks = [await stack.enter_async_context(client(server)) for _ in range(count)]
    assert [await says(talk, b"x\n") for talk in talks] == [b"x\n"] * count
    return talks


def test_all_get_it_and_it_is_encoded_once(
    run_async: Any, readiness: ReadinessChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        encoded = []
        original = Line.encode
        async with serving(readiness=readiness) as (server, _), AsyncExitStack() as stack:
            talks = await crowd(stack, server, 20)
            monkeypatch.setattr(
                Line, "encode", lambda self, message: encoded.append(message) or original(self, message)
            )
            assert server.broadcast(b"news") == Broadcast(20, 0, 0)
            assert [await reader.readline() for reader, _ in talks] == [b"news\n"] * 20
            assert encoded == [b"news"]
            assert server.statistics.messages_out == 40
            some = min(server.connections)
            assert server.broadcast(b"only you", to=lambda connection: connection.id == some) == Broadcast(1, 0, 0)

    run_async(main())


def test_from_another_thread(run_async: Any) -> None:
    async def main() -> None:
        async with serving() as (server, _), AsyncExitStack() as stack:
            talks = await crowd(stack, server, 3)
            thread = threading.Thread(target=lambda: server.call_soon(server.broadcast, b"news"))
            thread.start()
            assert [await reader.readline() for reader, _ in talks] == [b"news\n"] * 3
            thread.join()

    run_async(main())


def test_from_a_handler_behind_the_replies_made_before(run_async: Any) -> None:
    async def main() -> None:
        service = Service(Line())

        @service.reply
        def chat(message: bytes, connection: Connection) -> bytes:
            if message == b"all":
                assert connection.server is not None
                connection.server.broadcast(b"to all")
            return b"reply to " + message

        async with serving(service) as (server, _), client(server) as one, client(server) as other:
            assert await says(other, b"hello\n") == b"reply to hello\n"
            one[1].write(b"1\nall\n2\n")
            assert [await one[0].readline() for _ in range(4)] == [
                b"reply to 1\n",
                b"to all\n",
                b"reply to all\n",
                b"reply to 2\n",
            ]
            assert await other[0].readline() == b"to all\n"

    run_async(main())


@pytest.mark.parametrize("slow", ["skip", "close", "abort"])
def test_a_broadcast_does_not_wait_for_a_slow_consumer(run_async: Any, slow: Any, readiness: ReadinessChoice) -> None:
    async def main() -> None:
        async with (
            serving(max_outbox=1 << 20, readiness=readiness) as (server, heard),
            client(server) as deaf,
            client(server) as quick,
        ):
            deaf[1].transport.pause_reading()
            await says(quick, b"x\n")
            await until(lambda: len(server.connections) == 2)
            block, missed = b"x" * 60_000, 0
            for number in range(300):
                sent = server.broadcast(block + b"%d" % number, slow=slow)
                assert await quick[0].readline() == block + b"%d\n" % number, "whoever reads misses nothing"
                missed += sent.slow
            assert missed > 0
            ended = heard.of(events.LimitExceeded)
            if slow == "skip":
                assert ended == []
                assert len(server.connections) == 2
                deaf[1].transport.resume_reading()
                assert (await deaf[0].readline()).endswith(b"x0\n")
            else:
                assert [event.limit for event in ended] == ["high_water"]
                assert missed == 1
            if slow == "abort":
                assert [event.reason for event in heard.of(events.Closed)] == [Reason.LIMIT]
            if slow == "close":
                deaf[1].transport.resume_reading()
                lines = (await deaf[0].read()).split(b"\n")
                assert lines.pop() == b"", "the last message is whole"
                assert [line[60_000:] for line in lines] == [b"%d" % number for number in range(len(lines))]

    run_async(main())


def test_each_framing_has_its_own_octets_and_an_error_reaches_no_peer(run_async: Any) -> None:
    async def main() -> None:
        service = Service(Line())

        @service.conversation
        async def talk(connection: Connection) -> None:
            async for message in connection:
                if message == b"binary":
                    connection.change_framing(u16())
                await connection.send(message)

        async with serving(service) as (server, _), client(server) as text, client(server) as binary:
            assert await says(text, b"x\n") == b"x\n"
            binary[1].write(b"binary\n")
            assert await binary[0].readexactly(8) == b"\0\6binary"
            assert server.broadcast(b"news").sent == 2
            assert await text[0].readline() == b"news\n"
            assert await binary[0].readexactly(6) == b"\0\4news"
            # What one framing cannot carry, the others can: a peer that changed its framing silences nobody else.
            assert server.broadcast(b"two\nlines") == Broadcast(1, 0, 0, 1)
            assert await binary[0].readexactly(11) == b"\0\x09two\nlines"
            with pytest.raises(EncodeError, match="line takes octets"):
                server.broadcast("text")
            with pytest.raises(EncodeError, match="a line ending"):
                server.broadcast(b"two\nlines", to=lambda each: each.framing == Line())
            assert await says(text, b"y\n") == b"y\n"

    run_async(main())


@pytest.mark.parametrize("slow", ["wait", "", None, True, "Skip", ["skip"]])
def test_another_way_with_slow_consumers_is_refused(run_async: Any, slow: Any) -> None:
    async def main() -> None:
        async with serving() as (server, _), AsyncExitStack() as stack:
            (talk,) = await crowd(stack, server, 1)
            with pytest.raises(OptionError, match=r"slow: expected one of skip, close, abort, got .*"):
                server.broadcast(b"news", slow=slow)
            assert await says(talk, b"y\n") == b"y\n"

    run_async(main())


def test_the_obvious_chat(run_async: Any, readiness: ReadinessChoice) -> None:
    """A line as long as may come gets a prefix and goes to all: nobody is thrown out."""

    async def main() -> None:
        service = Service(Line(max_message=500))

        @service.reply
        def say(line: bytes, connection: Connection) -> None:
            assert connection.server is not None
            connection.server.broadcast(b"somebody: " + line)

        async with serving(service, readiness=readiness) as (server, heard), AsyncExitStack() as stack:
            talks = [await stack.enter_async_context(client(server)) for _ in range(3)]
            await until(lambda: len(server.connections) == 3)
            for reader, writer in talks:
                writer.write(b"x" * 500 + b"\n")
                assert await reader.readline() == b"somebody: " + b"x" * 500 + b"\n"
                for other, _ in talks:
                    if other is not reader:
                        assert await other.readline() == b"somebody: " + b"x" * 500 + b"\n"
            assert heard.of(events.HandlerRaised) == []
            assert len(server.connections) == 3

    run_async(main())


ACTS: dict[str, Callable[[Connection], object]] = {
    "broadcast": lambda other: other.server and other.server.broadcast(b"news"),
    "send": lambda other: other.send(b"news"),
    "send_many": lambda other: other.send_many([b"news", b"more"]),
    "send_eof": lambda other: other.send_eof(),
    "close": lambda other: other.close(),
    "change_framing": lambda other: other.change_framing("u16"),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("before", [0, 2])
def test_a_reply_that_cannot_be_encoded_costs_its_own_connection_alone(run_async: Any, act: str, before: int) -> None:
    """Replies wait until the batch is handled; another connection's handler may act on theirs meanwhile."""

    async def main() -> None:
        service, pending = Service(Line()), []

        @service.reply
        def answer(message: bytes, connection: Connection) -> bytes:
            if message == b"bad":
                return b"a\nb"
            if message == b"act":
                assert connection.server is not None
                for other in connection.server.connections.values():
                    if other is not connection:
                        pending.append(len(other._stream.pending))
                        with suppress(ConnectionEnded):  # in Python, its replies were encoded before
                            ACTS[act](other)
            return message

        async with serving(service) as (server, heard), client(server) as one, client(server) as other:
            for talk in (one, other):
                assert await says(talk, b"hello\n") == b"hello\n"
            assert server.engine is not None
            server.engine.turn_seconds = 3600.0  # a busy machine must not end the share within the batch
            # Both leave before the server's next turn, and are received in one.
            one[1].write(b"fine\n" * before + b"bad\nlost\n")
            other[1].write(b"act\n")
            assert await one[0].read() == b"fine\n" * before, "nothing follows the reply that is wanting"
            news = b"news\n" if act == "broadcast" else b""
            assert await other[0].readexactly(len(news) + 4) == news + b"act\n"
            (raised,) = heard.of(events.HandlerRaised)
            assert isinstance(raised.error, EncodeError)
            assert raised.name == FourTuple("127.0.0.1", server.port, *one[1].get_extra_info("sockname"))
            assert await says(other, b"y\n") == b"y\n"
            # With the C several handlers run before what they replied is sent, unless they take their time.
            assert pending in ([0], [before + 2])

    run_async(main())


def test_threads_and_leaving_connections_get_no_broadcast(run_async: Any) -> None:
    async def main() -> None:
        service = Service(Line())

        @service.conversation
        def talk(connection: Any) -> None:
            for message in connection:
                connection.send(message)

        async with serving(service) as (server, _), AsyncExitStack() as stack:
            await crowd(stack, server, 1)
            assert server.broadcast(b"news") == Broadcast(0, 0, 1)
        async with serving(echo()) as (server, _), AsyncExitStack() as stack:
            await crowd(stack, server, 1)
            (connection,) = server.connections.values()
            connection.close()
            assert server.broadcast(b"news") == Broadcast(0, 0, 1)
            await asyncio.sleep(0)

    run_async(main())


# -- to those in a set, without a scan of all --------------------------------------------------------------


def test_to_the_connections_of_a_set_encoded_once(
    run_async: Any, readiness: ReadinessChoice, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        encoded = []
        usual = Line.encode
        async with serving(readiness=readiness) as (server, _), AsyncExitStack() as stack:
            talks = await crowd(stack, server, 6)
            monkeypatch.setattr(Line, "encode", lambda self, message: encoded.append(message) or usual(self, message))
            chosen = {each for each in server.connections.values() if each.id % 2}
            monkeypatch.setattr(type(server._core.registry), "inside", None)  # nothing looks at all of them
            assert server.broadcast(b"news", to=chosen) == Broadcast(3, 0, 0)
            assert server.broadcast(b"more", to=iter([*chosen, *chosen])) == Broadcast(3, 0, 0), "each of them once"
            assert server.broadcast(b"nobody", to=()) == Broadcast(0, 0, 0)
            assert encoded == [b"news", b"more"]
            monkeypatch.undo()
            assert server.broadcast(b"last") == Broadcast(6, 0, 0)
            got = [await reader.readline() for reader, _ in talks]
            assert sorted(got) == [b"last\n"] * 3 + [b"news\n"] * 3

    run_async(main())


def test_one_of_them_that_has_ended_is_out_of_reach(run_async: Any, readiness: ReadinessChoice) -> None:
    async def main() -> None:
        async with serving(readiness=readiness) as (server, heard), AsyncExitStack() as stack:
            await crowd(stack, server, 3)
            subscribers = set(server.connections.values())
            gone, closing, _ = sorted(subscribers, key=lambda each: each.id)
            gone.abort()
            closing.close()
            await until(lambda: heard.of(events.Closed))
            assert server.broadcast(b"news", to=subscribers) == Broadcast(1, 0, 2)

    run_async(main())


def test_rooms_of_a_chat(run_async: Any, readiness: ReadinessChoice) -> None:
    async def main() -> None:
        rooms: dict[bytes, set[Connection]] = {}
        service = Service(Line())

        @service.reply
        def say(line: bytes, connection: Connection) -> None:
            assert connection.server is not None
            verb, _, rest = line.partition(b" ")
            if verb == b"join":
                connection.state = rooms.setdefault(rest, set())
                connection.state.add(connection)
            connection.server.broadcast(line, to=connection.state)

        @service.closed
        def leave(connection: Connection) -> None:
            if connection.state:
                connection.state.discard(connection)

        async with serving(service, readiness=readiness) as (server, _), AsyncExitStack() as stack:
            talks = [await stack.enter_async_context(client(server)) for _ in range(3)]
            assert await says(talks[0], b"join tea\n") == b"join tea\n"
            assert await says(talks[1], b"join coffee\n") == b"join coffee\n"
            assert await says(talks[2], b"join tea\n") == b"join tea\n"
            assert await talks[0][0].readline() == b"join tea\n"
            talks[2][1].write(b"say milk?\n")
            assert await talks[0][0].readline() == b"say milk?\n"
            talks[2][1].close()
            await until(lambda: len(rooms[b"tea"]) == 1)
            assert await says(talks[1], b"say sugar?\n") == b"say sugar?\n"

    run_async(main())


@pytest.mark.parametrize(
    ("to", "text"),
    [
        (3, r"to: expected connections, or a function that tells which, got 3"),
        (b"all", r"to: expected Connection, got 97"),
        (["all"], r"to: expected Connection, got 'all'"),
    ],
)
def test_what_is_no_connection_is_refused(run_async: Any, to: Any, text: str) -> None:
    async def main() -> None:
        async with serving() as (server, _):
            with pytest.raises(OptionError, match=text):
                server.broadcast(b"news", to=to)

    run_async(main())


def test_a_connection_of_another_server_is_refused(run_async: Any) -> None:
    async def main() -> None:
        async with serving() as (one, _), serving() as (other, _), client(one) as talk:
            await says(talk, b"x\n")
            with pytest.raises(OptionError, match=r"to: <Connection .* open> is not a connection of this server"):
                other.broadcast(b"news", to=one.connections.values())

    run_async(main())
