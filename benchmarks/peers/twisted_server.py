"""Twisted: Protocol, LineReceiver, Int32StringReceiver on its epoll reactor."""

from __future__ import annotations

from twisted.internet import epollreactor

epollreactor.install()  # type: ignore[no-untyped-call]

from twisted.internet import protocol, reactor  # noqa: E402
from twisted.protocols.basic import Int32StringReceiver, LineReceiver  # noqa: E402

from benchmarks.peers.handler import MIB, announce, answer, arguments  # noqa: E402


class Fixed(protocol.Protocol):
    """Messages of 16 octets."""

    rest = b""

    def connectionMade(self) -> None:  # noqa: N802
        self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        data = self.rest + data
        end = len(data) - len(data) % 16
        self.rest = data[end:]
        self.transport.write(b"".join([answer(data[at : at + 16]) for at in range(0, end, 16)]))


class Lines(LineReceiver):
    """Messages that end with a line feed."""

    delimiter = b"\n"

    def connectionMade(self) -> None:  # noqa: N802
        self.transport.setTcpNoDelay(True)

    def lineReceived(self, line: bytes) -> None:  # noqa: N802
        self.sendLine(answer(line))


class Lengths(Int32StringReceiver):
    """Messages behind a length of four octets."""

    MAX_LENGTH = MIB

    def connectionMade(self) -> None:  # noqa: N802
        self.transport.setTcpNoDelay(True)

    def stringReceived(self, string: bytes) -> None:  # noqa: N802
        self.sendString(answer(string))


PROTOCOLS = {"fixed:16": Fixed, "line": Lines, "u32": Lengths}


def main() -> None:
    """Serve until the benchmark ends."""
    factory = protocol.Factory.forProtocol(PROTOCOLS[arguments(__doc__).parse_args().framing])
    factory.noisy = False
    port = reactor.listenTCP(0, factory, backlog=4096, interface="127.0.0.1")
    announce(port.getHost().port)
    reactor.run()


if __name__ == "__main__":
    main()
