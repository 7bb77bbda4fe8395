"""socketserver with a thread per connection."""

from __future__ import annotations

import socketserver
import struct

from benchmarks.peers.handler import announce, answer, arguments


class Handler(socketserver.StreamRequestHandler):
    """What all three have in common."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        try:
            self.talk()
        except ConnectionError:
            pass

    def talk(self) -> None:
        """Messages of 16 octets."""
        while len(message := self.rfile.read(16)) == 16:
            self.wfile.write(answer(message))


class Lines(Handler):
    """Messages that end with a line feed."""

    def talk(self) -> None:
        for line in self.rfile:
            self.wfile.write(answer(line[:-1]) + b"\n")


class Lengths(Handler):
    """Messages behind a length of four octets."""

    def talk(self) -> None:
        while len(head := self.rfile.read(4)) == 4:
            reply = answer(self.rfile.read(struct.unpack(">I", head)[0]))
            self.wfile.write(struct.pack(">I", len(reply)) + reply)


class Server(socketserver.ThreadingTCPServer):
    """A daemon thread per connection, and a queue that holds who comes."""

    daemon_threads = True
    request_queue_size = 4096


HANDLERS = {"fixed:16": Handler, "line": Lines, "u32": Lengths}


def main() -> None:
    """Serve until the benchmark ends."""
    with Server(("127.0.0.1", 0), HANDLERS[arguments(__doc__).parse_args().framing]) as server:
        announce(server.server_address[1])
        server.serve_forever()


if __name__ == "__main__":
    main()
