"""Messages that silence ends: who keeps the time, and what is not a silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from fourtuple import BlockingConnection, Connection, Service
from fourtuple import connect as connect_async
from fourtuple.blocking import connect
from fourtuple.engine.readiness import SILENCE
from fourtuple.errors import EndOfFile, MessageTooLong, WouldBlock
from fourtuple.framing.base import Framing
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.service import ReplyKind
from rig import FakeClock, Peer, channel, engine_of, limits, serving, turns, until

#: For tests on the real clock: longer than a loaded machine holds a peer's single write up, which is never in pieces.
GAP = "gap:0.02"


def test_the_clock_says_what_is_silence(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        clock = FakeClock()
        async with engine_of(readiness, clock=clock) as engine:
            ends = channel(engine, "gap:0.001")
            stream, recorder = ends.stream, ends.recorder
            with ends.peer as peer:
                await turns()
                assert ends.channel._gap_timer is None  # nobody waits where nothing has come

                for octets in (b"\1\3", b"\0\1"):
                    held = stream.decoder.buffered
                    await peer.send(octets)
                    await until(lambda held=held: stream.decoder.buffered > held)
                    clock.now += 0.0009  # the second time that is longer than the gap, and not since the last octet
                    timer = ends.channel._gap_timer
                    await until(lambda timer=timer: ends.channel._gap_timer is not timer)
                    assert recorder.messages == []
                clock.now += 0.0009
                await until(lambda: recorder.messages)
                assert recorder.messages == [b"\1\3\0\1"]
                assert stream.statistics.messages_in == 1
                assert ends.channel._gap_timer is None
                ends.channel.abort()

    run_async(main())


def test_a_loop_that_was_held_up_is_no_silence(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        clock = FakeClock()
        async with engine_of(readiness, clock=clock) as engine:
            ends = channel(engine, "gap:0.001")
            with ends.peer as peer:
                await peer.send(b"ab")
                await until(lambda: ends.stream.decoder.buffered)
                peer.socket.send(b"cd")  # it is in the kernel when this returns
                clock.now += 60
                engine._serve_alone(ends.channel, SILENCE)  # as the loop would, timers first
                assert ends.recorder.messages == []
                assert ends.stream.decoder.buffered == 4
                clock.now += 60
                await until(lambda: ends.recorder.messages)
                assert ends.recorder.messages == [b"abcd"]
                ends.channel.abort()

    run_async(main())


def test_silence_waits_while_reading_is_paused(run_async: Any, readiness: str) -> None:
    """The outbox is crowded: what the peer goes on to say is not read, and so cannot be missing."""

    async def main() -> None:
        clock = FakeClock()
        async with engine_of(readiness, clock=clock) as engine:
            ends = channel(engine, "gap:0.001", limits=limits(high_water=1 << 16))
            with ends.peer as peer:
                await peer.send(b"ab")
                await until(lambda: ends.stream.decoder.buffered)
                while not ends.stream.crowded:
                    ends.stream.send(bytes(1 << 20))
                    ends.channel.settle()
                clock.now += 60
                await until(lambda: ends.channel._gap_timer is None)
                assert ends.recorder.messages == []
                reading = asyncio.create_task(peer.discard())
                await until(lambda: ends.recorder.messages)
                assert ends.recorder.messages == [b"ab"]
                ends.channel.close()
                await reading

    run_async(main())


def test_no_timer_outlives_its_connection(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with engine_of(readiness) as engine:
            ends = channel(engine, "gap:3000")
            with ends.peer as peer:
                await peer.send(b"ab")
                await until(lambda: ends.stream.decoder.buffered)
                timer = ends.channel._gap_timer
                assert timer is not None
                ends.channel.abort()
                assert timer.cancelled()

            other = channel(engine, "line")
            with other.peer as peer:
                await peer.send(b"ab")
                await until(lambda: other.stream.decoder.buffered)
                assert other.channel._gap_timer is None
                other.channel.abort()

    run_async(main())


def _answer(kind: ReplyKind) -> Callable[..., Any]:
    def plain(message: bytes) -> bytes:
        return message.upper()

    def generator(message: bytes) -> Any:
        yield message.upper()

    async def awaiting(message: bytes) -> bytes:
        return message.upper()

    async def async_generator(message: bytes) -> Any:
        yield message.upper()

    return {
        ReplyKind.INLINE: plain,
        ReplyKind.THREAD: plain,
        ReplyKind.INLINE_GENERATOR: generator,
        ReplyKind.THREAD_GENERATOR: generator,
        ReplyKind.ASYNC: awaiting,
        ReplyKind.ASYNC_GENERATOR: async_generator,
    }[kind]


async def _exchanges(service: Service, readiness: str, **options: Any) -> None:
    async with serving(service, readiness, **options) as (server, _):
        with await Peer.connect(server) as peer:
            for word in (b"*idn?", b"meas:volt?"):
                await peer.send(word)
                assert await peer.receive(len(word)) == word.upper()
            await peer.send(b"and the end of file")
            peer.finish()
            assert await peer.receive_all() == b"AND THE END OF FILE"


@pytest.mark.parametrize("kind", ReplyKind, ids=lambda kind: kind.name.lower())
def test_every_kind_of_handler(run_async: Any, readiness: str, kind: ReplyKind) -> None:
    service = Service(GAP)
    service.reply(threads=kind in (ReplyKind.THREAD, ReplyKind.THREAD_GENERATOR))(_answer(kind))
    run_async(_exchanges(service, readiness))


def test_a_connection_that_is_held_to_a_rate(run_async: Any, readiness: str) -> None:
    service = Service(GAP)
    service.reply(_answer(ReplyKind.INLINE))
    run_async(_exchanges(service, readiness, limits=limits(max_octet_rate=40)))


@pytest.mark.parametrize("blocking", [False, True], ids=["async", "blocking"])
def test_a_gap_ends_the_messages_of_a_conversation(run_async: Any, readiness: str, blocking: bool) -> None:
    service = Service(GAP)
    if blocking:

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            for message in connection:
                connection.send(message.upper())
    else:

        @service.conversation
        async def talk_async(connection: Connection) -> None:
            async for message in connection:
                await connection.send(message.upper())

    run_async(_exchanges(service, readiness))


def test_behind_a_change_of_framing(run_async: Any, readiness: str) -> None:
    """What is held already has its silence, too: nothing more comes that would start its time."""

    async def main() -> None:
        service = Service("line")

        @service.conversation
        async def talk(connection: Connection) -> None:
            assert await connection.receive() == b"go"
            connection.change_framing(GAP)
            await connection.send(await connection.receive())

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"go\nrest")
                assert await peer.receive_all() == b"rest"

    run_async(main())


def test_too_much_without_a_silence(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("gap:0.02,max_message=4")
        errors: list[Exception] = []
        service.reply(lambda message: message)

        @service.failed
        def last(error: Exception, _connection: Connection) -> bytes:
            errors.append(error)
            return b"!"

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"12345")
                assert await peer.receive_all() == b"!"
        assert [type(error) for error in errors] == [MessageTooLong]

    run_async(main())


def test_the_async_client(run_async: Any) -> None:
    async def main() -> None:
        service = Service(GAP)
        service.reply(_answer(ReplyKind.INLINE))
        async with serving(service) as (server, _), connect_async(server.address, GAP) as client:
            assert await client.request(b"ping") == b"PING"
            await client.send(b"pong")
            assert await client.receive() == b"PONG"
            client.send_eof()
            with pytest.raises(EndOfFile):
                await client.receive()

    run_async(main())


def test_the_blocking_client(run_async: Any) -> None:
    async def main() -> None:
        service = Service(GAP)
        service.reply(_answer(ReplyKind.INLINE))

        def talk(address: str) -> None:
            with connect(address, GAP) as client:
                assert client.request(b"ping") == b"PING"
                assert client.request_many([b"ping"], timeout=20) == [b"PING"]
                client.send(b"pong")
                assert client.receive(timeout=20) == b"PONG"

        async with serving(service) as (server, _):
            await asyncio.to_thread(talk, str(server.address))

    run_async(main())


# -- a framing of one's own: a message ends by a delimiter, or by a gap ---------------------------------------


@dataclass(frozen=True)
class LineOrPause(Framing):
    gap_timeout: float = 0.02  # type: ignore[misc]
    max_message: int | None = 1000

    word: ClassVar[str] = "line-or-pause"

    def decoder(self) -> BufferedDecoder:
        return _LineOrPause(self)

    def encode(self, message: bytes) -> bytes:
        return message + b"\n"


class _LineOrPause(BufferedDecoder):
    __slots__ = ()

    def _split(self, limit: int | None) -> list[bytes]:
        messages = []
        while (at := self._buffer.find(b"\n", self._start)) >= 0:
            messages.append(bytes(self._buffer[self._start : at]))
            self._start = at + 1
        return messages

    def gap(self) -> list[bytes]:
        rest = bytes(self._buffer[self._start :])
        self._base, self._start, self._given = self._start, len(self._buffer), 1
        return [rest] if rest else []


async def _iterate(connection: Connection, _most: int) -> AsyncIterator[bytes]:
    async for message in connection:
        yield message


async def _receive(connection: Connection, most: int) -> AsyncIterator[bytes]:
    for _ in range(most):
        yield await connection.receive()


async def _receive_in_time(connection: Connection, most: int) -> AsyncIterator[bytes]:
    for _ in range(most):
        yield await connection.receive(timeout=60)


async def _receive_nowait(connection: Connection, most: int) -> AsyncIterator[bytes]:
    while most:
        try:
            message = connection.receive_nowait()
        except WouldBlock:
            await asyncio.sleep(0.001)
        else:
            most -= 1
            yield message


@pytest.mark.parametrize("way", [_iterate, _receive, _receive_in_time, _receive_nowait])
def test_the_last_message_of_a_batch_is_ended_by_silence_however_it_is_received(
    run_async: Any, readiness: str, way: Callable[[Connection, int], AsyncIterator[bytes]]
) -> None:
    """The handler takes its time between messages: when it takes the last of them, nothing else comes of the read."""

    async def main() -> None:
        service, got = Service(LineOrPause()), asyncio.Queue[bytes]()

        @service.conversation
        async def talk(connection: Connection) -> None:
            async for message in way(connection, 3):
                await turns()
                got.put_nowait(message)

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nb\npartial")
                async with asyncio.timeout(30):
                    assert [await got.get() for _ in range(3)] == [b"a", b"b", b"partial"]

    run_async(main())


def test_the_last_message_of_a_batch_is_ended_by_silence_in_a_thread(run_async: Any) -> None:
    async def main() -> None:
        service, got = Service(LineOrPause()), asyncio.Queue[bytes]()

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            for message in connection:
                loop.call_soon_threadsafe(got.put_nowait, message)

        loop = asyncio.get_running_loop()
        async with serving(service) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nb\npartial")
                async with asyncio.timeout(30):
                    assert [await got.get() for _ in range(3)] == [b"a", b"b", b"partial"]

    run_async(main())
