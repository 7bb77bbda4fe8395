"""asyncio.Protocol, on asyncio or uvloop: splits what was read, calls a handler per message, writes once per read."""

from __future__ import annotations

import asyncio
import ssl
import struct
from typing import cast

from benchmarks.peers.handler import MIB, announce, answer, arguments, compute_for_ever, server_context


class Fixed(asyncio.Protocol):
    """Messages of one size."""

    size = 16

    def __init__(self) -> None:
        self.rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance: uvloop's transports are none of asyncio's classes.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self.rest:
            data = self.rest + data
        size = self.size
        end = len(data) - len(data) % size
        replies = [answer(data[at : at + size]) for at in range(0, end, size)]
        self.rest = data[end:]
        if replies:
            self.transport.write(b"".join(replies))


class News(Fixed):
    """One that begins with ``!`` goes to everybody."""

    size = 100
    everybody: set[asyncio.Transport] = set()  # noqa: RUF012

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.everybody.add(self.transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.everybody.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        if not self.rest and data.startswith(b"!") and len(data) == self.size:
            for transport in self.everybody:
                transport.write(data)
        else:
            super().data_received(data)


class Lines(Fixed):
    """Messages that end with a line feed."""

    def data_received(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        if lines:
            self.transport.write(b"".join([answer(line) + b"\n" for line in lines]))


class Lengths(asyncio.Protocol):
    """Messages behind a length of four octets."""

    def __init__(self) -> None:
        self.buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance: uvloop's transports are none of asyncio's classes.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        buffer = self.buffer
        buffer += data
        replies: list[bytes] = []
        at, held = 0, len(buffer)
        with memoryview(buffer) as view:
            while held - at >= 4:
                (length,) = struct.unpack_from(">I", buffer, at)
                if held - at - 4 < length:
                    break
                reply = answer(bytes(view[at + 4 : at + 4 + length]))
                replies += (struct.pack(">I", len(reply)), reply)
                at += 4 + length
        if at:
            del buffer[:at]
            self.transport.write(b"".join(replies))


class BufferedLengths(asyncio.BufferedProtocol):
    """The same for large messages: octets are read straight to their place."""

    def __init__(self) -> None:
        self.buffer = bytearray(MIB + 4)
        self.view = memoryview(self.buffer)
        self.held = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # No isinstance: uvloop's transports are none of asyncio's classes.
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.view[self.held :]

    def buffer_updated(self, nbytes: int) -> None:
        self.held += nbytes
        at = 0
        while self.held - at >= 4:
            (length,) = struct.unpack_from(">I", self.buffer, at)
            if length > MIB:
                self.transport.abort()
                return
            if self.held - at - 4 < length:
                break
            reply = answer(bytes(self.view[at + 4 : at + 4 + length]))
            self.transport.writelines((struct.pack(">I", len(reply)), reply))
            at += 4 + length
        if at:
            self.view[: self.held - at] = self.view[at : self.held]
            self.held -= at


PROTOCOLS = {"fixed:16": Fixed, "fixed:100": News, "line": Lines, "u32": Lengths}


async def serve(protocol: type[asyncio.BaseProtocol], context: ssl.SSLContext | None) -> None:
    """Serve until the benchmark ends."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=context, backlog=4096)
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = arguments(__doc__)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--buffered", action="store_true", help="u32 by a BufferedProtocol")
    parser.add_argument("--beside-thread", action="store_true", help="a thread of the same process computes")
    parser.add_argument("--tls", help="certificate and key, one file")
    asked = parser.parse_args()
    if asked.beside_thread:
        compute_for_ever()
    protocol = BufferedLengths if asked.buffered else PROTOCOLS[asked.framing]
    work = serve(protocol, server_context(asked.tls))
    if asked.loop == "uvloop":
        import uvloop

        uvloop.run(work)
    else:
        asyncio.run(work)


if __name__ == "__main__":
    main()
