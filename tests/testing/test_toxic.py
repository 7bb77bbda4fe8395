"""The proxy, toxic by toxic. What is measured has a lower bound alone: a loaded machine is slow, never early."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fourtuple import BlockingConnection, Server, Service
from fourtuple import connect as connect_async
from fourtuple.blocking import connect
from fourtuple.errors import ConnectionLost, DeadlinePassed, EndOfFile, OptionError
from fourtuple.testing import Toxic, Toxics

PATIENCE = 30.0


@pytest.fixture
def server(tcp_server: Any) -> Server:
    echo = Service("raw", name="echo")
    echo.reply(lambda octets: octets)
    started: Server = tcp_server(echo)
    return started


@pytest.fixture
def proxy(server: Server) -> Iterator[Toxic]:
    with Toxic(server) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Toxic) -> Iterator[BlockingConnection]:
    with connect(proxy.address, "raw") as connection:
        yield connection
        connection.abort()


def receive_all(connection: BlockingConnection, got: bytearray) -> None:
    """Receive until an error comes."""
    while True:
        got += connection.receive_some(timeout=PATIENCE)


def send_all(sock: socket.socket, octets: bytes) -> None:
    for at in range(0, len(octets), 1 << 16):
        sock.sendall(octets[at : at + 65536])


def test_without_toxics_octets_pass(proxy: Toxic, client: BlockingConnection) -> None:
    octets = bytes(range(256)) * 4096
    sending = threading.Thread(target=client.send, args=(octets,))
    sending.start()
    assert client.receive_exactly(len(octets), timeout=PATIENCE) == octets
    sending.join()
    assert (proxy.connections, proxy.accepted) == (1, 1)
    assert proxy.octets_up == proxy.octets_down == len(octets)
    client.send_eof()
    with pytest.raises(EndOfFile):
        client.receive(timeout=PATIENCE)


def test_latency_and_jitter(proxy: Toxic, client: BlockingConnection) -> None:
    proxy.upstream = Toxics(latency=0.05)
    proxy.downstream = Toxics(latency=0.05, jitter=0.02)
    began = time.monotonic()
    client.send(b"a")
    client.send(b"b")
    client.send(b"c")
    assert client.receive_exactly(3, timeout=PATIENCE) == b"abc"  # nothing overtakes
    assert time.monotonic() - began >= 0.1


def test_bandwidth_delays_octets(proxy: Toxic, client: BlockingConnection) -> None:
    proxy.upstream = Toxics(bandwidth=2000)
    began = time.monotonic()
    client.send(b"x" * 300)
    assert client.receive_exactly(300, timeout=PATIENCE) == b"x" * 300
    assert time.monotonic() - began >= 0.1  # all but the last piece of a hundred octets waits


def test_slices_arrive_one_by_one(proxy: Toxic, client: BlockingConnection) -> None:
    client.send(b"warm")
    assert client.receive_exactly(4, timeout=PATIENCE) == b"warm"
    proxy.downstream = Toxics(slice=1, bandwidth=200)
    client.send(b"0123456789")
    pieces = []
    while sum(map(len, pieces)) < 10:
        pieces.append(client.receive_some(timeout=PATIENCE))
    assert b"".join(pieces) == b"0123456789"
    assert len(pieces) > 1


def test_silence_holds_and_gives_back(proxy: Toxic, client: BlockingConnection) -> None:
    proxy.downstream = Toxics(silent=True)
    client.send(b"held")
    client.send_eof()
    with pytest.raises(DeadlinePassed):
        client.receive(timeout=0.05)
    proxy.downstream = Toxics()
    assert client.receive_exactly(4, timeout=PATIENCE) == b"held"
    with pytest.raises(EndOfFile):
        client.receive(timeout=PATIENCE)


def test_a_silent_direction_holds_a_bounded_number_of_octets(server: Server) -> None:
    small = {socket.SO_SNDBUF: 4096, socket.SO_RCVBUF: 4096}
    with Toxic(server, upstream=Toxics(silent=True), buffer=1000) as proxy, socket.socket() as plain:
        for option, size in small.items():
            plain.setsockopt(socket.SOL_SOCKET, option, size)
        plain.connect((proxy.address.host, proxy.address.port))
        plain.settimeout(0.2)
        with pytest.raises(TimeoutError):
            send_all(plain, bytes(1 << 26))
        assert proxy.octets_up == 0
        (link,) = proxy._network.links
        assert link.pumps[True].flow.size <= 1000


def test_reset_after_so_many_octets(proxy: Toxic, client: BlockingConnection) -> None:
    proxy.downstream = Toxics(reset_after=6)
    client.send(b"0123456789")
    got = bytearray()
    with pytest.raises(ConnectionLost, match="reset"):
        receive_all(client, got)
    assert b"012345".startswith(bytes(got))
    assert proxy.octets_down == 6


def test_reset_is_seen_at_both_ends_and_at_once(proxy: Toxic, client: BlockingConnection, server: Server) -> None:
    client.send(b"x")
    assert client.receive(timeout=PATIENCE) == b"x"
    proxy.upstream = Toxics(reset_after=0)
    with pytest.raises(ConnectionLost, match="reset"):
        client.receive(timeout=PATIENCE)
    proxy.upstream = Toxics()
    with connect(proxy.address, "raw") as other:
        other.send(b"y")
        assert other.receive(timeout=PATIENCE) == b"y"
        assert server.statistics.active == 1
        proxy.reset()
        with pytest.raises(ConnectionLost, match="reset"):
            other.receive(timeout=PATIENCE)


def test_half_close_after(proxy: Toxic, client: BlockingConnection) -> None:
    proxy.downstream = Toxics(half_close_after=4)
    client.send(b"0123456789")
    assert client.receive_exactly(4, timeout=PATIENCE) == b"0123"
    with pytest.raises(EndOfFile):
        client.receive(timeout=PATIENCE)
    client.send(b"and on")  # the other direction goes on
    client.send_eof()
    while proxy.connections:
        pass  # in the proxy's thread
    assert proxy.octets_up == 16
    assert proxy.octets_down == 4


def test_close_after_so_many_octets(proxy: Toxic, client: BlockingConnection) -> None:
    proxy.upstream = Toxics(close_after=5)
    client.send(b"0123456789")
    got = bytearray()
    with pytest.raises(EndOfFile):
        receive_all(client, got)
    assert b"01234".startswith(bytes(got))
    assert proxy.octets_up == 5


def test_a_server_that_vanishes(proxy: Toxic, client: BlockingConnection) -> None:
    proxy.downstream = Toxics(half_open_after=3)
    client.send(b"0123456789")
    assert client.receive_exactly(3, timeout=PATIENCE) == b"012"
    client.send_eof()  # the server ends, too, and its FIN does not arrive
    with pytest.raises(DeadlinePassed):
        client.receive_some(timeout=0.2)
    proxy.reset()
    with pytest.raises(ConnectionLost):
        client.receive_some(timeout=PATIENCE)


def test_a_client_that_resets_and_one_that_comes_after(proxy: Toxic, server: Server) -> None:
    with connect(proxy.address, "raw") as one:
        one.send(b"x")
        assert one.receive(timeout=PATIENCE) == b"x"
        one.abort()
    with connect(proxy.address, "raw") as other:
        other.send(b"y")
        assert other.receive(timeout=PATIENCE) == b"y"
    assert proxy.accepted == 2


def test_a_target_that_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        port = closing.getsockname()[1]
    reset = pytest.raises(ConnectionResetError)  # already of connect(), where it comes soon enough
    with Toxic(f"127.0.0.1:{port}") as proxy, reset, connect(proxy.address, "raw") as connection:
        connection.receive(timeout=PATIENCE)


def test_a_unix_target(tcp_server: Any, tmp_path: Any) -> None:
    echo = Service("line")
    echo.reply(lambda message: message)
    server = tcp_server(echo, f"unix:{tmp_path}/echo.sock")
    with Toxic(server, downstream=Toxics(slice=1)) as proxy, connect(proxy.address, "line") as connection:
        assert connection.request(b"octet by octet", timeout=PATIENCE) == b"octet by octet"


def test_in_an_async_test(proxy: Toxic, run_async: Any) -> None:
    async def main() -> None:
        async with connect_async(proxy.address, "raw") as connection:
            await connection.send(b"async")
            assert await connection.receive_exactly(5, timeout=PATIENCE) == b"async"
            proxy.reset()
            with pytest.raises(ConnectionLost):
                await connection.receive(timeout=PATIENCE)

    run_async(main())


def test_the_proxy_can_be_left_at_any_time(server: Server) -> None:
    for _ in range(50):
        with Toxic(server) as proxy:
            plain = socket.create_connection((proxy.address.host, proxy.address.port))
        plain.close()
    with pytest.raises(OptionError, match="entered once"):
        proxy.__enter__()


@pytest.mark.parametrize(
    ("toxics", "says"),
    [
        ({"latency": -1}, "latency is -1, it must be at least 0"),
        ({"latency": "1s"}, "latency: expected a number, got '1s'"),
        ({"jitter": None}, "jitter: expected a number, got None"),
        ({"bandwidth": True}, "bandwidth: expected a number or None, got True"),
        ({"slice": 0}, "slice is 0, it must be at least 1"),
        ({"bandwidth": 0}, "silent=True lets nothing pass"),
        ({"reset_after": -1}, "reset_after is -1"),
        ({"reset_after": 1.5}, "reset_after: expected a whole number or None, got 1.5"),
        ({"slice": 1.5}, "slice: expected a whole number or None, got 1.5"),
        ({"silent": "no"}, "silent: expected True or False, got 'no'"),
    ],
)
def test_what_cannot_be(toxics: Any, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        Toxics(**toxics)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"buffer": 0}, "buffer: expected a whole number of octets, 1 or more, got 0"),
        ({"buffer": "64k"}, "buffer: expected a whole number of octets, 1 or more, got '64k'"),
        ({"upstream": "slow"}, "upstream: expected Toxics or None, as in Toxics(latency=0.2), got 'slow'"),
        ({"downstream": {"latency": 1}}, "downstream: expected Toxics or None, as in Toxics(latency=1), got {'lat"),
        ({"seed": "x"}, "seed: expected int, got 'x'"),
        ({"target": Service("line")}, "target: expected Server, Address or str, as in Toxic(server), got <Service"),
    ],
)
def test_an_argument_that_cannot_be(options: Any, says: str) -> None:
    with pytest.raises(OptionError, match=re.escape(says)):
        Toxic(**{"target": "127.0.0.1:1", **options})


@pytest.mark.parametrize("direction", ["upstream", "downstream"])
def test_other_toxics_that_are_none(server: Server, direction: str) -> None:
    with Toxic(server) as proxy, pytest.raises(OptionError, match=f"{direction}: expected Toxics, as in"):
        setattr(proxy, direction, None)
