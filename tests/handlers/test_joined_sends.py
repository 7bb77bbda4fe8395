"""What a blocking conversation sends while more messages of a read are at hand leaves by one call."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from fourtuple import BlockingConnection, Service
from fourtuple.blocking import connect
from fourtuple.blocking.sending import Sending
from rig import Peer, serving, turns, until


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the outboxes of blocking connections, each time that one was written."""
    sizes: list[int] = []
    flush = Sending.flush

    def noted(sending: Sending) -> bool:
        if sending._stream.outbox_size:
            sizes.append(sending._stream.outbox_size)
        return flush(sending)

    monkeypatch.setattr(Sending, "flush", noted)
    return sizes


def upper(size: int = 1) -> Service:
    service = Service("line")

    @service.conversation
    def talk(connection: BlockingConnection) -> None:
        for message in connection:
            connection.send(message.upper() * size)

    return service


def test_the_replies_to_one_read_are_one_write(run_async: Any, readiness: str, writes: list[int]) -> None:
    async def main() -> None:
        async with serving(upper(), readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nb\nc\n" * 50)
                assert await peer.receive(300) == b"A\nB\nC\n" * 50
                assert len(writes) <= 3  # a read may end within a message
                await peer.send(b"d\n")
                assert await peer.receive(2) == b"D\n"

    run_async(main())


def test_large_replies_do_not_accumulate(run_async: Any, readiness: str, writes: list[int]) -> None:
    async def main() -> None:
        async with serving(upper(10_000), readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"a\n" * 100)
                peer.finish()
                assert len(await peer.receive_all()) == 100 * 10_001
                assert max(writes) < 65536 + 10_001

    run_async(main())


@pytest.mark.parametrize("at_hand", [0, 2])
def test_what_is_sent_with_nothing_at_hand_leaves_at_once(run_async: Any, readiness: str, at_hand: int) -> None:
    async def main() -> None:
        service, gate = Service("line"), threading.Event()

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            for message in connection:
                connection.send(message.upper())
                if message == b"last":
                    gate.wait(60)

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"a\n" * at_hand + b"last\n")
                assert await peer.receive(2 * at_hand + 5) == b"A\n" * at_hand + b"LAST\n"
                gate.set()

    run_async(main())


def test_a_handler_that_returns_has_sent_all(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            connection.send(connection.receive().upper())

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nb\nc\n")
                assert await peer.receive_all() == b"A\n"

    run_async(main())


@pytest.mark.parametrize("call", ["timeout", "send_many", "close", "send_eof", "send_octets"])
def test_other_calls_write_all_before(run_async: Any, readiness: str, call: str) -> None:
    async def main() -> None:
        service, gate = Service("line"), threading.Event()

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            connection.send(connection.receive().upper())
            if call == "timeout":
                connection.send(b"x", timeout=60)
            elif call == "send_many":
                connection.send_many([b"x"])
            elif call == "send_octets":
                connection.send_octets(b"x\n")
            elif call == "send_eof":
                connection.send_eof()
            else:
                connection.close()
            gate.wait(60)

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nb\nc\n")
                wanted = b"A\n" if call in ("close", "send_eof") else b"A\nx\n"
                assert await peer.receive(len(wanted)) == wanted
                gate.set()
            await until(lambda: not server.connections)
            await turns()

    run_async(main())


def test_a_wait_for_the_peer_writes_all_before(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("line")

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            connection.send(connection.receive().upper())
            assert connection.receive() == b"b"
            assert connection.peer_finished.wait(60)
            connection.send(b"end")

        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(b"a\nb\n")
                assert await peer.receive(2) == b"A\n"
                peer.finish()
                assert await peer.receive_all() == b"end\n"

    run_async(main())


def test_the_error_of_a_send_comes_at_a_later_call(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service, errors, gate = Service("line"), list[Exception](), threading.Event()

        @service.conversation
        def talk(connection: BlockingConnection) -> None:
            connection.receive()
            gate.wait(60)
            try:
                while True:
                    connection.send(b"reply" * 100)
                    connection.receive()
            except Exception as error:
                errors.append(error)
                raise

        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"a\n" * 10)
                await until(lambda: server._core.threads.busy)
                peer.reset()
                gate.set()
            await until(lambda: errors)
            await seen.closed()

    run_async(main())


def test_a_client_sends_at_once(readiness: str, writes: list[int]) -> None:
    """Only a server's conversation joins: a client's send() returns when the kernel has all."""
    from fourtuple import serve_in_thread

    service = Service("line")
    service.reply(bytes.upper)
    with serve_in_thread(service, readiness=readiness) as server, connect(server.address, "line") as client:
        client.send_many([b"a", b"b", b"c"])
        assert client.receive() == b"A"
        writes.clear()
        client.send(b"d")
        assert writes == [2]
