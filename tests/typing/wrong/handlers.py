"""What a type checker says about handlers of another kind than the options of their decorator are for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from fourtuple import BlockingConnection, Connection, Service
from fourtuple.framing import TEXT_MAPPING, Line, Mapped
from fourtuple.framing.base import Octets

octets = Service(Line())
texts = Service(Mapped(Line(), TEXT_MAPPING))
documents = Service("line+json")


@octets.reply(concurrency=8)  # wrong
def plain(message: bytes) -> bytes:
    return message


@octets.reply(concurrency=8)  # wrong
def generator(message: bytes) -> Iterator[bytes]:
    yield message


@octets.reply(concurrency=8)  # wrong
async def async_generator(message: bytes) -> AsyncIterator[bytes]:
    yield message


@texts.reply(concurrency=8)  # wrong
def plain_text(message: str, connection: Connection[str, str]) -> str:
    return message


@documents.reply(concurrency=8)  # wrong
def plain_document(message: str) -> str:
    return message


@octets.reply(cancel_on_lost=False)  # wrong
def never_cancelled(message: bytes) -> bytes:
    return message


@octets.reply(cancel_on_lost=False)  # wrong
def generator_never_cancelled(message: bytes) -> Iterator[bytes]:
    yield message


@octets.reply(threads=True, cancel_on_lost=False)  # wrong
def thread_never_cancelled(message: bytes) -> bytes:
    return message


@octets.reply(threads=True, concurrency=8)  # wrong
def generator_in_threads(message: bytes) -> Iterator[bytes]:
    yield message


@octets.reply(threads=True, concurrency=8)  # wrong
async def awaits(message: bytes) -> bytes:
    return message


@octets.reply(concurrency="8")  # wrong
async def at_once_in_words(message: bytes) -> bytes:
    return message


texts.reply(lambda message: message.nothing)  # wrong
texts.reply(lambda message: 1)  # wrong
texts.reply(lambda message, connection: 1)  # wrong
texts.replies(lambda messages: 1)  # wrong
texts.reply(concurrency=1)(lambda message: 1)  # wrong


@texts.replies  # wrong
def gives_one_text(messages: list[str]) -> str:
    return ""


@texts.replies  # wrong
async def gives_one_text_later(messages: list[str], connection: Connection[str, str]) -> str:
    return ""


@texts.replies  # wrong
def gives_a_set(messages: list[str]) -> set[str]:
    return set(messages)


@octets.replies  # wrong
def gives_octets(messages: list[bytes]) -> bytes:
    return b""


@texts.replies(cancel_on_lost=False)  # wrong
def batch_never_cancelled(messages: list[str]) -> list[str]:
    return messages


@octets.conversation(cancel_on_lost=False)  # wrong
def conversation_never_cancelled(connection: BlockingConnection[bytes, Octets]) -> None: ...


@octets.conversation(speaks_first=True)  # wrong
async def begins_at_once(connection: Connection[bytes, Octets]) -> None: ...
