"""A handler returns the same object each time, changed in place: each reply has the value of its time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from fourtuple import Connection, Service
from rig import Peer, serving

COUNT = 30

#: For each value: the framing, and the octets of a message, which are those of its reply.
VALUES: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "bytearray": ("line", lambda number: b"%03d\n" % number),
    "memoryview": ("line", lambda number: b"%03d\n" % number),
    "dict": ("line+json", lambda number: b'{"n":%d}\n' % number),
    "list": ("line+json", lambda number: b"[%d]\n" % number),
}


def changing(value: str) -> Callable[[Any], Any]:
    """Return a handler that returns one object, with the content of the message."""
    octets, pairs, numbers = bytearray(3), dict[str, int](), list[int]()
    view = memoryview(octets)

    def into(message: Any) -> Any:
        if value == "dict":
            pairs.update(message)
            return pairs
        if value == "list":
            numbers[:] = message
            return numbers
        octets[:] = message
        return view if value == "memoryview" else octets

    return into


def plain(service: Service, into: Callable[[Any], Any], *, threads: bool) -> None:
    service.reply(threads=threads)(lambda message: into(message))


def with_connection(service: Service, into: Callable[[Any], Any], *, threads: bool) -> None:
    service.reply(threads=threads)(lambda message, connection: into(message))


def generator(service: Service, into: Callable[[Any], Any], *, threads: bool) -> None:
    @service.reply(threads=threads)
    def several(message: Any) -> Iterator[Any]:
        yield into(message)


def awaited(service: Service, into: Callable[[Any], Any]) -> None:
    @service.reply
    async def handle(message: Any) -> Any:
        return into(message)


def async_generator(service: Service, into: Callable[[Any], Any]) -> None:
    @service.reply
    async def several(message: Any) -> AsyncIterator[Any]:
        yield into(message)


def conversation(service: Service, into: Callable[[Any], Any]) -> None:
    @service.conversation
    async def talk(connection: Connection) -> None:
        async for message in connection:
            connection.send(into(message))


def blocking(service: Service, into: Callable[[Any], Any]) -> None:
    @service.conversation
    def talk(connection: Any) -> None:
        for message in connection:
            connection.send(into(message))


KINDS: dict[str, Callable[[Service, Callable[[Any], Any]], None]] = {
    "plain": lambda service, into: plain(service, into, threads=False),
    "plain, with the connection": lambda service, into: with_connection(service, into, threads=False),
    "generator": lambda service, into: generator(service, into, threads=False),
    "thread": lambda service, into: plain(service, into, threads=True),
    "thread, with the connection": lambda service, into: with_connection(service, into, threads=True),
    "thread, generator": lambda service, into: generator(service, into, threads=True),
    "async": awaited,
    "async generator": async_generator,
    "conversation": conversation,
    "blocking conversation": blocking,
}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("kind", KINDS)
def test_each_reply_has_the_value_of_its_time(run_async: Any, kind: str, value: str) -> None:
    async def main() -> None:
        framing, message = VALUES[value]
        service = Service(framing)
        KINDS[kind](service, changing(value))
        sent = b"".join(map(message, range(COUNT)))
        async with serving(service) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(sent)
                assert await peer.receive(len(sent)) == sent

    run_async(main())


def test_some_replies_of_a_thread_are_bytes(run_async: Any) -> None:
    """Those that may be joined, those that may not, and messages without a reply keep their order."""

    async def main() -> None:
        service, into = Service("line"), changing("bytearray")

        def handle(message: bytes) -> Any:
            which = int(message) % 3
            return None if which == 2 else into(message) if which else message

        service.reply(threads=True)(handle)
        messages = [b"%03d\n" % number for number in range(COUNT)]
        wanted = b"".join(message for message in messages if int(message) % 3 != 2)
        async with serving(service) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"".join(messages))
                assert await peer.receive(len(wanted)) == wanted

    run_async(main())
