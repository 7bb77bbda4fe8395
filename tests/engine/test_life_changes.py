"""What somebody changes, or does to a connection, between its beginning and its end: the same, whoever made it."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from fourtuple import Connection, Reason, Server, Service, events
from fourtuple.engine import Engine
from fourtuple.errors import WouldBlock
from rig import PATIENT, Peer, Seen, serving, upper


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_limits_of_one_network_do_not_count_earlier_connections(run_async: Any, readiness: str, end: str) -> None:
    async def main() -> None:
        async with serving(upper(), readiness) as (server, seen):
            peers = [await Peer.connect(server) for _ in range(2)]
            await seen.wait(events.Accepted, 2)
            server.change_limits(max_connections_per_network=2)
            with await Peer.connect(server) as third:
                assert await third.receive_all() == b""
            (refused,) = seen.of(events.Refused)
            assert refused.limit == "max_connections_per_network"
            for peer in peers:
                peer.close() if end == "fin" else peer.reset()
            await seen.wait(events.Closed, 2)
            with await Peer.connect(server) as fourth, await Peer.connect(server) as fifth:
                assert await fourth.talk(b"abcd") == await fifth.talk(b"abcd") == b"ABCD"

    run_async(main())


async def met(
    service: Service, readiness: str, act: Callable[[Connection], object], octets: bytes
) -> tuple[bytes | None, Seen]:
    """Let ``act`` have a connection that was accepted; return what the peer gets for these octets, and the events."""
    seen = Seen()

    def look(event: events.Event) -> None:
        seen(event)
        if isinstance(event, events.Accepted):
            act(server.connections[event.id])

    engine = Engine(readiness=readiness)  # type: ignore[arg-type]
    server = Server(service, observer=look, deadlines=PATIENT, engine=engine)
    await server.start()
    try:
        with socket.socket() as sock:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", server.port))
            await seen.wait(events.Accepted)
            try:
                return await Peer(sock).talk(octets), seen
            except OSError:
                return None, seen
            finally:
                await seen.closed()
    finally:
        await server.abort()
        engine.close()


def test_an_observer_that_looks_whether_a_message_is_there(run_async: Any, readiness: str) -> None:
    def look(connection: Connection) -> None:
        with pytest.raises(WouldBlock):
            connection.receive_nowait()

    async def main() -> None:
        got, seen = await met(upper(), readiness, look, b"abcd")
        assert got == b"ABCD"
        assert (await seen.closed()).reason is Reason.PEER_CLOSED

    run_async(main())


def test_an_observer_that_puts_octets_before_those_of_the_peer(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        got, seen = await met(upper(), readiness, lambda connection: connection.unread(b"ab"), b"cdwxyz")
        assert got == b"ABCDWXYZ"
        assert (await seen.closed()).reason is Reason.PEER_CLOSED

    run_async(main())


def test_a_connection_ended_before_it_was_opened_has_no_closed_event(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service, told = upper(), []
        service.closed(told.append)
        got, seen = await met(service, readiness, Connection.abort, b"abcd")
        assert got is None
        assert (await seen.closed()).reason is Reason.ABORTED
        assert told == []

    run_async(main())


def test_an_engine_whose_loop_was_closed_before_the_turn_ended_leaves_no_descriptor() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        number = ours.detach()
        loop = asyncio.new_event_loop()
        engine = Engine(loop)
        engine.close_later(number)
        loop.close()
        del engine, loop
        gc.collect()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
        assert theirs.recv(1) == b""


def test_no_number_is_closed_twice_if_a_signal_comes_just_after_it_was_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    number, really, closed = ours.detach(), os.close, []

    def close(fd: int) -> None:
        closed.append(fd)
        really(fd)
        if fd == number:
            raise KeyboardInterrupt  # as by the handler of a signal, which runs when the call has returned

    loop = asyncio.new_event_loop()
    engine = Engine(loop)
    monkeypatch.setattr(os, "close", close)
    engine.close_later(number)
    with theirs, pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(asyncio.sleep(0))
    engine.close()
    loop.close()
    assert closed.count(number) == 1
