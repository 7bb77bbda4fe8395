"""Large messages: gathered in their place, replied to in parts, and never paid for before they come."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tracemalloc
from typing import Any

import pytest

from fourtuple import Connection, Service, Sockets, events
from rig import PATIENT, Peer, limits, serving, until

MIB = 1 << 20
#: Around the sizes at which the way of a message changes: gathered in place, more than one read, more than the kernel
#: takes at once.
SIZES = [1, 16 * 1024 - 1, 16 * 1024, 64 * 1024 - 5, 64 * 1024, 300_000, 2 * MIB, 3]


def turned(message: bytes) -> bytes:
    return message[1:] + message[:1]


@pytest.mark.parametrize("framing", ["u32", "netstring", "fixed", "line"])
@pytest.mark.parametrize(
    "sockets", [Sockets(), Sockets(send_buffer=4096, receive_buffer=65536)], ids=["ordinary", "tight"]
)
def test_every_octet_of_large_messages_comes_back(
    run_async: Any, readiness: str, framing: str, sockets: Sockets
) -> None:
    """Pipelined, so that the server has no other way than to send its replies in parts."""

    async def main() -> None:
        service = Service("fixed:262144" if framing == "fixed" else f"{framing},max_message=4m")
        service.reply(turned)
        chance = random.Random(7)
        tight = sockets.send_buffer is not None  # then a MiB takes a second
        sizes = [262144] * 2 if framing == "fixed" else SIZES[:-2] if tight else SIZES
        messages = [chance.randbytes(size).replace(b"\n", b"\0") for size in sizes]
        expected = service.framing.encode_many([turned(message) for message in messages])
        async with serving(service, readiness, sockets=sockets) as (server, _):
            for count in (1,) if tight else (1, 5):
                with await Peer.connect(server) as peer:
                    sending = asyncio.create_task(peer.send(service.framing.encode_many(messages * count)))
                    assert await peer.receive(len(expected) * count) == expected * count
                    await sending

    run_async(main())


def test_counts_are_exact_behind_a_reply_in_parts(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        service = Service("u32")
        service.reply(turned)
        octets = service.framing.encode(bytes(MIB))
        async with serving(service, readiness) as (server, _):
            with await Peer.connect(server, receive_buffer=4096) as peer:
                await peer.send(octets)
                (connection,) = server.connections.values()
                await until(lambda: connection.statistics.outbox)
                parts = connection.statistics
                assert parts.octets_out + parts.outbox == parts.octets_in == len(octets)
                assert await peer.receive(len(octets)) == octets
                await until(lambda: not connection.statistics.outbox)
                assert connection.statistics.octets_out == len(octets)
                assert connection.statistics.messages_out == 1

    run_async(main())


@pytest.mark.parametrize("announced", [MIB, 1 << 30])
def test_announcing_much_and_sending_little_takes_little_memory(run_async: Any, readiness: str, announced: int) -> None:
    """However the octets come: no more than twice of them is held, beside one read."""

    async def main() -> None:
        service = Service(f"u32,max_message={1 << 30}")
        service.reply(turned)
        piece = bytes(50_000)
        bounds = limits()
        async with serving(service, readiness, limits=bounds, deadlines=PATIENT) as (server, _):
            with await Peer.connect(server) as peer:
                await peer.send(announced.to_bytes(4, "big") + piece)
                sent = 4 + len(piece)
                (connection,) = server.connections.values()
                tracemalloc.start()
                for count in (1, 3, 1, 5, 1):
                    await peer.send(piece * count)
                    sent += count * len(piece)
                    await until(lambda expected=sent: connection.statistics.octets_in == expected)
                    _, most = tracemalloc.get_traced_memory()
                    assert most < 2 * sent + bounds.read_size + 5 * len(piece) + 100_000
                tracemalloc.stop()
                assert connection.statistics.messages_in == 0

    run_async(main())


READER = """
import socket, sys
peer, left, octets = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), bytearray(1 << 22)
peer.sendall(b"more\\n")
while left:
    left -= peer.recv_into(octets)
"""


@pytest.mark.parametrize("kind", ["reply", "conversation"])
def test_a_peer_as_fast_as_the_server_does_not_hold_the_loop(run_async: Any, readiness: str, kind: str) -> None:
    """However much it takes: in one turn of the loop it gets a bounded part of a huge reply."""

    async def main() -> None:
        huge = bytes(128 * MIB)
        service = Service(f"line,max_message={len(huge)}")

        async def talk(connection: Connection) -> None:
            async for _ in connection:
                await connection.send(huge)

        if kind == "reply":
            service.reply(lambda message: huge)
        else:
            service.conversation(talk)
        async with serving(service, readiness) as (server, seen):
            with await Peer.connect(server) as peer:
                await seen.wait(events.Accepted)
                (connection,) = server.connections.values()
                fd = peer.socket.fileno()
                peer.socket.setblocking(True)
                arguments = sys.executable, "-c", READER, str(fd), str(len(huge) + 1)
                with subprocess.Popen(arguments, pass_fds=[fd]) as reader:
                    before = most = 0
                    while before <= len(huge):
                        await asyncio.sleep(0)
                        sent = connection.statistics.octets_out
                        most, before = max(most, sent - before), sent
                    assert reader.wait() == 0
                assert most <= 16 * MIB

    run_async(main())
