"""Framings for streams that are not divided into messages: ``raw`` and ``eof``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fourtuple.errors import EncodeError, MessageTooLong
from fourtuple.framing.base import Framing, Octets
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import check_bounds, check_size, octets_of
from fourtuple.options import DEFAULT_MAX_MESSAGE


@dataclass(frozen=True)
class Raw(Framing[bytes, Octets]):
    """No framing: a message is the octets of one read, in pieces of at most ``max_message`` octets.

    This is the only framing whose messages depend on how the stream is cut into reads.
    """

    max_message: int | None = DEFAULT_MAX_MESSAGE

    word: ClassVar[str] = "raw"
    delimits_itself: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_bounds(self)

    def decoder(self) -> BufferedDecoder[bytes]:
        return _RawDecoder(self)

    def encode(self, message: Octets) -> bytes:
        return octets_of(self, message)


class _RawDecoder(BufferedDecoder):
    __slots__ = ("_max",)

    def __init__(self, framing: Raw) -> None:
        self._max = framing.max_message
        super().__init__(framing)

    def _split(self, limit: int | None) -> list[Any]:
        buffer, start = self._buffer, self._start
        size = self._max or len(buffer)
        messages: list[Any] = []
        while start < len(buffer) and (limit is None or len(messages) < limit):
            messages.append(buffer[start : start + size])
            start = min(len(buffer), start + size)
        self._start = start
        return messages


@dataclass(frozen=True)
class Eof(Framing[bytes, Octets]):
    """One message in each direction: all octets up to the end of file.

    Sending a message half-closes the connection, because the end of file is the end of the message. If the end of
    file comes before any octet, the message has zero octets. More than ``max_message`` octets raise
    :class:`~fourtuple.errors.MessageTooLong`.

    ``max_sent`` bounds a sent message, in octets. By default there is no bound, because your own program makes these
    messages.
    """

    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "eof"
    ends_stream: ClassVar[bool] = True
    delimits_itself: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_bounds(self)

    def decoder(self) -> BufferedDecoder[bytes]:
        return _EofDecoder(self)

    def encode(self, message: Octets) -> bytes:
        octets = octets_of(self, message)
        check_size(self, len(octets))
        return octets

    def encode_many(self, messages: Iterable[Octets]) -> bytes:
        encoded = [self.encode(message) for message in messages]
        if len(encoded) > 1:
            raise EncodeError(f"eof: one message ends the stream, {len(encoded)} cannot be told apart")
        return b"".join(encoded)


class _EofDecoder(BufferedDecoder):
    __slots__ = ("_finished", "_max")

    def __init__(self, framing: Eof) -> None:
        self._max = framing.max_message
        super().__init__(framing)

    def _reset(self) -> None:
        super()._reset()
        self._finished = False

    def _split(self, limit: int | None) -> list[Any]:
        held = len(self._buffer) - self._start
        if self._max is not None and held > self._max:
            self._error = MessageTooLong(self._max + 1, self._max, "stream", announced=False)
        self._need = held + 1
        return []

    def finish(self) -> list[Any]:
        if self._error is not None:
            raise self._error
        if self._finished:
            return []
        self._finished = True
        self._base, self._given = self._start, 1
        message = bytes(self._buffer[self._start :])
        self._start = len(self._buffer)
        return [message]

    def take(self, undelivered: int = 0) -> bytes:
        octets = bytes(self._buffer[self._base if undelivered else self._start :])
        self._reset()
        return octets
