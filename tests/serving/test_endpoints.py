"""One server with several endpoints, each with TLS, PROXY headers and limits of its own."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from certificates import Files, trusting
from fourtuple import Connection, Endpoint, Limits, Proxy, Server, Service, Sockets, Tls, events
from fourtuple.errors import AddressError, EncodeError, OptionError
from rig import Peer, echo, limits, serving, until

ANY = "127.0.0.1:0"
HEADER = b"PROXY TCP4 198.51.100.7 192.0.2.80 56324 443\r\n"


def names() -> Service:
    """Replies with the peer's name."""
    service = Service("line")

    @service.reply
    def reply(message: bytes, connection: Connection) -> bytes:
        return f"{message.decode()} {connection.name.remote_ip}".encode()  # type: ignore[union-attr]

    return service


async def said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, octets: bytes) -> bytes:
    writer.write(octets)
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return line


def test_each_has_its_own_tls_and_proxy(run_async: Any, readiness: str, tmp_path: Path) -> None:
    files, other = Files(tmp_path), Files(tmp_path, "other.example")

    async def main() -> None:
        secure = Endpoint(ANY, tls=Tls(certificate=files.both))
        balanced = Endpoint(ANY, proxy=Proxy(protocol="required"))
        both = Endpoint(ANY, tls=Tls(certificate=other.both), proxy=Proxy(protocol="required"))
        async with serving(names(), readiness, ANY, secure, balanced, both) as (server, seen):
            ports = [address.port for address in server.addresses]
            assert await said(*await asyncio.open_connection("127.0.0.1", ports[0]), b"a\n") == b"a 127.0.0.1\n"
            assert await said(*await asyncio.open_connection("127.0.0.1", ports[2]), HEADER + b"c\n") == (
                b"c 198.51.100.7\n"
            )
            over_tls = await asyncio.open_connection("127.0.0.1", ports[1], ssl=trusting(), server_hostname="localhost")
            assert await said(*over_tls, b"b\n") == b"b 127.0.0.1\n"
            reader, writer = await asyncio.open_connection("127.0.0.1", ports[3])
            writer.write(HEADER)
            await writer.start_tls(trusting(), server_hostname="other.example")
            assert await said(reader, writer, b"d\n") == b"d 198.51.100.7\n"
            await until(lambda: not server.connections)
            assert server.statistics.accepted == 4
            assert server.statistics.handshakes == 2
            assert len(seen.of(events.Closed)) == 4

    run_async(main())


def test_addresses_of_one_endpoint_share_its_counts(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        several = Endpoint([ANY, ANY], limits=Limits(max_connections_per_address=1))
        assert str(several) == f"{ANY}, {ANY}"
        async with serving(echo(), readiness, several, Endpoint(ANY)) as (server, seen):
            first, second, other = server.addresses
            with await Peer.connect(first) as peer:
                await peer.send(b"a\n")
                assert await peer.receive(2) == b"a\n"
                with await Peer.connect(second) as refused:
                    assert await refused.receive(1) == b""
                with await Peer.connect(other) as accepted:
                    await accepted.send(b"b\n")
                    assert await accepted.receive(2) == b"b\n"
            assert [event.limit for event in seen.of(events.Refused)] == ["max_connections_per_address"]

    run_async(main())


def test_an_endpoint_needs_an_address() -> None:
    with pytest.raises(OptionError, match="address: expected at least one address, got an empty list"):
        Endpoint([])
    with pytest.raises(AddressError, match="the port is missing"):
        Endpoint([ANY, "localhost"])


def test_an_endpoint_can_be_without_the_servers_tls(run_async: Any, readiness: str, tmp_path: Path) -> None:
    async def main() -> None:
        tls = Tls(certificate=Files(tmp_path).both)
        async with serving(echo(), readiness, Endpoint(ANY, tls=Tls()), ANY, tls=tls) as (server, _):
            plain, secure = (address.port for address in server.addresses)
            assert await said(*await asyncio.open_connection("127.0.0.1", plain), b"a\n") == b"a\n"
            over_tls = await asyncio.open_connection("127.0.0.1", secure, ssl=trusting(), server_hostname="localhost")
            assert await said(*over_tls, b"b\n") == b"b\n"

    run_async(main())


def test_starttls_uses_the_endpoints_certificate(run_async: Any, readiness: str, tmp_path: Path) -> None:
    service = Service("line")

    @service.conversation
    async def talk(connection: Connection) -> None:
        async for message in connection:
            await connection.send(message)
            if message == b"STARTTLS":
                await connection.start_tls()

    async def main() -> None:
        one, other = Files(tmp_path), Files(tmp_path, "other.example")
        tls = [Tls(certificate=files.both, mode="starttls") for files in (one, other)]
        async with serving(service, readiness, ANY, Endpoint(ANY, tls=tls[1]), tls=tls[0]) as (server, _):
            for address, name in zip(server.addresses, ("localhost", "other.example"), strict=True):
                reader, writer = await asyncio.open_connection("127.0.0.1", address.port)
                writer.write(b"STARTTLS\n")
                assert await reader.readline() == b"STARTTLS\n"
                await writer.start_tls(trusting(), server_hostname=name)
                assert await said(reader, writer, b"over\n") == b"over\n"

    run_async(main())


def test_limits_of_an_endpoint_are_counted_apart(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        own = Limits(max_connections_per_address=1, refusal="one only")
        async with serving(echo(), readiness, ANY, Endpoint(ANY, limits=own), limits=Limits(deny="192.0.2.0/24")) as (
            server,
            _,
        ):
            wide, narrow = server.addresses
            with ExitStack() as stack:
                peers = [stack.enter_context(await Peer.connect(wide)) for _ in range(3)]
                first = stack.enter_context(await Peer.connect(narrow))
                for peer in (*peers, first):
                    await peer.send(b"hi\n")
                    assert await peer.receive(3) == b"hi\n"
                second = stack.enter_context(await Peer.connect(narrow))
                assert await second.receive(9) == b"one only\n"
                assert server.refused == {"max_connections_per_address": 1}
                assert len(server.connections) == 4
                assert server.statistics.active == 4
                assert server.statistics.refused == 1
                for connection in server.connections.values():
                    assert server.find(connection.name) is connection
                assert server.broadcast(b"all").sent == 4
                for peer in (*peers, first):
                    assert await peer.receive(4) == b"all\n"
            await until(lambda: not server.connections)
            assert server.statistics.closed == 4

    run_async(main())


def test_max_connections_of_an_endpoint_makes_its_clients_wait_alone(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness, ANY, Endpoint(ANY, limits=Limits(max_connections=1))) as (server, _):
            wide, narrow = server.addresses
            with await Peer.connect(narrow) as first, await Peer.connect(narrow) as second:
                await first.send(b"1\n")
                assert await first.receive(2) == b"1\n"
                await second.send(b"2\n")
                assert server.listeners[1].paused == {"max_connections"}
                assert server.listeners[0].paused == frozenset()
                with await Peer.connect(wide) as other:
                    await other.send(b"3\n")
                    assert await other.receive(2) == b"3\n"
                first.close()
                assert await second.receive(2) == b"2\n"

    run_async(main())


def test_an_endpoint_without_own_limits_shares_the_servers_counts(
    run_async: Any, readiness: str, tmp_path: Path
) -> None:
    async def main() -> None:
        secure = Endpoint(ANY, tls=Tls(certificate=Files(tmp_path).both))
        own = Limits(max_connections_per_address=1)
        async with serving(echo(), readiness, ANY, secure, limits=own) as (server, _):
            plain, port = server.addresses[0], server.addresses[1].port
            with await Peer.connect(plain) as first:
                await first.send(b"1\n")
                assert await first.receive(2) == b"1\n"
                with await Peer.connect(server.addresses[1]) as second:
                    assert await second.receive(1) == b""
                assert server.refused == {"max_connections_per_address": 1}
                server.change_limits(max_connections_per_address=2)
                over_tls = await asyncio.open_connection("127.0.0.1", port, ssl=trusting(), server_hostname="localhost")
                assert await said(*over_tls, b"b\n") == b"b\n"

    run_async(main())


def test_limits_changed_while_serving_leave_an_endpoint_with_its_own(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness, ANY, Endpoint(ANY, limits=Limits())) as (server, _):
            server.change_limits(deny="127.0.0.0/8")
            with await Peer.connect(server.addresses[0]) as denied:
                assert await denied.receive(1) == b""
            with await Peer.connect(server.addresses[1]) as peer:
                await peer.send(b"hi\n")
                assert await peer.receive(3) == b"hi\n"

    run_async(main())


def test_a_drain_ends_the_connections_of_all_endpoints(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness, ANY, Endpoint(ANY, limits=Limits())) as (server, seen):
            with await Peer.connect(server.addresses[0]) as one, await Peer.connect(server.addresses[1]) as two:
                for peer in (one, two):
                    await peer.send(b"hi\n")
                    assert await peer.receive(3) == b"hi\n"
                draining = asyncio.ensure_future(server.drain())
                for peer in (one, two):
                    assert await peer.receive(1) == b""
                    peer.close()
                assert await draining == 0
            assert seen.of(events.Draining)[0].connections == 2
            assert all(listener.closed for listener in server.listeners)

    run_async(main())


def test_an_abort_counts_the_connections_of_all_endpoints(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness, ANY, Endpoint(ANY, limits=Limits())) as (server, _):
            with await Peer.connect(server.addresses[0]), await Peer.connect(server.addresses[1]):
                await until(lambda: len(server.connections) == 2)
                await server.abort()
                assert server.statistics.aborted == 2
                assert server.statistics.active == 0

    run_async(main())


def test_pause_and_resume_concern_all_endpoints(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(echo(), readiness, ANY, Endpoint(ANY, limits=Limits())) as (server, _):
            server.pause()
            assert [listener.paused for listener in server.listeners] == [{"by request"}, {"by request"}]
            server.resume()
            assert not any(listener.paused for listener in server.listeners)

    run_async(main())


def test_options_of_the_socket_are_the_endpoints(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        own = Endpoint(sock, sockets=Sockets(keepalive_idle=77))
        async with serving(echo(), readiness, ANY, own) as (server, _):
            for address, idle in zip(server.addresses, (60, 77), strict=True):
                with await Peer.connect(address) as peer:
                    await peer.send(b"hi\n")
                    assert await peer.receive(3) == b"hi\n"
                    (connection,) = server.connections.values()
                    accepted = connection._channel.socket
                    assert accepted is not None
                    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == idle
                await until(lambda: not server.connections)

    run_async(main())


def test_the_certificates_of_all_endpoints_are_read_again(run_async: Any, readiness: str, tmp_path: Path) -> None:
    async def main() -> None:
        files = Files(tmp_path)
        secure = [Endpoint(ANY, tls=Tls(certificate=files.both)) for _ in range(2)]
        async with serving(echo(), readiness, ANY, *secure) as (server, seen):
            assert server.certificates is None
            assert server._uses_certificates
            server.reload_certificates()
            assert len(seen.of(events.CertificatesRead)) == 2
            Path(files.both).write_text("nothing")
            with pytest.raises(OptionError, match="localhost"):
                server.reload_certificates()
            assert len(seen.of(events.CertificatesFailed)) == 2

    run_async(main())


def test_what_an_endpoint_cannot_have() -> None:
    with pytest.raises(AddressError):
        Endpoint("nowhere")
    with pytest.raises(OptionError, match=r"tsl.*did you mean tls\?"):
        Endpoint(ANY, tsl=None)  # type: ignore[call-arg]
    with pytest.raises(OptionError, match="limits: expected Limits or None, got 5"):
        Endpoint(ANY, limits=5)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"max_threads: 3 given for 127.0.0.1:0, it is a limit of the whole server"):
        Server(echo(), Endpoint(ANY, limits=Limits(max_threads=3)))
    with pytest.raises(EncodeError):
        Server(echo(), Endpoint(ANY, limits=Limits(refusal="two\nlines")))
    with pytest.raises(OptionError, match="certificate"):
        Server(echo(), Endpoint(ANY, tls=Tls(certificate="/nowhere.pem")))
    Server(echo(), Endpoint(ANY, limits=limits(max_threads=3)), limits=Limits(max_threads=3))
