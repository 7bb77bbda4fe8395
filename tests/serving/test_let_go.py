"""What a connection held is let go of at its end: at once, and not when the garbage collector comes round.

The bounds of memory count what is held for connections that live; what dead ones leave to the collector is in no bound.
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest

from certificates import Files
from fourtuple import BlockingConnection, Connection, Proxy, Server, Service, Tls
from fourtuple.engine import Channel
from fourtuple.errors import ConnectionEnded, ConnectionLost, IncompleteMessage, PeerReset
from fourtuple.framing import Decoder, Fixed, custom, feed_parser, mapped, parse_framing
from fourtuple.handlers import Runner
from fourtuple.stream import Stream
from rig import Peer, limits, serving, turns, until
from serving.kinds import async_generator, blocking, concurrent, conversation, generator, in_thread, inline

OURS = (Channel, Stream, Connection, BlockingConnection, Runner, Decoder)


@contextmanager
def nothing_for_the_collector() -> Iterator[None]:
    """Without the collector, nothing that belongs to a connection may be left to it."""
    gc.collect()
    gc.disable()
    try:
        yield
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = [type(each).__name__ for each in gc.garbage if isinstance(each, OURS)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == []


# -- handlers ---------------------------------------------------------------------------------------------


def inline_with_connection(service: Service) -> None:
    @service.reply
    def reply(message: bytes, connection: Connection) -> bytes:
        connection.state = "known"
        return message


def awaited(service: Service) -> None:
    @service.reply
    async def reply(message: bytes, connection: Connection) -> bytes:
        await asyncio.sleep(0)
        return message


def receiving(service: Service) -> None:
    @service.conversation
    async def talk(connection: Connection) -> None:
        while True:
            await connection.send(await connection.receive(timeout=60))


def raw(service: Service) -> None:
    @service.conversation
    async def talk(connection: Connection) -> None:
        await connection.send((await connection.receive_exactly(12))[4:])
        await connection.receive_until(b"never", 1 << 20)


HANDLERS = [
    inline,
    inline_with_connection,
    generator,
    awaited,
    concurrent,
    async_generator,
    in_thread,
    conversation,
    receiving,
    raw,
    blocking,
]

# -- ends -------------------------------------------------------------------------------------------------


PARTIAL = b"\x00\x01\x00\x00" + b"x" * 40_000


def fin(peer: Peer) -> None:
    peer.finish()


def reset(peer: Peer) -> None:
    peer.reset()


ENDS: list[tuple[bytes, Callable[[Peer], None]]] = [(PARTIAL, fin), (PARTIAL, reset), (b"", fin), (b"\xff" * 8, fin)]


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda each: each.__name__)
def test_nothing_is_left_to_the_collector(run_async: Any, readiness: str, handler: Callable[[Service], None]) -> None:
    service = Service("u32")
    handler(service)

    async def main() -> None:
        async with serving(service, readiness) as (server, seen):
            with nothing_for_the_collector():
                for rest, end in ENDS:
                    peer = await Peer.connect(server)
                    await peer.send(b"\0\0\0\x08whole...")
                    assert await peer.receive(12) == b"\0\0\0\x08whole..."
                    await peer.send(rest)
                    end(peer)
                    await until(lambda: not server.connections)
                    peer.close()
                del peer
                await turns()
                seen.clear()

    run_async(main())


def test_nor_is_what_a_broken_beginning_held(run_async: Any, readiness: str, tmp_path: Path) -> None:
    """A PROXY header, a handshake that never come to their end."""

    async def ends(server: Server, beginning: bytes) -> None:
        for end in (fin, reset):
            peer = await Peer.connect(server)
            await peer.send(beginning)
            await until(lambda: [each for each in server._core.registry.runners.values() if each.stream.octets_in])
            end(peer)
            await until(lambda: not server.connections)
            peer.close()

    silent = Service("u32")
    silent.reply(lambda message: None)
    files = Files(tmp_path)
    tls = Tls(certificate=files.certificate, key=files.key)

    async def main() -> None:
        async with serving(silent, readiness, proxy=Proxy(protocol="required")) as (server, seen):
            with nothing_for_the_collector():
                await ends(server, b"PROXY TCP4 1.2.3.4")
                await turns()
                seen.clear()
        async with serving(silent, readiness, tls=tls) as (server, seen):
            with nothing_for_the_collector():
                await ends(server, b"\x16\x03\x01\x01\x00\x01\x00\x00\xfc")
                await turns()
                seen.clear()

    run_async(main())


def test_nor_are_handlers_that_raise_or_abort(run_async: Any, readiness: str) -> None:
    async def main(service: Service) -> None:
        async with serving(service, readiness) as (server, seen):
            with nothing_for_the_collector():
                for message in (b"raise", b"abort", b"close"):
                    peer = await Peer.connect(server)
                    await peer.send(b"\0\0\0\x05" + message + PARTIAL)
                    with suppress(ConnectionResetError):
                        await peer.discard()
                    peer.close()
                    await until(lambda: not server.connections)
                del peer
                await turns()
                seen.clear()

    def act(message: bytes, connection: Connection) -> None:
        if message == b"raise":
            raise ValueError
        (connection.abort if message == b"abort" else connection.close)()

    replies, talks = Service("u32"), Service("u32")
    replies.reply(act)

    @talks.conversation
    async def talk(connection: Connection) -> None:
        async for message in connection:
            act(message, connection)

    run_async(main(replies))
    run_async(main(talks))


# -- who keeps something ----------------------------------------------------------------------------------


class Held(Fixed):
    """Its decoders are counted while they live."""

    alive: ClassVar[weakref.WeakSet[Any]] = weakref.WeakSet()

    def decoder(self) -> Decoder:
        decoder = self.reference()
        counted = type("Counted", (type(decoder),), {"__slots__": ("__weakref__",)})(self)
        self.alive.add(counted)
        return counted


@pytest.mark.parametrize("end", [fin, reset])
def test_who_keeps_connection_and_events_keeps_no_octets(
    run_async: Any, readiness: str, end: Callable[[Peer], None]
) -> None:
    """And what is asked of the connection later is answered as clearly as before."""
    kept: list[Connection] = []
    service = Service(Held(100_000))
    service.opened(lambda connection: kept.append(connection))
    service.reply(lambda message: None)

    async def main() -> None:
        async with serving(service, readiness) as (server, seen):
            gc.disable()
            try:
                peer = await Peer.connect(server)
                await peer.send(b"x" * 60_000)
                await until(lambda: kept and kept[0].statistics.octets_in == 60_000)
                assert len(Held.alive) == 1
                end(peer)
                peer.close()
                await until(lambda: not server.connections)
                await turns()
                assert len(Held.alive) == 0
            finally:
                gc.enable()
            (connection,) = kept
            assert connection.closed
            assert connection.statistics.octets_in == 60_000
            assert (await seen.closed()).statistics.octets_in == 60_000
            lost = IncompleteMessage if end is fin else PeerReset
            for receive in (connection.receive_nowait, connection.receive, partial(connection.receive_exactly, 1)):
                with pytest.raises((lost, ConnectionEnded), match=r"expected 100000 octets|reset|after close"):
                    await one(receive())
            with pytest.raises((ConnectionLost, ConnectionEnded), match=r"reset|after close"):
                await connection.send(b"x")

    run_async(main())


async def one(result: Any) -> Any:
    return await result if isinstance(result, Awaitable) else result


class Value:
    """A message that can be looked after."""

    def __init__(self, octets: bytes) -> None:
        self.octets = octets


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda each: each.__name__)
def test_a_message_that_was_handled_is_not_kept(
    run_async: Any, readiness: str, handler: Callable[[Service], None]
) -> None:
    """The connection goes on: its peer may idle for long, and messages are large."""
    alive: weakref.WeakSet[Value] = weakref.WeakSet()

    def decode(octets: bytes) -> Value:
        value = Value(octets)
        alive.add(value)
        return value

    service = Service(mapped(parse_framing("u32"), decode, lambda value: getattr(value, "octets", value)))
    handler(service)

    async def main() -> None:
        async with serving(service, readiness) as (server, _):
            gc.disable()
            try:
                with await Peer.connect(server) as peer:
                    for batch in (1, 3):
                        await peer.send(b"\0\0\0\x08whole..." * batch)
                        assert await peer.receive(12 * batch) == b"\0\0\0\x08whole..." * batch
                        await until(lambda: not alive)
            finally:
                gc.enable()

    if handler is not raw:  # which takes octets
        run_async(main())


def test_a_message_is_not_kept_while_its_reply_waits_for_the_peer(run_async: Any, readiness: str) -> None:
    alive: weakref.WeakSet[Value] = weakref.WeakSet()

    def decode(octets: bytes) -> Value:
        value = Value(octets)
        alive.add(value)
        return value

    service = Service(mapped(parse_framing("u32"), decode, lambda octets: octets))

    @service.reply
    async def large(message: Value) -> bytes:
        return b"x" * (1 << 20)

    async def main() -> None:
        async with serving(service, readiness, limits=limits(high_water=1 << 16)) as (server, _):
            gc.disable()
            try:
                with await Peer.connect(server, receive_buffer=4096) as peer:
                    await peer.send(b"\0\0\0\x08whole..." * 20)
                    await until(lambda: [each for each in server.connections.values() if each.statistics.outbox])
                    await turns()
                    assert 0 < len(alive) < 20  # those that wait for their turn
                    delivered = 20 - len(alive)
                    (connection,) = server.connections.values()
                    assert connection.statistics.messages_out == delivered
            finally:
                gc.enable()

    run_async(main())


# -- errors of a framing's own code -----------------------------------------------------------------------


class Refusing:
    """A parser like hiredis's that refuses everything."""

    def feed(self, octets: bytes) -> None:
        raise ValueError(octets)

    def gets(self) -> bool:
        return False


def refuse(buffer: bytearray, seen: int) -> None:
    raise ValueError(buffer, seen)


REFUSING: dict[str, Any] = {
    "custom": lambda: custom(refuse, bytes, max_message=100),
    "mapped": lambda: mapped(custom(refuse, bytes, max_message=100), bytes, bytes),
    "parser": lambda: feed_parser(Refusing, bytes, max_message=100),
}


@pytest.mark.parametrize("kind", REFUSING)
def test_a_decoder_whose_code_raised_is_gone_with_its_connection(run_async: Any, kind: str) -> None:
    """Its error has a cause, the traceback of that refers to the decoder: memory until the garbage collector came."""

    async def main() -> None:
        service = Service(REFUSING[kind]())
        service.reply(lambda message: message)
        async with serving(service) as (server, seen):
            with nothing_for_the_collector():
                with await Peer.connect(server) as peer:
                    await peer.send(b"xx\n")
                    assert await peer.receive_all() == b""
                await seen.closed()
                await until(lambda: not server.connections)
                seen.clear()
                await turns()

    run_async(main())
