"""gevent's StreamServer: a greenlet per connection, a buffered file for reading."""

from __future__ import annotations

import socket
import struct
from typing import Any

from gevent.server import StreamServer

from benchmarks.peers.handler import announce, answer, arguments


def fixed(sock: Any, file: Any) -> None:
    """Messages of 16 octets."""
    while len(message := file.read(16)) == 16:
        sock.sendall(answer(message))


def lines(sock: Any, file: Any) -> None:
    """Messages that end with a line feed."""
    for line in file:
        sock.sendall(answer(line[:-1]) + b"\n")


def lengths(sock: Any, file: Any) -> None:
    """Messages behind a length of four octets."""
    while len(head := file.read(4)) == 4:
        reply = answer(file.read(struct.unpack(">I", head)[0]))
        sock.sendall(struct.pack(">I", len(reply)) + reply)


CONVERSATIONS = {"fixed:16": fixed, "line": lines, "u32": lengths}


def main() -> None:
    """Serve until the benchmark ends."""
    talk = CONVERSATIONS[arguments(__doc__).parse_args().framing]

    def handle(sock: Any, _address: object) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with sock.makefile("rb") as file:
                talk(sock, file)
        except ConnectionError:
            pass

    server = StreamServer(("127.0.0.1", 0), handle, backlog=4096)
    server.start()
    announce(server.server_port)
    server.serve_forever()


if __name__ == "__main__":
    main()
