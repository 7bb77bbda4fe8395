"""Reply handlers of every kind: one message in; one reply, several or none out."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from fourtuple import Connection, Reason, Service, events, reply_and_close
from fourtuple.errors import EncodeError, FramingTextError, HandlerFailed, ServiceError
from fourtuple.service import ReplyKind
from fourtuple.stream import Half
from rig import FakeClock, Peer, limits, serving, turns, until

SMALL = limits(high_water=16 * 1024, read_size=4096)


def register(service: Service, kind: ReplyKind, answer: Callable[[bytes], Any], **options: Any) -> None:
    """Register a handler of a kind that answers with ``answer(message)``, twice where it is a generator."""

    def plain(message: bytes) -> Any:
        return answer(message)

    def generator(message: bytes) -> Iterator[Any]:
        yield answer(message)
        yield answer(message)

    async def awaiting(message: bytes) -> Any:
        await asyncio.sleep(0)
        return answer(message)

    async def async_generator(message: bytes) -> AsyncIterator[Any]:
        yield answer(message)
        await asyncio.sleep(0)
        yield answer(message)

    function: Callable[..., Any] = {
        ReplyKind.INLINE: plain,
        ReplyKind.THREAD: plain,
        ReplyKind.INLINE_GENERATOR: generator,
        ReplyKind.THREAD_GENERATOR: generator,
        ReplyKind.ASYNC: awaiting,
        ReplyKind.ASYNC_GENERATOR: async_generator,
    }[kind]
    service.reply(threads=kind in (ReplyKind.THREAD, ReplyKind.THREAD_GENERATOR), **options)(function)
    assert service.handler.kind is kind  # type: ignore[union-attr]


GENERATORS = (ReplyKind.INLINE_GENERATOR, ReplyKind.ASYNC_GENERATOR, ReplyKind.THREAD_GENERATOR)
every_kind = pytest.mark.parametrize("kind", ReplyKind, ids=lambda kind: kind.name.lower())


# -- what is shared by all kinds --------------------------------------------------------------------------


@every_kind
def test_every_message_has_its_replies_in_order(run_async: Any, readiness: str, kind: ReplyKind) -> None:
    async def main() -> None:
        service = Service("line")
        register(service, kind, bytes.upper)
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                times = 2 if kind in GENERATORS else 1
                expected = b"".join(b"M%d\n" % number * times for number in range(1000))
                assert await peer.talk(b"".join(b"m%d\n" % number for number in range(1000))) == expected
                closed = await seen.closed()
                assert closed.reason is Reason.PEER_CLOSED
                assert closed.statistics.messages_in == 1000
                assert closed.statistics.messages_out == 1000 * times

    run_async(main())


@every_kind
def test_none_is_no_reply(run_async: Any, readiness: str, kind: ReplyKind) -> None:
    async def main() -> None:
        service = Service("line")
        register(service, kind, lambda message: None if message == b"quiet" else message)
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                times = 2 if kind in GENERATORS else 1
                assert await peer.talk(b"quiet\nloud\nquiet\n") == b"loud\n" * times

    run_async(main())


@every_kind
def test_a_handler_that_raises_costs_its_connection_behind_the_replies_before(
    run_async: Any, readiness: str, kind: ReplyKind
) -> None:
    async def main() -> None:
        service = Service("line")

        def answer(message: bytes) -> bytes:
            if message == b"bad":
                raise ValueError("a defect")
            return message

        register(service, kind, answer)
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer, await Peer.connect(server) as bystander:
                times = 2 if kind in GENERATORS else 1
                await peer.send(b"good\nbad\nnever\n")
                assert await peer.receive_all() == b"good\n" * times
                peer.close()
                raised = (await seen.wait(events.HandlerRaised))[0]
                assert str(raised.error) == "a defect"
                assert "register.<locals>" in raised.handler
                closed = await seen.closed()
                assert (closed.id, closed.reason) == (raised.id, Reason.HANDLER_ERROR)
                assert await bystander.talk(b"hello\n") == b"hello\n" * times
                assert len(seen.of(events.HandlerRaised)) == 1

    run_async(main())


@every_kind
def test_reply_and_close_says_goodbye(run_async: Any, readiness: str, kind: ReplyKind) -> None:
    async def main() -> None:
        service = Service("line")
        register(service, kind, lambda message: reply_and_close(b"bye") if message == b"quit" else message)
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                times = 2 if kind in GENERATORS else 1
                await peer.send(b"hello\nquit\nnever\n")
                assert await peer.receive_all() == b"hello\n" * times + b"bye\n"
                peer.close()
                assert (await seen.closed()).reason is Reason.CLOSED

    run_async(main())


@every_kind
def test_reply_and_close_without_a_word(run_async: Any, readiness: str, kind: ReplyKind) -> None:
    async def main() -> None:
        service = Service("line")
        register(service, kind, lambda _: reply_and_close())
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"quit\n")
                assert await peer.receive_all() == b""

    run_async(main())


@every_kind
def test_a_reply_that_cannot_be_encoded_is_the_handlers_fault(run_async: Any, readiness: str, kind: ReplyKind) -> None:
    async def main() -> None:
        service = Service("line")
        register(service, kind, lambda message: message if message == b"good" else b"two\nlines")
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"good\nbad\nnever\n")
                assert await peer.receive_all() == b"good\n" * (2 if kind in GENERATORS else 1)
                assert isinstance((await seen.wait(events.HandlerRaised))[0].error, EncodeError)

    run_async(main())


@every_kind
def test_a_reset_in_the_middle_is_not_a_handlers_failure(run_async: Any, readiness: str, kind: ReplyKind) -> None:
    """The peer goes with requests on their way: no handler is blamed, nothing goes on forever."""

    async def main() -> None:
        service = Service("line")
        register(service, kind, lambda message: message * 100)
        async with serving(service, readiness, limits=SMALL) as (server, seen):
            for _ in range(3):
                peer = await Peer.connect(server)
                peer.send_what_fits(b"message\n" * 5000)
                await turns(5)
                peer.reset()
            closed = await seen.wait(events.Closed, 3)
            await until(lambda: not server._core.tasks)
            assert {each.reason for each in closed} <= {Reason.RESET, Reason.LOST}
            assert not seen.of(events.HandlerRaised)

    run_async(main())


@every_kind
def test_a_peer_that_never_reads_stops_the_handler_and_the_reading(
    run_async: Any, readiness: str, kind: ReplyKind
) -> None:
    async def main() -> None:
        service = Service("line")
        calls: list[bytes] = []
        register(service, kind, lambda message: calls.append(message) or bytes(4096))
        async with serving(service, readiness, limits=SMALL) as (server, _):
            with await Peer.connect(server, receive_buffer=4096) as peer:
                sent = 0
                await until(lambda: server.connections)
                while True:
                    now = peer.send_what_fits(b"x\n" * 50_000)
                    before = len(calls)
                    for _ in range(20):
                        await turns(20)
                        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
                    if not now and len(calls) == before:
                        break
                    sent += now
                (connection,) = server.connections.values()
                # One more than the mark may be on its way in a generator's turn or in a batch.
                assert connection.statistics.outbox <= SMALL.high_water + 2 * 4097
                assert connection.statistics.octets_in < sent
        await asyncio.get_running_loop().shutdown_default_executor()

    run_async(main())


@every_kind
def test_the_connection_is_given_where_it_is_asked_for(run_async: Any, readiness: str, kind: ReplyKind) -> None:
    async def main() -> None:
        service = Service("line")
        seen_ids: list[int] = []

        def plain(message: bytes, connection: Connection) -> bytes:
            seen_ids.append(connection.id)
            return message

        def generator(message: bytes, connection: Connection) -> Iterator[bytes]:
            yield plain(message, connection)

        async def awaiting(message: bytes, connection: Connection) -> bytes:
            return plain(message, connection)

        async def async_generator(message: bytes, connection: Connection) -> AsyncIterator[bytes]:
            yield plain(message, connection)

        functions: dict[ReplyKind, Callable[..., Any]] = {
            ReplyKind.INLINE: plain,
            ReplyKind.THREAD: plain,
            ReplyKind.INLINE_GENERATOR: generator,
            ReplyKind.THREAD_GENERATOR: generator,
            ReplyKind.ASYNC: awaiting,
            ReplyKind.ASYNC_GENERATOR: async_generator,
        }
        service.reply(threads="THREAD" in kind.name)(functions[kind])
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"a\nb\n") == b"a\nb\n"
            closed = await seen.closed()
            assert seen_ids == [closed.id, closed.id]

    run_async(main())


# -- generators -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", GENERATORS, ids=lambda kind: kind.name.lower())
def test_an_endless_generator_is_pulled_while_its_peer_reads_and_closed_at_the_end(
    run_async: Any, readiness: str, kind: ReplyKind
) -> None:
    async def main() -> None:
        service = Service("line")
        pulled = 0
        ended = threading.Event()

        def endless(_: bytes) -> Iterator[bytes]:
            nonlocal pulled
            try:
                while True:
                    pulled += 1
                    yield bytes(1000)
            finally:
                ended.set()

        async def endless_async(message: bytes) -> AsyncIterator[bytes]:
            for each in endless(message):
                yield each

        if kind is ReplyKind.ASYNC_GENERATOR:
            service.reply(endless_async)
        else:
            service.reply(threads=kind is ReplyKind.THREAD_GENERATOR)(endless)
        async with serving(service, readiness, limits=SMALL) as (server, seen):
            with await Peer.connect(server, receive_buffer=4096) as peer:
                await peer.send(b"go\n")
                assert await peer.receive(100_000) == (bytes(1000) + b"\n") * 99 + bytes(901)
                (connection,) = server.connections.values()
                await until(lambda: connection.statistics.outbox > SMALL.low_water)
                stopped = -1
                while stopped != pulled:
                    stopped = pulled
                    for _ in range(5):
                        await turns(20)
                        await asyncio.get_running_loop().run_in_executor(None, lambda: None)
                assert await peer.receive(100_000)
                peer.reset()
            await seen.closed()
            await until(ended.is_set)
            await until(lambda: not server._core.tasks)
            assert not seen.of(events.HandlerRaised)
        await asyncio.get_running_loop().shutdown_default_executor()

    run_async(main())


def test_an_endless_generator_leaves_others_their_turn(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.reply
        def answer(message: bytes) -> Iterator[bytes]:
            while message == b"endless":
                yield b"x" * 1000
            yield message

        async with serving(service, readiness, limits=SMALL) as (server, _):
            with await Peer.connect(server) as greedy, await Peer.connect(server) as modest:
                await greedy.send(b"endless\n")
                reading = asyncio.ensure_future(greedy.discard())
                await turns(50)
                assert await modest.talk(b"hello\n") == b"hello\n"
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    run_async(main())


def test_a_generator_that_ends_its_own_connection(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        after: list[bytes] = []

        @service.reply
        def answer(message: bytes, connection: Connection) -> Iterator[bytes]:
            yield b"first"
            getattr(connection, message.decode())()
            yield b"never"
            after.append(message)

        async with serving(service, readiness) as (server, seen):
            for how in (b"close", b"abort", b"send_eof"):
                with await Peer.connect(server) as peer:
                    await peer.send(how + b"\nanother\n")
                    if how == b"abort":
                        with pytest.raises(ConnectionResetError):
                            await peer.receive_all()
                    else:
                        assert await peer.receive_all() == b"first\n"
            await seen.wait(events.Closed, 3)
            assert after == []
            # The half-closed one goes on with the next message, which it cannot answer.
            assert [str(each.error) for each in seen.of(events.HandlerRaised)] == []

    run_async(main())


# -- async and threads ------------------------------------------------------------------------------------


def test_one_message_at_a_time(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        running: list[int] = [0, 0]

        @service.reply
        async def answer(message: bytes) -> bytes:
            running[0] += 1
            running[1] = max(running)
            await turns(3)
            running[0] -= 1
            return message

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.talk(b"x\n" * 20)
        assert running == [0, 1]

    run_async(main())


@pytest.mark.parametrize("threads", [False, True])
def test_concurrency_works_on_several_and_replies_in_order(run_async: Any, readiness: str, threads: bool) -> None:
    async def main() -> None:
        service = Service("line")
        begun: list[bytes] = []
        gates = {number: asyncio.Event() for number in b"123456"}
        thread_gates = {number: threading.Event() for number in b"123456"}

        def blocking(message: bytes) -> bytes:
            begun.append(message)
            thread_gates[message[0]].wait()
            return message * 2

        async def awaiting(message: bytes) -> bytes:
            begun.append(message)
            await gates[message[0]].wait()
            return message * 2

        service.reply(concurrency=3, threads=threads)(blocking if threads else awaiting)

        def let(number: int) -> None:
            gates[number].set()
            thread_gates[number].set()

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"1\n2\n3\n4\n5\n6\n")
                await until(lambda: len(begun) == 3)
                (connection,) = server.connections.values()
                assert sorted(begun) == [b"1", b"2", b"3"]
                await peer.send(b"6\n" * 10)
                await turns()
                assert connection.statistics.octets_in == 12  # with three outstanding, reading stops
                let(b"3"[0])
                let(b"2"[0])
                await turns()
                assert connection.statistics.messages_out == 0  # the first one's turn comes first
                let(b"1"[0])
                assert await peer.receive(9) == b"11\n22\n33\n"
                for number in b"456":
                    let(number)
                assert await peer.talk(b"") == b"44\n55\n" + b"66\n" * 11

    run_async(main())


@pytest.mark.parametrize("threads", [False, True])
def test_concurrent_replies_wait_for_a_peer_that_reads_slowly(run_async: Any, readiness: str, threads: bool) -> None:
    """Together they are more than the outbox takes: they follow each other, and cost nobody the connection."""

    async def main() -> None:
        service, size = Service("line"), 300_000

        async def awaiting(message: bytes) -> bytes:
            return message * size

        service.reply(concurrency=8, threads=threads)((lambda message: message * size) if threads else awaiting)
        bounds = limits(max_outbox=400_000, high_water=1000)
        async with serving(service, readiness, limits=bounds) as (server, seen):
            with await Peer.connect(server, receive_buffer=4096) as peer:
                messages = [b"%d" % (number % 10) for number in range(24)]
                await peer.send(b"".join(message + b"\n" for message in messages))
                await until(lambda: any(each._stream.crowded for each in server.connections.values()))
                await turns()
                (connection,) = server.connections.values()
                assert connection.statistics.outbox < 400_000 + size
                expected = b"".join(message * size + b"\n" for message in messages)
                assert await peer.talk(b"") == expected
            assert seen.of(events.HandlerRaised) == []

    run_async(main())


def test_concurrent_replies_that_are_never_read_end_with_their_connection(run_async: Any, readiness: str) -> None:
    """What failed among them is told, also where its turn never came."""

    async def main() -> None:
        service = Service("line")
        begun: list[bytes] = []

        @service.reply(concurrency=8)
        async def answer(message: bytes) -> bytes:
            begun.append(message)
            if message == b"7":
                raise ValueError("the seventh")
            return message * 1_000_000

        async with serving(service, readiness, limits=limits(high_water=1000)) as (server, seen):
            with await Peer.connect(server, receive_buffer=4096) as peer:
                await peer.send(b"".join(b"%d\n" % number for number in range(8)))
                await until(lambda: any(each._stream.crowded for each in server.connections.values()))
                await until(lambda: len(begun) == 8)
                await turns()
                assert seen.of(events.HandlerRaised) == []
                peer.reset()
                await seen.closed()
            assert [str(event.error) for event in seen.of(events.HandlerRaised)] == ["the seventh"]
            assert not server._core.tasks

    run_async(main())


def test_a_reset_that_a_concurrent_reply_notices(run_async: Any, readiness: str) -> None:
    """Looking whether the peer reads ends the connection, and all that waits with it: once."""

    async def main() -> None:
        service, uncaught = Service("line"), []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: uncaught.append(context))
        begin, last = asyncio.Event(), asyncio.Event()

        @service.reply(concurrency=9)
        async def answer(message: bytes) -> bytes:
            if message == b"7":
                await last.wait()
                peer.reset()  # what comes of this reply is the first to be told
            await begin.wait()  # with a reply that waits to be read, the end of file would not be
            return message * 1_000_000

        async with serving(service, readiness, limits=limits(high_water=1000)) as (server, seen):
            peer = await Peer.connect(server, receive_buffer=4096)
            await peer.send(b"".join(b"%d\n" % number for number in range(8)))
            peer.finish()
            await until(lambda: any(each._stream.reading is Half.ENDED for each in server.connections.values()))
            (connection,) = server.connections.values()
            begin.set()
            await until(lambda: connection._stream.crowded)
            last.set()
            await seen.closed()
            assert seen.of(events.HandlerRaised) == []
            assert not server._core.tasks
        assert uncaught == []

    run_async(main())


def test_a_flood_of_what_does_not_map_waits_for_its_reader(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line+json")
        service.unmapped(lambda message, connection: "x" * 50_000)

        @service.reply
        async def answer(message: Any) -> Any:
            return message

        bounds = limits(max_outbox=200_000, high_water=1000)
        async with serving(service, readiness, limits=bounds) as (server, seen):
            with await Peer.connect(server, receive_buffer=4096) as peer:
                await peer.send(b"{\n" * 40)
                await until(lambda: any(each._stream.crowded for each in server.connections.values()))
                assert await peer.talk(b"1\n") == (b'"' + b"x" * 50_000 + b'"\n') * 40 + b"1\n"
            assert seen.of(events.HandlerRaised) == []

    run_async(main())


def test_a_failure_among_concurrent_messages_comes_in_its_turn(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        first = asyncio.Event()

        @service.reply(concurrency=4)
        async def answer(message: bytes) -> bytes:
            if message == b"1":
                await first.wait()
            if message == b"2":
                raise ValueError("second")
            return message

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"1\n2\n3\n4\n5\n")
                await turns()
                assert not seen.of(events.HandlerRaised)
                first.set()
                assert await peer.receive_all() == b"1\n"
                peer.close()
                assert (await seen.closed()).reason is Reason.HANDLER_ERROR
                await until(lambda: not server._core.tasks)
                assert len(seen.of(events.HandlerRaised)) == 1

    run_async(main())


def test_a_handler_in_a_thread_does_not_hold_the_loop(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        gate = threading.Event()

        @service.reply(threads=True)
        def answer(message: bytes) -> bytes:
            if message == b"wait":
                gate.wait()
            return b"%d" % (threading.current_thread() is threading.main_thread())

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as waiting, await Peer.connect(server) as other:
                await waiting.send(b"wait\n")
                await turns()
                assert await other.talk(b"x\n") == b"0\n"
                gate.set()
                assert await waiting.talk(b"") == b"0\n"

    run_async(main())


def test_without_a_free_thread_accept_pauses_and_jobs_wait(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        gate = threading.Event()

        @service.reply(threads=True)
        def answer(message: bytes) -> bytes:
            gate.wait()
            return message

        async with serving(service, readiness, limits=limits(max_threads=2)) as (server, seen):
            peers = [await Peer.connect(server) for _ in range(3)]
            await seen.wait(events.Accepted, 3)
            for peer in peers:
                await peer.send(b"x\n")
            paused = (await seen.wait(events.AcceptPaused))[0]
            assert paused.why == "max_threads reached: 2 threads are busy"
            assert server.listeners[0].paused == {"max_threads"}
            peers.append(await Peer.connect(server))
            await turns()
            assert server.statistics.accepted == 3
            await until(lambda: repr(server._core.threads) == "<Threads 2 of 2 busy, 1 jobs waiting>")
            gate.set()
            await peers[3].send(b"x\n")
            for peer in peers:
                assert await peer.receive(2) == b"x\n"
                peer.close()
            assert seen.of(events.AcceptResumed)

    run_async(main())


def test_a_handler_may_receive_more_of_what_belongs_to_its_message(run_async: Any, readiness: str) -> None:
    """As DATA in SMTP does: the reply comes after the lines that follow."""

    async def main() -> None:
        service = Service("line")

        @service.reply
        async def answer(message: bytes, connection: Connection) -> bytes:
            if message != b"DATA":
                return message
            lines = []
            while (line := await connection.receive()) != b".":
                lines.append(line)
            return b"took %d" % len(lines)

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"hello\nDATA\none\n")
                assert await peer.receive(6) == b"hello\n"
                await peer.send(b"two\nthree\n")
                await turns()
                await peer.send(b".\nbye\n")
                assert await peer.receive(11) == b"took 3\nbye\n"
                await peer.send(b"DATA\nnot finished\n")
                peer.finish()
                assert await peer.receive_all() == b""
            await seen.closed()
            assert not seen.of(events.HandlerRaised)

    run_async(main())


def test_a_reply_for_a_connection_that_was_closed_meanwhile_is_dropped(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        gate = asyncio.Event()

        @service.reply
        async def answer(message: bytes) -> bytes:
            await gate.wait()
            return message

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\ny\n")
                await until(lambda: server._core.tasks)
                (connection,) = server.connections.values()
                connection.close()
                gate.set()
                assert await peer.receive_all() == b""
                await until(lambda: not server._core.tasks)
                assert not seen.of(events.HandlerRaised)

    run_async(main())


# -- context variables ------------------------------------------------------------------------------------


WHO: contextvars.ContextVar[bytes] = contextvars.ContextVar("WHO", default=b"nobody")


@pytest.mark.parametrize("kind", ["async", "async generator", "threads", "conversation"])
def test_context_variables_do_not_leak_between_connections(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        service = Service("line")

        def change(message: bytes) -> bytes:
            before = WHO.get()
            WHO.set(message)
            return before

        if kind == "async":

            @service.reply
            async def answer(message: bytes) -> bytes:
                return change(message)

        elif kind == "async generator":

            @service.reply
            async def several(message: bytes) -> AsyncIterator[bytes]:
                yield change(message)

        elif kind == "threads":
            service.reply(threads=True)(change)
        else:

            @service.conversation
            async def talk(connection: Connection) -> None:
                async for message in connection:
                    connection.send(change(message))

        token = WHO.set(b"server")
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as a, await Peer.connect(server) as b:
                await a.send(b"a\n")
                assert await a.receive(7) == b"server\n"
                assert await b.talk(b"b\n") == b"server\n"
                # Each message has a context of its own; a conversation has one.
                assert await a.talk(b"c\n") == (b"a\n" if kind == "conversation" else b"server\n")
        assert WHO.get() == b"server"
        WHO.reset(token)

    run_async(main())


# -- slow handlers ----------------------------------------------------------------------------------------


def test_a_handler_that_holds_the_loop_is_named(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        clock = FakeClock()

        @service.reply
        def answer(message: bytes) -> bytes:
            clock.now += float(message)
            return message

        async with serving(service, readiness, clock=clock) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"0.05\n0.01\n") == b"0.05\n0.01\n"
                assert not seen.of(events.HandlerSlow)
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"0.3\n") == b"0.3\n"
                slow = (await seen.wait(events.HandlerSlow))[0]
                assert slow.seconds == pytest.approx(0.3)
                assert slow.handler.endswith("answer")

    run_async(main())


# -- hooks ------------------------------------------------------------------------------------------------


def test_a_greeting_comes_first(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        service.opened(lambda connection: b"hello %d" % connection.name.remote_port)
        service.reply(bytes.upper)
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                greeting = b"hello %d\n" % peer.socket.getsockname()[1]
                assert await peer.talk(b"x\n") == greeting + b"X\n"
            assert not (await seen.closed()).probe

    run_async(main())


@pytest.mark.parametrize("how", ["close", "abort", "reply_and_close", "raise"])
def test_a_connection_that_opened_turns_away(run_async: Any, readiness: str, how: str) -> None:
    async def main() -> None:
        service = Service("line")
        handled: list[bytes] = []
        ended: list[Connection] = []

        @service.opened
        def opened(connection: Connection) -> Any:
            if how == "raise":
                raise ValueError("no")
            if how == "reply_and_close":
                return reply_and_close(b"go away")
            getattr(connection, how)()
            return None

        service.closed(ended.append)
        service.reply(handled.append)
        async with serving(service, readiness) as (server, seen):
            server.pause()
            with await Peer.connect(server) as peer:
                server.resume()
                if how == "abort":
                    with pytest.raises(ConnectionResetError):
                        await peer.receive_all()
                else:
                    assert await peer.receive_all() == (b"go away\n" if how == "reply_and_close" else b"")
                    await peer.send(b"too late\n")
                    peer.close()
            await seen.closed()
            assert handled == []
            assert len(ended) == 1
            assert server.engine.channels == set()
            assert len(seen.of(events.HandlerRaised)) == (how == "raise")

    run_async(main())


def test_last_words_for_a_handler_that_raised(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.reply
        def answer(message: bytes) -> bytes:
            return b"%d" % (10 // int(message))

        @service.failed
        def failed(error: Exception, connection: Connection) -> bytes:
            assert isinstance(error, HandlerFailed)
            assert isinstance(error.__cause__, ZeroDivisionError)
            return b"sorry"

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"5\n0\n1\n")
                assert await peer.receive_all() == b"2\nsorry\n"

    run_async(main())


def test_last_words_for_a_broken_message(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("fixed:4")
        service.reply(lambda message: message)

        @service.failed
        def failed(error: Exception, connection: Connection) -> bytes:
            return b"oops"

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"goodba") == b"goodoops"
            failed_event = (await seen.wait(events.MessageFailed))[0]
            assert "2" in str(failed_event.error)
            assert "4" in str(failed_event.error)
            assert (await seen.closed()).reason is Reason.PEER_CLOSED

    run_async(main())


def test_last_words_that_fail_are_reported(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.reply
        def answer(message: bytes) -> bytes:
            raise ValueError("first")

        @service.failed
        def failed(error: Exception, connection: Connection) -> bytes:
            raise ValueError("second")

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                assert await peer.receive_all() == b""
            await seen.closed()
            assert [str(each.error) for each in seen.of(events.HandlerRaised)] == ["first", "second"]
            assert [each.handler.rpartition(".")[2] for each in seen.of(events.HandlerRaised)] == ["answer", "failed"]

    run_async(main())


def test_the_closed_hook_is_called_once_and_may_fail(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        service.reply(lambda message: message)
        ended: list[tuple[int, bool, int]] = []

        @service.closed
        def closed(connection: Connection) -> None:
            ended.append((connection.id, connection.closed, connection.statistics.messages_in))
            raise ValueError("in the hook")

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.talk(b"x\n")
            event = await seen.closed()
            await until(lambda: seen.of(events.HandlerRaised))
            assert ended == [(event.id, True, 1)]
            (await Peer.connect(server)).reset()
            await seen.wait(events.HandlerRaised, 2)
            assert len(ended) == 2

    run_async(main())


def test_state_is_the_connections_own(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.opened
        def opened(connection: Connection) -> None:
            connection.state = 0

        @service.reply
        def count(message: bytes, connection: Connection) -> bytes:
            connection.state += 1
            return b"%d" % connection.state

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as a, await Peer.connect(server) as b:
                assert await a.talk(b"x\nx\n") == b"1\n2\n"
                assert await b.talk(b"x\n") == b"1\n"

    run_async(main())


# -- declarations that cannot work ------------------------------------------------------------------------


async def _async(message: bytes) -> None: ...
def _plain(message: bytes) -> None: ...
def _generator(message: bytes) -> Iterator[bytes]:
    yield message


async def _async_generator(message: bytes) -> AsyncIterator[bytes]:
    yield message


@pytest.mark.parametrize(
    ("declare", "text"),
    [
        (lambda s: s.reply(threads=True)(_async), "threads=True is for code that blocks"),
        (lambda s: s.reply(concurrency=2)(_plain), "needs an async def or threads=True; .* is a def"),
        (lambda s: s.reply(concurrency=2)(_generator), "is a generator"),
        (
            lambda s: s.reply(concurrency=0)(_async),
            "concurrency: expected a whole number of messages, 1 or more, got 0",
        ),
        (lambda s: s.reply(lambda: None), "takes 0 arguments"),
        (lambda s: s.reply(lambda a, b, c: None), "takes 3 arguments"),
        (lambda s: s.conversation(_generator), "is a generator; a conversation sends through its connection"),
        (lambda s: s.conversation(_async_generator), "is an async generator"),
        (lambda s: s.opened(_async), "_async is an async def; expected a plain def"),
        (lambda s: s.closed(_generator), "_generator is a generator; expected a plain def"),
        (lambda s: s.failed(_async_generator), "_async_generator is an async generator; expected a plain def"),
        (lambda s: s.lifespan(_async), "_async is an async def without a yield; expected an async def with one yield"),
        (lambda s: s.program(), "a command is needed"),
    ],
)
def test_what_cannot_work_is_refused_and_leaves_nothing_behind(declare: Any, text: str) -> None:
    service = Service("line")
    with pytest.raises(ServiceError, match=text):
        declare(service)
    with pytest.raises(ServiceError, match="the service has no handler"):
        service.check()
    service.reply(_plain)
    with pytest.raises(ServiceError, match="a service has one handler"):
        service.reply(_plain)


def test_an_object_with_an_async_call_is_async() -> None:
    class Handler:
        async def __call__(self, message: bytes) -> bytes:
            return message

    service = Service("line")
    service.reply(Handler())
    assert service.handler.kind is ReplyKind.ASYNC  # type: ignore[union-attr]


def test_what_is_no_function_and_no_framing() -> None:
    with pytest.raises(ServiceError, match="reply: expected a function, got 3"):
        Service("line").reply(3)  # type: ignore[call-overload]
    with pytest.raises(FramingTextError, match="a framing is a text"):
        Service(42)  # type: ignore[arg-type]
