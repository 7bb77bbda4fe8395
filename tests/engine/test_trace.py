"""The way of one message through the house: each file once on the way in, and once on the way out."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import fourtuple
from fourtuple import Server, Service
from fourtuple.engine import Channel

PACKAGE = Path(fourtuple.__file__).parent


async def trace(*, in_one_piece: bool) -> list[str]:
    """The files of the package in which Python was, one after the other, while a channel served a read."""
    service, files = Service("fixed:16"), []

    @service.reply
    def farewell(message: bytes) -> bytes:
        files.append("the handler")
        return b"Farewell, client"

    async with Server(service, "127.0.0.1:0") as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)

        async def exchange() -> None:
            writer.write(b"Hi there, server")
            assert await reader.readexactly(16) == b"Farewell, client"

        await exchange()  # what is done but once is done
        channel = next(iter(server._core.registry.runners.values())).channel
        if not in_one_piece:
            channel.inline = None
        files.clear()
        frames: list[FrameType] = []  # those within on_ready()

        def profile(frame: FrameType, event: str, _argument: Any) -> None:
            if event == "call" and (frames or frame.f_code is Channel.on_ready.__code__):
                frames.append(frame)
            elif event == "return" and frames:
                frames.pop()
            elif event not in ("call", "return"):
                return
            if frames and frames[-1].f_code.co_filename.startswith(str(PACKAGE)):
                files.append(str(Path(frames[-1].f_code.co_filename).relative_to(PACKAGE)))

        sys.setprofile(profile)
        try:
            await exchange()
        finally:
            sys.setprofile(None)
        writer.close()
        await server.abort()
    return [file for file, _ in groupby(files)]


#: In: the kernel's octets, to the decoder. Each file asks the next, and gets its answer. A decoder of messages of one
#: size need not even be asked if a read is one message that is delivered at once.
IN = ["engine/channel.py", "stream/inbound.py", "framing/fixed.py", "stream/inbound.py", "engine/channel.py"]
WAYS = {
    # A plain function replies to one whole message: the reply is encoded, sent, and counted.
    "in-one-piece": [
        "engine/channel.py", "stream/inbound.py", "engine/channel.py", "the handler", "engine/channel.py",
        "framing/fixed.py", "engine/channel.py", "stream/outbound.py", "engine/channel.py",
    ],
    # Any other: a batch is handled, encoded into the outbox, sent from there, and the outbox is told.
    "by-the-rooms": [
        *IN, "handlers/inline.py", "the handler", "handlers/inline.py", "stream/outbound.py", "framing/fixed.py",
        "stream/outbound.py", "handlers/inline.py", "engine/channel.py", "stream/outbound.py", "engine/channel.py",
    ],
}  # fmt: skip


@pytest.mark.parametrize("piece", WAYS)
def test_a_message_goes_straight_through(piece: str) -> None:
    """In a process without the C, and without the checks of the tests."""
    environment = {name: value for name, value in os.environ.items() if name != "FOURTUPLE_CHECKS"}
    found = subprocess.run(
        [sys.executable, __file__, piece],
        env=environment | {"FOURTUPLE_C": "off"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.split("\n")[:-1] == WAYS[piece]


def test_the_way_is_short() -> None:
    """15 changes of room over 8 files were wanted, where 41 over 13 had been."""
    assert [(len(way) - 1, len(set(way) - {"the handler"})) for way in WAYS.values()] == [(8, 4), (14, 5)]


if __name__ == "__main__":
    print("\n".join(asyncio.run(trace(in_one_piece=sys.argv[1] == "in-one-piece"))))
