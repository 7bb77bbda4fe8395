"""Functions whose result nothing uses may return what they like; only what would have to run or be awaited is wrong."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass

from fourtuple import (
    Alarm,
    BlockingConnection,
    Client,
    Connection,
    Gap,
    Server,
    Service,
    blocking,
    run,
    serve_in_thread,
)
from fourtuple.events import Event, Observer
from fourtuple.framing import Line
from fourtuple.framing.base import Octets
from fourtuple.observe import each_of
from fourtuple.stream import Stream
from fourtuple.testing import MemoryService

HERE = "127.0.0.1:9999"

service = Service(Line())


@dataclass
class Player:
    name: str


players: dict[int, Player] = {}
seen: list[Event] = []


def counts(event: Event) -> int:
    return len(seen)


def says_nothing(event: Event) -> None: ...


def untyped(event):  # type: ignore[no-untyped-def]
    return event


class Counter:
    def __call__(self, event: Event) -> None: ...


def hears(push: bytes | Gap) -> int:
    return 1


async def hears_later(push: bytes | Gap) -> int:
    return 1


def greets(connection: BlockingConnection[bytes, Octets]) -> bool:
    return True


async def greets_later(connection: Connection[bytes, Octets]) -> bytes:
    return await connection.request(b"login")


def taps(stream: Stream, inward: bool, octets: bytes) -> int:
    return len(octets)


def one_name_for_all(observer: Observer, other: Callable[[Event], None]) -> None:
    Server(service, observer=observer)
    Client(HERE, Line(), observer=other)
    blocking.Client(HERE, Line(), observer=observer)
    Server(service, observer=each_of(observer, other, print))


def observes() -> None:
    for observer in (counts, says_nothing, untyped, Counter(), print, seen.append):
        Server(service, observer=observer)
        Client(HERE, Line(), observer=observer)
        blocking.Client(HERE, Line(), observer=observer)
    Server(service, observer=lambda event: sys.stderr.write(str(event)), tap=taps)
    Server(service, observer=lambda event: asyncio.get_running_loop().call_soon(print, event))
    Client(HERE, Line(), observer=lambda event: seen.append(event), on_push=hears_later, greet=greets_later)
    Client(HERE, Line(), on_push=hears)
    Client(HERE, Line(), on_push=lambda push: asyncio.ensure_future(hears_later(push)))
    blocking.Client(HERE, Line(), on_push=hears, greet=greets)
    MemoryService(service, observer=counts)
    Alarm(1000, callback=counts)
    run(service, on_start=lambda server: sys.stdout.write(str(server)))
    serve_in_thread(service, observer=counts)


service.closed(lambda connection: players.pop(connection.id, None))
service.closed(lambda connection: print(connection))


@service.closed
def forgets(connection: Connection[bytes, Octets]) -> int:
    return len(players)
