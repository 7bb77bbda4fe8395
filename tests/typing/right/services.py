"""Handlers and hooks of every kind, over framings of octets, of values and of anything."""

import socket
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, assert_type

from fourtuple import BlockingConnection, Connection, Dial, Server, Service, reply_and_close, run, serve_in_thread
from fourtuple.errors import FourTupleError, MessageError
from fourtuple.framing import JSON_MAPPING, Fixed, Json, Line, Mapped, Unmapped, mapped
from fourtuple.framing.base import Octets
from fourtuple.service import ReplyAndClose


@dataclass
class Point:
    x: int = 0


@dataclass
class Visit:
    messages: list[bytes] = field(default_factory=list)


class Database:
    def look_up(self, key: bytes) -> bytes | None:
        return key


@asynccontextmanager
async def database() -> AsyncIterator[Database]:
    yield Database()


async def database_too() -> AsyncIterator[Database]:
    yield Database()


Visitor = Connection[bytes, Octets, Visit, Database]
octets = Service(Fixed(16), state=Visit, lifespan=database)
assert_type(octets, Service[bytes, Octets, Visit, Database])
assert_type(Service(Fixed(16), lifespan=database_too), Service[bytes, Octets, Any, Database])
assert_type(Service(Fixed(16)), Service[bytes, Octets, Any, Any])
assert_type(Service("line"), Service[Any, Any, Any, Any])
counted: Service[bytes, Octets, Counter[bytes]] = Service(Line(), state=Counter)


# -- replies to octets: each handler keeps its own type -----------------------------------------------------


@octets.reply
def value(message: bytes) -> bytes:
    return message


assert_type(value(b""), bytes)


@octets.reply
def perhaps(message: bytes) -> bytes | None:
    return message or None


assert_type(perhaps(b""), bytes | None)


@octets.reply
def nothing(message: bytes) -> None: ...


@octets.reply
def of_a_wider_message(message: object) -> memoryview:
    return memoryview(str(message).encode())


@octets.reply
def with_connection(message: bytes, connection: Visitor) -> bytes:
    connection.state.messages.append(message)
    return connection.service_state.look_up(message) or b""


@octets.reply
def with_any_connection(message: bytes, connection: Connection) -> bytes:
    connection.send(message)
    return message


@octets.reply
def several(message: bytes) -> Iterator[bytes]:
    yield message


@octets.reply
def several_or_none(message: bytes) -> Generator[bytes | None, None, None]:
    yield message
    yield None


@octets.reply
def last(message: bytes) -> ReplyAndClose[bytes]:
    return reply_and_close(message)


@octets.reply
def last_or_not(message: bytes) -> bytes | ReplyAndClose[bytes]:
    if message == b"quit":
        return reply_and_close()
    return message if message else reply_and_close(b"bye")


@octets.reply
async def awaited(message: bytes) -> bytes:
    return message


@octets.reply
async def awaited_with_connection(message: bytes, connection: Visitor) -> bytes | None:
    await connection.send(message)
    return None


@octets.reply
async def awaited_several(message: bytes) -> AsyncIterator[bytes]:
    yield message


@octets.reply
async def awaited_generator(message: bytes) -> AsyncGenerator[bytes, None]:
    yield message


@octets.reply(threads=True)
def threaded(message: bytes) -> bytes:
    return message


@octets.reply(threads=True)
def threaded_generator(message: bytes, connection: Visitor) -> Iterator[bytes]:
    yield message


@octets.reply(threads=True, concurrency=4)
def threaded_with_connection(message: bytes, connection: Visitor) -> bytes:
    return message


@octets.reply(concurrency=8, cancel_on_lost=False)
async def concurrent(message: bytes) -> bytes:
    return message


@octets.replies
def batch(messages: list[bytes]) -> list[bytes]:
    return messages


assert_type(batch([b""]), list[bytes])


@octets.replies
def batch_with_gaps(messages: list[bytes], connection: Visitor) -> tuple[bytes | None, ...]:
    connection.state.messages += messages
    return tuple(message or None for message in messages)


@octets.replies
async def awaited_batch(messages: list[bytes]) -> list[bytes | ReplyAndClose[bytes]]:
    return [message if message else reply_and_close() for message in messages]


@octets.replies(cancel_on_lost=False)
async def batch_to_its_end(messages: list[bytes], connection: Connection) -> list[bytes]:
    return messages


# -- replies to values, and to anything ---------------------------------------------------------------------


def read_point(message: bytes) -> Point:
    return Point(int(message))


def write_point(point: Point) -> bytes:
    return b"%d" % point.x


points = Service(mapped(Line(), read_point, write_point))
assert_type(points, Service[Point, Point, Any, Any])


@points.reply
def move(point: Point) -> Point:
    return Point(point.x + 1)


@points.reply
async def move_or_leave(point: Point, connection: Connection[Point, Point]) -> Point | ReplyAndClose[Point] | None:
    await connection.send(Point(0))
    return reply_and_close(point) if point.x else None


@points.reply(threads=True)
def ways(point: Point) -> Iterator[Point]:
    yield point


anything = Service("line")


@anything.reply
def echo(message: bytes) -> bytes:
    return message


@anything.reply
def double(message: dict[str, int], connection: Connection) -> dict[str, int]:
    return {"twice": 2 * message["n"]}


values = Service(Mapped(Json(), JSON_MAPPING))


@values.reply
def sorted_keys(message: dict[str, int]) -> list[str]:
    return sorted(message)


@points.replies
def move_all(all_points: list[Point]) -> list[Point | None]:
    return [Point(each.x + 1) for each in all_points]


@anything.replies
def echo_all(messages: list[bytes]) -> list[bytes]:
    return messages


# -- conversations ------------------------------------------------------------------------------------------


@octets.conversation
async def talk(connection: Visitor) -> None:
    async for message in connection:
        assert_type(message, bytes)
        assert_type(connection.state, Visit)
        await connection.send(bytearray(message) if connection.state.messages else message)


async def talk_too(connection: Connection[bytes, Octets, Visit, Database]) -> None:
    await connection.close()


conversation: Callable[..., Coroutine[Any, Any, None]] = octets.conversation(cancel_on_lost=False)(talk_too)


@octets.conversation(speaks_first=True)
def talk_in_a_thread(connection: BlockingConnection[bytes, bytes, Visit, Database]) -> None:
    for message in connection:
        connection.send(message)


@anything.conversation(cancel_on_lost=False)
async def talk_about_anything(connection: Connection) -> None:
    await connection.send({"any": "thing"})


@anything.conversation
def block_about_anything(connection: BlockingConnection) -> None:
    connection.send("any thing")


# -- hooks --------------------------------------------------------------------------------------------------


@octets.opened
def greet(connection: Visitor) -> bytes:
    return b"hello"


@octets.closed
def mourn(connection: Connection) -> None:
    print(connection.name)


@octets.failed
def explain(error: Exception, connection: Connection) -> bytes | None:
    return b"sorry" if isinstance(error, MessageError) else None


@octets.failed
def explain_exactly(error: FourTupleError, connection: Visitor) -> bytes:
    return str(error).encode()


@octets.unmapped
def decide(message: Unmapped, connection: Visitor) -> bytes:
    return message.octets


@octets.goodbye
def bye(connection: Visitor) -> bytes | None:
    return b"bye" if connection.state.messages else None


octets.goodbye(b"bye")
points.goodbye(Point(0))
anything.goodbye("bye")


@points.goodbye
def last_point(connection: Connection[Point, Point]) -> Point:
    return Point(0)


@anything.lifespan
async def set_up() -> AsyncIterator[dict[str, int]]:
    yield {}


# -- serving ------------------------------------------------------------------------------------------------


async def serve() -> None:
    async with Server(octets, "127.0.0.1:0", readiness="portable") as server:
        assert_type(server, Server[bytes, Octets, Visit, Database])
        server.broadcast(b"news", slow="abort", to=lambda connection: bool(connection.state.messages))
        server.call_soon(server.broadcast, b"news")
        server.change_limits(max_connections=5)
        assert_type(server.adopt(socket.socket()), Visitor | None)
        dial = server.dial("127.0.0.1:9999", tls=True, timeout=None)
        assert_type(dial, Dial[bytes, Octets, Visit, Database])
        assert_type(dial.connection, Visitor | None)
        server.call_soon(server.adopt, socket.socket())
        dial.cancel()
        for connection in server.connections.values():
            assert_type(connection.state, Visit)


def started(server: Server[Point, Point, Any, Any]) -> None:
    print(server.port)


run(points, "127.0.0.1:0", on_start=started, tls=None)
with serve_in_thread(points, observer=print) as here:
    assert_type(here, Server[Point, Point, Any, Any])
