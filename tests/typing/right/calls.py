"""Functions that a loop, a timer or a thread calls."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, assert_type

from fourtuple import Connection, Server, Timer
from fourtuple.framing.base import Octets

players: dict[int, object] = {}


async def work() -> None: ...
async def work2(x: int) -> int:
    return x


def gen() -> Iterator[int]:
    yield 1


def gen2(x: int) -> Generator[int, None, None]:
    yield 1


async def agen() -> AsyncIterator[int]:
    yield 1


def plain(x: int) -> int:
    return x


def none() -> None: ...
def untyped(x):  # type: ignore[no-untyped-def]
    return x


def any_() -> Any: ...


async def calls(server: Server[bytes, Octets], connection: Connection[bytes, Octets]) -> None:
    server.call_soon(plain, 1)
    server.call_soon(none)
    server.call_soon(untyped, 1)
    server.call_soon(any_)
    server.call_soon(connection.close)
    server.call_soon(connection.send, b"x")
    server.call_soon(server.broadcast, b"x")
    server.call_soon(server.adopt, socket.socket())
    server.call_soon(asyncio.ensure_future, server.drain())
    server.call_soon(lambda: players.pop(3, None))
    server.call_soon(lambda: connection.send(b"x"))
    server.call_soon(print, "x")
    server.call_soon(connection.every, 1, none)
    server.call_soon(server.pause)
    handle = connection.server
    assert handle
    handle.call_soon(connection.send, b"x")
    handle.call_soon(server.drain)
    server.call_soon(server.drain)
    server.call_soon(work)
    server.call_soon(work2, 1)
    server.call_soon(lambda: work())
    assert_type(connection.every(1, none), Timer)
    assert_type(connection.every(1, work), Timer)
    assert_type(connection.every(1, connection.send, b"x"), Timer)
    assert_type(connection.later(1, connection.close), Timer)
    assert_type(connection.later(1, work2, 1), Timer)
    assert_type(connection.later(1, plain, 1), Timer)
    connection.later(1, untyped, 1)
    connection.later(1, lambda: players.pop(1))
    connection.later(1, lambda: connection.send(b"x"))
    connection.later(1, any_).cancel()
    assert_type(await connection.in_thread(plain, 1), int)
    assert_type(await connection.in_thread(time.sleep, 1), None)
    assert_type(await connection.in_thread(gen), Iterator[int])
    assert_type(await connection.in_thread(any_), Any)
    assert_type(await connection.in_thread(plain, x=1), int)
    assert_type(await connection.in_thread(lambda: 3), int)
    await connection.in_thread(untyped, 1)
    await asyncio.create_task(connection.in_thread(plain, 1))
    await asyncio.gather(connection.in_thread(plain, 1), connection.in_thread(none))
