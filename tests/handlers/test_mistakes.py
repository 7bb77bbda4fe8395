"""Mistakes in a framing's own code, on connections: one event that names the cause, and an end without a reset."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from fourtuple import Connection, Reason, Service, events
from fourtuple import connect as connect_async
from fourtuple.errors import EncodeError, FramingMistake
from fourtuple.framing import Decoder, Framing, Line, Switch, custom, feed_parser, mapped, u16
from rig import Peer, serving


def echo(message: Any) -> Any:
    return message


async def awaited(message: Any) -> Any:
    return message


async def conversation(connection: Connection) -> None:
    async for message in connection:
        await connection.send(message)


def blocking(connection: Any) -> None:
    for message in connection:
        connection.send(message)


def service_of(kind: str, framing: Framing) -> Service:
    service = Service(framing)
    if kind in ("conversation", "blocking"):
        service.conversation({"conversation": conversation, "blocking": blocking}[kind])
    else:
        service.reply({"inline": echo, "awaited": awaited}[kind])
    return service


def no_pair(buffer: bytearray, seen: int) -> Any:
    return bytes(buffer)


def by_fives(buffer: bytearray, seen: int) -> Any:
    return (bytes(buffer[:5]), 5) if len(buffer) >= 5 else 5


class Raises(Decoder):
    """A decoder of one's own that is not finished."""

    buffered = 0

    def feed(self, data: Any, limit: int | None = None) -> list[Any]:
        raise NotImplementedError("to be written")

    def finish(self) -> list[Any]:
        return []

    def take(self, undelivered: int = 0) -> bytes:
        return b""

    def settle(self) -> None:
        pass


class ReturnsNothing(Raises):
    def feed(self, data: Any, limit: int | None = None) -> Any:
        return None


@dataclasses.dataclass(frozen=True)
class Own(Framing):
    """A framing of one's own."""

    word = "own"

    kind: Any = Raises
    max_message: int | None = 64

    def decoder(self) -> Any:
        return self.kind()

    def encode(self, message: Any) -> bytes:
        return bytes(message)


class Numbers(Line):
    """Writes numbers where octets are wanted."""

    def encode(self, message: Any) -> Any:
        return 5


def unmakeable() -> Any:
    raise OSError("no parser today")


DECODING: dict[str, tuple[Framing, str]] = {
    "decode": (custom(no_pair, bytes), "no_pair() returned b'hello' (bytes); expected (message, used)"),
    "decode in a switch": (Switch(((b"h", custom(no_pair)),)), "no_pair() returned b'hello' (bytes); expected"),
    "a decoder raises": (Own(), "Raises.feed() raised NotImplementedError: to be written"),
    "a decoder returns": (Own(ReturnsNothing), "ReturnsNothing.feed() returned None; expected a list"),
    "a decoder mapped": (mapped(Own(), bytes, bytes), "Raises.feed() raised NotImplementedError: to be written"),
    "no decoder": (Own(dict), "Own.decoder() returned {} (dict); expected a Decoder"),
    "no parser": (feed_parser(unmakeable), "unmakeable() raised OSError: no parser today"),
}
ENCODING: dict[str, tuple[Framing, str]] = {
    "encode": (custom(by_fives, lambda message: 5), "<lambda>() returned 5 (int); expected octets"),
    "a mapping": (mapped(custom(by_fives, bytes.upper), bytes, lambda value: 5), "5"),
    "an encoder of one's own": (Numbers("lf"), "Numbers.encode() returned 5 (int); expected octets"),
}
every_kind = pytest.mark.parametrize("kind", ["inline", "awaited", "conversation", "blocking"])


@every_kind
@pytest.mark.parametrize("name", DECODING)
def test_a_mistake_in_a_decoder_ends_its_connection_and_is_named(
    run_async: Any, readiness: str, kind: str, name: str
) -> None:
    framing, told = DECODING[name]

    async def main() -> None:
        async with serving(service_of(kind, framing), readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"hello")
                assert await peer.receive_all() == b"", "an end of file, and no reset"
            closed = await seen.closed()
            assert closed.reason is Reason.MESSAGE_ERROR
            (event,) = seen.of(events.MessageFailed)
            assert isinstance(event.error, FramingMistake)
            assert told in str(event.error)
            assert not seen.of(events.HandlerRaised)

    run_async(main())


@every_kind
@pytest.mark.parametrize("name", ENCODING)
def test_a_mistake_in_an_encoder_ends_its_connection_and_is_named(
    run_async: Any, readiness: str, kind: str, name: str
) -> None:
    framing, told = ENCODING[name]

    async def main() -> None:
        async with serving(service_of(kind, framing), readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"abcd\n")
                assert await peer.receive_all() == b"", "an end of file, and nothing that was not encoded"
            (event,) = await seen.wait(events.HandlerRaised)
            assert isinstance(event.error, EncodeError)
            assert told in str(event.error)

    run_async(main())


def test_last_words_are_said_for_it(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service(custom(no_pair, bytes))
        service.reply(echo)
        heard: list[Exception] = []

        @service.failed
        def failed(error: Exception, connection: Connection) -> bytes:
            heard.append(error)
            return b"our fault"

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"hello") == b"our fault"
        assert [type(each) for each in heard] == [FramingMistake]

    run_async(main())


@pytest.mark.parametrize("other", [Own(), Own(ReturnsNothing), Own(dict)])
def test_after_a_change_of_framing(run_async: Any, readiness: str, other: Framing) -> None:
    async def main() -> None:
        service = Service("line")

        @service.reply
        def change(message: bytes, connection: Connection) -> bytes:
            connection.change_framing(other)
            return b"changed"

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"go\nmore")
                assert await peer.receive_all() == b"changed\n"
            (event,) = await seen.wait(events.MessageFailed)
            assert isinstance(event.error, FramingMistake)

    run_async(main())


def test_a_client_is_reported(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")
        service.reply(echo)
        async with serving(service, readiness) as (server, _):
            client = await connect_async(server.address, framing=custom(no_pair, lambda message: message + b"\n"))
            async with client:
                with pytest.raises(FramingMistake, match=r"no_pair\(\) returned b'hello\\n' \(bytes\)"):
                    await client.request(b"hello")

    run_async(main())


def test_a_switch_around_two_functions_over_a_socket(run_async: Any, readiness: str) -> None:
    def angle(buffer: bytearray, seen: int) -> Any:
        at = buffer.find(b">", seen)
        return (bytes(buffer[: at + 1]), at + 1) if at >= 0 else None

    decode: Callable[[bytearray, int], Any] = angle

    async def main() -> None:
        service = Service(Switch(((b"<", custom(decode, bytes)), (b"$", Line()), (b"\0", u16()))))
        service.reply(echo)
        stream = b"<one>$two\n<three>$four\n\0\1a<five>"
        for size in (1, 5, len(stream)):
            async with serving(service, readiness) as (server, _):
                with await Peer.connect(server) as peer:
                    for at in range(0, len(stream), size):
                        await peer.send(stream[at : at + size])
                    assert await peer.receive(len(stream)) == stream

    run_async(main())
