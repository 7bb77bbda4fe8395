"""server.adopt(): a connection that the program made or was given is served as an accepted one."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from fourtuple import BlockingConnection, Connection, Limits, Proxy, Reason, Server, Service, Sockets, Tls, events
from fourtuple.errors import OptionError, ServiceError, WrongThread
from fourtuple.four_tuple import FourTuple, UnixName
from rig import PATIENT, Peer, limits, serving, tcp_pair, until

KINDS = ["plain", "async", "conversation", "blocking", "program"]


def service_of(kind: str) -> Service:
    service = Service("line")
    if kind == "plain":
        service.reply(lambda message: message.upper())
    elif kind == "async":

        @service.reply
        async def reply(message: bytes) -> bytes:
            return message.upper()

    elif kind == "conversation":

        @service.conversation
        async def talk(connection: Connection) -> None:
            async for message in connection:
                await connection.send(message.upper())

    elif kind == "blocking":

        @service.conversation
        def converse(connection: BlockingConnection) -> None:
            for message in connection:
                connection.send(message.upper())

    else:
        service.program("tr", "a-z", "A-Z")
    return service


def pair(kind: str) -> tuple[socket.socket, socket.socket]:
    return tcp_pair() if kind == "tcp" else socket.socketpair()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_it_is_served_as_an_accepted_one(run_async: Any, readiness: str, kind: str, family: str) -> None:
    async def main() -> None:
        async with serving(service_of(kind), readiness, listen=False) as (server, seen):
            near, far = pair(family)
            connection = server.adopt(near)
            assert connection is not None
            assert near.fileno() == -1, "the server owns it at once"
            assert type(connection.name) is (FourTuple if family == "tcp" else UnixName)
            assert server.connections == {connection.id: connection}
            with Peer(far) as peer:
                assert await peer.talk(b"hello\n") == b"HELLO\n"
            assert (await seen.closed()).id == connection.id
            assert [event.id for event in seen.of(events.Accepted)] == [connection.id]
            await until(lambda: not server.connections)
            assert (server.statistics.accepted, server.statistics.active) == (1, 0)

    run_async(main())


def test_the_options_of_the_servers_sockets_apply(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        sockets = Sockets(keepalive_idle=77)
        async with serving(service_of("plain"), readiness, sockets=sockets) as (server, _):
            near, far = tcp_pair()
            with far:
                connection = server.adopt(near)
                assert connection is not None
                sock = connection._channel.socket
                assert sock is not None
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
                assert not sock.getblocking()

    run_async(main())


# -- limits -----------------------------------------------------------------------------------------------


def test_it_counts_for_max_connections_and_is_refused_there(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        few = Limits(max_connections=2, refusal="full")
        async with serving(service_of("plain"), readiness, limits=few) as (server, seen):
            with await Peer.connect(server) as accepted:
                await seen.wait(events.Accepted)
                ends = [tcp_pair() for _ in range(2)]
                with ends[0][1], Peer(ends[1][1]) as refused:
                    assert server.adopt(ends[0][0]) is not None
                    assert await seen.wait(events.AcceptPaused)
                    assert server.adopt(ends[1][0]) is None
                    assert ends[1][0].fileno() == -1
                    assert await refused.receive_all() == b"full\n"
                    (event,) = seen.of(events.Refused)
                    assert (event.limit, event.why) == (
                        "max_connections",
                        "2 connections are here, no more than 2 are allowed",
                    )
                    assert await accepted.talk(b"x\n") == b"X\n"
                    await until(lambda: len(server.connections) == 1)
                    again, far = tcp_pair()
                    with far:
                        assert server.adopt(again) is not None

    run_async(main())


@pytest.mark.parametrize(
    ("given", "limit"),
    [({"max_connections_per_address": 1}, "max_connections_per_address"), ({"deny": "127.0.0.0/8"}, "deny")],
)
def test_the_limits_of_its_address_apply(run_async: Any, readiness: str, given: Any, limit: str) -> None:
    async def main() -> None:
        async with serving(service_of("plain"), readiness, limits=limits(**given)) as (server, seen):
            one, other = tcp_pair(), tcp_pair()
            with one[1], other[1]:
                first = server.adopt(one[0])
                assert (first is None) == (limit == "deny")
                assert server.adopt(other[0]) is None
                assert {event.limit for event in seen.of(events.Refused)} == {limit}
                if first is not None:
                    first.abort()
                    await seen.closed()
                    more, far = tcp_pair()
                    with far:
                        assert server.adopt(more) is not None, "it has left the books"

    run_async(main())


def test_while_the_server_stops_and_afterwards_it_is_refused(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(service_of("plain"), readiness, limits=Limits(refusal="full")) as (server, seen):
            with await Peer.connect(server) as peer:
                await peer.send(b"half")
                await until(lambda: server.connections)
                draining = asyncio.ensure_future(server.drain())
                await seen.wait(events.Draining)
                near, far = tcp_pair()
                with Peer(far) as late:
                    assert server.adopt(near) is None
                    assert await late.receive_all() == b""
                await peer.send(b" and half\n")
                await peer.discard()
                peer.close()
                await draining
            near, far = tcp_pair()
            with Peer(far) as later:
                assert server.adopt(near) is None
                assert await later.receive_all() == b""
            assert [event.limit for event in seen.of(events.Refused)] == ["draining", "draining"]

    run_async(main())


def test_a_drain_waits_for_it(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        deadlines = PATIENT.replace(drain_first_message_timeout=0.0, linger_timeout=5.0)
        async with serving(service_of("plain"), readiness, deadlines=deadlines, listen=False) as (server, seen):
            near, far = tcp_pair()
            server.adopt(near)
            with Peer(far) as peer:
                draining = asyncio.ensure_future(server.drain())
                assert await peer.receive_all() == b""
                peer.close()
                assert await draining == 0
            assert (await seen.closed()).reason is Reason.DRAINED

    run_async(main())


# -- what comes before the first message ------------------------------------------------------------------


def test_a_proxy_header_names_its_client(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(service_of("plain"), readiness, proxy=Proxy(protocol="required")) as (server, _):
            near, far = socket.socketpair()
            connection = server.adopt(near)
            assert connection is not None
            with Peer(far) as peer:
                assert await peer.talk(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nhello\n") == b"HELLO\n"
            assert str(connection.name) == "192.0.2.2:2 <- 192.0.2.1:1"

    run_async(main())


def test_it_begins_with_tls_where_the_server_does(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(service_of("plain"), readiness, tls=Tls(dev=True), listen=False) as (server, _):
            near, far = tcp_pair()
            connection = server.adopt(near)
            assert connection is not None
            assert server.connections == {}
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            reader, writer = await asyncio.open_connection(sock=far, ssl=context, server_hostname="x")
            writer.write(b"hello\n")
            assert await reader.readline() == b"HELLO\n"
            assert connection.tls is not None
            writer.close()
            await writer.wait_closed()

    run_async(main())


# -- what is not a connection --------------------------------------------------------------------------------


def datagrams() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def listening() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def closed() -> socket.socket:
    sock = socket.socket()
    sock.close()
    return sock


def tls_wrapped() -> socket.socket:
    return ssl.create_default_context().wrap_socket(socket.socket(), server_hostname="x")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (datagrams, "it sends datagrams"),
        (listening, "it listens"),
        (closed, ""),
        (tls_wrapped, "its TLS has begun elsewhere"),
    ],
)
def test_another_kind_of_socket_is_refused_and_closed(run_async: Any, make: Any, why: str) -> None:
    async def main() -> None:
        async with serving(service_of("plain")) as (server, _):
            sock = make()
            number = sock.fileno()
            expected = "socket: expected an open socket, got <.*>, which is closed"
            if why:
                expected = f"socket: expected a connected stream socket of TCP or Unix, got <.*>: {why}"
            with pytest.raises(OptionError, match=expected):
                server.adopt(sock)
            assert sock.fileno() == -1
            if number >= 0:
                with pytest.raises(OSError, match="Bad file descriptor"):
                    os.fstat(number)
            with pytest.raises(OptionError, match="socket: expected socket, got 3"):
                server.adopt(3)  # type: ignore[arg-type]

    run_async(main())


def test_one_that_is_not_connected_has_vanished(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(service_of("plain"), readiness) as (server, seen):
            assert server.adopt(socket.socket()) is None
            near, far = tcp_pair()
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            far.close()
            await asyncio.sleep(0)
            assert server.adopt(near) is None
            assert [event.limit for event in seen.of(events.Refused)] == ["vanished", "vanished"]

    run_async(main())


def test_a_server_that_is_not_started_closes_it(run_async: Any) -> None:
    async def main() -> None:
        server = Server(service_of("plain"))
        near, far = tcp_pair()
        with Peer(far) as peer:
            with pytest.raises(ServiceError, match="adopt: the server is not started; the socket is closed"):
                server.adopt(near)
            assert await peer.receive_all() == b""

    run_async(main())


def test_in_another_thread_the_error_names_call_soon_and_nothing_is_taken(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(service_of("plain"), readiness) as (server, _):
            near, far = tcp_pair()
            with Peer(far) as peer:

                def give() -> None:
                    with pytest.raises(WrongThread, match=r"server\.call_soon\(server\.adopt, \.\.\.\)"):
                        server.adopt(near)
                    assert near.fileno() > 0
                    server.call_soon(server.adopt, near)

                thread = threading.Thread(target=give)
                thread.start()
                assert await peer.talk(b"hello\n") == b"HELLO\n"
                thread.join()

    run_async(main())


def test_a_socket_of_another_process(run_async: Any, readiness: str, tmp_path: Path) -> None:
    """One process accepts and passes the descriptor on (SCM_RIGHTS, unix(7))."""

    async def main() -> None:
        async with serving(service_of("plain"), readiness, listen=False) as (server, _):
            ours, theirs = socket.socketpair()
            near, far = tcp_pair()
            with ours, theirs, near, Peer(far) as peer:
                socket.send_fds(theirs, [b"x"], [near.fileno()])
                _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
                server.adopt(socket.socket(fileno=descriptors[0]))
                assert await peer.talk(b"hello\n") == b"HELLO\n"

    run_async(main())


# -- a server without addresses ---------------------------------------------------------------------------


def test_a_server_may_have_no_address(run_async: Any, readiness: str) -> None:
    async def main() -> None:
        async with serving(service_of("plain"), readiness, listen=False) as (server, seen):
            assert (server.listeners, server.addresses) == ((), ())
            assert repr(server).endswith("serving, not listening, 0 connections>")
            with pytest.raises(ServiceError, match="has no address"):
                server.port  # noqa: B018  # the look-up is what is tested
            await server.drain()
            assert seen.of(events.Listening) == []
        with pytest.raises(OptionError, match=r"listen: expected no address with listen=False, got 127\.0\.0\.1:9999"):
            Server(service_of("plain"), "127.0.0.1:9999", listen=False)

    run_async(main())
