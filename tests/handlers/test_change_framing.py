"""A handler changes the framing: what its reply goes out as, and one direction alone."""

from __future__ import annotations

from typing import Any

import pytest

from fourtuple import Connection, Service, blocking, events, reply_and_close
from fourtuple.errors import EncodeError, OptionError
from fourtuple.framing import duplex
from fourtuple.testing import memory_pair
from handlers.kinds import service_by
from rig import Peer, serving

KINDS = ("inline", "others", "generator", "async", "async generator", "concurrent")


def changing(kind: str) -> Service:
    """``OK`` to everything; ``u8`` and ``line`` change to that framing."""

    def handle(message: bytes, connection: Connection) -> bytes:
        if message in (b"u8", b"line"):
            connection.change_framing(message.decode())
        return b"OK " + message

    if kind != "others":
        return service_by(kind, handle)
    service = Service("line")

    @service.reply
    def other(message: bytes, connection: Connection) -> bytearray:
        return bytearray(handle(message, connection))

    return service


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("piecewise", [False, True])
def test_a_reply_belongs_to_the_framing_of_its_message(
    run_async: Any, readiness: str, kind: str, piecewise: bool
) -> None:
    async def main() -> None:
        async with serving(changing(kind), readiness) as (server, _):
            with await Peer.connect(server) as peer:
                asked = [b"one\n", b"u8\n", b"\1x", b"\4line", b"two\n", b"u8\n", b"\1y"]
                told = [b"OK one\n", b"OK u8\n", b"\4OK x", b"\7OK line", b"OK two\n", b"OK u8\n", b"\4OK y"]
                if piecewise or kind == "concurrent":  # which begins messages before the first has changed anything
                    for question, answer in zip(asked, told, strict=True):
                        await peer.send(question)
                        assert await peer.receive(len(answer)) == answer
                else:
                    assert await peer.talk(b"".join(asked)) == b"".join(told)

    run_async(main())


def test_what_is_sent_belongs_to_the_new_framing(run_async: Any, readiness: str) -> None:
    service = Service("line")

    @service.reply
    def handle(message: bytes, connection: Connection) -> bytes | None:
        if message != b"hello":
            return message
        connection.send(b"before")
        connection.change_framing("u8")
        connection.send(b"after")
        return None

    async def main() -> None:
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"hello\n\1x") == b"before\n\5after\1x"

    run_async(main())


def test_nothing_returned_leaves_nothing_behind(run_async: Any, readiness: str) -> None:
    service = Service("line")

    @service.reply
    def handle(message: bytes, connection: Connection) -> bytes | None:
        if message == b"quiet":
            connection.change_framing("u8")
            return None
        return message

    async def main() -> None:
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"quiet\n")
                await peer.send(b"\1x")
                assert await peer.receive(2) == b"\1x"

    run_async(main())


def test_last_words_belong_to_their_message(run_async: Any, readiness: str) -> None:
    service = Service("line")

    @service.reply
    def handle(message: bytes, connection: Connection) -> Any:
        connection.change_framing("u8")
        return reply_and_close(b"bye")

    async def main() -> None:
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                assert await peer.receive_all() == b"bye\n"

    run_async(main())


def test_a_reply_that_the_old_framing_refuses_is_the_handlers_failure(run_async: Any, readiness: str) -> None:
    service = Service("line")

    @service.reply
    def handle(message: bytes, connection: Connection) -> bytes:
        connection.change_framing("u8")
        return b"a\nb"

    async def main() -> None:
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"x\n")
                assert await peer.receive_all() == b""
            await seen.closed()
            (raised,) = seen.of(events.HandlerRaised)
            assert isinstance(raised.error, EncodeError)

    run_async(main())


def test_one_direction_alone(run_async: Any, readiness: str) -> None:
    service = Service("line")

    @service.conversation
    async def talk(connection: Connection) -> None:
        assert await connection.receive() == b"one"
        connection.change_framing(receives="u8")
        assert await connection.receive() == b"two"
        await connection.send(b"a line")
        connection.change_framing(sends="u16")
        assert await connection.receive() == b"three"
        await connection.send(b"xy")
        connection.change_framing(receives="line", sends="line")
        assert connection.framing == duplex("line", "line")
        assert await connection.receive() == b"four"
        await connection.send(b"a line")

    async def main() -> None:
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"one\n\3two\5threefour\n") == b"a line\n\0\2xya line\n"

    run_async(main())


def test_one_direction_alone_of_a_blocking_connection() -> None:
    near, far = memory_pair("line")
    near.change_framing(sends="u8")
    far.change_framing(receives="u8")
    near.send(b"x\ny")
    assert far.receive() == b"x\ny"
    far.send(b"line")
    assert near.receive() == b"line"
    assert near.framing.mirror() == far.framing
    with pytest.raises(OptionError, match="none is given"):
        near.change_framing()  # type: ignore[call-overload]
    with pytest.raises(OptionError, match="not both"):
        near.change_framing("line", sends="u8")  # type: ignore[call-overload]


def test_octets_are_sent_in_order_with_messages(run_async: Any, readiness: str) -> None:
    service = Service("line")

    @service.reply
    def handle(message: bytes, connection: Connection) -> bytes:
        if message == b"file":
            connection.send(b"FILE 3")
            connection.send_octets(b"a\nb")
        return b"done"

    async def main() -> None:
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.talk(b"x\nfile\nx\n") == b"done\nFILE 3\na\nbdone\ndone\n"

    run_async(main())


def test_octets_of_a_blocking_connection() -> None:
    near, far = memory_pair("line")
    near.send(b"size 3")
    for octets in (b"a", bytearray(b"\n"), memoryview(b"b"), b""):
        near.send_octets(octets)
    near.send(b"next")
    assert far.receive() == b"size 3"
    assert far.receive_exactly(3) == b"a\nb"
    assert far.receive() == b"next"
    assert near.statistics.messages_out == 2
    with pytest.raises(EncodeError, match=r"send_octets\(\) takes octets .* not str"):
        near.send_octets("text")  # type: ignore[arg-type]
    assert isinstance(near, blocking.BlockingConnection)


def test_octets_of_an_async_connection_are_octets(run_async: Any, readiness: str) -> None:
    service = Service("line")

    @service.conversation
    async def talk(connection: Connection) -> None:
        with pytest.raises(EncodeError, match="takes octets"):
            await connection.send_octets("text")  # type: ignore[arg-type]
        await connection.send_octets(b"octets")
        assert connection.statistics.messages_out == 0

    async def main() -> None:
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                assert await peer.receive_all() == b"octets"

    run_async(main())
