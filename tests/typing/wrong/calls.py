"""What a type checker says about functions that nothing would run, given to a loop, a timer or a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

from fourtuple import Connection, Server
from fourtuple.framing.base import Octets


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
    handle = connection.server
    assert handle
    server.call_soon(gen)  # wrong
    server.call_soon(agen)  # wrong
    server.call_soon(plain)  # wrong
    server.call_soon(server.broadcast)  # wrong
    server.call_soon(server.broadcast, "x")  # wrong
    connection.every(1, gen)  # wrong
    connection.later(1, gen2, 1)  # wrong
    connection.later(1, agen)  # wrong
    connection.later(1, gen).cancel()  # wrong
    connection.later(1, plain)  # wrong
    connection.later(1, plain, "x")  # wrong
    await connection.in_thread(work)  # wrong
    await connection.in_thread(work2, 3)  # wrong
    await connection.in_thread(plain)  # wrong
    await connection.in_thread(plain, "x")  # wrong
    await connection.in_thread(plain, y=1)  # wrong
