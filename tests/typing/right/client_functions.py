"""The functions of a client take what its framing receives and sends, and leave the types of the client as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_type

from fourtuple import BlockingConnection, Client, Connection, Gap, Pushes, blocking
from fourtuple.events import ClientState
from fourtuple.framing import JSON_MAPPING, TEXT_MAPPING, Framing, Line, Mapped, Resp, duplex, mapped
from fourtuple.framing.base import Octets

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
documents = Mapped(Line(), JSON_MAPPING)
asymmetric = duplex(texts, numbers)  # receives texts, sends numbers
to_numbers = duplex(Line(), numbers)
to_lines = duplex(numbers, Line())


def of_bytes(message: bytes) -> bool:
    return message.startswith(b"get")


def of_octets(message: Octets) -> bool:
    return bool(message)


def of_any(message: Any) -> bool:
    return bool(message)


def of_object(message: object) -> bool:
    return bool(message)


def of_text(message: str) -> bool:
    return bool(message)


def of_number(message: int) -> bool:
    return bool(message)


def of_either(message: Get | Put) -> bool:
    return isinstance(message, Get)


def of_command(message: Sequence[Any]) -> bool:
    return bool(message[0] == b"GET")


def idempotent(framing: Framing, own: Framing[bytes, bytes], anything: Framing[str, object]) -> None:
    assert_type(Client(HERE, Line(), idempotent=lambda m: m.startswith(b"get")), Client[bytes, Octets])
    assert_type(Client(HERE, Line(), idempotent=of_bytes), Client[bytes, Octets])
    assert_type(Client(HERE, Line(), idempotent=of_octets), Client[bytes, Octets])
    assert_type(Client(HERE, Line(), idempotent=of_any), Client[bytes, Octets])
    assert_type(Client(HERE, Line(), idempotent=True), Client[bytes, Octets])
    assert_type(Client(HERE, numbers, idempotent=of_number), Client[int, int])
    assert_type(Client(HERE, numbers, idempotent=lambda i: i.bit_length() > 3), Client[int, int])
    assert_type(Client(HERE, puts, idempotent=of_either), Client[Put, Get | Put])
    assert_type(Client(HERE, puts, idempotent=lambda m: isinstance(m, Get)), Client[Put, Get | Put])
    assert_type(Client(HERE, texts, idempotent=lambda m: m.startswith("get")), Client[str, str])
    assert_type(Client(HERE, texts, idempotent=of_text), Client[str, str])
    assert_type(Client(HERE, documents, idempotent=lambda m: m["op"] == "get"), Client[Any, Any])
    assert_type(Client(HERE, documents, idempotent=of_text), Client[Any, Any])
    assert_type(Client(HERE, asymmetric, idempotent=lambda m: m > 3), Client[str, int])
    assert_type(Client(HERE, asymmetric, idempotent=of_number), Client[str, int])
    assert_type(Client(HERE, asymmetric.mirror(), idempotent=lambda m: m.startswith("a")), Client[int, str])
    assert_type(Client(HERE, to_numbers, idempotent=lambda m: m > 3), Client[bytes, int])
    assert_type(Client(HERE, to_lines, idempotent=lambda m: m.startswith(b"a")), Client[int, Octets])
    assert_type(Client(HERE, to_lines, idempotent=of_bytes), Client[int, Octets])
    assert_type(Client(HERE, "line", idempotent=lambda m: m.startswith(b"get")), Client[Any, Any])
    assert_type(Client(HERE, "line", idempotent=of_bytes), Client[Any, Any])
    assert_type(Client(HERE, framing, idempotent=of_bytes), Client[Any, Any])
    assert_type(Client(HERE, framing, idempotent=lambda m: m["x"]), Client[Any, Any])
    assert_type(Client(HERE, own, idempotent=of_bytes), Client[bytes, bytes])
    assert_type(Client(HERE, own, idempotent=lambda m: m.startswith(b"get")), Client[bytes, bytes])
    assert_type(Client(HERE, anything, idempotent=of_any), Client[str, object])
    Client(HERE, Resp(), idempotent=lambda m: m[0].upper() in (b"GET",))
    Client(HERE, Resp(), idempotent=of_command)


def hears_bytes(push: bytes | Gap) -> None: ...


async def hears_bytes_later(push: bytes | Gap) -> None: ...


def hears_all(push: object) -> int:
    return 1


def hears_numbers(push: int | Gap) -> None: ...


async def greets(connection: Connection[bytes, bytes]) -> None: ...


async def greets_octets(connection: Connection[bytes, Octets]) -> None: ...


async def greets_any(connection: Connection) -> None: ...


async def greets_numbers(connection: Connection[int, int]) -> None: ...


async def greets_two(connection: Connection[str, int]) -> None: ...


def greets_blocking(connection: BlockingConnection[bytes, bytes]) -> None: ...


def greets_octets_blocking(connection: BlockingConnection[bytes, Octets]) -> None: ...


def greets_any_blocking(connection: BlockingConnection) -> int:
    return 1


def greets_two_blocking(connection: BlockingConnection[str, int]) -> None: ...


def make() -> bytes:
    return b"ping"


def make_number() -> int:
    return 1


def make_any() -> Any:
    return 1


got: list[bytes | Gap] = []
all_got: list[object] = []


def is_push(framing: Framing) -> None:
    assert_type(Client(HERE, Line(), pushes=Pushes(), is_push=lambda m: m.startswith(b"*")), Client[bytes, Octets])
    assert_type(Client(HERE, Line(), pushes=Pushes(), is_push=of_bytes), Client[bytes, Octets])
    assert_type(Client(HERE, Line(), pushes=Pushes(), is_push=of_object), Client[bytes, Octets])
    assert_type(Client(HERE, "line", pushes=Pushes(), is_push=lambda m: m.startswith(b"*")), Client[Any, Any])
    assert_type(Client(HERE, "line", pushes=Pushes(), is_push=of_bytes), Client[Any, Any])
    assert_type(Client(HERE, framing, pushes=Pushes(), is_push=of_bytes), Client[Any, Any])
    assert_type(Client(HERE, numbers, pushes=Pushes(), is_push=lambda m: m.bit_length() > 1), Client[int, int])
    assert_type(Client(HERE, numbers, pushes=Pushes(), is_push=of_number), Client[int, int])
    assert_type(Client(HERE, asymmetric, pushes=Pushes(), is_push=of_text), Client[str, int])
    assert_type(Client(HERE, asymmetric, pushes=Pushes(), is_push=lambda m: m.startswith("x")), Client[str, int])
    assert_type(Client(HERE, to_numbers, pushes=Pushes(), is_push=lambda m: m.startswith(b"x")), Client[bytes, int])
    assert_type(Client(HERE, to_lines, pushes=Pushes(), is_push=lambda m: m > 2), Client[int, Octets])


def on_push() -> None:
    assert_type(Client(HERE, Line(), on_push=hears_bytes), Client[bytes, Octets])
    assert_type(Client(HERE, Line(), on_push=hears_bytes_later), Client[bytes, Octets])
    assert_type(Client(HERE, Line(), on_push=hears_all), Client[bytes, Octets])
    assert_type(Client(HERE, Line(), on_push=print), Client[bytes, Octets])
    assert_type(Client(HERE, Line(), on_push=got.append), Client[bytes, Octets])
    assert_type(Client(HERE, Line(), on_push=all_got.append), Client[bytes, Octets])
    assert_type(Client(HERE, Line(), on_push=lambda m: print(m)), Client[bytes, Octets])
    assert_type(
        Client(HERE, Line(), on_push=lambda m: m.startswith(b"x") if not isinstance(m, Gap) else None),
        Client[bytes, Octets],
    )
    assert_type(Client(HERE, "line", on_push=hears_bytes), Client[Any, Any])
    assert_type(Client(HERE, "line", on_push=print), Client[Any, Any])
    assert_type(
        Client(HERE, "line", on_push=lambda m: m.startswith(b"x") if not isinstance(m, Gap) else None), Client[Any, Any]
    )
    assert_type(Client(HERE, "line", on_push=got.append), Client[Any, Any])
    assert_type(Client(HERE, asymmetric, on_push=print), Client[str, int])
    assert_type(Client(HERE, numbers, on_push=hears_numbers), Client[int, int])


def greet(framing: Framing) -> None:
    assert_type(Client(HERE, Line(), greet=greets), Client[bytes, Octets])
    assert_type(Client(HERE, Line(), greet=greets_octets), Client[bytes, Octets])
    assert_type(Client(HERE, Line(), greet=greets_any), Client[bytes, Octets])
    assert_type(Client(HERE, Line(), greet=lambda c: c.request(b"x")), Client[bytes, Octets])
    assert_type(Client(HERE, Line(), greet=lambda c: c.send(b"x")), Client[bytes, Octets])
    assert_type(Client(HERE, "line", greet=greets), Client[Any, Any])
    assert_type(Client(HERE, "line", greet=greets_octets), Client[Any, Any])
    assert_type(Client(HERE, "line", greet=lambda c: c.request(b"x")), Client[Any, Any])
    assert_type(Client(HERE, "line", greet=greets_any), Client[Any, Any])
    assert_type(Client(HERE, framing, greet=greets_octets), Client[Any, Any])
    assert_type(Client(HERE, numbers, greet=greets_numbers), Client[int, int])
    assert_type(Client(HERE, numbers, greet=greets_any), Client[int, int])
    assert_type(Client(HERE, asymmetric, greet=greets_two), Client[str, int])
    assert_type(Client(HERE, asymmetric, greet=lambda c: c.request(3)), Client[str, int])
    assert_type(
        Client(
            HERE,
            asymmetric,
            greet=greets_any,
            ping=3,
            on_push=print,
            is_push=of_text,
            idempotent=of_number,
            pushes=None,
        ),
        Client[str, int],
    )
    assert_type(
        Client(HERE, "line", ping=b"x", greet=greets, is_push=of_bytes, idempotent=of_bytes, on_push=hears_bytes),
        Client[Any, Any],
    )
    assert_type(
        Client(HERE, Line(), ping=b"x", greet=greets, is_push=of_bytes, idempotent=of_bytes, on_push=hears_bytes),
        Client[bytes, Octets],
    )


def ping() -> None:
    assert_type(Client(HERE, Line(), ping=b""), Client[bytes, Octets])
    assert_type(Client(HERE, Line(), ping=make), Client[bytes, Octets])
    assert_type(Client(HERE, Line(), ping=make_any), Client[bytes, Octets])
    assert_type(Client(HERE, Line(), ping=lambda: b"x"), Client[bytes, Octets])
    assert_type(Client(HERE, "line", ping=make), Client[Any, Any])
    assert_type(Client(HERE, asymmetric, ping=3), Client[str, int])
    assert_type(Client(HERE, asymmetric, ping=make_number), Client[str, int])
    assert_type(Client(HERE, asymmetric, ping=lambda: 3), Client[str, int])
    assert_type(Client(HERE, documents, ping={"op": "ping"}), Client[Any, Any])
    assert_type(Client(HERE, to_lines, ping=b"x"), Client[int, Octets])


def of_two(message: str | int) -> bool:
    return bool(message)


def key(framing: Framing) -> None:
    assert_type(Client(HERE, asymmetric, key=(of_number, of_text)), Client[str, int])
    assert_type(Client(HERE, asymmetric, key=of_two), Client[str, int])
    assert_type(Client(HERE, asymmetric, key=(of_any, of_object)), Client[str, int])
    assert_type(Client(HERE, asymmetric, key=(lambda m: m.bit_length(), lambda m: m.upper())), Client[str, int])
    assert_type(Client(HERE, to_lines, key=(lambda m: m[:4], lambda m: m.bit_length())), Client[int, Octets])
    assert_type(Client(HERE, texts, key=lambda m: m.upper()), Client[str, str])
    assert_type(Client(HERE, documents, key=lambda m: m["id"]), Client[Any, Any])
    assert_type(Client(HERE, "line", key=(of_bytes, of_bytes)), Client[Any, Any])
    assert_type(Client(HERE, framing, key=lambda m: m["id"]), Client[Any, Any])
    assert_type(Client(HERE, framing, key=of_bytes), Client[Any, Any])
    assert_type(blocking.Client(HERE, asymmetric, key=(of_number, of_text)), blocking.Client[str, int])


def blocks() -> None:
    assert_type(blocking.Client(HERE, Line(), greet=greets_blocking), blocking.Client[bytes, Octets])
    assert_type(blocking.Client(HERE, Line(), greet=greets_octets_blocking), blocking.Client[bytes, Octets])
    assert_type(blocking.Client(HERE, Line(), greet=greets_any_blocking), blocking.Client[bytes, Octets])
    assert_type(blocking.Client(HERE, Line(), greet=lambda c: c.request(b"x")), blocking.Client[bytes, Octets])
    assert_type(blocking.Client(HERE, Line(), greet=lambda c: c.send(b"x")), blocking.Client[bytes, Octets])
    assert_type(blocking.Client(HERE, "line", greet=greets_blocking), blocking.Client[Any, Any])
    assert_type(blocking.Client(HERE, "line", greet=greets_octets_blocking), blocking.Client[Any, Any])
    assert_type(blocking.Client(HERE, "line", greet=lambda c: c.request(b"x")), blocking.Client[Any, Any])
    assert_type(blocking.Client(HERE, "line", greet=greets_any_blocking), blocking.Client[Any, Any])
    assert_type(blocking.Client(HERE, asymmetric, greet=greets_two_blocking), blocking.Client[str, int])
    assert_type(
        blocking.Client(
            HERE, asymmetric, greet=greets_two_blocking, ping=3, on_push=print, is_push=of_text, idempotent=of_number
        ),
        blocking.Client[str, int],
    )
    assert_type(
        blocking.Client(HERE, asymmetric.mirror(), ping="", on_push=print, is_push=of_number, idempotent=of_text),
        blocking.Client[int, str],
    )


def states(client: Client[bytes, Octets], blocks: blocking.Client[bytes, Octets]) -> str:
    assert_type(client.state, ClientState)
    assert_type(blocks.health.state, ClientState)
    return "later" if client.state == "waiting" else client.state
