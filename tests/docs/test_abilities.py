"""The table of handlers and abilities is what the code does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fourtuple import Service
from fourtuple.errors import ServiceError

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "abilities.md"


def plain(message: Any) -> Any: ...


def generator(message: Any) -> Any:
    yield


async def awaited(message: Any) -> Any: ...


async def async_generator(message: Any) -> Any:
    yield


async def talk(connection: Any) -> None: ...


def talk_blocking(connection: Any) -> None: ...


KINDS: dict[str, Callable[..., Any]] = {
    "reply, plain `def`": lambda service, **options: service.reply(**options)(plain),
    "reply, generator": lambda service, **options: service.reply(**options)(generator),
    "reply, `async def`": lambda service, **options: service.reply(**options)(awaited),
    "reply, async generator": lambda service, **options: service.reply(**options)(async_generator),
    "reply, `threads=True`": lambda service, **options: service.reply(threads=True, **options)(plain),
    "reply, generator, `threads=True`": lambda service, **options: service.reply(threads=True, **options)(generator),
    "replies, plain `def`": lambda service, **options: service.replies(**options)(plain_batch),
    "replies, `async def`": lambda service, **options: service.replies(**options)(awaited_batch),
    "conversation, `async def`": lambda service, **options: service.conversation(**options)(talk),
    "conversation, plain `def`": lambda service, **options: service.conversation(**options)(talk_blocking),
    "program": lambda service, **options: service.program("cat", **options),
}


def plain_batch(messages: Any) -> Any: ...


async def awaited_batch(messages: Any) -> Any: ...


def table() -> dict[str, dict[str, str]]:
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.read_text().splitlines() if "|" in line]
    head = lines[0]
    return {line[0]: dict(zip(head, line, strict=True)) for line in lines[2:]}


def tried(call: Callable[[], object]) -> str:
    try:
        call()
    except (ServiceError, TypeError):  # TypeError: it has no such option
        return "no"
    return "yes"


def test_the_table_has_every_kind() -> None:
    assert set(table()) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_kind_takes(kind: str) -> None:
    def with_goodbye() -> None:
        service = Service("line")
        KINDS[kind](service)
        service.goodbye(b"bye")
        service.check()

    def with_unmapped() -> None:
        service = Service("json-lines")
        KINDS[kind](service)
        service.unmapped(lambda message, connection: None)
        service.check()

    row = table()[kind]
    assert row["`concurrency=n`"] == tried(lambda: KINDS[kind](Service("line"), concurrency=2))
    assert row["`cancel_on_lost=False`"] == tried(lambda: KINDS[kind](Service("line"), cancel_on_lost=False))
    assert row["`goodbye`"] == tried(with_goodbye)
    assert row["`unmapped`"] == tried(with_unmapped)
