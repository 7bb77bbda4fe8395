"""Handlers of the kinds that their decorators are for, and what they may return."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Sequence
from typing import assert_type

from fourtuple import BlockingConnection, Connection, Service
from fourtuple.framing import TEXT_MAPPING, Line, Mapped
from fourtuple.framing.base import Octets

octets = Service(Line())
texts = Service(Mapped(Line(), TEXT_MAPPING))
documents = Service("line+json")
at_once = int("8")


def plain(message: bytes) -> bytes:
    return message


def plain_with_connection(message: bytes, connection: Connection[bytes, Octets]) -> bytes:
    return message


def generator(message: bytes) -> Iterator[bytes]:
    yield message


async def awaits(message: bytes) -> bytes:
    return message


async def awaits_with_connection(message: bytes, connection: Connection[bytes, Octets]) -> bytes:
    return message


async def async_generator(message: bytes) -> AsyncIterator[bytes]:
    yield message


async def async_iterable(message: bytes) -> AsyncIterable[bytes]:
    yield message


def plain_text(message: str) -> str:
    return message


async def awaits_text(message: str, connection: Connection[str, str]) -> str | None:
    return message


async def async_iterable_of_texts(message: str) -> AsyncIterable[str]:
    yield message


assert_type(octets.reply(plain), Callable[[bytes], bytes])
assert_type(octets.reply(async_iterable), Callable[[bytes], AsyncIterable[bytes]])
assert_type(octets.reply(concurrency=1)(plain), Callable[[bytes], bytes])
octets.reply(concurrency=8)(awaits)
octets.reply(concurrency=8)(awaits_with_connection)
octets.reply(concurrency=at_once)(awaits)
octets.reply(concurrency=8, cancel_on_lost=False)(awaits)
octets.reply(cancel_on_lost=False)(awaits)
octets.reply(cancel_on_lost=False)(async_generator)
octets.reply(cancel_on_lost=True)(plain)
octets.reply(cancel_on_lost=True)(generator)
assert_type(octets.reply(threads=True)(generator), Callable[[bytes], Iterator[bytes]])
assert_type(octets.reply(threads=True, concurrency=8)(plain), Callable[[bytes], bytes])
octets.reply(threads=True, concurrency=at_once)(plain_with_connection)
octets.reply(threads=True, concurrency=1)(generator)
texts.reply(threads=True, concurrency=8)(plain_text)
texts.reply(concurrency=8)(awaits_text)
texts.reply(async_iterable_of_texts)
texts.reply(cancel_on_lost=False)(async_iterable_of_texts)
documents.reply(plain)
documents.reply(concurrency=8)(awaits_text)
documents.reply(threads=True, concurrency=8)(plain)


def batch_list(messages: list[str]) -> list[str]:
    return messages


def batch_tuple(messages: list[str]) -> tuple[str, ...]:
    return tuple(messages)


def batch_sequence(messages: list[str], connection: Connection[str, str]) -> Sequence[str | None]:
    return messages


async def batch_later(messages: list[str]) -> list[str | None]:
    return [*messages]


def batch_of_octets(messages: list[bytes]) -> list[bytes]:
    return messages


async def batch_of_octets_later(messages: list[bytes]) -> tuple[bytes, ...]:
    return tuple(messages)


texts.replies(batch_list)
texts.replies(batch_tuple)
texts.replies(batch_sequence)
texts.replies(batch_later)
texts.replies(cancel_on_lost=False)(batch_later)
texts.replies(cancel_on_lost=True)(batch_list)
assert_type(octets.replies(batch_of_octets), Callable[[list[bytes]], list[bytes]])
octets.replies(cancel_on_lost=False)(batch_of_octets_later)
documents.replies(batch_list)


async def converses(connection: Connection[bytes, Octets]) -> None: ...


def converses_in_thread(connection: BlockingConnection[bytes, Octets]) -> None: ...


octets.conversation(converses)
octets.conversation(converses_in_thread)
octets.conversation()(converses)
octets.conversation(cancel_on_lost=False)(converses)
octets.conversation(speaks_first=True)(converses_in_thread)
octets.conversation(speaks_first=False)(converses_in_thread)
