"""@service.replies: a list of messages in, a list of replies out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from fourtuple import Connection, Reason, Service, events, reply_and_close
from fourtuple.errors import EncodeError, HandlerFailed, HandlerMistake, ServiceError
from fourtuple.framing import JSON_MAPPING, Line, Mapped, Unmapped
from rig import FakeClock, Peer, limits, serving, until

KINDS = ["plain", "async"]
every_kind = pytest.mark.parametrize("kind", KINDS)


def service_of(kind: str, handle: Callable[..., Any], framing: Any = "line") -> Service:
    """A service of batches whose handler, plain or async, returns ``handle(messages, connection)``."""
    service = Service(framing)
    if kind == "plain":

        @service.replies
        def batch(messages: list[Any], connection: Connection) -> list[Any]:
            return handle(messages, connection)  # type: ignore[no-any-return]

    else:

        @service.replies
        async def batch_later(messages: list[Any], connection: Connection) -> list[Any]:
            await asyncio.sleep(0)
            return handle(messages, connection)  # type: ignore[no-any-return]

    return service


def upper(messages: list[bytes], _connection: Connection) -> list[bytes]:
    return [message.upper() for message in messages]


@every_kind
def test_the_messages_of_a_read_are_one_batch_and_each_has_its_reply(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        sizes: list[int] = []

        def handle(messages: list[bytes], _connection: Connection) -> list[bytes | None]:
            sizes.append(len(messages))
            return [None if message == b"quiet" else message.upper() for message in messages]

        async with serving(service_of(kind, handle), readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"one\nquiet\nthree\n") == b"ONE\nTHREE\n"
        assert sizes == [3]

    run_async(main())


@pytest.mark.parametrize("kind", KINDS)
def test_without_the_connection(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        service = Service("line")
        if kind == "plain":

            @service.replies
            def backwards(messages: list[bytes]) -> tuple[bytes, ...]:
                return tuple(message[::-1] for message in messages)

        else:

            @service.replies(cancel_on_lost=False)
            async def backwards_later(messages: list[bytes]) -> list[bytes]:
                return [message[::-1] for message in messages]

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"abc\ndef\n") == b"cba\nfed\n"

    run_async(main())


@every_kind
def test_a_batch_is_no_longer_than_max_batch_and_all_are_handled_in_order(
    run_async: Any, readiness: str, kind: str
) -> None:
    async def main() -> None:
        sizes: list[int] = []

        def handle(messages: list[bytes], connection: Connection) -> list[bytes]:
            sizes.append(len(messages))
            return upper(messages, connection)

        lines = b"".join(b"line %d\n" % number for number in range(100))
        async with serving(service_of(kind, handle), readiness, limits=limits(max_batch=7)) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(lines) == lines.upper()
        assert sum(sizes) == 100
        assert max(sizes) == 7

    run_async(main())


@every_kind
@pytest.mark.parametrize(
    ("returned", "text"),
    [
        ([b"one"], "returned 1 replies for 2 messages; expected a list of 2, with the reply to each message or None"),
        ([b"1", b"2", b"3"], "returned 3 replies for 2 messages"),
        (None, "returned None for 2 messages"),
        (b"ab", "returned b'ab' for 2 messages"),
        ({1: 2, 3: 4}, "returned {1: 2, 3: 4} (dict) for 2 messages"),
    ],
)
def test_a_list_of_another_length_is_named(run_async: Any, readiness: str, kind: str, returned: Any, text: str) -> None:
    async def main() -> None:
        service = service_of(kind, lambda messages, _: returned)
        told: list[Exception] = []

        @service.failed
        def sorry(error: Exception, connection: Connection) -> bytes:
            told.append(error)
            return b"sorry"

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"one\ntwo\n")
                assert await peer.receive_all() == b"sorry\n"
            (raised,) = await seen.wait(events.HandlerRaised)
            assert isinstance(raised.error, HandlerMistake)
            assert text in str(raised.error)
            assert "batch" in str(raised.error)
            assert (await seen.closed()).reason is Reason.HANDLER_ERROR
        (error,) = told
        assert isinstance(error, HandlerFailed)

    run_async(main())


@every_kind
def test_a_handler_that_raises_costs_its_connection_and_no_other(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        def handle(messages: list[bytes], connection: Connection) -> list[bytes]:
            if b"bad" in messages:
                raise ValueError("bad")
            return upper(messages, connection)

        async with serving(service_of(kind, handle), readiness) as (server, seen):
            with await Peer.connect(server) as one, await Peer.connect(server) as other:
                await one.send(b"good\n")
                assert await one.receive(5) == b"GOOD\n"
                assert await one.talk(b"good\nbad\n") == b""
                assert await other.talk(b"good\n") == b"GOOD\n"
            assert [str(event.error) for event in seen.of(events.HandlerRaised)] == ["bad"]

    run_async(main())


@every_kind
def test_a_reply_that_cannot_be_encoded_ends_it_after_the_replies_before(
    run_async: Any, readiness: str, kind: str
) -> None:
    async def main() -> None:
        async with serving(service_of(kind, lambda *_: [b"one", b"two\nlines", b"three"]), readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"1\n2\n3\n") == b"one\n"
            (raised,) = await seen.wait(events.HandlerRaised)
            assert isinstance(raised.error, EncodeError)

    run_async(main())


@every_kind
def test_all_replies_before_it_are_sent_however_large(run_async: Any, readiness: str, kind: str) -> None:
    """They are more than max_outbox, which bounds what is there before a batch is answered."""

    async def main() -> None:
        large = [b"x" * 9000] * 5
        small = limits(max_outbox=20_000)
        async with serving(service_of(kind, lambda *_: [*large, object()]), readiness, limits=small) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"\n" * 6)
                assert await peer.receive_all() == b"".join(each + b"\n" for each in large)
            (raised,) = await seen.wait(events.HandlerRaised)
            assert isinstance(raised.error, EncodeError)

    run_async(main())


@every_kind
def test_a_last_reply_ends_the_batch_and_the_connection(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        def handle(messages: list[bytes], _connection: Connection) -> list[Any]:
            return [reply_and_close(b"bye") if message == b"quit" else message for message in messages]

        async with serving(service_of(kind, handle), readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"one\nquit\nthree\n") == b"one\nbye\n"
            assert (await seen.closed()).statistics.messages_out == 2

    run_async(main())


@every_kind
def test_what_the_handler_sends_itself_comes_before_the_replies_of_its_batch(
    run_async: Any, readiness: str, kind: str
) -> None:
    async def main() -> None:
        def handle(messages: list[bytes], connection: Connection) -> list[bytes]:
            connection.send(b"%d:" % len(messages))
            return messages

        async with serving(service_of(kind, handle), readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"a\nb\n") == b"2:\na\nb\n"

    run_async(main())


@every_kind
def test_the_replies_of_a_batch_belong_to_the_framing_of_its_messages(
    run_async: Any, readiness: str, kind: str
) -> None:
    async def main() -> None:
        def handle(messages: list[bytes], connection: Connection) -> list[Any]:
            if b"u8" in messages:
                connection.change_framing("u8")
            return [reply_and_close(b"bye") if message == b"quit" else b"OK " + message for message in messages]

        async with serving(service_of(kind, handle), readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"one\nu8\n")
                assert await peer.receive(13) == b"OK one\nOK u8\n"
                await peer.send(b"\3two")
                assert await peer.receive(7) == b"\6OK two"
                await peer.send(b"\4quit")
                assert await peer.receive_all() == b"\3bye"

    run_async(main())


@every_kind
@pytest.mark.parametrize("how", ["close", "abort"])
def test_the_replies_are_dropped_if_the_handler_ends_its_connection(
    run_async: Any, readiness: str, kind: str, how: str
) -> None:
    async def main() -> None:
        def handle(messages: list[bytes], connection: Connection) -> list[bytes]:
            getattr(connection, how)()
            return messages

        async with serving(service_of(kind, handle), readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nb\n")
                peer.finish()
                await seen.closed()
            assert seen.of(events.HandlerRaised) == []
            assert server.statistics.messages_out == 0

    run_async(main())


@every_kind
def test_an_unmapped_message_keeps_its_place(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        batches: list[list[Any]] = []

        def handle(messages: list[Any], _connection: Connection) -> list[Any]:
            batches.append(messages)
            return [2 * message for message in messages]

        service = service_of(kind, handle, Mapped(Line(), JSON_MAPPING))

        @service.unmapped
        def sorry(message: Unmapped, connection: Connection) -> str:
            return message.octets.decode()

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"1\n2\nbad\nworse\n3\n") == b'2\n4\n"bad"\n"worse"\n6\n'
        assert batches == [[1, 2], [3]]

    run_async(main())


@every_kind
def test_a_batch_of_values_that_compare_in_their_own_way(run_async: Any, readiness: str, kind: str) -> None:
    """An array compares element by element: a reply is asked only what its class is."""

    class Array(bytes):
        def __eq__(self, other: object) -> Any:
            raise ValueError("the truth value of an array is ambiguous")

        __hash__ = bytes.__hash__

    async def main() -> None:
        async with serving(service_of(kind, lambda messages, _: list(map(Array, messages))), readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"a\nb\n") == b"a\nb\n"

    run_async(main())


@every_kind
def test_a_peer_that_does_not_read_is_waited_for(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        handled = 0

        def handle(messages: list[bytes], _connection: Connection) -> list[bytes]:
            nonlocal handled
            handled += len(messages)
            return [message * 1000 for message in messages]

        small = limits(high_water=10_000, max_batch=4)
        async with serving(service_of(kind, handle), readiness, limits=small) as (server, _):
            with await Peer.connect(server, receive_buffer=4096) as peer:
                lines = b"0123456789\n" * 3000
                sent = asyncio.ensure_future(peer.send(lines))
                await until(lambda: handled)
                before = -1
                while before != handled:
                    before = handled
                    await asyncio.sleep(0.05)
                assert 0 < handled < 3000, "nobody reads the replies"
                (connection,) = server.connections.values()
                assert connection.statistics.outbox < 10_000 + 4 * 10_001
                got = 0
                while got < 3000 * 10_001:
                    got += len(await peer.receive(min(65536, 3000 * 10_001 - got)))
                await sent
        assert handled == 3000

    run_async(main())


@every_kind
def test_one_with_many_messages_does_not_hold_up_another(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        order: list[bytes] = []

        def handle(messages: list[bytes], _connection: Connection) -> list[bytes]:
            order.append(messages[0][:1])
            return messages

        async with serving(service_of(kind, handle), readiness, limits=limits(max_batch=8)) as (server, seen):
            with await Peer.connect(server) as greedy, await Peer.connect(server) as modest:
                await seen.wait(events.Accepted, 2)
                greedy.socket.send(b"g\n" * 4000)
                modest.socket.send(b"m\n")
                assert await modest.receive(2) == b"m\n"
                assert await greedy.receive(8000) == b"g\n" * 4000
        assert b"m" in order[:100], "the share of the first ended before all its messages were handled"

    run_async(main())


@every_kind
def test_a_rate_bounds_the_batches(run_async: Any, readiness: str, kind: str) -> None:
    async def main() -> None:
        clock, sizes = FakeClock(), list[int]()

        def handle(messages: list[bytes], _connection: Connection) -> list[bytes]:
            sizes.append(len(messages))
            return messages

        options: Any = {"limits": limits(max_message_rate=3), "clock": clock}
        async with serving(service_of(kind, handle), readiness, **options) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n" * 6)
                assert await peer.receive(6) == b"x\n" * 3
                assert sum(sizes) == 3
                clock.now += 1.0
                server.engine.sweep()
                assert await peer.receive(6) == b"x\n" * 3
                assert sum(sizes) == 6
                assert next(iter(server.connections.values())).statistics.messages_in == 6

    run_async(main())


def test_a_lost_connection_cancels_an_async_batch(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        begun, ended = asyncio.Event(), asyncio.Event()

        @service.replies
        async def wait(messages: list[bytes]) -> list[bytes]:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return messages

        async with serving(service, readiness) as (server, seen):
            peer = await Peer.connect(server)
            await peer.send(b"a\n")
            await begun.wait()
            peer.reset()
            await ended.wait()
            await seen.closed()

    run_async(main())


def generator(messages: Any) -> Iterator[bytes]:
    yield from messages


async def async_generator(messages: Any) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


def three(a: Any, b: Any, c: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (generator, "replies: .*generator is a generator; expected a function that returns a list"),
        (async_generator, "replies: .*async_generator is an async generator; expected"),
        (three, r"three takes 3 arguments; expected a function of \(messages\) or \(messages, connection\)"),
        (3, "replies: expected a function, got 3"),
    ],
)
def test_what_cannot_take_batches_is_refused(function: Any, text: str) -> None:
    with pytest.raises(ServiceError, match=text):
        Service("line").replies(function)


def test_a_service_has_one_handler() -> None:
    service = Service("line")
    service.reply(lambda message: message)
    with pytest.raises(ServiceError, match="a service has one handler"):
        service.replies(lambda messages: messages)
