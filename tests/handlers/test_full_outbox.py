"""What a handler or hook has returned is sent, even if the outbox is full: only send() is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from certificates import serving_context, trusting
from fourtuple import Connection, Reason, Service, connect, events, reply_and_close
from fourtuple.framing import Unmapped
from rig import Peer, limits, serving

#: The outbox takes no more from this many octets on.
FULL = 500
LARGE = b"x" * 600


def _batch(messages: list[bytes]) -> list[Any]:
    return [LARGE, *(reply_and_close(message) for message in messages[1:])]


async def _async_batch(messages: list[bytes]) -> list[Any]:
    return _batch(messages)


def _replies(message: bytes) -> Any:
    return LARGE if message == b"1" else reply_and_close(message)


def _generator(message: bytes) -> Any:
    yield LARGE
    yield reply_and_close(message)


def _sends(message: bytes, connection: Connection) -> Any:
    connection.send(LARGE)
    return reply_and_close(message)


async def _awaits(message: bytes, connection: Connection) -> Any:
    return _sends(message, connection)


@pytest.mark.parametrize("tls", [False, True], ids=["", "tls"])
@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (_batch, b"1\n2\n"),
        (_async_batch, b"1\n2\n"),
        (_replies, b"1\n2\n"),
        (_generator, b"2\n"),
        (_sends, b"2\n"),
        (_awaits, b"2\n"),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_the_last_reply_goes_out_behind_a_large_one(
    run_async: Any, readiness: str, handler: Callable[..., Any], words: bytes, tls: bool
) -> None:
    async def main() -> None:
        service = Service("line")
        (service.replies if "batch" in handler.__name__ else service.reply)(handler)
        server_tls: dict[str, Any] = {"tls": serving_context()} if tls else {}
        client_tls: dict[str, Any] = {"tls": trusting(), "server_hostname": "localhost"} if tls else {}
        async with serving(service, readiness, limits=limits(max_outbox=FULL), **server_tls) as (server, seen):
            async with connect(server.address, "line", **client_tls) as peer:
                await peer.send_octets(words)
                assert [message async for message in peer] == [LARGE, b"2"]
            assert seen.of(events.HandlerRaised) == []
            assert (await seen.closed()).reason is Reason.CLOSED

    run_async(main())


def test_last_words_go_out_behind_a_large_message(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.reply
        def handle(message: bytes, connection: Connection) -> bytes:
            connection.send(LARGE)
            raise ValueError(message)

        service.failed(lambda error, connection: b"sorry")
        async with serving(service, readiness, limits=limits(max_outbox=FULL)) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"1\n") == LARGE + b"\nsorry\n"
            (raised,) = seen.of(events.HandlerRaised)
            assert isinstance(raised.error, ValueError)

    run_async(main())


@pytest.mark.parametrize("together", [False, True], ids=["reply", "replies"])
def test_a_decision_goes_out_behind_a_large_reply(run_async: Any, readiness: str, together: bool) -> None:
    async def main() -> None:
        service = Service("json-lines")
        text = LARGE.decode()

        def decide(message: Unmapped, connection: Connection) -> str:
            return "what?"

        service.unmapped(decide)
        if together:
            service.replies(lambda messages: [text for _ in messages])
        else:
            service.reply(lambda message: text)
        async with serving(service, readiness, limits=limits(max_outbox=FULL)) as (server, seen):
            with await Peer.connect(server) as peer:
                large = b'"' + LARGE + b'"\n'
                assert await peer.talk(b"1\n{\n2\n") == large + b'"what?"\n' + large
            assert seen.of(events.HandlerRaised) == []

    run_async(main())


def test_values_of_a_thread_go_out_however_large_they_are(run_async: Any, readiness: str) -> None:
    """How many octets a value takes shows on the loop, when the thread has made the next ones."""

    async def main() -> None:
        service = Service("json-lines")
        size = 20_000

        @service.reply(threads=True)
        def handle(message: Any) -> str:
            return "x" * size

        async with serving(service, readiness, limits=limits(max_outbox=10_000)) as (server, seen):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"1\n" * 5) == (b'"' + b"x" * size + b'"\n') * 5
            assert seen.of(events.HandlerRaised) == []

    run_async(main())


def _none(message: bytes, connection: Connection) -> None:
    connection.send(LARGE)


async def _async_none(message: bytes, connection: Connection) -> None:
    connection.send(LARGE)


def _together(message: bytes, connection: Connection) -> None:
    connection.send_many([LARGE])


def _behind(message: bytes, connection: Connection) -> bytes:
    connection.send(LARGE)
    return message


def _yields(message: bytes, connection: Connection) -> Any:
    connection.send(LARGE)
    yield message


@pytest.mark.parametrize("handler", [_none, _async_none, _together, _behind, _yields], ids=lambda given: given.__name__)
def test_a_handler_that_sends_is_called_again_when_the_outbox_has_room(
    run_async: Any, readiness: str, handler: Callable[..., Any]
) -> None:
    async def main() -> None:
        service = Service("line")
        service.reply(handler)
        async with serving(service, readiness, limits=limits(max_outbox=FULL)) as (server, seen):
            with await Peer.connect(server) as peer:
                words = [str(number).encode() for number in range(50)]
                behind = handler in (_behind, _yields)
                expected = b"".join(LARGE + b"\n" + (word + b"\n" if behind else b"") for word in words)
                assert await peer.talk(b"\n".join(words) + b"\n") == expected
            assert seen.of(events.HandlerRaised) == []

    run_async(main())
