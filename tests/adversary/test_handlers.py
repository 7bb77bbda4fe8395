"""Handlers that never wait, never end or have lost their peers, beside a guest at another port of the same loop."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from adversary.arena import MIB, attack, ends, guest, resets_when_closed, target
from fourtuple.engine.turns import SHARE_MESSAGES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60), pytest.mark.xdist_group("adversary")]

TWO = ("line", "line")
#: What a peer reads of a stream.
OCTETS = MIB // 4


@pytest.mark.parametrize("kind", ["pours", "rows"])
def test_endless_streams_to_peers_that_keep_up(readiness: str, loop: str, kind: str) -> None:
    """Others wait for so many messages of a stream, and no more: counted in the server, between turns of its loop."""

    async def reads(sock: socket.socket) -> int:
        reading, had = asyncio.get_running_loop(), 0
        await reading.sock_sendall(sock, b"go\n")
        resets_when_closed(sock)
        while had < OCTETS:
            had += len(await reading.sock_recv(sock, 65536))
        return had

    with target(readiness, loop, kind=kind, others="echo", framings=TWO) as there, guest(there, there.ports[1]):
        assert min(attack(3, there.port, reads)) >= OCTETS
        there.when(lambda numbers: numbers["statistics"][0]["active"] == 0)
        # A share for each of the three in the engine's turn, and one for the tasks of the loop.
        assert 0 < there.report()["most"] <= 4 * SHARE_MESSAGES


def test_parked_handlers_end_with_their_connections(readiness: str, loop: str) -> None:
    """With room for ten: each reset gives its place back, and no handler is left."""

    async def asks_and_resets(sock: socket.socket) -> None:
        await asyncio.get_running_loop().sock_sendall(sock, b"wait\n")
        resets_when_closed(sock)

    limits = {"max_connections": 10}
    with (
        target(readiness, loop, kind="parks", others="echo", framings=TWO, limits=limits) as there,
        guest(there, there.ports[1]) as one,
    ):
        for _ in range(10):
            attack(100, there.port, asks_and_resets)
        numbers = there.when(lambda numbers: numbers["statistics"][0]["active"] == 0)
        assert numbers["started"] == numbers["ended"]
        assert one.growth < 32 * MIB


def test_peers_that_finish_while_their_handlers_wait(readiness: str, loop: str) -> None:
    async def asks_and_finishes(sock: socket.socket) -> str:
        await asyncio.get_running_loop().sock_sendall(sock, b"work\nmore\n")
        sock.shutdown(socket.SHUT_WR)
        return await ends(sock)

    with target(readiness, loop, kind="works", others="echo", framings=TWO) as there, guest(there, there.ports[1]):
        assert set(attack(200, there.port, asks_and_finishes)) <= {"closed", "reset"}
        numbers = there.when(lambda numbers: numbers["statistics"][0]["active"] == 0)
        assert numbers["started"] == numbers["ended"] == 200


def test_octets_put_back_up_to_a_read(readiness: str, loop: str) -> None:
    async def asks(sock: socket.socket) -> bytes:
        asking, had = asyncio.get_running_loop(), b""
        await asking.sock_sendall(sock, b"again\nnext\n")
        sock.shutdown(socket.SHUT_WR)
        while part := await asking.sock_recv(sock, 65536):
            had += part
        return had

    framings = ("line,max_message=1m", "line")
    with (
        target(readiness, loop, kind="puts back", others="echo", framings=framings) as there,
        guest(there, there.ports[1]),
    ):
        (first, *rest) = set(attack(50, there.port, asks))
        assert not rest
        assert sorted(first.split()) == [b"4", b"5", b"65536"], first


def test_a_parser_that_never_says_that_it_needs_more(readiness: str, loop: str) -> None:
    async def asks(sock: socket.socket) -> str:
        await asyncio.get_running_loop().sock_sendall(sock, b"one\ntwo\n")
        return await ends(sock)

    with (
        target(readiness, loop, others="echo", kind="swallow", framings=("events", "line")) as there,
        guest(there, there.ports[1]) as one,
    ):
        assert set(attack(50, there.port, asks)) <= {"closed", "reset"}
        there.when(lambda numbers: numbers["statistics"][0]["active"] == 0)
        assert one.growth < 32 * MIB


def test_a_flood_above_the_rate(readiness: str, loop: str) -> None:
    """Ten connections of one address send 1,000 messages at once: all are served in the end, none too early."""

    async def floods(sock: socket.socket) -> int:
        flooding, had = asyncio.get_running_loop(), 0
        await flooding.sock_sendall(sock, b"x\n" * 100)
        while had < 200:
            had += len(await flooding.sock_recv(sock, 65536))
        return had

    limits = {"max_message_rate_per_address": 300.0}
    with target(readiness, loop, limits=limits, framings=TWO) as there, guest(there, there.ports[1]):
        began = time.monotonic()
        assert attack(10, there.port, floods) == [200] * 10
        assert time.monotonic() - began > 2.0, "300 at once, then 300 a second"
