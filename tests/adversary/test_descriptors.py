"""Out of descriptors: said once, survived without spinning, and over by itself."""

from __future__ import annotations

import asyncio
import socket

import pytest

from adversary.arena import attack, ends, guest, target

# One at a time: the kernel counts the memory of all sockets of the machine together.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(60), pytest.mark.xdist_group("adversary")]


async def asks_and_stays(sock: socket.socket) -> bytes:
    """Ask, read the reply, and wait for the server's end of file."""
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, b"x\n")
    reply = await loop.sock_recv(sock, 10)
    await ends(sock)
    return reply


def test_a_limit_of_64(readiness: str, loop: str) -> None:
    """The server takes what the limit leaves room for; the others wait in the queue, and all have their turn."""
    with target(readiness, loop, nofile=64, deadlines={"idle_timeout": 0.5}) as there, guest(there):
        assert attack(100, there.port, asks_and_stays) == [b"x\n"] * 100
        numbers = there.when(lambda numbers: numbers["statistics"][0]["active"] <= 1)
        # max_connections keeps a reserve; those that end and those that come in one turn of the engine may use it up.
        assert numbers["told"].get("accept-failed", 0) <= 1


def test_no_descriptors_left_at_all(readiness: str, loop: str) -> None:
    with (
        target(readiness, loop, descriptors_left=20, deadlines={"idle_timeout": 0.5, "linger_timeout": 0.2}) as there,
        guest(there, returning=False),
    ):
        before = there.report()
        assert attack(100, there.port, asks_and_stays) == [b"x\n"] * 100
        numbers = there.when(lambda numbers: numbers["statistics"][0]["active"] <= 1)
        assert numbers["statistics"][0]["accept_failures"] > 0
        assert numbers["told"]["accept-failed"] < 20, "said, and not again at every turn"
        assert numbers["cpu"] - before["cpu"] < 3.0, "it waits, it does not spin"
