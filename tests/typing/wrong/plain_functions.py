"""What a type checker says about functions that would not run: their result is dropped, not awaited or iterated."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

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
from fourtuple.events import Event
from fourtuple.framing import Line
from fourtuple.framing.base import Octets
from fourtuple.stream import Stream

HERE = "127.0.0.1:9999"

service = Service(Line())


async def awaits(event: Event) -> None: ...


def yields(event: Event) -> Iterator[int]:
    yield 1


async def awaits_and_yields(event: Event) -> AsyncIterator[int]:
    yield 1


class Awaits:
    async def __call__(self, event: Event) -> None: ...


async def hears(push: bytes | Gap) -> None: ...


def hears_and_yields(push: bytes | Gap) -> Iterator[int]:
    yield 1


async def greets(connection: Connection[bytes, Octets]) -> None: ...


def greets_and_yields(connection: BlockingConnection[bytes, Octets]) -> Iterator[int]:
    yield 1


async def taps(stream: Stream, inward: bool, octets: bytes) -> None: ...


async def starts(server: Server) -> None: ...


def mistaken() -> None:
    Server(service, observer=awaits)  # wrong
    Server(service, observer=yields)  # wrong
    Server(service, observer=awaits_and_yields)  # wrong
    Server(service, observer=Awaits())  # wrong
    Server(service, observer=lambda event: awaits(event))  # wrong
    Server(service, tap=taps)  # wrong
    Client(HERE, Line(), observer=awaits)  # wrong
    Client(HERE, Line(), observer=yields)  # wrong
    Client(HERE, Line(), observer=Awaits())  # wrong
    Client(HERE, Line(), on_push=hears_and_yields)  # wrong
    blocking.Client(HERE, Line(), observer=awaits)  # wrong
    blocking.Client(HERE, Line(), observer=awaits_and_yields)  # wrong
    blocking.Client(HERE, Line(), on_push=hears)  # wrong
    blocking.Client(HERE, Line(), on_push=hears_and_yields)  # wrong
    blocking.Client(HERE, Line(), greet=greets)  # wrong
    blocking.Client(HERE, Line(), greet=greets_and_yields)  # wrong
    Alarm(1000, callback=awaits)  # wrong
    run(service, on_start=starts)  # wrong
    serve_in_thread(service, observer=awaits)  # wrong


@service.closed  # wrong
async def closes(connection: Connection[bytes, Octets]) -> None: ...


@service.closed  # wrong
def closes_and_yields(connection: Connection[bytes, Octets]) -> Iterator[int]:
    yield 1


@service.closed  # wrong
async def closes_and_does_both(connection: Connection[bytes, Octets]) -> AsyncIterator[int]:
    yield 1
