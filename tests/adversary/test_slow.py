"""Peers that take their time: deadlines end them, and the guest does not notice.

The adversaries are as slow as the name says in relation to the deadlines, which are short here.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Any

import pytest

from adversary.arena import attack, ends, guest, read_to_the_end, target

# One at a time: the kernel counts the memory of all sockets of the machine together.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(60), pytest.mark.xdist_group("adversary")]

#: A trickle is an octet in this time: a quarter of the deadline that it wants to outwit.
TRICKLE = 0.25
DEADLINE = 1.0


async def trickles(sock: socket.socket) -> str:
    """An octet now and then, and never the end of the message."""
    loop = asyncio.get_running_loop()
    end = loop.create_task(ends(sock))
    while not end.done():
        try:
            await loop.sock_sendall(sock, b"x")
        except ConnectionError:
            break
        await asyncio.wait([end], timeout=TRICKLE)
    return await end


def test_messages_that_trickle_in_end_at_their_deadline(readiness: str, loop: str) -> None:
    deadlines = {"message_timeout": DEADLINE, "linger_timeout": 0.5}
    with target(readiness, loop, deadlines=deadlines) as there, guest(there) as one:
        assert set(attack(1000, there.port, trickles)) <= {"closed", "reset", "BrokenPipeError", "ConnectionResetError"}
        told = there.when(lambda numbers: numbers["statistics"][0]["active"] <= 1)["told"]
        # "First" where the whole second of the first message was over before the first octet came.
        assert told["message_timeout"] == 1000
        one.is_served()


def test_connect_and_say_nothing(readiness: str, loop: str) -> None:
    with target(readiness, loop, deadlines={"first_message_timeout": DEADLINE}) as there, guest(there):
        assert attack(1000, there.port, ends) == ["closed"] * 1000
        told = there.when(lambda numbers: numbers["statistics"][0]["active"] <= 1)
        assert told["told"]["first_message_timeout"] == 1000
        assert told["statistics"][0]["probes"] == 1000, "counted, and quiet"


def test_peers_that_ask_and_never_read_end_at_the_write_timeout(readiness: str, loop: str) -> None:
    async def asks(sock: socket.socket) -> str:
        """A hundred replies of a megabyte are asked for, none is read; the end is seen as the broken pipe."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        asking = asyncio.get_running_loop()
        while True:
            await asking.sock_sendall(sock, b"question\n" * 100)
            await asyncio.sleep(TRICKLE)

    with (
        target(
            readiness, loop, kind="blast", framings=("line", "line"), deadlines={"write_timeout": DEADLINE}
        ) as there,
        small_guest(there),
    ):
        assert set(attack(20, there.port, asks)) <= {"BrokenPipeError", "ConnectionResetError"}
        told = there.when(lambda numbers: numbers["statistics"][0]["active"] == 0)["told"]
        assert told["write_timeout"] == 20


def test_reading_an_octet_now_and_then(readiness: str, loop: str) -> None:
    async def sips(sock: socket.socket) -> str:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sipping = asyncio.get_running_loop()
        await sipping.sock_sendall(sock, b"question\n" * 10)
        # What it could still read behind the reset does not matter to anybody.
        while not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            await sipping.sock_recv(sock, 1)
            await asyncio.sleep(TRICKLE / 10)
        return "reset"

    with (
        target(
            readiness, loop, kind="blast", framings=("line", "line"), deadlines={"write_timeout": DEADLINE}
        ) as there,
        small_guest(there),
    ):
        assert set(attack(50, there.port, sips)) <= {"reset", "ConnectionResetError"}
        told = there.when(lambda numbers: numbers["statistics"][0]["active"] == 0)["told"]
        assert told["write_timeout"] == 50


def small_guest(there: Any) -> Any:
    """Asks the second server of the process, on the same loop: there a reply is a megabyte, too, and it reads it."""
    return guest(there, there.ports[1], b"welcome!\n", blast=True)


def test_blocking_conversations_that_never_speak(readiness: str, loop: str) -> None:
    limits = {"max_threads": 4}
    with (
        target(readiness, loop, kind="threads", limits=limits, deadlines={"first_message_timeout": DEADLINE}) as there,
        guest(there) as one,
    ):
        assert attack(5, there.port, ends) == ["closed"] * 5
        one.is_served()
        assert there.report()["told"]["first_message_timeout"] == 5


def test_blocking_conversations_that_say_an_octet_and_nothing_more(readiness: str, loop: str) -> None:
    """They hold every thread; accept pauses until their deadline has ended them."""

    async def one_octet(sock: socket.socket) -> str:
        await asyncio.get_running_loop().sock_sendall(sock, b"x")
        return await ends(sock)

    limits = {"max_threads": 4}
    with (
        target(readiness, loop, kind="threads", limits=limits, deadlines={"message_timeout": DEADLINE}) as there,
        guest(there) as one,
    ):
        assert set(attack(5, there.port, one_octet)) <= {"closed", "reset"}
        one.is_served()
        told = there.report()["told"]
        assert told["message_timeout"] == 5
        assert told["accept-paused"] >= 1


def test_half_closed_and_silent(readiness: str, loop: str) -> None:
    """A FIN behind half a message, or behind nothing, and then nobody: the other half is closed by us."""

    async def half(sock: socket.socket) -> bytes:
        await asyncio.get_running_loop().sock_sendall(sock, b"whole\nhalf")
        sock.shutdown(socket.SHUT_WR)
        return await read_to_the_end(sock)

    with target(readiness, loop) as there, guest(there):
        assert attack(200, there.port, half) == [b"whole\n"] * 200
        assert there.report()["told"]["message-failed"] == 200


def test_half_open_the_peer_is_dead(readiness: str, loop: str) -> None:
    """The peer's machine has gone without a word: keepalive finds it."""
    sockets = {"keepalive_idle": 1, "keepalive_interval": 1, "keepalive_count": 1}

    async def dies(sock: socket.socket) -> str:
        await asyncio.get_running_loop().sock_sendall(sock, b"whole\n")
        assert await asyncio.get_running_loop().sock_recv(sock, 100) == b"whole\n"
        forget(sock)
        return "dead"

    with target(readiness, loop, sockets=sockets) as there, guest(there):
        assert attack(100, there.port, dies) == ["dead"] * 100
        told = there.when(lambda numbers: numbers["statistics"][0]["active"] <= 1)["told"]
        assert told.get("closed: reset by peer", 0) + told.get("closed: lost", 0) == 100


def forget(sock: socket.socket) -> None:
    """Make close() say nothing to the peer, neither FIN nor RST: TCP_REPAIR, as when a machine loses its power."""
    tcp_repair = 19
    try:
        sock.setsockopt(socket.IPPROTO_TCP, tcp_repair, 1)
    except PermissionError:
        pytest.skip(f"TCP_REPAIR needs CAP_NET_ADMIN, which user {os.getuid()} has not")
