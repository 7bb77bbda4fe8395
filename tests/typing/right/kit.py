"""The test kit and the options."""

from typing import Any, assert_type

from fourtuple import BlockingConnection, Connection, Deadlines, Limits, Reconnect, Service, Sockets
from fourtuple.framing import Fixed, Length, Line, Unmapped, custom, duplex, mapped
from fourtuple.framing.base import Octets
from fourtuple.testing import (
    MemoryPair,
    MemoryService,
    Outcome,
    TcpClient,
    TcpServer,
    Vector,
    async_memory_pair,
    check_framing,
    drive,
    memory_pair,
)
from fourtuple.testing.strategies import messages


def read(message: bytes) -> int:
    return int(message)


def write(number: int) -> bytes:
    return b"%d" % number


numbers = mapped(Line(), read, write)
service = Service(numbers)

near, far = memory_pair(Fixed(16), cut=1)
assert_type(near, BlockingConnection[bytes, Octets, Any, Any])
assert_type(far.receive(), bytes)
pair = memory_pair(Fixed(16), far_framing=numbers)
assert_type(pair.near.receive(), bytes)
assert_type(pair.far.receive(), int)
one, other = pair
assert_type(one, BlockingConnection[bytes, Octets, Any, Any])
assert_type(other, BlockingConnection[int, int, Any, Any])
other.send(1)
assert_type(pair[1].receive(), int)
anything: MemoryPair[BlockingConnection, BlockingConnection, BlockingConnection] = memory_pair("line")


async def in_a_loop() -> None:
    near, far = async_memory_pair(numbers)
    assert_type(near, Connection[int, int, Any, Any])
    await near.send(1)
    assert_type(await far.receive(), int)


async def serve_in_memory() -> None:
    async with MemoryService(Service(numbers, state=set[str]), may_raise=ValueError) as served:
        pair = served.connect()
        assert_type(pair.near, Connection[int, int, Any, Any])
        assert_type(pair.far, Connection[int, int, set[str], Any])
        assert_type(await pair.near.request(1), int)
        assert_type(await served.connect(Line()).near.receive(), bytes)
        client, far = served.connect()
        assert_type(client, Connection[int, int, Any, Any])
        assert_type(far.state, set[str])
        other_client, _ = served.connect(Line())
        assert_type(await other_client.receive(), bytes)
        served.clock.advance(5)


check_framing(Line(), [(b"one\n", [b"one"]), Vector(b"two\n", [b"two"])])
check_framing(numbers, [Vector(b"1\n2\n", [1, 2]), (b"x\n", [Unmapped(b"x", ValueError())])])
assert_type(drive(numbers, [b"1\n"]), Outcome[int | Unmapped])
messages(Length(2))
near_and_far = memory_pair("line")
near_and_far.clock.advance(5)


def cut(buffer: bytearray, seen: int) -> tuple[bytes, int] | None:
    return (bytes(buffer[:2]), 2) if len(buffer) >= 2 else None


check_framing(custom(cut), [Vector(b"abcd", [b"ab", b"cd"], canonical=False)], text=False)
check_framing(custom(cut, bytes), [Vector(b"abcd", [b"ab", b"cd"])], text=False)
two_ways = duplex(numbers, Line())
check_framing(two_ways, [(b"1\n", [1])])
check_framing(two_ways.mirror(), [(b"one\n", [b"one"])])


def test_with_fixtures(tcp_server: TcpServer, tcp_client: TcpClient) -> None:
    server = tcp_server(service, limits=Limits(max_connections=5), may_raise=ValueError)
    assert_type(tcp_client(server).request(1), int)
    assert_type(tcp_client(server.address, Line(), timeout=1).receive(), bytes)


Limits(max_connections=5).replace(max_connections=None)
Deadlines.public().replace(idle_timeout=5)
Sockets(nodelay=False)
Reconnect(attempts=3).replace(jitter=0)
