"""What a handler keeps of its messages stays as it is, though those that nobody keeps are filled again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from fourtuple import Service
from rig import Peer, serving

#: Different messages, and several of each of their sizes; of more sizes than are kept for later.
LINES = [b"%05d" % number + b"." * (number % 250) for number in range(1000)]
BATCH = b"".join(line + b"\n" for line in LINES)


async def talk(service: Service, readiness: str, times: int = 3) -> list[bytes]:
    """Send all lines several times over; return what came back."""
    async with serving(service, readiness) as (server, _):
        with await Peer.connect(server) as peer:
            for _ in range(times):
                await peer.send(BATCH)
            peer.finish()
            return (await peer.receive_all()).splitlines()


def test_messages_that_a_handler_keeps(run_async: Any, readiness: str) -> None:
    kept: list[bytes] = []
    service = Service("line")

    @service.reply
    def keep(message: bytes) -> bytes:
        if message[4:5] in b"02468":  # not all: the others are filled again
            kept.append(message)
        return message[::-1]

    assert run_async(talk(service, readiness)) == [line[::-1] for line in LINES] * 3
    assert kept == LINES[::2] * 3


@pytest.mark.parametrize("kind", ["async", "generator", "async generator"])
def test_messages_that_another_kind_of_handler_keeps(run_async: Any, readiness: str, kind: str) -> None:
    kept: list[bytes] = []
    service = Service("line")

    def keep(message: bytes) -> bytes:
        if message[4:5] == b"0":
            kept.append(message)
        return message[::-1]

    async def awaited(message: bytes) -> bytes:
        return keep(message)

    def generated(message: bytes) -> Iterator[bytes]:
        yield keep(message)

    async def awaited_and_generated(message: bytes) -> AsyncIterator[bytes]:
        yield keep(message)

    service.reply({"async": awaited, "generator": generated}.get(kind, awaited_and_generated))  # type: ignore[arg-type]
    assert run_async(talk(service, readiness)) == [line[::-1] for line in LINES] * 3
    assert kept == LINES[::10] * 3


def test_replies_that_are_the_messages(run_async: Any, readiness: str) -> None:
    service = Service("line")
    service.reply(lambda message: message)
    assert run_async(talk(service, readiness)) == LINES * 3


def test_what_looks_into_a_message_keeps_it(run_async: Any, readiness: str) -> None:
    views: list[memoryview] = []
    service = Service("line")
    service.reply(lambda message: views.append(memoryview(message)))
    assert run_async(talk(service, readiness)) == []
    assert [bytes(view) for view in views] == LINES * 3


def test_the_hash_is_that_of_the_octets_that_are_there(run_async: Any, readiness: str) -> None:
    service = Service("line")
    service.reply(lambda message: b"%d" % hash(message))
    assert run_async(talk(service, readiness)) == [b"%d" % hash(line) for line in LINES] * 3
