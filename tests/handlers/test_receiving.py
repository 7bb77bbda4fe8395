"""Receiving and sending in an async conversation, message by message: the C and its twin have one contract."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from typing import Any

import pytest

from fourtuple import Connection, Limits, Server, Service, events
from fourtuple.engine import Channel, Engine
from fourtuple.errors import ConnectionBusy, ConnectionEnded, EncodeError, EndOfFile, UnmappedMessage
from fourtuple.framing import Fixed, Framing, mapped, parse_framing
from fourtuple.net.names import connection_name
from fourtuple.stream import Stream
from rig import PATIENT, Peer, Seen, limits, serving, tcp_pair, until

Talk = Callable[[Connection], Awaitable[None]]


@asynccontextmanager
async def talking(
    talk: Talk, readiness: str, framing: str | Framing = "line", **options: Any
) -> AsyncGenerator[tuple[Peer, Server, Seen], None]:
    """A peer of one conversation, in which nothing may have raised at its end."""
    service = Service(framing)
    service.conversation(talk)
    async with serving(service, readiness, **options) as (server, seen):
        with await Peer.connect(server) as peer:
            yield peer, server, seen
        await seen.closed()
        await until(lambda: not server._core.tasks)
        assert [repr(each.error) for each in seen.of(events.HandlerRaised)] == []


# -- what is there is given at once -----------------------------------------------------------------------


def have_time(connection: Connection) -> None:
    """Let no share end by the clock, however busy the machine is: no other task goes first."""
    engine = connection._channel.engine
    engine.turn_seconds = 600.0
    engine.share.begin(engine.clock())


@pytest.mark.parametrize("how", ["iteration", "receive", "anext"])
def test_a_batch_needs_no_turn_of_the_loop_and_leaves_by_one_send(run_async: Any, readiness: str, how: str) -> None:
    async def main() -> None:
        turns: list[int] = []  # of the loop, by the number of the message at hand

        async def reply(connection: Connection, message: bytes, number: int) -> None:
            asyncio.get_running_loop().call_soon(turns.append, number)
            assert not turns
            await connection.send(message.upper())

        async def talk(connection: Connection) -> None:
            number = 0
            have_time(connection)
            if how == "iteration":
                async for message in connection:
                    await reply(connection, message, number := number + 1)
                return
            end = EndOfFile if how == "receive" else StopAsyncIteration
            with suppress(end):
                while True:
                    message = await (connection.receive() if how == "receive" else anext(connection))
                    await reply(connection, message, number := number + 1)
            with pytest.raises(end):
                await (connection.receive() if how == "receive" else anext(connection))

        async with talking(talk, readiness) as (peer, server, seen):
            await seen.wait(events.Accepted)
            (connection,) = server.connections.values()
            await until(lambda: connection._receiving)
            before = connection.info().data_segs_out
            peer.socket.send(b"a\nb\nc\n" * 10)
            assert await peer.receive(60) == b"A\nB\nC\n" * 10
            assert before == 0
            assert connection.info().data_segs_out == 1
            statistics = connection.statistics
            assert (statistics.messages_in, statistics.messages_out) == (30, 30)
            assert (statistics.octets_in, statistics.octets_out) == (60, 60)
            await until(lambda: len(turns) == 30)
            assert connection._receiving
            peer.finish()
            assert await peer.receive_all() == b""

    run_async(main())


def test_more_messages_than_a_batch_takes(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async def talk(connection: Connection) -> None:
            async for message in connection:
                await connection.send(message)

        async with talking(talk, readiness, limits=limits(max_batch=4)) as (peer, _, _):
            assert await peer.talk(b"a\n" * 103 + b"half") == b"a\n" * 103

    run_async(main())


def test_messages_of_every_kind_are_given_as_they_are(run_async: Any, readiness: str) -> None:
    """None, tuples and exceptions have a meaning of their own to whoever hands values through an iterator."""
    values = [None, (), (1, 2), StopIteration(3), ValueError("x"), ValueError, StopAsyncIteration()]

    async def main() -> None:
        framing = mapped(Fixed(1), lambda octets: values[int(octets)], bytes)
        got: list[Any] = []

        async def talk(connection: Connection) -> None:
            got.extend([await connection.receive() for _ in values])
            got.extend([value async for value in connection])

        async with talking(talk, readiness, framing) as (peer, _, _):
            digits = b"".join(b"%d" % number for number in range(len(values)))
            await peer.talk(digits * 2)
        assert len(got) == 2 * len(values)
        assert all(one is other for one, other in zip(got, values * 2, strict=True))

    run_async(main())


def test_a_message_that_does_not_map_is_raised_in_its_place(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async def talk(connection: Connection) -> None:
            assert await connection.receive() == 1
            with pytest.raises(UnmappedMessage):
                await connection.receive()
            assert await connection.receive() == 2
            with pytest.raises(UnmappedMessage):
                [value async for value in connection]
            assert await anext(connection) == 4

        async with talking(talk, readiness, "line+json") as (peer, _, seen):
            await peer.talk(b"1\n{\n2\n3\n[\n4\n")
        assert len(seen.of(events.MessageUnmapped)) == 2

    run_async(main())


def test_an_iteration_may_be_left_and_begun_again(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async def until_dot(connection: Connection) -> AsyncGenerator[bytes, None]:
            async for message in connection:
                yield message
                if message == b".":
                    return

        async def talk(connection: Connection) -> None:
            async for message in connection:
                connection.send(b"1" + message)
                break
            connection.send(b"2" + await connection.receive())
            async for message in until_dot(connection):
                connection.send(b"3" + message)
            generator = until_dot(connection)
            connection.send(b"4" + await anext(generator))
            await generator.aclose()
            connection.change_framing("fixed:2")
            async for message in connection:
                connection.send(message)

        async with talking(talk, readiness) as (peer, _, _):
            assert await peer.talk(b"a\nb\nc\n.\nd\n") == b"1a\n2b\n3c\n3.\n4d\n"
        async with talking(talk, readiness) as (peer, _, _):
            assert await peer.talk(b"a\nb\n.\nd\nefgh") == b"1a\n2b\n3.\n4d\nefgh"

    run_async(main())


# -- waiting ----------------------------------------------------------------------------------------------


def test_a_generator_that_waits_for_a_message_is_closed(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async def talk(connection: Connection) -> None:
            async def messages() -> AsyncGenerator[bytes, None]:
                async for message in connection:
                    yield message

            generator = messages()
            task = asyncio.ensure_future(anext(generator))
            await until(lambda: connection._receiving)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not connection._receiving
            await generator.aclose()
            connection.send(b"go on")
            connection.send(await connection.receive())

        async with talking(talk, readiness) as (peer, _, _):
            assert await peer.receive(6) == b"go on\n"
            assert await peer.talk(b"x\n") == b"x\n"

    run_async(main())


@pytest.mark.parametrize("how", ["receive", "anext", "iteration"])
def test_a_timeout_around_a_receive_loses_nothing(run_async: Any, readiness: str, how: str) -> None:
    async def main() -> None:
        async def next_of(connection: Connection) -> bytes:
            if how == "iteration":
                async for message in connection:
                    return bytes(message)
            return bytes(await (connection.receive() if how == "receive" else anext(connection)))

        async def talk(connection: Connection) -> None:
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.001):
                        await next_of(connection)
                assert not connection._receiving
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(next_of(connection), 0.001)
            connection.send(b"now")
            async with asyncio.timeout(None):
                connection.send(await next_of(connection))

        async with talking(talk, readiness) as (peer, _, _):
            await peer.send(b"fir")
            assert await peer.receive(4) == b"now\n"
            assert await peer.talk(b"st\n") == b"first\n"

    run_async(main())


def test_a_receive_may_be_made_a_task_of(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async def talk(connection: Connection) -> None:
            task = asyncio.create_task(connection.receive())
            done, _ = await asyncio.wait([task, asyncio.ensure_future(connection.draining.wait())], timeout=0)
            assert not done
            connection.send(b"now")
            connection.send(await task)
            connection.send(await asyncio.create_task(anext(connection)))  # type: ignore[arg-type]
            late = connection.receive()
            assert asyncio.iscoroutine(late)
            late.close()
            for each in asyncio.all_tasks() - {asyncio.current_task()}:
                if "draining" in repr(each) or "Event.wait" in repr(each):
                    each.cancel()

        async with talking(talk, readiness) as (peer, _, _):
            assert await peer.receive(4) == b"now\n"
            assert await peer.talk(b"a\nb\n") == b"a\nb\n"

    run_async(main())


def test_an_iteration_beside_another_receiver_is_refused(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async def talk(connection: Connection) -> None:
            messages = aiter(connection)
            first = asyncio.ensure_future(anext(messages))
            await until(lambda: connection._receiving)
            for attempt in (anext(messages), anext(connection), connection.receive()):
                with pytest.raises(ConnectionBusy, match="another task is receiving"):
                    await attempt
            with pytest.raises(ConnectionBusy):
                async for _ in connection:
                    pass
            connection.send(b"now")
            connection.send(await first)
            connection.send(await anext(messages))

        async with talking(talk, readiness) as (peer, _, _):
            assert await peer.receive(4) == b"now\n"
            assert await peer.talk(b"a\nb\n") == b"a\nb\n"

    run_async(main())


@pytest.mark.parametrize("how", ["close", "abort"])
def test_a_waiting_receive_ends_with_the_connection(run_async: Any, readiness: str, how: str) -> None:
    async def main() -> None:
        met: list[str] = []

        async def talk(connection: Connection) -> None:
            async for _ in connection:
                raise AssertionError("there was no message")
            met.append("iteration")
            with pytest.raises(ConnectionEnded):
                await connection.receive()
            with pytest.raises(ConnectionEnded):
                await connection.send(b"too late")
            met.append("receive")

        async with talking(talk, readiness) as (_, server, seen):
            await seen.wait(events.Accepted)
            (connection,) = server.connections.values()
            await until(lambda: connection._receiving)
            getattr(connection, how)()
        assert met == ["iteration", "receive"]

    run_async(main())


def test_a_conversation_sees_its_own_task_and_context(run_async: Any, readiness: str) -> None:
    where: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="outside")

    async def main() -> None:
        seen_there: set[tuple[bool, str]] = set()

        async def talk(connection: Connection) -> None:
            task = asyncio.current_task()
            name = f"in {connection.id}"
            where.set(name)
            async for message in connection:
                seen_there.add((asyncio.current_task() is task, "own" if where.get() == name else where.get()))
                await connection.send(message)
            connection.send(await asyncio.sleep(0, b"bye"))

        async with talking(talk, readiness) as (peer, server, _):
            with await Peer.connect(server) as other:
                for _ in range(3):
                    for each in (peer, other):
                        await each.send(b"x\n")
                    for each in (peer, other):
                        assert await each.receive(2) == b"x\n"
            assert where.get() == "outside"
            assert await peer.talk(b"") == b"bye\n"
        assert seen_there == {(True, "own")}

    run_async(main())


def test_a_conversation_that_writes_to_another(run_async: Any, readiness: str) -> None:
    """Both go on in turns of the engine; what one sends to the other is no later for that."""

    async def main() -> None:
        everybody: list[Connection] = []

        async def talk(connection: Connection) -> None:
            everybody.append(connection)
            async for message in connection:
                for each in everybody:
                    await each.send(message)
            everybody.remove(connection)

        async with talking(talk, readiness) as (peer, server, _):
            with await Peer.connect(server) as other:
                await until(lambda: len(everybody) == 2)
                await peer.send(b"a\nb\n")
                assert [await each.receive(4) for each in (peer, other)] == [b"a\nb\n"] * 2
                await other.send(b"c\n")
                assert [await each.receive(2) for each in (peer, other)] == [b"c\n"] * 2

    run_async(main())


# -- awaiting by hand -------------------------------------------------------------------------------------


def test_a_receive_is_awaited_once(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async def talk(connection: Connection) -> None:
            reception = connection.receive()
            waiting = asyncio.ensure_future(reception)
            await until(lambda: connection._receiving)
            with pytest.raises(RuntimeError, match="awaited already"):
                await reception
            assert connection._receiving
            connection.send(b"now")
            connection.send(await waiting)
            with pytest.raises(RuntimeError, match="cannot reuse"):
                await reception
            with pytest.raises(RuntimeError, match="cannot reuse"):
                reception.throw(ValueError("x"))

        async with talking(talk, readiness) as (peer, _, _):
            assert await peer.receive(4) == b"now\n"
            assert await peer.talk(b"a\n") == b"a\n"

    run_async(main())


def test_a_receive_that_is_not_awaited_is_noticed_and_takes_nothing(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async def talk(connection: Connection) -> None:
            with pytest.warns(RuntimeWarning, match="'Connection.receive' was never awaited"):
                connection.receive()
            with pytest.warns(RuntimeWarning, match="'Connection.__anext__' was never awaited"):
                connection.__anext__()
            connection.receive().close()  # on purpose, this one
            connection.send(await connection.receive())

        async with talking(talk, readiness) as (peer, _, _):
            assert await peer.talk(b"a\n") == b"a\n"

    run_async(main())


@pytest.mark.filterwarnings("ignore:the \\(type, exc, tb\\) signature:DeprecationWarning")
def test_throwing_into_a_receive(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async def talk(connection: Connection) -> None:
            have_time(connection)
            for begun in (False, True):
                for thrown in ((ValueError("x"),), (ValueError, "x"), (ValueError, ValueError("x"), None)):
                    reception = connection.receive()
                    if begun:
                        reception.send(None)
                        assert connection._receiving
                    with pytest.raises(ValueError, match=r"^x$"):
                        reception.throw(*thrown)
                    assert not connection._receiving
            reception = connection.receive()
            with pytest.raises(TypeError):
                reception.throw(3)  # type: ignore[arg-type]
            reception.close()
            waiting = connection.receive()
            waiting.send(None)
            waiting.close()
            assert not connection._receiving
            connection.send(b"now")
            await until(lambda: connection.statistics.inbox)
            with pytest.raises(StopIteration) as stop:
                connection.receive().send(None)
            assert stop.value.value == b"a"

        async with talking(talk, readiness) as (peer, _, _):
            assert await peer.receive(4) == b"now\n"
            assert await peer.talk(b"a\n") == b""

    run_async(main())


def test_keeping_the_exception_that_carried_a_message_keeps_only_that_message(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async def talk(connection: Connection) -> None:
            def by_hand() -> StopIteration:
                try:
                    next(connection.receive().__await__())
                except StopIteration as stop:
                    return stop
                raise AssertionError("it was there")

            connection.send(b"first " + await connection.receive())
            kept = [by_hand(), by_hand()]
            assert by_hand().value == b"c"
            connection.send(b"awaited " + await connection.receive())
            assert [each.value for each in kept] == [b"a", b"b"]
            assert all(each.__traceback__ is not None for each in kept)
            assert by_hand().value == b"e" * 10_000

        async with talking(talk, readiness) as (peer, _, _):
            assert await peer.talk(b"x\na\nb\nc\nd\n" + b"e" * 10_000 + b"\n") == b"first x\nawaited d\n"

    run_async(main())


def test_a_stop_iteration_from_within_is_no_message(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async def talk(connection: Connection) -> None:
            def stop(_error: UnmappedMessage) -> None:
                raise StopIteration("not a message")

            connection._stream.on_unmapped = stop
            with pytest.raises(RuntimeError, match="raised StopIteration") as raised:
                await connection.receive()
            assert isinstance(raised.value.__cause__, StopIteration)
            connection.send(await connection.receive())

        async with talking(talk, readiness, "line+json") as (peer, _, _):
            assert await peer.talk(b"{\n3\n") == b"3\n"

    run_async(main())


# -- sending ----------------------------------------------------------------------------------------------


def test_what_cannot_be_sent_is_refused_at_the_call(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async def talk(connection: Connection) -> None:
            have_time(connection)
            for wrong in (b"three", b"", bytearray(b"12345"), "ab", None):
                with pytest.raises((EncodeError, TypeError)):
                    connection.send(wrong)
            with pytest.raises(TypeError):
                connection.send()  # type: ignore[call-arg]
            with pytest.raises(TypeError):
                connection.send(b"ab", b"cd")  # type: ignore[call-arg]
            assert connection.statistics.messages_out == 0
            await connection.send(message=b"ab")
            await connection.send(bytearray(b"cd"))
            assert (connection.statistics.messages_out, connection.statistics.outbox) == (2, 4)
            await asyncio.gather(connection.send(b"ef"), connection.send(b"gh"))

        async with talking(talk, readiness, "fixed:2") as (peer, _, _):
            assert await peer.talk(b"") == b"abcdefgh"

    run_async(main())


@pytest.mark.parametrize(
    "text",
    ["fixed:3", "line", "delimited:;", "u16", "u32le", "u8", "netstring", "syslog", "resp", "slip", "varint", "raw"],
)
def test_what_is_sent_is_what_the_framing_encodes(run_async: Any, readiness: str, text: str) -> None:
    """One by one, whatever encodes it; a message that is refused leaves no trace among the others."""
    messages = [b"abc", b"x;y", b"x\ny", b"\0\r\n", b"long" * 100, b"", b"end"]

    async def main() -> None:
        refused: list[bytes] = []

        async def talk(connection: Connection) -> None:
            async for _ in connection:
                for message in messages:
                    try:
                        await connection.send(message)
                    except EncodeError:
                        refused.append(message)
                break

        framing = parse_framing(text)
        expected, wrong = b"", []
        for message in messages:
            try:
                expected += framing.encode(message)
            except EncodeError:
                wrong.append(message)
        assert framing.encode(b"end")
        async with talking(talk, readiness, framing) as (peer, _, _):
            assert await peer.talk(framing.encode(b"end")) == expected
        assert refused == wrong

    run_async(main())


def test_messages_are_taken_as_they_are_at_the_call(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async def talk(connection: Connection) -> None:
            message = bytearray(b"ab")
            async for _ in connection:
                connection.send(message)
                message[:] = b"zz"
                connection.send(b"between")
                connection.send_many([b"c", b"d"])
                connection.send(b"e")

        async with talking(talk, readiness) as (peer, _, _):
            assert await peer.talk(b"x\n") == b"ab\nbetween\nc\nd\ne\n"

    run_async(main())


def test_a_sender_waits_for_a_slow_peer(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        sent = [0]

        async def talk(connection: Connection) -> None:
            async for message in connection:
                for _ in range(int(message)):
                    await connection.send(bytes(10_000))
                    sent[0] += 1
                    assert connection.statistics.outbox < 20_000
                await connection.send(b"all")

        async with talking(talk, readiness, limits=limits(high_water=8192)) as (peer, _, _):
            await peer.send(b"1000\n")
            assert await peer.receive(1000 * 10_001 + 4) == (bytes(10_000) + b"\n") * 1000 + b"all\n"
            assert sent == [1000]

    run_async(main())


def test_a_conversation_that_fills_the_outbox_and_is_cancelled_while_it_waits(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async def talk(connection: Connection) -> None:
            async def pour() -> None:
                while True:
                    await connection.send(bytes(100_000))

            async for _ in connection:
                pouring = asyncio.ensure_future(pour())
                await until(lambda: connection._waiting.senders)
                pouring.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await pouring
                await connection.send(b"bye")
                return

        async with talking(talk, readiness, limits=limits(high_water=8192)) as (peer, _, _):
            assert (await peer.talk(b"go\n")).endswith(b"\0\nbye\n")

    run_async(main())


# -- nothing is left --------------------------------------------------------------------------------------


def test_conversations_leave_nothing(run_async: Any, readiness: str) -> None:
    """Cycles through a connection's own state are found."""

    async def main() -> None:
        ended: list[weakref.ref[Connection]] = []
        kinds = ("EagerFuture", "Messages", "Reception")
        gc.collect()
        before = [each for each in gc.get_objects() if type(each).__name__ in kinds]  # what another test's error holds

        async def talk(connection: Connection) -> None:
            ended.append(weakref.ref(connection))
            connection.state = [connection, aiter(connection)]
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await anext(connection.state[1])
            connection.send(b"hello")
            connection.state.append(connection._receiver)
            async for message in connection.state[1]:
                await connection.send(message)

        service = Service("line")
        service.conversation(talk)
        async with serving(service, readiness) as (server, seen):
            for _ in range(5):
                with await Peer.connect(server) as peer:
                    assert await peer.receive(6) == b"hello\n"
                    assert await peer.talk(b"a\nb\n") == b"a\nb\n"
            await until(lambda: not server._core.tasks and not server.connections)
            seen.clear()
            gc.collect()
            assert [each() for each in ended] == [None] * 5
            now = [each for each in gc.get_objects() if type(each).__name__ in kinds]
            assert [each for each in now if not any(each is old for old in before)] == []

    run_async(main())


def test_messages_cost_nothing_that_stays(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async def talk(connection: Connection) -> None:
            async for message in connection:
                await connection.send(message)
                await connection.send(await connection.receive())

        async with talking(talk, readiness) as (peer, _, _):
            counts = []
            for _ in range(6):
                for _ in range(20):
                    for octets in (b"a\nb\n" * 50, b"c\n", b"d\n"):
                        await peer.send(octets)
                        assert await peer.receive(len(octets)) == octets
                gc.collect()
                counts.append(sys.getallocatedblocks())
            # 2,040 messages and 60 waits each time; what the interpreter keeps for the next one grows, less and less.
            assert min(after - before for before, after in pairwise(counts)) < 30, counts

    run_async(main())


# -- connections off the fast path -------------------------------------------------------------------------


class Loud(Connection):
    """Iterates in its own way."""

    async def __anext__(self) -> Any:
        return (await super().__anext__()).upper()


class Bare(Connection):
    """Was never begun."""

    def __init__(self) -> None:
        return


def test_a_subclass_iterates_in_its_own_way(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        got: list[bytes] = []

        async def talk(connection: Connection) -> None:
            loud = Loud(connection._channel)
            await connection.receive()  # nobody wakes a second connection of the same channel: the rest is there
            got.extend([await anext(aiter(loud)), await anext(loud)])
            got.append(await loud.receive())

        async with talking(talk, readiness) as (peer, _, _):
            assert await peer.talk(b"first\na\nb\nc\n") == b""
            assert got == [b"A", b"B", b"c"]

    run_async(main())


@pytest.mark.parametrize(
    "use",
    [
        lambda bare: bare.receive(),
        lambda bare: anext(bare),
        lambda bare: anext(aiter(bare)),
        lambda bare: bare.send(b"x"),
    ],
    ids=["receive", "anext", "iteration", "send"],
)
def test_an_object_that_was_never_initialised_raises(
    run_async: Any, use: Callable[[Connection], Awaitable[Any]]
) -> None:
    async def main() -> None:
        with pytest.raises(AttributeError):
            await use(Bare())

    run_async(main())


def test_a_connection_dismantled_during_a_receive_raises(run_async: Any) -> None:
    """As the garbage collector does it."""

    async def main() -> None:
        engine = Engine()
        near, far = tcp_pair()
        with far:
            connection = Connection(
                Channel(engine, near, Stream(parse_framing("line"), connection_name(near), Limits(), 0.0), PATIENT)
            )
            receiving = connection.receive()
            channel = connection._channel
            del connection._channel, connection._stream
            with pytest.raises(AttributeError):
                await receiving
            channel.abort()
            engine.close()

    run_async(main())
