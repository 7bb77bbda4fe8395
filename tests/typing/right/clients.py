"""The types of a client that stays connected are those of its framing."""

from __future__ import annotations

import asyncio
from typing import Any, assert_type

import fourtuple.blocking
from fourtuple import BlockingConnection, Client, Connection, Fate, FourTupleError, Gap, Pool, Pushes
from fourtuple.client import PushStream
from fourtuple.errors import MessageError, OptionError, TlsError, UnmappedMessage
from fourtuple.events import (
    CertificatesFailed,
    ClientRetried,
    DeadlineMissed,
    Event,
    MessageFailed,
    MessageUnmapped,
    TlsFailed,
)
from fourtuple.framing import Fixed, Framing, mapped
from fourtuple.framing.base import Octets


async def stays() -> None:
    async with Client("127.0.0.1:9999", Fixed(16), pool=Pool(max_connections=2), timeout=1.0) as client:
        assert_type(client, Client[bytes, Octets])
        assert_type(await client.request(b"question", timeout=1.0), bytes)
        await client.send(bytearray(b"octets"))
        try:
            await client.request(b"question", idempotent=True)
        except FourTupleError as error:
            assert_type(error.fate, Fate | None)


async def by_text() -> None:
    client = Client("127.0.0.1:9999", "line+json", key=(lambda message: message["id"], lambda reply: reply["id"]))
    assert_type(client, Client[Any, Any])
    assert_type(await client.request({}), Any)


async def greet(connection: Connection[int, int]) -> None:
    assert_type(await connection.request(1), int)


class Get: ...


class Put: ...


def read_put(message: bytes) -> Put:
    return Put()


def write_either(message: Get | Put) -> bytes:
    return b"0000"


puts = mapped(Fixed(4), read_put, write_either)


async def pings(framing: Framing) -> None:
    assert_type(Client("127.0.0.1:9999", framing, ping=7), Client[Any, Any])
    # What requests may be is what the framing sends, and not the narrower type of the ping.
    assert_type(Client("127.0.0.1:9999", Fixed(16), ping=b"ping"), Client[bytes, Octets])
    assert_type(Client("127.0.0.1:9999", Fixed(16), ping=lambda: b"ping"), Client[bytes, Octets])
    assert_type(Client("127.0.0.1:9999", puts, ping=Get()), Client[Put, Get | Put])
    assert_type(Client("127.0.0.1:9999", puts, ping=Get), Client[Put, Get | Put])
    assert_type(Client("127.0.0.1:9999", "line+json", ping={"op": "ping"}), Client[Any, Any])
    assert_type(
        fourtuple.blocking.Client("127.0.0.1:9999", puts, ping=Get()), fourtuple.blocking.Client[Put, Get | Put]
    )


def key_of_either(message: Get | Put) -> int:
    return id(message)


def key_of_put(reply: Put) -> int:
    return id(reply)


def key_of_get(request: Get) -> int:
    return id(request)


def key_of_all(message: object) -> int:
    return id(message)


def key_of_bytes(message: bytes) -> bytes:
    return message[:4]


def write_get(message: Get) -> bytes:
    return b"0000"


gets = mapped(Fixed(4), read_put, write_get)


def keys() -> None:
    assert_type(Client("127.0.0.1:9999", puts, key=key_of_either), Client[Put, Get | Put])
    assert_type(Client("127.0.0.1:9999", puts, key=(key_of_either, key_of_put)), Client[Put, Get | Put])
    assert_type(Client("127.0.0.1:9999", puts, key=(key_of_all, key_of_all)), Client[Put, Get | Put])
    assert_type(Client("127.0.0.1:9999", gets, key=(key_of_get, key_of_put)), Client[Put, Get])
    assert_type(Client("127.0.0.1:9999", gets, key=key_of_either), Client[Put, Get])
    assert_type(Client("127.0.0.1:9999", Fixed(16), key=lambda message: message[:4]), Client[bytes, Octets])
    # Requests may be any octets, and are mostly bytes.
    assert_type(Client("127.0.0.1:9999", Fixed(16), key=key_of_bytes), Client[bytes, Octets])
    assert_type(Client("127.0.0.1:9999", Fixed(16), key=(key_of_bytes, key_of_bytes)), Client[bytes, Octets])
    assert_type(
        Client("127.0.0.1:9999", Fixed(16), key=(lambda message: message[:4], lambda reply: reply[4:8])),
        Client[bytes, Octets],
    )
    assert_type(Client("127.0.0.1:9999", "line+json", key=lambda message: message["id"]), Client[Any, Any])
    # Also those that a text's framing cannot tell.
    assert_type(Client("127.0.0.1:9999", "line", key=key_of_bytes), Client[Any, Any])
    assert_type(
        Client("127.0.0.1:9999", "line+json", is_push=lambda message: "id" not in message, pushes=Pushes()),
        Client[Any, Any],
    )
    fourtuple.blocking.Client("127.0.0.1:9999", numbers, key=lambda number: number.bit_length())


def events_of(event: Event) -> None:
    match event:
        case DeadlineMissed():
            assert_type(event.error.which, str)
        case MessageUnmapped():
            assert_type(event.error, UnmappedMessage)
        case MessageFailed():
            assert_type(event.error, MessageError | UnmappedMessage)
        case TlsFailed():
            assert_type(event.error, TlsError)
        case CertificatesFailed():
            assert_type(event.error, OptionError)
        case ClientRetried():
            assert_type(event.fate, Fate)
        case _:
            pass


def read(message: bytes) -> int:
    return int(message)


def write(number: int) -> bytes:
    return b"%04d" % number


numbers = mapped(Fixed(4), read, write)


async def pushed() -> None:
    client = Client("127.0.0.1:9999", numbers, greet=greet, pushes=Pushes(), idempotent=lambda number: number > 1)
    assert_type(client.pushes(), PushStream[int])
    async for push in client.pushes():
        assert_type(push, int | Gap)


async def in_tasks(client: Client[bytes, Octets], connection: Connection[bytes, Octets]) -> None:
    assert_type(asyncio.create_task(client.close()), asyncio.Task[None])
    assert_type(asyncio.create_task(connection.close()), asyncio.Task[None])
    assert_type(asyncio.create_task(connection.send(b"question")), asyncio.Task[None])


def greet_blocking(connection: BlockingConnection[bytes, Octets]) -> None:
    assert_type(connection.request(b"login"), bytes)


def blocks() -> None:
    with fourtuple.blocking.Client("127.0.0.1:9999", Fixed(16), greet=greet_blocking) as client:
        assert_type(client, fourtuple.blocking.Client[bytes, Octets])
        assert_type(client.request(b"question"), bytes)
