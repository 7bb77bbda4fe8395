"""Messages that the C leaves to the decoder in Python, between usual ones: all are answered, in order, however cut."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from fourtuple import Connection, Service
from fourtuple.framing import Simple
from rig import Peer, serving

USUAL = [(b"*1\r\n$4\r\nPING\r\n", [b"PING"]), (b":7\r\n", 7), (b"+OK\r\n", Simple(b"OK"))]
RARE = [
    (b"$?\r\n;2\r\nab\r\n;1\r\nc\r\n;0\r\n", b"abc"),
    (b"*2\r\n*?\r\n:1\r\n.\r\n_\r\n", [[1], None]),
    (b"|1\r\n+ttl\r\n:3600\r\n:5\r\n", 5),
    (b"=5\r\ntxt:a\r\n", b"a"),
    (b"PING a\r\n", [b"PING", b"a"]),
]


def plain() -> Service:
    service = Service("resp:3")
    service.reply(repr_of)
    return service


def eager() -> Service:
    service = Service("resp:3")

    @service.reply
    async def reply(message: Any) -> bytes:
        return repr_of(message)

    return service


def generated() -> Service:
    service = Service("resp:3")

    @service.reply
    def reply(message: Any) -> Iterator[bytes]:
        yield repr_of(message)

    return service


def generated_async() -> Service:
    service = Service("resp:3")

    @service.reply
    async def reply(message: Any) -> AsyncIterator[bytes]:
        yield repr_of(message)

    return service


def conversing() -> Service:
    service = Service("resp:3")

    @service.conversation
    async def talk(connection: Connection) -> None:
        async for message in connection:
            await connection.send(repr_of(message))

    return service


def repr_of(message: Any) -> bytes:
    return repr(message).encode()


@pytest.mark.parametrize("make", [plain, eager, generated, generated_async, conversing])
@pytest.mark.parametrize("piece", [1, 11, 5000])
def test_rare_messages_between_usual_ones_are_answered_in_order(
    run_async: Any, readiness: str, make: Callable[[], Service], piece: int
) -> None:
    dice = random.Random(piece)
    chosen = [dice.choice(dice.choice((USUAL, RARE))) for _ in range(1000 if piece > 1000 else 60)]
    stream = b"".join(octets for octets, _ in chosen)

    async def main() -> None:
        service = make()
        expected = service.framing.encode_many([repr_of(message) for _, message in chosen])
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                for at in range(0, len(stream), piece):
                    await peer.send(stream[at : at + piece])
                assert await peer.receive(len(expected)) == expected
                peer.finish()
                assert await peer.receive_all() == b""
        assert server.statistics.messages_in == len(chosen)

    run_async(main())


def test_an_invalid_message_behind_a_rare_one_ends_the_connection(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(plain(), readiness) as (server, _):
            for stream in (b"$?\r\n;0\r\n:x\r\n", b"$?\r\n;0\r\n$?\r\n;1\r\nabc"):
                with await Peer.connect(server) as peer:
                    await peer.send(stream)
                    assert await peer.receive_all() == b"$3\r\nb''\r\n"
        assert server.statistics.messages_in == 2

    run_async(main())
