"""Peers that send too much, too large, or rubbish; and peers that come all at once."""

from __future__ import annotations

import asyncio
import random
import socket
from typing import Any

import pytest

from adversary.arena import attack, ends, guest, read_to_the_end, resets_when_closed, target
from framing.vectors import KNOWN

# One at a time: the kernel counts the memory of all sockets of the machine together.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(60), pytest.mark.xdist_group("adversary")]


@pytest.mark.parametrize(
    ("framing", "announcement", "question"),
    [
        ("u32", b"\xff\xff\xff\xff", b"\0\0\0\5hello"),
        ("u32le", b"\xff\xff\xff\xff", b"\5\0\0\0hello"),
        ("netstring", b"4294967296:", b"5:hello,"),
    ],
)
def test_announce_4_gib(readiness: str, loop: str, framing: str, announcement: bytes, question: bytes) -> None:
    async def announces(sock: socket.socket) -> str:
        try:
            await asyncio.get_running_loop().sock_sendall(sock, announcement + b"x" * 100_000)
        except ConnectionError:
            return "reset"
        return await ends(sock)

    with target(readiness, loop, framings=(framing,)) as there, guest(there, question=question):
        assert set(attack(300, there.port, announces)) <= {"closed", "reset"}
        told = there.when(lambda numbers: numbers["statistics"][0]["active"] <= 1)["told"]
        assert told["message-failed"] == 300
        assert told["closed: message error"] == 300


def test_garbage_on_every_framing(readiness: str, loop: str) -> None:
    """Whatever comes: a reply, or the end. No handler error, no exception, and the guest on the same loop is served."""
    dice = random.Random(4)

    async def throws(sock: socket.socket) -> str:
        throwing = asyncio.get_running_loop()
        end = throwing.create_task(ends(sock))
        try:
            for _ in range(4):
                await throwing.sock_sendall(sock, dice.randbytes(dice.choice([1, 100, 20_000])))
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        return await end

    deadlines = {"message_timeout": 1.0, "linger_timeout": 0.5}
    with (
        target(readiness, loop, others="swallow", framings=("line", *KNOWN), deadlines=deadlines) as there,
        guest(there),
    ):
        for port in there.ports[1:]:
            assert set(attack(6, port, throws)) <= {"closed", "reset", "ConnectionResetError"}
        numbers = there.when(lambda numbers: sum(each["active"] for each in numbers["statistics"]) <= 1)
        assert numbers["told"]["message-failed"] > 0


RESP_QUESTION = b"*1\r\n$5\r\nhello\r\n"
#: Octets that become many values; none of them ends its message.
STRUCTURES = {
    "maps": (
        "resp:3",
        b"*65536\r\n*50000\r\n" + b"%1\r\n_\r\n_\r\n" * 50_000 + b"*60000\r\n" + b"%1\r\n_\r\n_\r\n" * 30_000,
    ),
    "maps, as many as are allowed": ("resp:3", b"*65536\r\n" + b"%1\r\n_\r\n_\r\n" * 40_000),
    "arrays": ("resp", b"*65536\r\n*60000\r\n" + b"*1\r\n*0\r\n" * 60_000 + b"*60000\r\n" + b"*1\r\n*0\r\n" * 50_000),
    "words": ("resp,max_count=1m", b"a " * 500_000),
    "JSON": ("line+json", b"[" + b"{}," * 300_000 + b"1]\n"),
}


@pytest.mark.parametrize("name", STRUCTURES)
def test_structure_that_becomes_memory(readiness: str, loop: str, name: str) -> None:
    """60 peers, 800 kB of each: twenty times as much in values, if nobody counted."""
    framing, octets = STRUCTURES[name]
    question = b'"hello"\n' if framing == "line+json" else RESP_QUESTION

    async def sends(sock: socket.socket) -> str:
        try:
            await asyncio.get_running_loop().sock_sendall(sock, octets)
        except ConnectionError:
            return "reset"
        return await ends(sock)

    deadlines = {"message_timeout": 2.0, "linger_timeout": 0.5}
    with target(readiness, loop, framings=(framing,), deadlines=deadlines) as there, guest(there, question=question):
        assert set(attack(60, there.port, sends)) <= {"closed", "reset", "ConnectionResetError"}
        there.when(lambda numbers: numbers["statistics"][0]["active"] <= 1)


def test_keys_that_collide(readiness: str, loop: str) -> None:
    """Multiples of 2**61 - 1 have the hash 0, all of them: a dict of so many takes half a minute to make."""
    octets = b"%40000\r\n" + b"".join(b"(%d\r\n_\r\n" % (((1 << 61) - 1) * key) for key in range(40_000))

    async def sends(sock: socket.socket) -> None:
        sending = asyncio.get_running_loop()
        await sending.sock_sendall(sock, octets)
        sock.shutdown(socket.SHUT_WR)
        await read_to_the_end(sock)

    with (
        target(readiness, loop, kind="swallow", others="echo", framings=("resp:3", "line")) as there,
        guest(there, there.ports[1]),
    ):
        attack(2, there.port, sends)


async def at_once(_sock: socket.socket) -> None:
    """Reset before anything is said."""


async def in_a_message(sock: socket.socket) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, b"half a mess")


async def behind_a_message(sock: socket.socket) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, b"whole\n" * 10)


async def in_a_reply(sock: socket.socket) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, b"question\n" * 10)
    await asyncio.get_running_loop().sock_recv(sock, 1000)


async def behind_the_half_close(sock: socket.socket) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, b"question\n" * 10)
    sock.shutdown(socket.SHUT_WR)
    await asyncio.get_running_loop().sock_recv(sock, 1000)


async def while_the_server_lingers(sock: socket.socket) -> None:
    await asyncio.get_running_loop().sock_sendall(sock, b"x" * 2_000_000)


@pytest.mark.parametrize("kind", ["blast", "threads"])
def test_a_reset_at_every_stage(readiness: str, loop: str, kind: str) -> None:
    stages = [
        at_once, in_a_message, behind_a_message, in_a_reply, behind_the_half_close, while_the_server_lingers,
    ]  # fmt: skip

    def resetting(stage: Any) -> Any:
        async def act(sock: socket.socket) -> None:
            resets_when_closed(sock)
            await stage(sock)

        return act

    with (
        target(readiness, loop, kind=kind, framings=("line", "line")) as there,
        guest(there, there.ports[1], b"welcome!\n", blast=kind == "blast"),
    ):
        for stage in stages:
            attack(30, there.port, resetting(stage))
        there.when(lambda numbers: numbers["statistics"][0]["active"] == 0)


def test_five_thousand_connections_at_once_with_room_for_a_hundred(readiness: str, loop: str) -> None:
    """All are served in the end, and none is reset: who finds no room waits in the kernel's queue."""

    async def asks(sock: socket.socket) -> bytes:
        await asyncio.get_running_loop().sock_sendall(sock, b"me, too\n")
        sock.shutdown(socket.SHUT_WR)
        return await read_to_the_end(sock)

    limits = {"max_connections": 100}
    with target(readiness, loop, limits=limits) as there, guest(there, returning=False):
        assert attack(5000, there.port, asks) == [b"me, too\n"] * 5000
        statistics = there.when(lambda numbers: numbers["statistics"][0]["active"] == 1)["statistics"][0]
        assert statistics["accepted"] == 5001
        assert statistics["refused"] == statistics["aborted"] == 0


@pytest.mark.parametrize(
    ("framing", "nothing", "question"), [("u16", b"\0\0", b"\0\5hello"), ("line", b"\n", b"hello\n")]
)
def test_a_flood_of_messages_without_length(
    readiness: str, loop: str, framing: str, nothing: bytes, question: bytes
) -> None:
    octets = nothing * (100_000 // len(nothing))

    async def floods(sock: socket.socket) -> int:
        flooding = asyncio.get_running_loop()
        answers = flooding.create_task(read_to_the_end(sock))
        await flooding.sock_sendall(sock, octets)
        sock.shutdown(socket.SHUT_WR)
        return len(await answers)

    with target(readiness, loop, framings=(framing,)) as there, guest(there, question=question) as one:
        before = one.replies
        assert attack(10, there.port, floods) == [len(octets)] * 10, "each of them is a message, and has its reply"
        assert one.replies > before


def test_refused_at_the_limit_of_an_address_while_others_are_served(readiness: str, loop: str) -> None:
    limits = {"max_connections_per_address": 10, "refusal": "too many of you"}
    with (
        target(readiness, loop, limits=limits, deadlines={"first_message_timeout": 1.0}) as there,
        guest(there, returning=False),
    ):
        came = attack(500, there.port, read_to_the_end)
        assert set(came) == {b"", b"too many of you\n"}
        statistics = there.when(lambda numbers: numbers["statistics"][0]["active"] == 1)["statistics"][0]
        assert statistics["accepted"] + statistics["refused"] == 501
        assert statistics["refused"] >= came.count(b"too many of you\n") > 0
