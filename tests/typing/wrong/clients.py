"""What a type checker says about clients that stay connected; every line marked is an error."""

from __future__ import annotations

import fourtuple.blocking
from fourtuple import BlockingConnection, Client, Connection, Gap, Pool, Pushes, Reconnect, Retries
from fourtuple.events import ClientRetried, DeadlineMissed
from fourtuple.framing import Fixed, Line, mapped
from fourtuple.framing.base import Octets


def read(message: bytes) -> int:
    return int(message)


def write(number: int) -> bytes:
    return b"%d" % number


numbers = mapped(Line(), read, write)


async def stays() -> None:
    client = Client("127.0.0.1:9999", Fixed(16))
    await client.request("text")  # wrong
    number: int = await client.request(b"question")  # wrong
    await client.request(b"question", 1.0, True)  # wrong
    await client.send("text")  # wrong
    await client.send(b"octets", time_out=1)  # wrong
    Client("127.0.0.1:9999", Fixed(16), max_connections=2)  # wrong
    other: Client[int, int] = client  # wrong
    print(number, other)


def greet(connection: Connection[bytes, bytes]) -> None: ...


async def greet_later(connection: Connection[bytes, Octets]) -> None: ...


async def greet_in_numbers(connection: Connection[str, str]) -> None: ...


def greet_blocking(connection: BlockingConnection[bytes, Octets]) -> None: ...


def takes_text(push: str) -> None: ...


def is_push(message: str) -> bool:
    return bool(message)


def is_number(message: int) -> bool:
    return bool(message)


def mistaken() -> None:
    Client("127.0.0.1:9999", Fixed(16), greet=greet)  # wrong
    Client("127.0.0.1:9999", Fixed(16), greet=greet_blocking)  # wrong
    Client("127.0.0.1:9999", numbers, greet=greet_in_numbers)  # wrong
    Client("127.0.0.1:9999", Fixed(16), pool=Pool(max_connection=2))  # wrong
    Client("127.0.0.1:9999", Fixed(16), pool=Retries())  # wrong
    Client("127.0.0.1:9999", Fixed(16), retries=Retries(delays=1))  # wrong
    Client("127.0.0.1:9999", Fixed(16), reconnect=Reconnect())  # wrong
    Client("127.0.0.1:9999", Fixed(16), pushes=True)  # wrong
    Client("127.0.0.1:9999", Fixed(16), pushes=Pushes(overflow="wait"))  # wrong
    Client("127.0.0.1:9999", Fixed(16), on_push=takes_text)  # wrong
    Client("127.0.0.1:9999", Fixed(16), is_push=is_push)  # wrong
    Client("127.0.0.1:9999", numbers, idempotent=is_push)  # wrong
    Client("127.0.0.1:9999", Fixed(16), ping=7)  # wrong
    Client("127.0.0.1:9999", numbers, ping=b"ping")  # wrong
    Client("127.0.0.1:9999", numbers, ping=lambda: b"ping")  # wrong
    Client("127.0.0.1:9999", numbers, ping=greet)  # wrong
    fourtuple.blocking.Client("127.0.0.1:9999", numbers, ping=b"ping")  # wrong
    Client("127.0.0.1:9999", numbers, key=7)  # wrong
    Client("127.0.0.1:9999", numbers, key=is_push)  # wrong
    Client("127.0.0.1:9999", numbers, key=(is_push, is_push))  # wrong
    Client("127.0.0.1:9999", numbers, key=(read, is_number))  # wrong
    Client("127.0.0.1:9999", numbers, key=(is_number, is_push))  # wrong
    Client("127.0.0.1:9999", numbers, key=lambda number: number.encode())  # wrong
    Client("127.0.0.1:9999", numbers, key=lambda number: [number])  # wrong
    Client("127.0.0.1:9999", Fixed(16), key=is_number)  # wrong
    Client("127.0.0.1:9999", Fixed(16), key=(is_number, read))  # wrong
    fourtuple.blocking.Client("127.0.0.1:9999", Fixed(16), key=is_number)  # wrong
    fourtuple.blocking.Client("127.0.0.1:9999", Fixed(16), key=(read, is_number))  # wrong
    Client("127.0.0.1:9999", numbers, key=(is_push, is_push, is_push))  # wrong
    Client("127.0.0.1:9999", 16)  # wrong
    Client(9999, Fixed(16))  # wrong
    fourtuple.blocking.Client("127.0.0.1:9999", Fixed(16)).request(7)  # wrong
    fourtuple.blocking.Client("127.0.0.1:9999", Fixed(16), greet=greet_later)  # wrong
    fourtuple.blocking.Client("127.0.0.1:9999", numbers).request(7).encode()  # wrong
    fourtuple.blocking.Client("127.0.0.1:9999", numbers, time_out=7)  # wrong
    other: fourtuple.blocking.Client[str, str] = fourtuple.blocking.Client("127.0.0.1:9999", numbers)  # wrong
    print(other)


def reads_events(event: DeadlineMissed | ClientRetried) -> None:
    if isinstance(event, DeadlineMissed):
        print(event.error.limit)  # wrong
    else:
        print(event.fate.note)  # wrong


async def takes_pushes(client: Client[int, int]) -> None:
    async for push in client.pushes():
        push.bit_length()  # wrong
        if not isinstance(push, Gap):
            push.encode()  # wrong
    async with client as same:
        await same.request("text")  # wrong
