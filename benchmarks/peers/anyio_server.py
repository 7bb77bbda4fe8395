"""anyio: a task per connection, a buffered stream for reading."""

from __future__ import annotations

import struct

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from benchmarks.peers.handler import MIB, announce, answer, arguments


async def fixed(stream: SocketStream, buffered: BufferedByteReceiveStream) -> None:
    """Messages of 16 octets."""
    while True:
        await stream.send(answer(await buffered.receive_exactly(16)))


async def lines(stream: SocketStream, buffered: BufferedByteReceiveStream) -> None:
    """Messages that end with a line feed."""
    while True:
        await stream.send(answer(await buffered.receive_until(b"\n", MIB)) + b"\n")


async def lengths(stream: SocketStream, buffered: BufferedByteReceiveStream) -> None:
    """Messages behind a length of four octets."""
    while True:
        (length,) = struct.unpack(">I", await buffered.receive_exactly(4))
        reply = answer(await buffered.receive_exactly(length))
        await stream.send(struct.pack(">I", len(reply)) + reply)


CONVERSATIONS = {"fixed:16": fixed, "line": lines, "u32": lengths}


async def serve(framing: str) -> None:
    """Serve until the benchmark ends."""
    talk = CONVERSATIONS[framing]

    async def handle(stream: SocketStream) -> None:
        async with stream:
            try:
                await talk(stream, BufferedByteReceiveStream(stream))
            except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
                pass

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0, backlog=4096)
    announce(listener.extra(SocketAttribute.local_port))
    await listener.serve(handle)


if __name__ == "__main__":
    anyio.run(serve, arguments(__doc__).parse_args().framing)
