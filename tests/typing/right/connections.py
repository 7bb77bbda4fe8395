"""Connections, blocking and async, and the clients that make them."""

from typing import Any, assert_type

from fourtuple import BlockingConnection, Connection, Deadlines, Limits, Server, Timer
from fourtuple import connect as connect_async
from fourtuple.blocking import connect, wait
from fourtuple.framing import Fixed, Json, Line, mapped
from fourtuple.framing.base import Octets


def write(size: int) -> bytes:
    return b"x" * size


lengths = mapped(Line(), len, write)
unknown_in_what_it_takes = mapped(Line(), len, lambda size: b"%d" % size)


def block() -> None:
    with connect("127.0.0.1:9999", Fixed(16), timeout=1.0) as connection:
        assert_type(connection, BlockingConnection[bytes, Octets, Any, Any])
        assert_type(connection.receive(), bytes)
        assert_type(connection.request(b"question"), bytes)
        assert_type(connection.request_many([b"one", b"two"]), list[bytes])
        assert_type(connection.begin(b"question").receive(), bytes)
        connection.send(bytearray(b"octets"))
        connection.send_many([b"octets", memoryview(b"octets")])
        for message in connection:
            assert_type(message, bytes)
        numbers = connection.change_framing(lengths)
        assert_type(numbers.receive(), int)
        assert_type(connection.change_framing("line").receive(), Any)
        assert_type(connection.change_framing(receives=lengths), BlockingConnection[int, Octets, Any, Any])
        assert_type(connection.change_framing(sends=lengths), BlockingConnection[bytes, int, Any, Any])
        assert_type(connection.change_framing(receives=lengths, sends=Fixed(16)).receive(), int)
        connection.send_octets(memoryview(b"octets"))
        assert_type(wait([connection], 0), list[BlockingConnection[bytes, Octets, Any, Any]])
        assert_type(connection.framing.encode(b""), bytes)


def block_on_anything() -> None:
    connection = connect("127.0.0.1:9999", "json-lines")
    assert_type(connection, BlockingConnection[Any, Any, Any, Any])
    connection.send({"n": 1})


async def wait_for_it() -> None:
    connection = await connect_async("127.0.0.1:9999", Json())
    assert_type(connection, Connection[bytes, Octets, Any, Any])
    assert_type(await connection.receive(), bytes)
    assert_type(connection.receive_nowait(), bytes)
    assert_type(await connection.request(b"{}"), bytes)
    await connection.send(b"{}")
    async for message in connection:
        assert_type(message, bytes)
    assert_type(await connection.change_framing(lengths).receive(), int)
    assert_type(connection.change_framing(sends=lengths), Connection[bytes, int, Any, Any])
    await connection.send_octets(b"octets")
    async with connect_async("127.0.0.1:9999", lengths) as numbers:
        assert_type(await numbers.receive(), int)


def serves_bytes(connection: Connection[bytes, bytes]) -> Connection[object, bytes]:
    return connection


def any_will_do(connection: Connection) -> Connection[bytes, bytes]:
    return connection


def add(one: int, other: int = 0) -> int:
    return one + other


async def ping(connection: Connection[bytes, Octets]) -> None:
    await connection.send(b"ping")


async def beside_the_messages(connection: Connection[bytes, Octets, set[str]]) -> None:
    assert_type(connection.every(1, connection.send, b"ping"), Timer)
    assert_type(connection.every(1.5, ping, connection), Timer)
    connection.later(0, connection.close).cancel()
    connection.later(1, lambda: connection.state.add("late"))
    assert_type(connection.change_deadlines(idle_timeout=None, message_timeout=3), Deadlines)
    assert_type(connection.change_limits(high_water=1000), Limits)
    connection.send_soon(memoryview(b"soon"))
    assert_type(await connection.in_thread(add, 1, other=2), int)
    assert_type(await connection.in_thread(connection.state.copy), set[str])


def tell_some(server: Server[bytes, Octets, int, str], some: set[Connection[bytes, Octets, int, str]]) -> None:
    server.broadcast(b"news", to=some)
    server.broadcast(b"news", to=(each for each in some if each.state))
    server.broadcast(b"news", to=list(server.connections.values()))
