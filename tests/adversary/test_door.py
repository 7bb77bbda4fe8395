"""Peers that lie or stall before the conversation: TLS garbage, half handshakes, PROXY headers that are none."""

from __future__ import annotations

import asyncio
import random
import socket
from pathlib import Path

import pytest

from adversary.arena import attack, ends, guest, target
from certificates import Files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

# A whole record that announces a handshake message, and nothing of sense in it.
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


def test_a_thousand_hellos_of_garbage_cost_no_guest_the_service(readiness: str, loop: str, tmp_path: Path) -> None:
    files = Files(tmp_path)
    dice = random.Random(7)

    async def throws(sock: socket.socket) -> str:
        octets = dice.choice([b"\x16", HELLO, b"\x16\x03\x03\x40\x00"]) + dice.randbytes(dice.choice([10, 600, 30_000]))
        try:
            await asyncio.get_running_loop().sock_sendall(sock, octets)
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            return "reset"
        return await ends(sock)

    tls = {"certificate": files.certificate, "key": files.key, "mode": "detect"}
    with target(readiness, loop, tls=tls) as there, guest(there):
        assert set(attack(300, there.port, throws)) <= {"closed", "reset", "ConnectionResetError"}
        numbers = there.when(lambda numbers: numbers["statistics"][0]["active"] <= 1)
        assert numbers["told"]["tls-failed"] == 300


def test_handshakes_that_stall(readiness: str, loop: str, tmp_path: Path) -> None:
    files = Files(tmp_path)

    async def stalls(sock: socket.socket) -> str:
        await asyncio.get_running_loop().sock_sendall(sock, HELLO)
        return await ends(sock)

    tls = {"certificate": files.certificate, "key": files.key, "mode": "detect"}
    deadlines = {"handshake_timeout": 1.0, "linger_timeout": 0.5}
    with target(readiness, loop, tls=tls, deadlines=deadlines) as there, guest(there):
        assert set(attack(300, there.port, stalls)) <= {"closed", "reset", "ConnectionResetError"}
        numbers = there.when(lambda numbers: numbers["statistics"][0]["active"] <= 1)
        assert numbers["told"]["handshake_timeout"] == 300


def test_proxy_headers_that_lie(readiness: str, loop: str) -> None:
    """From a trusted network they are refused; whoever is not trusted has no header to say: it is data."""

    async def lies(sock: socket.socket) -> str:
        try:
            await asyncio.get_running_loop().sock_sendall(sock, b"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n")
        except OSError:
            return "reset"
        return await ends(sock)

    with target(readiness, loop, proxy={"protocol": "optional"}) as there, guest(there):
        assert set(attack(300, there.port, lies)) <= {"closed", "reset", "ConnectionResetError"}
        there.when(lambda numbers: numbers["statistics"][0]["refused"] == 300)

    async def claims(sock: socket.socket) -> bytes:
        asking = asyncio.get_running_loop()
        await asking.sock_sendall(sock, b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n")
        return await asking.sock_recv(sock, 100)

    with target(readiness, loop, proxy={"protocol": "optional", "trusted": "10.0.0.0/8"}) as there, guest(there):
        assert set(attack(300, there.port, claims)) == {b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n"}
