"""Other people's incremental parsers as framings: ``feeding`` (as hiredis) and ``events`` (as h11).

::

    feeding   parser.feed(octets)          parser.gets()        -> a message, or `incomplete`
    events    parser.receive_data(octets)  parser.next_event()  -> an event, or one of `need_data`
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fourtuple.errors import (
    EncodeError,
    FourTupleError,
    IncompleteMessage,
    MalformedMessage,
    MessageError,
    MessageTooLong,
)
from fourtuple.framing.base import Decoder, Framing, Octets, check_bounds, check_size
from fourtuple.options import DEFAULT_MAX_MESSAGE

_NOTHING = object()


@dataclass(frozen=True)
class Parser(Framing):
    """A parser made by ``make`` for each connection; :func:`feeding` and :func:`events` make this framing.

    ``put(parser, octets)`` feeds it, ``get(parser)`` returns a message or raises :class:`LookupError`.
    ``max_message`` bounds the octets fed since the last message came out; more are
    :class:`~fourtuple.errors.MessageTooLong`. ``max_sent`` bounds an encoded message. Whatever the parser raises is
    :class:`~fourtuple.errors.MalformedMessage`, with its error as the cause.
    """

    make: Callable[[], Any]
    put: Callable[[Any, bytes], Any]
    get: Callable[[Any], Any]
    encoder: Callable[[Any], bytes] | None = None
    name: str = "parser"
    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "parser"

    def __post_init__(self) -> None:
        check_bounds(self)

    def __str__(self) -> str:
        return self.name

    def decoder(self) -> Decoder:
        return _ParserDecoder(self)

    def encode(self, message: Any) -> bytes:
        if self.encoder is None:
            raise EncodeError(f"{self}: no encode function was given")
        try:
            octets = bytes(self.encoder(message))
        except FourTupleError:
            raise
        except Exception as error:
            raise EncodeError(f"{self}: {type(message).__name__} cannot be encoded: {error}") from error
        check_size(self, len(octets))
        return octets


def feeding(
    make: Callable[[], Any],
    encode: Callable[[Any], bytes] | None = None,
    *,
    incomplete: object = False,
    max_message: int | None = DEFAULT_MAX_MESSAGE,
    max_sent: int | None = None,
    name: str = "parser",
) -> Parser:
    """A framing of parsers with ``feed(octets)`` and ``gets()``, which returns ``incomplete`` for "not yet".

    With hiredis: ``feeding(lambda: hiredis.Reader(notEnoughData=NotYet), pack, incomplete=NotYet)``.
    """

    def put(parser: Any, octets: bytes) -> None:
        parser.feed(octets)

    def get(parser: Any) -> Any:
        message = parser.gets()
        if message is incomplete:
            raise LookupError
        return message

    return Parser(make, put, get, encode, name, max_message, max_sent=max_sent)


def events(
    make: Callable[[], Any],
    encode: Callable[[Any], bytes] | None = None,
    *,
    need_data: tuple[object, ...],
    paused: object = None,
    resume: Callable[[Any], Any] | None = None,
    max_message: int | None = DEFAULT_MAX_MESSAGE,
    max_sent: int | None = None,
    name: str = "parser",
) -> Parser:
    """A framing of parsers with ``receive_data(octets)`` and ``next_event()``; every event is a message.

    ``need_data`` are the events that mean "not yet". At ``paused``, ``resume(parser)`` may get it going again.
    With h11: ``events(lambda: h11.Connection(h11.SERVER), need_data=(h11.NEED_DATA,), paused=h11.PAUSED)``.
    Some parsers, h11 with bodies among them, cut events where the reads were cut.
    """

    def put(parser: Any, octets: bytes) -> None:
        parser.receive_data(octets)

    def get(parser: Any) -> Any:
        event = parser.next_event()
        if paused is not None and event is paused and resume is not None:
            resume(parser)
            event = parser.next_event()
        if event in need_data or (paused is not None and event is paused):
            raise LookupError
        return event

    return Parser(make, put, get, encode, name, max_message, max_sent=max_sent)


class _ParserDecoder(Decoder):
    """A parser keeps its octets to itself: ``_kept`` are all since a place between two messages.

    Where a message ended inside of a read is found by showing its beginnings to new parsers.
    """

    __slots__ = ("_error", "_fed", "_framing", "_given", "_kept", "_parser", "_ready")

    def __init__(self, framing: Parser) -> None:
        self._framing = framing
        self._reset()

    def _reset(self) -> None:
        self._parser = self._framing.make()
        self._error: MessageError | None = None
        #: The octets from before the latest batch on, and how many messages of it were given.
        self._kept = bytearray()
        self._given = 0
        #: How many of the octets kept made messages.
        self._fed = 0
        #: Messages that came out and were not asked for yet.
        self._ready: list[Any] = []

    def feed(self, data: Octets, limit: int | None = None) -> list[Any]:
        del self._kept[: self._fed]
        self._fed = self._given = 0
        if data and not self._error:
            octets = bytes(data)
            self._kept += octets
            self._put(octets)
            self._check_bound()
        count = len(self._ready) if limit is None else min(limit, len(self._ready))
        if not count and self._error is not None:
            raise self._error
        messages = self._ready[:count]
        del self._ready[:count]
        self._given = count
        if count:
            self._fed = self._boundary(count)
            self._check_bound()
        return messages

    def _put(self, octets: bytes) -> None:
        """Feed the parser and get all that comes out."""
        try:
            self._framing.put(self._parser, octets)
            while (message := _next(self._framing, self._parser)) is not _NOTHING:
                self._ready.append(message)
        except MessageError as error:
            self._error = error
        except Exception as error:
            self._error = MalformedMessage(f"{self._framing}: {error}")
            self._error.__cause__ = error

    def _check_bound(self) -> None:
        """No more than ``max_message`` octets since the last message came out."""
        bound = self._framing.max_message
        if bound is not None and not self._ready and self._error is None and self.buffered > bound:
            self._error = MessageTooLong(bound + 1, bound, announced=False)

    def _boundary(self, count: int) -> int:
        """How many octets of ``_kept`` the first ``count`` messages have: the shortest beginning that gives as many."""
        size = len(self._kept)
        least, most = 0, 1
        while self._given_by(most) < count:  # in doubled steps: one message of many costs its own octets, not all
            if most >= size:
                return size  # a parser that is not as new after its messages: it alone knows what it still holds
            least, most = most, min(2 * most, size)
        at = most - 1  # most reads end where a message does: then one more look is enough
        while most - least > 1:
            if self._given_by(at) >= count:
                most = at
            else:
                least = at
            at = (least + most) // 2
        return most

    def _given_by(self, size: int) -> int:
        """How many messages a new parser makes of the first ``size`` octets of ``_kept``."""
        again, count = self._framing.make(), 0
        try:
            self._framing.put(again, bytes(self._kept[:size]))
            while _next(self._framing, again) is not _NOTHING:
                count += 1
        except Exception:
            return count  # what is broken stands behind them, or this parser is not where the other one was
        return count

    def finish(self) -> list[Any]:
        messages = self.feed(b"")
        if not messages and self.buffered:
            self._error = IncompleteMessage(self.buffered, None)
            raise self._error
        return messages

    @property
    def buffered(self) -> int:
        return len(self._kept) - self._fed

    def take(self, undelivered: int = 0) -> bytes:
        delivered = self._given - undelivered
        start = self._fed if not undelivered else self._boundary(delivered) if delivered else 0
        octets = bytes(self._kept[start:])
        self._reset()
        return octets

    def settle(self) -> None:
        del self._kept[: self._fed]
        self._fed = self._given = 0


def _next(framing: Parser, parser: Any) -> Any:
    try:
        return framing.get(parser)
    except LookupError:
        return _NOTHING
