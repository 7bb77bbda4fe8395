"""One connection takes no more than its share of the loop, whatever its handler does, awaits that never wait included.

Counted, not timed: how many messages are handled, received or sent between two turns of the loop. The peer here is read
by a thread of its own, so that it always keeps up, and no send ever waits.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from certificates import serving_context, trusting
from fourtuple import Connection, FourTupleError, Server, Service, connect, events
from fourtuple.errors import ConnectionBusy, ConnectionEnded, EncodeError, EndOfFile
from rig import Peer, limits, serving, until

#: What a share is here, and how many turns of the loop are looked at.
MESSAGES = 100
TURNS = 60


class Count:
    """What was handled, received or sent."""

    def __init__(self) -> None:
        self.messages = 0

    def __call__(self, message: Any = None) -> Any:
        self.messages += 1
        return message

    async def most(self, server: Server, turns: int = TURNS) -> int:
        """The most between two turns of the loop, once it has begun; it has to go on."""
        await until(lambda: self.messages)
        found = []
        for _ in range(turns):
            before = self.messages
            await asyncio.sleep(0)
            found.append(self.messages - before)
        assert sum(found) >= 2 * MESSAGES, found
        return max(found)


@contextmanager
def keeping_up(server: Server, octets: bytes, *, tls: bool = False) -> Iterator[socket.socket]:
    """A peer that sends this again and again, and reads whatever comes, both in threads."""
    sock = socket.create_connection((server.address.host, server.port))

    def pour() -> None:
        with suppress(OSError):
            while octets.endswith(b"x\n") or not sent:
                sent.append(sock.sendall(octets))

    def discard() -> None:
        with suppress(OSError):
            while sock.recv(1 << 20):
                pass

    sent: list[None] = []
    threads = [threading.Thread(target=each) for each in (pour, discard)]
    for each in threads:
        each.start()
    try:
        yield sock
    finally:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        for each in threads:
            each.join()
        sock.close()


#: Handlers that never wait: what each is, and what its peer sends: one line, or a flood of ``x``.
Make = Callable[[Service, Count], None]
FLOOD = b"x\n" * 5000
ONE = b"go\n"


def reply(service: Service, count: Count) -> None:
    service.reply(count)


def reply_with_nothing(service: Service, count: Count) -> None:
    service.reply(lambda message: count() and None)


def reply_of_its_own_making(service: Service, count: Count) -> None:
    @service.reply
    def handle(message: bytes, connection: Connection) -> None:
        count()
        connection.unread(b"again\n")


def generator(service: Service, count: Count) -> None:
    @service.reply
    def rows(message: bytes) -> Iterator[bytes]:
        while True:
            yield count(b"row")


def generator_of_large_rows(service: Service, count: Count) -> None:
    @service.reply
    def rows(message: bytes) -> Iterator[bytes]:
        while True:
            yield count(bytes(50))


def generator_of_nothing(service: Service, count: Count) -> None:
    @service.reply
    def rows(message: bytes) -> Iterator[None]:
        while True:
            yield count()


def generators(service: Service, count: Count) -> None:
    @service.reply
    def row(message: bytes) -> Iterator[bytes]:
        yield count(b"row")


def awaited(service: Service, count: Count) -> None:
    @service.reply
    async def handle(message: bytes) -> bytes:
        return count(message)


def awaited_nothing(service: Service, count: Count) -> None:
    @service.reply
    async def handle(message: bytes) -> None:
        count()


def awaited_of_its_own_making(service: Service, count: Count) -> None:
    @service.reply
    async def handle(message: bytes, connection: Connection) -> None:
        count()
        connection.unread(b"again\n")


def several_at_once(service: Service, count: Count) -> None:
    @service.reply(concurrency=8)
    async def handle(message: bytes) -> bytes:
        return count(message)


def async_generator(service: Service, count: Count) -> None:
    @service.reply
    async def rows(message: bytes) -> AsyncIterator[bytes]:
        while True:
            yield count(b"row")


def async_generator_of_nothing(service: Service, count: Count) -> None:
    @service.reply
    async def rows(message: bytes) -> AsyncIterator[None]:
        while True:
            yield count()


def async_generator_of_large_rows(service: Service, count: Count) -> None:
    @service.reply
    async def rows(message: bytes) -> AsyncIterator[bytes]:
        while True:
            yield count(bytes(50))


def conversation(talk: Callable[[Connection, Count], Any]) -> Make:
    def make(service: Service, count: Count) -> None:
        @service.conversation
        async def handle(connection: Connection) -> None:
            with suppress(ConnectionEnded, EndOfFile):
                assert await connection.receive() in (b"go", b"x")
                await talk(connection, count)

    make.__name__ = talk.__name__
    return make


def reply_to_unmapped(service: Service, count: Count) -> None:
    service.reply(lambda message: message)
    service.unmapped(lambda message, connection: count({}))


def several_replies_to_unmapped(service: Service, count: Count) -> None:
    @service.reply(concurrency=8)
    async def handle(message: Any) -> Any:
        return message

    service.unmapped(lambda message, connection: count({}))


def generator_beside_unmapped(service: Service, count: Count) -> None:
    @service.reply
    def rows(message: Any) -> Iterator[Any]:
        yield message

    service.unmapped(lambda message, connection: count({}))


@conversation
async def sends(connection: Connection, count: Count) -> None:
    while True:
        await connection.send(count(b"y"))


@conversation
async def sends_large_ones(connection: Connection, count: Count) -> None:
    while True:
        await connection.send(count(bytes(50)))


@conversation
async def sends_many(connection: Connection, count: Count) -> None:
    while True:
        await connection.send_many([count(b"y") for _ in range(10)])


@conversation
async def sends_within_a_timeout(connection: Connection, count: Count) -> None:
    while True:
        async with asyncio.timeout(60):
            await connection.send(count(b"y"))


@conversation
async def iterates(connection: Connection, count: Count) -> None:
    async for _ in connection:
        count()


@conversation
async def receives(connection: Connection, count: Count) -> None:
    while True:
        count(await connection.receive())


@conversation
async def receives_with_a_timeout(connection: Connection, count: Count) -> None:
    while True:
        count(await connection.receive(60))


@conversation
async def receives_exactly(connection: Connection, count: Count) -> None:
    while True:
        count(await connection.receive_exactly(2))


@conversation
async def receives_until(connection: Connection, count: Count) -> None:
    while True:
        count(await connection.receive_until(b"\n", 100))


@conversation
async def receives_some(connection: Connection, count: Count) -> None:
    while True:
        count(await connection.receive_some(2))


@conversation
async def receives_what_it_put_back(connection: Connection, count: Count) -> None:
    while True:
        connection.unread(b"again\n")
        count(await connection.receive())


@conversation
async def echoes(connection: Connection, count: Count) -> None:
    async for message in connection:
        await connection.send(count(message))


@conversation
async def half_closes_again(connection: Connection, count: Count) -> None:
    while True:
        await connection.send_eof()
        count()


@conversation
async def waits_for_one_that_has_ended(connection: Connection, count: Count) -> None:
    assert connection.server is not None
    (other,) = [each for each in connection.server.connections.values() if each is not connection]
    other.abort()
    while not connection.closed:
        await other.wait_closed()
        await other.close()
        count()


@conversation
async def asks_one_that_has_ended(connection: Connection, count: Count) -> None:
    assert connection.server is not None
    (other,) = [each for each in connection.server.connections.values() if each is not connection]
    other.abort()
    while not connection.closed:
        with suppress(ConnectionEnded):
            await other.request(count(b"?"))


@conversation
async def receives_behind_the_end(connection: Connection, count: Count) -> None:
    assert connection.server is not None
    (other,) = [each for each in connection.server.connections.values() if each is not connection]
    other.abort()
    await until(lambda: not other._receiving)
    while not connection.closed:
        with suppress(ConnectionEnded):
            await other.receive()
        count()


@conversation
async def receives_beside_another_receiver(connection: Connection, count: Count) -> None:
    receiving = asyncio.ensure_future(connection.receive())
    await until(lambda: connection._receiving)
    while not connection.closed:
        for receive in (connection.receive, lambda: connection.receive(60), connection.__anext__):
            with suppress(ConnectionBusy):
                await receive()
            count()
    await asyncio.wait([receiving])


@conversation
async def spreads(connection: Connection, count: Count) -> None:
    assert connection.server is not None
    while not connection.closed:
        count.messages += connection.server.broadcast(b"news").sent
        await connection.send(b"y")


@conversation
async def pours_from_ten_tasks(connection: Connection, count: Count) -> None:
    async def pour() -> None:
        while True:
            await connection.send(count(b"y"))

    await asyncio.gather(*[pour() for _ in range(10)])


FLOODED: list[Make] = [
    reply,
    reply_with_nothing,
    generators,
    awaited,
    awaited_nothing,
    several_at_once,
    reply_to_unmapped,
    several_replies_to_unmapped,
    generator_beside_unmapped,
    iterates,
    receives,
    receives_with_a_timeout,
    receives_exactly,
    receives_until,
    receives_some,
    echoes,
]
STREAMING: list[Make] = [
    reply_of_its_own_making,
    generator,
    generator_of_large_rows,
    generator_of_nothing,
    awaited_of_its_own_making,
    async_generator,
    async_generator_of_nothing,
    async_generator_of_large_rows,
    sends,
    sends_large_ones,
    sends_many,
    sends_within_a_timeout,
    receives_what_it_put_back,
    half_closes_again,
    waits_for_one_that_has_ended,
    asks_one_that_has_ended,
    receives_behind_the_end,
    receives_beside_another_receiver,
    spreads,
    pours_from_ten_tasks,
]
EVERY = [pytest.param(each, FLOOD, id=each.__name__) for each in FLOODED] + [
    pytest.param(each, ONE, id=each.__name__) for each in STREAMING
]


@pytest.mark.parametrize(("make", "octets"), EVERY)
def test_no_more_than_a_share_between_two_turns_of_the_loop(
    run_async: Any, readiness: str, make: Make, octets: bytes
) -> None:
    async def main() -> None:
        service, count = Service("line+json" if "unmapped" in make.__name__ else "line"), Count()
        make(service, count)
        # All that is sent is crowded, and the kernel takes it at once.
        async with serving(service, readiness, limits=limits(max_batch=MESSAGES, high_water=40)) as (server, seen):
            server.engine.turn_seconds, server.engine.share.messages = 60.0, MESSAGES
            other = await Peer.connect(server)  # whom some of them need
            await until(lambda: seen.of(events.Accepted))
            with keeping_up(server, octets), other:
                # One in the engine's turn, one for the tasks of the loop between that and the next.
                assert await count.most(server) <= 2 * MESSAGES

    run_async(main())


#: By what a handler does, how long each message takes: half of a share.
SLOWLY = [reply, generators, awaited, several_at_once, iterates, receives, receives_exactly, echoes, reply_to_unmapped]


@pytest.mark.parametrize("make", SLOWLY)
def test_slow_handlers_have_a_share_of_the_time(run_async: Any, readiness: str, make: Make) -> None:
    """Of a hundred messages that came at once, a few are handled between two turns of the loop."""

    async def main() -> None:
        service, count = Service("line+json" if "unmapped" in make.__name__ else "line"), Slow()
        make(service, count)
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                peer.socket.send(b"x\n" * 100)
                found = [0]
                while count.messages < 90:
                    before = count.messages
                    await asyncio.sleep(0)
                    found.append(count.messages - before)
                # Five before the clock is looked at again, in the engine's turn and in the tasks of the loop.
                assert max(found) <= 12

    run_async(main())


class Slow(Count):
    """Each message takes half of what a share has of time."""

    def __call__(self, message: Any = None) -> Any:
        time.sleep(0.0025)
        return super().__call__(message)


@pytest.mark.parametrize("make", [generator, awaited_of_its_own_making, async_generator, sends, pours_from_ten_tasks])
def test_two_streams_take_turns(run_async: Any, readiness: str, make: Make) -> None:
    """Where each takes all that it can get, each gets as much as the other."""

    async def main() -> None:
        service, count = Service("line"), Count()
        make(service, count)
        async with serving(service, readiness) as (server, seen):
            server.engine.turn_seconds, server.engine.share.messages = 60.0, MESSAGES
            with keeping_up(server, ONE), keeping_up(server, ONE):
                await seen.wait(events.Accepted, 2)
                one, two = (each._stream for each in server.connections.values())

                def handled() -> list[int]:
                    return [each.messages_in + each.messages_out for each in (one, two)]

                await until(lambda: min(handled()) > 1)
                begun = handled()
                await until(lambda: sum(handled()) - sum(begun) > 40 * MESSAGES)
                assert min(now - before for now, before in zip(handled(), begun, strict=True)) >= 10 * MESSAGES

    run_async(main())


def test_an_endless_stream_is_cancelled_by_an_abort(run_async: Any, readiness: str) -> None:
    """It never waits, and hears of it all the same."""

    async def main() -> None:
        service, count = Service("line"), Count()
        sends(service, count)
        async with serving(service, readiness) as (server, _):
            with keeping_up(server, ONE):
                await until(lambda: count.messages > 10_000)
                await server.abort()
                assert not server._core.tasks

    run_async(main())


@pytest.mark.parametrize("make", [sends, receives_what_it_put_back])
def test_a_task_that_waits_its_turn_is_cancelled_like_any_other(run_async: Any, readiness: str, make: Make) -> None:
    async def main() -> None:
        service, count = Service("line"), Count()
        make(service, count)
        async with serving(service, readiness) as (server, seen):
            server.engine.share.messages = 1  # it always does
            with keeping_up(server, ONE):
                await until(lambda: count.messages > 10)
                (task,) = server._core.tasks
                task.cancel()
                assert (await seen.closed()).reason.value == "aborted"

    run_async(main())


def test_a_stream_over_tls(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service, count = Service("line"), Count()
        sends(service, count)
        async with serving(service, readiness, tls=serving_context()) as (server, _):
            server.engine.turn_seconds, server.engine.share.messages = 60.0, MESSAGES
            reader, writer = await asyncio.open_connection(
                server.address.host, server.port, ssl=trusting(), server_hostname="localhost"
            )
            writer.write(ONE)
            found = 0
            for _ in range(200):
                before = count.messages
                await asyncio.sleep(0)
                found = max(found, count.messages - before)
                await reader.read(65536) if count.messages else None
            assert 0 < found <= 2 * MESSAGES
            writer.transport.abort()

    run_async(main())


def test_a_client_that_never_waits_takes_no_more_than_its_share(run_async: Any) -> None:
    """And where its engine has ended, it is not left waiting."""

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            connection = await connect(f"127.0.0.1:{listener.getsockname()[1]}", "line")
            engine = connection._channel.engine
            engine.turn_seconds, engine.share.messages = 60.0, MESSAGES
            done = []

            async def put_back_and_receive() -> None:
                with suppress(ConnectionEnded):
                    while True:
                        connection.unread(b"again\n")
                        done.append(await connection.receive())

            task = asyncio.ensure_future(put_back_and_receive())
            for _ in range(10):
                before = len(done)
                await asyncio.sleep(0)
                assert len(done) - before <= 2 * MESSAGES
            assert len(done) > MESSAGES
            connection.abort()
            assert engine.closed
            await task

    run_async(main())


@pytest.mark.parametrize("make", [reply, awaited, several_at_once, generators, echoes])
def test_a_full_outbox_that_the_kernel_takes_at_once_delays_no_connection(
    run_async: Any, readiness: str, make: Make
) -> None:
    """It is crowded at the end of a batch, and empty when its octets were sent: nobody is told of that."""

    async def main() -> None:
        service, count = Service("line"), Count()
        make(service, count)
        async with serving(service, readiness, limits=limits(max_batch=100, high_water=40)) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n" * 2000)
                handled = 1999 if make is echoes else 2000  # the first one it takes as the sign to begin
                await peer.receive(2 * handled if make is not generators else 4 * handled)
                assert count.messages == handled

    run_async(main())


@pytest.mark.parametrize("make", [each for each in FLOODED if "unmapped" not in each.__name__])
def test_a_flood_is_not_read_before_what_came_is_handled(run_async: Any, readiness: str, make: Make) -> None:
    """Behind a full batch there may be many more: they are handled before the next read, or they would pile up."""

    async def main() -> None:
        service, count = Service("line"), Count()
        make(service, count)
        async with serving(service, readiness, limits=limits(max_batch=10, read_size=1000)) as (server, _):
            server.engine.share.messages = 10
            with keeping_up(server, FLOOD):
                await until(lambda: server.connections)
                (connection,) = server.connections.values()
                held = 0
                while count.messages < 5000:
                    await asyncio.sleep(0)
                    held = max(held, connection._stream.decoder.buffered)
                assert held <= 2000

    run_async(main())


# -- calls that raise -------------------------------------------------------------------------------------


async def send_after_close(connection: Connection) -> None:
    connection.close()
    await connection.send(b"x")


async def send_many_after_close(connection: Connection) -> None:
    connection.close()
    await connection.send_many([b"x"])


async def send_behind_the_end(connection: Connection) -> None:
    connection.send_eof()
    await connection.send(b"x")


async def send_what_cannot_be_encoded(connection: Connection) -> None:
    await connection.send(b"a\nb")


async def send_many_that_cannot_be_encoded(connection: Connection) -> None:
    await connection.send_many([b"a\nb"])


async def send_many_that_are_none(connection: Connection) -> None:
    await connection.send_many([])


async def begin_tls_without_certificates(connection: Connection) -> None:
    await connection.start_tls()


async def receive_with_an_impossible_timeout(connection: Connection) -> None:
    await connection.receive(timeout=-1)


async def receive_an_impossible_size(connection: Connection) -> None:
    await connection.receive_exactly(-1)


async def request_with_an_impossible_timeout(connection: Connection) -> None:
    await connection.request(b"x", timeout=-1)


async def receive_after_close(connection: Connection) -> None:
    connection.close()
    await connection.receive()


async def connect_to_unused_port(connection: Connection) -> None:
    await connect("127.0.0.1:1", "line")


async def connect_to_what_is_no_address(connection: Connection) -> None:
    await connect("no address", "line")


@pytest.mark.parametrize(
    "call",
    [
        send_after_close,
        send_many_after_close,
        send_behind_the_end,
        send_what_cannot_be_encoded,
        send_many_that_cannot_be_encoded,
        send_many_that_are_none,
        begin_tls_without_certificates,
        receive_with_an_impossible_timeout,
        receive_an_impossible_size,
        request_with_an_impossible_timeout,
        receive_after_close,
    ],
    ids=lambda each: each.__name__,
)
def test_a_handler_that_swallows_errors_does_not_hold_the_loop(
    run_async: Any, readiness: str, call: Callable[[Connection], Any]
) -> None:
    """A call that raises at once is awaited by nobody, and a handler that goes on all the same never waits."""
    tried, service = Count(), Service("line")

    @service.conversation
    async def stubborn(connection: Connection) -> None:
        await connection.receive()
        while not done.is_set():
            tried()
            if tried.messages > 1_000_000:
                raise AssertionError("nobody else ever had a turn")
            with suppress(Exception):
                await call(connection)

    async def main() -> None:
        nonlocal done
        done = asyncio.Event()
        async with serving(service, readiness) as (server, _):
            server.engine.share.messages = MESSAGES
            with await Peer.connect(server) as peer:
                await peer.send(b"go\n")
                assert await tried.most(server) <= 2 * MESSAGES
            done.set()

    done = asyncio.Event()
    run_async(main())


@pytest.mark.parametrize(
    "call", [connect_to_unused_port, connect_to_what_is_no_address], ids=lambda each: each.__name__
)
def test_a_handler_that_connects_again_and_again_does_not_hold_the_loop(
    run_async: Any, call: Callable[[Any], Any]
) -> None:
    async def main() -> None:
        tried = 0

        async def stubborn() -> None:
            nonlocal tried
            while True:
                tried += 1
                assert tried < 1000, "nobody else ever had a turn"
                with suppress(FourTupleError):
                    await call(None)

        task = asyncio.create_task(stubborn())
        await until(lambda: tried >= 3)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    run_async(main())


def test_an_error_that_waited_is_the_same_and_its_call_counts(run_async: Any, readiness: str) -> None:
    """Errors are raised by the call itself, as long as it is not one after another: who does not await sees them."""
    told: list[str] = []
    service = Service("line")

    @service.conversation
    async def stubborn(connection: Connection) -> None:
        await connection.receive()
        for _ in range(3 * MESSAGES):
            try:
                awaitable = connection.send(b"a\nb")
            except EncodeError:
                told.append("call")
                continue
            try:
                await awaitable
            except EncodeError:
                told.append("await")

    async def main() -> None:
        async with serving(service, readiness) as (server, seen):
            server.engine.share.messages = MESSAGES
            with await Peer.connect(server) as peer:
                await peer.send(b"go\n")
                peer.finish()
                await seen.closed()
        assert told.count("call") + told.count("await") == 3 * MESSAGES
        assert told[:16] == ["call"] * 15 + told[15:16]
        assert 0 < told.count("await") <= 3 * MESSAGES // 16

    run_async(main())
