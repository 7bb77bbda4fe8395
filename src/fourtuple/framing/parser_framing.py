"""The framing of a third-party incremental parser: one for each connection, which is fed and asked for messages.

:mod:`fourtuple.framing.parsers` makes these framings for the two common interfaces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fourtuple.errors import (
    FramingMistake,
    IncompleteMessage,
    MalformedMessage,
    MessageError,
    MessageTooLong,
)
from fourtuple.framing.base import Decoder, Framing, Octets
from fourtuple.framing.checks import check_bounds, check_size
from fourtuple.framing.custom_framing import encode_by
from fourtuple.framing.memory import VALUE, check_max_message_memory, memory_bound, too_much, weight
from fourtuple.framing.usercode import check_function, interrupts, mistake, raised, told
from fourtuple.options import DEFAULT_MAX_MESSAGE, DEFAULT_MAX_MESSAGE_MEMORY
from fourtuple.printable import shortened, text_of
from fourtuple.typevars import In, In_co, Out_contra


@dataclass(frozen=True)
class ParserOutput:
    """What a parser wants to send: a message of :func:`event_parser` with ``outgoing=``. A handler returns it as it is.

    A WebSocket parser closes the connection in this way after a frame that is too big.

    ``octets`` are sent as they are.
    """

    octets: bytes


class _NotYet:
    """What a parser's ``get`` returns if no message is complete yet."""

    def __repr__(self) -> str:
        return "NOT_YET"


#: What ``get`` of a :class:`Parser` returns if no message is complete yet.
NOT_YET: Any = _NotYet()
#: A parser may return this many messages more than one for each octet: some events, like the end of a body, use none.
SPARE = 16
_NOTHING = object()


@dataclass(frozen=True)
class Parser(Framing[In_co, Out_contra]):
    """A parser made by ``make`` for each connection; :func:`feed_parser` and :func:`event_parser` make this framing.

    ``put(parser, octets)`` feeds the parser, ``get(parser)`` returns a message or :data:`NOT_YET`. ``max_message``
    bounds the octets fed since the last message was returned, ``max_message_memory`` the octets of memory of a returned
    message; more raise :class:`~fourtuple.errors.MessageTooLong`. ``max_sent`` bounds the octets of an encoded message.
    An error that the parser raises becomes a :class:`~fourtuple.errors.MalformedMessage`, with that error as the cause.

    If ``get`` returns more messages than the number of octets held plus 16, or the same sentinel twice in a row, the
    error is :class:`~fourtuple.errors.FramingMistake`: such a result probably means "not yet" and was not declared.
    ``asks`` and ``hint`` are for the text of that error: the method that is called, and what to do.

    ``outgoing(parser)`` returns the octets that the parser wants to send, and takes them from it. If there are any,
    a :class:`ParserOutput` follows the messages of the same octets, even if the parser then raises.

    ``encoder(message)`` returns the octets of a sent message; None if the framing only receives. ``name`` stands for
    the framing in texts: errors, logs and events.
    """

    make: Callable[[], Any]
    put: Callable[[Any, bytes], object]
    get: Callable[[Any], In_co]
    encoder: Callable[[Out_contra], Octets] | None = None
    name: str = "parser"
    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_message_memory: int | None = DEFAULT_MAX_MESSAGE_MEMORY
    max_sent: int | None = field(default=None, kw_only=True)
    asks: str = field(default="get", repr=False, compare=False)
    hint: str = field(default="have it return NOT_YET where {} means that", repr=False, compare=False)
    outgoing: Callable[[Any], Octets] | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "parser"

    def __post_init__(self) -> None:
        check_bounds(self)
        check_max_message_memory(self)
        check_function(self.name, "make", self.make, called="make()")
        check_function(self.name, "put", self.put, None, b"", called="put(parser, octets)")
        check_function(self.name, "get", self.get, None, called="get(parser)")
        if self.encoder is not None:
            check_function(self.name, "encode", self.encoder, b"", called="encode(message)")
        if self.outgoing is not None:
            check_function(self.name, "outgoing", self.outgoing, None, called="outgoing(parser)")

    def __str__(self) -> str:
        return self.name

    def decoder(self) -> Decoder[In_co]:
        return _ParserDecoder(self)

    def encode(self, message: Out_contra) -> bytes:
        octets = message.octets if isinstance(message, ParserOutput) else encode_by(self, self.encoder, message)
        check_size(self, len(octets))
        return octets


class _ParserDecoder(Decoder[In_co]):
    """A parser does not give its octets back, so ``_kept`` holds all octets since a position between two messages.

    The end of a message inside a read is found by feeding prefixes of the read to new parsers.
    """

    __slots__ = ("_error", "_fed", "_framing", "_given", "_kept", "_memory", "_parser", "_ready")

    def __init__(self, framing: Parser[In_co, Any]) -> None:
        self._framing = framing
        self._memory = memory_bound(framing)
        self._reset()

    def _reset(self) -> None:
        self._error: MessageError | None = None
        try:
            self._parser = self._framing.make()
        except FramingMistake as error:
            self._parser, self._error = None, error
        except BaseException as error:
            if interrupts(error):
                raise
            self._parser, self._error = None, raised(self._framing, self._framing.make, error)
        #: The octets from the beginning of the latest batch on, and the number of its messages that were returned.
        self._kept = bytearray()
        self._given = 0
        #: The number of octets of ``_kept`` that belong to returned messages.
        self._fed = 0
        #: Messages that the parser has returned and this decoder has not.
        self._ready: list[In_co] = []

    def feed(self, data: Octets, limit: int | None = None) -> list[In_co]:
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
        """Feed the parser and get all its messages."""
        try:
            try:
                self._framing.put(self._parser, octets)
                for message in _all(self._framing, self._parser, len(self._kept)):
                    self._check_memory(message)
                    self._ready.append(message)
            finally:
                self._ready += _output(self._framing, self._parser)
        except FramingMistake as error:
            self._ready.clear()  # the messages of such a parser cannot be trusted either
            self._error = error
        except MessageError as error:
            self._error = error
        except BaseException as error:
            if interrupts(error):
                raise
            self._error = MalformedMessage(f"{self._framing}: {shortened(text_of(error))}")
            self._error.__cause__ = error

    def _check_memory(self, message: object) -> None:
        """Raise for a message that takes too much memory. A message of few octets cannot, and is not measured."""
        if self._memory is not None and len(self._kept) * VALUE > self._memory:
            size = weight(message)
            if size > self._memory:
                raise too_much(size, self._memory)

    def _check_bound(self) -> None:
        """Set an error for more than ``max_message`` octets since the last message was returned."""
        bound = self._framing.max_message
        if bound is not None and not self._ready and self._error is None and self.buffered > bound:
            self._error = MessageTooLong(bound + 1, bound, announced=False)

    def _boundary(self, count: int) -> int:
        """The number of octets of the first ``count`` messages: the shortest prefix of ``_kept`` that gives as many."""
        size = len(self._kept)
        least, most = 0, 1
        while self._given_by(most) < count:  # in doubled steps: one message of many costs its own octets only
            if most >= size:
                return size  # this parser keeps state between messages: what it still holds is unknown
            least, most = most, min(2 * most, size)
        at = most - 1  # most reads end where a message does: then one more try is enough
        while most - least > 1:
            if self._given_by(at) >= count:
                most = at
            else:
                least = at
            at = (least + most) // 2
        return most

    def _given_by(self, size: int) -> int:
        """The number of messages that a new parser makes of the first ``size`` octets of ``_kept``."""
        count = 0
        try:
            again = self._framing.make()
            self._framing.put(again, bytes(self._kept[:size]))
            for _ in _all(self._framing, again, size):
                count += 1
            count += len(_output(self._framing, again))
        except BaseException as error:
            if interrupts(error):
                raise
            return count  # the error is after these messages, or this parser lacks the state of the other
        return count

    def finish(self) -> list[In_co]:
        messages = self.feed(b"")
        if not messages and self.buffered:
            self._error = IncompleteMessage(self.buffered, None)
            raise self._error
        return messages

    @property
    def parser(self) -> Any:
        return self._parser

    @property
    def buffered(self) -> int:
        return len(self._kept) - self._fed

    @property
    def held(self) -> int:
        return 2 * self.buffered  # the parser also holds the octets; the values that it has made cannot be seen

    def take(self, undelivered: int = 0) -> bytes:
        delivered = self._given - undelivered
        start = self._fed if not undelivered else self._boundary(delivered) if delivered else 0
        octets = bytes(self._kept[start:])
        self._reset()
        return octets

    def forget_error(self) -> None:
        self._error = None

    def settle(self) -> None:
        del self._kept[: self._fed]
        self._fed = self._given = 0


def _all(framing: Parser[In, Any], parser: Any, octets: int) -> Iterator[In]:
    """All messages that a parser has ready, after ``octets`` octets. Raises FramingMistake if they do not end."""
    previous: object = _NOTHING
    for _ in range(octets + SPARE):
        message = framing.get(parser)
        if message is NOT_YET:
            return
        if message is previous and _is_sentinel(message):
            raise _stuck(framing, f"{told(message)} twice running", message)
        if hasattr(message, "__await__"):
            raise mistake(framing, framing.asks, message, "a message")
        previous = message
        yield message
    if (message := framing.get(parser)) is not NOT_YET:
        raise _stuck(framing, f"{octets + SPARE + 1} messages of {octets} octets, the last {told(message)}", message)


def _output(framing: Parser[Any, Any], parser: Any) -> list[Any]:
    """What the parser wants to send, as one message or none."""
    if framing.outgoing is None:
        return []
    octets = framing.outgoing(parser)
    if not isinstance(octets, bytes | bytearray | memoryview):
        raise mistake(framing, framing.outgoing, octets, "octets")
    return [ParserOutput(bytes(octets))] if octets else []


def _is_sentinel(message: object) -> bool:
    """Whether this is a sentinel, not a message: a class or a bare object. ``None`` is a message: the null of RESP."""
    return isinstance(message, type) or type(message) is object or message is Ellipsis or message is NotImplemented


def _stuck(framing: Parser, what: str, message: object) -> FramingMistake:
    return FramingMistake(f"{framing}: {framing.asks}() returned {what}; {framing.hint.format(repr(message))}")
