"""What a type checker says about clients that stay connected; every line marked is an error."""

from __future__ import annotations

import fourtuple.blocking
from fourtuple import Client, Connection, Pool
from fourtuple.framing import Fixed


async def stays() -> None:
    client = Client("127.0.0.1:9999", Fixed(16))
    await client.request("text")  # wrong
    number: int = await client.request(b"question")  # wrong
    await client.request(b"question", 1.0, True)  # wrong
    Client("127.0.0.1:9999", Fixed(16), max_connections=2)  # wrong
    print(number)


def greet(connection: Connection[bytes, bytes]) -> None: ...


def mistaken() -> None:
    Client("127.0.0.1:9999", Fixed(16), greet=greet)  # wrong
    Client("127.0.0.1:9999", Fixed(16), pool=Pool(max_connection=2))  # wrong
    fourtuple.blocking.Client("127.0.0.1:9999", Fixed(16)).request(7)  # wrong
