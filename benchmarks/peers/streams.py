"""asyncio streams, on asyncio or uvloop: readexactly and write."""

from __future__ import annotations

import asyncio
import struct
from asyncio import StreamReader, StreamWriter

from benchmarks.peers.handler import MIB, announce, answer, arguments


async def fixed(reader: StreamReader, writer: StreamWriter) -> None:
    """Messages of 16 octets."""
    while True:
        writer.write(answer(await reader.readexactly(16)))
        await writer.drain()


async def lines(reader: StreamReader, writer: StreamWriter) -> None:
    """Messages that end with a line feed."""
    while line := await reader.readline():
        writer.write(answer(line[:-1]) + b"\n")
        await writer.drain()


async def lengths(reader: StreamReader, writer: StreamWriter) -> None:
    """Messages behind a length of four octets."""
    while True:
        (length,) = struct.unpack(">I", await reader.readexactly(4))
        reply = answer(await reader.readexactly(length))
        writer.write(struct.pack(">I", len(reply)) + reply)
        await writer.drain()


CONVERSATIONS = {"fixed:16": fixed, "line": lines, "u32": lengths}


async def serve(framing: str) -> None:
    """Serve until the benchmark ends."""

    async def talk(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            await CONVERSATIONS[framing](reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, limit=MIB, backlog=4096)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = arguments(__doc__)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    asked = parser.parse_args()
    if asked.loop == "uvloop":
        import uvloop

        uvloop.run(serve(asked.framing))
    else:
        asyncio.run(serve(asked.framing))


if __name__ == "__main__":
    main()
