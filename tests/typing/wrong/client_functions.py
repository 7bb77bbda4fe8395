"""What a type checker says about the functions of a client that take other messages than its framing has."""

from __future__ import annotations

from typing import Literal

from fourtuple import BlockingConnection, Client, Connection, blocking
from fourtuple.framing import TEXT_MAPPING, Line, Mapped, duplex, mapped

HERE = "127.0.0.1:9999"


class Get: ...


class Put: ...


def read(message: bytes) -> int:
    return int(message)


def write(number: int) -> bytes:
    return b"%d" % number


def read_put(message: bytes) -> Put:
    return Put()


def write_either(message: Get | Put) -> bytes:
    return b"0"


numbers = mapped(Line(), read, write)
puts = mapped(Line(), read_put, write_either)
texts = Mapped(Line(), TEXT_MAPPING)
asymmetric = duplex(texts, numbers)  # receives texts, sends numbers
to_lines = duplex(numbers, Line())


def of_bytes(message: bytes) -> bool:
    return message.startswith(b"get")


def of_text(message: str) -> bool:
    return bool(message)


def of_number(message: int) -> bool:
    return bool(message)


def of_get(message: Get) -> bool:
    return bool(message)


def of_put(message: Put) -> bool:
    return bool(message)


def hears_no_gap(push: bytes) -> None: ...


async def greets_numbers(connection: Connection[int, int]) -> None: ...


def greets_blocking(connection: BlockingConnection[bytes, bytes]) -> None: ...


def greets_two_blocking(connection: BlockingConnection[str, int]) -> None: ...


def mistaken() -> None:
    Client(HERE, Line(), idempotent=of_text)  # wrong
    Client(HERE, numbers, idempotent=of_text)  # wrong
    Client(HERE, numbers, idempotent=of_bytes)  # wrong
    Client(HERE, numbers, idempotent=lambda m: m.startswith("x"))  # wrong
    Client(HERE, Line(), idempotent=lambda m: m.startswith("x"))  # wrong
    Client(HERE, puts, idempotent=of_get)  # wrong
    Client(HERE, puts, idempotent=of_bytes)  # wrong
    Client(HERE, asymmetric, idempotent=of_text)  # wrong
    Client(HERE, asymmetric.mirror(), idempotent=of_number)  # wrong
    Client(HERE, to_lines, idempotent=of_number)  # wrong
    Client(HERE, asymmetric, greet=greets_numbers)  # wrong
    Client(HERE, asymmetric, greet=greets_two_blocking)  # wrong
    Client(HERE, asymmetric, is_push=of_number)  # wrong
    Client(HERE, asymmetric, ping="x")  # wrong
    Client(HERE, Line(), on_push=hears_no_gap)  # wrong
    Client(HERE, Line(), is_push=of_text)  # wrong
    Client(HERE, numbers, is_push=lambda m: m.startswith("x"))  # wrong
    blocking.Client(HERE, asymmetric, greet=greets_blocking)  # wrong
    Client(HERE, puts, key=of_get)  # wrong
    Client(HERE, puts, key=(of_get, of_put))  # wrong
    Client(HERE, puts, key=(of_put, of_put))  # wrong
    Client(HERE, asymmetric, key=of_text)  # wrong
    Client(HERE, asymmetric, key=of_number)  # wrong
    Client(HERE, asymmetric, key=(of_text, of_number))  # wrong
    Client(HERE, asymmetric, key=(of_text, of_text))  # wrong
    Client(HERE, asymmetric, key=(lambda m: m.bit_length(), lambda m: m.bit_length()))  # wrong
    Client(HERE, Line(), key=lambda m: {m})  # wrong
    Client(HERE, to_lines, key=(of_number, of_number))  # wrong
    blocking.Client(HERE, asymmetric, key=(of_text, of_number))  # wrong


def misspelt(client: Client[bytes, bytes], blocks: blocking.Client[bytes, bytes]) -> None:
    print(client.health.state.name)  # wrong
    state: Literal["ready", "wating"] = client.state  # wrong
    other: Literal["ready", "wating"] = blocks.state  # wrong
    print(state, other)
