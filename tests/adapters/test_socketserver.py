"""Handlers of socketserver on our engine: with the connection's own socket, and relayed."""

from __future__ import annotations

import asyncio
import socket
import socketserver
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from certificates import Files, trusting
from fourtuple import Deadlines, Limits, Proxy, Server, Tls, adapters, events
from fourtuple.engine import Channel
from fourtuple.errors import ServiceError
from fourtuple.handlers.socketpair import FarEnd
from rig import Peer, turns, until


class Upper(socketserver.StreamRequestHandler):
    """The handler of socketserver's documentation, for many lines."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        for line in self.rfile:
            self.wfile.write(line.strip().upper() + b" %s\n" % self.client_address[0].encode())


@pytest.mark.parametrize("how", ["own", "rates", "proxy", "tap"])
def test_a_handler_has_the_socket_and_the_address_of_the_client(run_async: Any, readiness: Any, how: str) -> None:
    options: dict[str, Any] = {}
    header, ip = b"", b"127.0.0.1"
    if how == "rates":
        options["limits"] = Limits(max_octet_rate=1e9)
    elif how == "tap":
        options["tap"] = lambda *_: None
    elif how == "proxy":
        options["proxy"] = Proxy(protocol="required", trusted="127.0.0.0/8")
        header, ip = b"PROXY TCP4 192.0.2.7 192.0.2.8 5 6\r\n", b"192.0.2.7"

    async def main() -> None:
        async with Server(adapters.socketserver(Upper), readiness=readiness, **options) as server:
            with await Peer.connect(server) as peer:
                assert await peer.talk(header + b"one\ntwo\n") == b"ONE %s\nTWO %s\n" % (ip, ip)
            await until(lambda: not server.connections)
            assert (server.statistics.accepted, server.statistics.aborted) == (1, 0)
            assert server.statistics.octets_in == len(header) + 8
            assert server.statistics.octets_out == 2 * (5 + len(ip))

    run_async(main())


@pytest.mark.parametrize("protocol", ["required", "optional"])
def test_behind_a_header_the_handler_has_the_connections_own_socket(
    run_async: Any, readiness: Any, protocol: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the header is cut, no octet after it is read, and a part of it does not wake the loop again and again."""
    header, reads, given = b"PROXY TCP4 192.0.2.7 192.0.2.8 5 6\r\n", [], []
    read = Channel._own_octets

    def counted(self: Channel, sock: Any, layer: Any) -> bytes:
        reads.append(octets := read(self, sock, layer))
        return octets

    class Own(Upper):
        def handle(self) -> None:
            given.append((self.request.getpeername()[0], self.client_address))
            super().handle()

    async def main() -> None:
        proxy = Proxy(protocol=protocol, trusted="127.0.0.0/8")
        async with Server(adapters.socketserver(Own), readiness=readiness, proxy=proxy) as server:
            for cut in ((1,), (7, 20), (5, 6, 7), (len(header) - 1,)):
                reads.clear()
                with await Peer.connect(server) as peer:
                    for number, (start, end) in enumerate(pairwise((0, *cut, len(header)))):
                        last = end == len(header)
                        await peer.send(header[start:end] + (b"one\ntwo\n" if last else b""))
                        await until(lambda number=number: len(reads) > number)
                        await turns()
                        assert reads == [header[a:b] for a, b in pairwise((0, *cut, len(header)))][: number + 1]
                    peer.finish()
                    assert await peer.receive_all() == b"ONE 192.0.2.7\nTWO 192.0.2.7\n"
                await until(lambda: not server.connections)
            assert set(given) == {("127.0.0.1", ("192.0.2.7", 5))}

    monkeypatch.setattr(Channel, "_own_octets", counted)
    run_async(main())


@pytest.mark.parametrize(("pieces", "own"), [([b"one\ntwo\n"], True), ([b"P", b"one\ntwo\n"], False)])
def test_without_the_optional_header_the_handler_has_the_connections_own_socket(
    run_async: Any, readiness: Any, pieces: list[bytes], own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the beginning looked like a header, and was read: then it is relayed, and nothing is lost."""
    given: list[tuple[Any, Any]] = []
    reads: list[bytes | None] = []
    read = Channel._own_octets

    def counted(self: Channel, sock: Any, layer: Any) -> bytes | None:
        reads.append(octets := read(self, sock, layer))
        return octets

    class Own(Upper):
        def handle(self) -> None:
            given.append((type(self.request), self.client_address[0]))
            super().handle()

    async def main() -> None:
        proxy = Proxy(protocol="optional", trusted="127.0.0.0/8")
        async with Server(adapters.socketserver(Own), readiness=readiness, proxy=proxy) as server:
            with await Peer.connect(server) as peer:
                for number, piece in enumerate(pieces, 1):
                    await peer.send(piece)
                    await until(lambda number=number: len(reads) == number)
                assert reads == ([None] if own else pieces)
                peer.finish()
                sent = b"".join(pieces).split()
                assert await peer.receive_all() == b"".join(b"%s 127.0.0.1\n" % line.upper() for line in sent)
            await until(lambda: not server.connections)
            assert server.statistics.octets_in == len(b"".join(pieces))
            assert given == [(socket.socket if own else FarEnd, "127.0.0.1")]

    monkeypatch.setattr(Channel, "_own_octets", counted)
    run_async(main())


def test_under_tls_with_more_than_the_buffers_hold(run_async: Any, readiness: Any, tmp_path: Path) -> None:
    class Echo(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            assert self.request.getpeername() == self.client_address
            while data := self.request.recv(100_000):
                self.request.sendall(data)

    files = Files(tmp_path)

    async def main() -> None:
        tls = Tls(certificate=files.certificate, key=files.key)
        async with Server(adapters.socketserver(Echo), readiness=readiness, tls=tls) as server:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", server.port, ssl=trusting(), server_hostname="localhost"
            )
            size = 8 << 20
            writer.write(bytes(size))
            assert await reader.readexactly(size) == bytes(size)
            writer.close()
            await writer.wait_closed()
            await until(lambda: not server.connections)

    run_async(main())


def test_a_handler_that_raises_and_one_that_closes(run_async: Any, readiness: Any) -> None:
    class Odd(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data = self.request.recv(10)
            self.request.sendall(b"last words")
            if data == b"raise":
                raise LookupError("mine")
            self.request.close()

    async def main() -> None:
        told: list[events.Event] = []
        for limits in (Limits(), Limits(max_octet_rate=1e9)):
            service = adapters.socketserver(Odd)
            async with Server(service, readiness=readiness, observer=told.append, limits=limits) as server:
                for word in (b"raise", b"close"):
                    with await Peer.connect(server) as peer:
                        await peer.send(word)
                        assert await peer.receive_all() == b"last words"
                await until(lambda server=server: not server.connections)
        assert [type(each.error) for each in told if isinstance(each, events.HandlerRaised)] == [LookupError] * 2

    run_async(main())


@pytest.mark.parametrize("relayed", [False, True])
def test_a_drain_lets_the_handler_see_an_end_of_file(run_async: Any, readiness: Any, relayed: bool) -> None:
    got = threading.Event()

    class Last(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while self.request.recv(100):
                got.set()
            self.request.sendall(b"my last reply")

    async def main() -> None:
        limits = Limits(max_octet_rate=1e9) if relayed else Limits()
        deadlines = Deadlines(drain_idle_timeout=0.0)
        server = Server(adapters.socketserver(Last), readiness=readiness, limits=limits, deadlines=deadlines)
        await server.start()
        with await Peer.connect(server) as peer:
            await peer.send(b"request")
            await until(got.is_set)
            draining = asyncio.ensure_future(server.drain())
            assert await peer.receive_all() == b"my last reply"
            peer.close()
            assert await draining == 0

    run_async(main())


@pytest.mark.parametrize("relayed", [False, True])
def test_an_abort_ends_the_handler(run_async: Any, readiness: Any, relayed: bool) -> None:
    begun, ended = threading.Event(), threading.Event()

    class Waiting(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            begun.set()
            try:
                self.request.recv(100)
            finally:
                ended.set()

    async def main() -> None:
        limits = Limits(max_octet_rate=1e9) if relayed else Limits()
        async with Server(adapters.socketserver(Waiting), readiness=readiness, limits=limits) as server:
            with await Peer.connect(server):
                await until(begun.is_set)
                await server.abort()
        assert ended.is_set()

    run_async(main())


def test_a_whole_server_is_asked_for_each_request(run_async: Any, readiness: Any) -> None:
    class Picky(socketserver.ThreadingTCPServer):
        refused = 0

        def verify_request(self, request: Any, client_address: Any) -> bool:
            return not self.refused

    async def main() -> None:
        with Picky(("127.0.0.1", 0), Upper, bind_and_activate=False) as picky:
            async with Server(adapters.socketserver(picky), readiness=readiness) as server:
                with await Peer.connect(server) as peer:
                    assert await peer.talk(b"a\n") == b"A 127.0.0.1\n"
                picky.refused = 1
                with await Peer.connect(server) as peer:
                    assert await peer.talk(b"a\n") == b""

    run_async(main())


def test_what_cannot_be_adapted() -> None:
    with pytest.raises(ServiceError, match="BaseRequestHandler"):
        adapters.socketserver(int)  # type: ignore[arg-type]
    with socketserver.UDPServer(("127.0.0.1", 0), Upper) as datagrams, pytest.raises(ServiceError, match="datagrams"):
        adapters.socketserver(datagrams)
