"""The framing of a third-party incremental parser: one for each connection, which is fed and asked for messages.

:mod:`fourtuple.framing.parsers` makes these framings for the two common interfaces.
"""

from __future__ import annotations

import sys
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
from fourtuple.errors.base import interrupts
from fourtuple.framing.base import Decoder, Framing, Octets
from fourtuple.framing.checks import check_bounds, check_size
from fourtuple.framing.custom_framing import encode_by
from fourtuple.framing.memory import VALUE, check_max_message_memory, memory_bound, too_much, weight
from fourtuple.framing.usercode import check_function, mistake, raised, told
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
    bounds the octets of a message, from the end of the one before it, ``max_message_memory`` the octets of memory of a
    returned message; more raise :class:`~fourtuple.errors.MessageTooLong`. ``max_sent`` bounds the octets of an encoded
    message. An error that the parser raises becomes a :class:`~fourtuple.errors.MalformedMessage`, with that error as
    the cause.

    ``stateful`` tells that the parser keeps state between messages, as one of HTTP does between a head and its body.
    Then where a message ends in the octets cannot be known. ``max_message`` octets are accepted, more than an eighth
    more are not; between these two it depends on where the message lies in the stream. If a parser with state is not
    declared so, it depends on the cut of the stream, too.

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
    stateful: bool = field(default=False, kw_only=True)

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

    def _overhead(self) -> int:
        return step_of(self.max_message) if self.stateful else 0

    def decoder(self) -> Decoder[In_co]:
        return _ParserDecoder(self)

    def encode(self, message: Out_contra) -> bytes:
        octets = message.octets if isinstance(message, ParserOutput) else encode_by(self, self.encoder, message)
        check_size(self, len(octets))
        return octets


class _ParserDecoder(Decoder[In_co]):
    """A parser does not give its octets back, so ``_kept`` holds all octets since a position between two messages.

    The end of a message inside a read is found by feeding prefixes of the read to new parsers. So ``max_message`` is
    exact, and the parser never gets more than that of one message::

        delivered | messages of a read | an unfinished one | not fed yet: what would be more than max_message
                  ^_kept               ^_begin             ^_position

    A parser with state between messages gives other messages when a new one is fed with a part of the stream. So all
    are fed in steps that end at the same positions in the stream, however it is cut, and a message of such a parser
    counts from the end of the step in which the one before it came: the outcome is the same for each cut, and it is at
    most one step later than the bound.
    """

    __slots__ = (
        "_base",
        "_before",
        "_begin",
        "_error",
        "_fed",
        "_framing",
        "_given",
        "_kept",
        "_line",
        "_memory",
        "_parser",
        "_position",
        "_ready",
        "_stateful",
        "_step",
    )

    def __init__(self, framing: Parser[In_co, Any]) -> None:
        self._framing = framing
        self._memory = memory_bound(framing)
        self._step = step_of(framing.max_message)
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
        #: The number of octets that the parser was fed. The next three are such positions in the stream, too.
        self._position = 0
        #: Where ``_kept`` begins.
        self._base = 0
        #: The latest known end of a message, and the number of messages in ``_ready`` before it.
        self._begin = self._before = 0
        #: The end of the step in which the latest message came.
        self._line = 0
        #: Whether the parser keeps state between messages: it says so, or a new one did not give the same messages.
        self._stateful = self._framing.stateful

    def feed(self, data: Octets, limit: int | None = None) -> list[In_co]:
        self.settle()
        if data and not self._error:
            self._put_steps(bytes(data))
        count = len(self._ready) if limit is None else min(limit, len(self._ready))
        if not count and self._error is not None:
            raise self._error
        messages = self._ready[:count]
        if count:
            self._fed = self._end_of(count)
        del self._ready[:count]
        self._given = count
        return messages

    def _put_steps(self, octets: bytes) -> None:
        """Feed the parser, but not more than ``max_message`` octets of one message."""
        at = 0
        while at < len(octets) and self._error is None:
            size = min(self._room(), len(octets) - at)
            if not size:
                bound = self._framing.max_message
                assert bound is not None
                self._error = MessageTooLong(bound + 1, bound, announced=False)
                break
            step = octets[at : at + size] if size < len(octets) else octets
            at += size
            ready = len(self._ready)
            self._kept += step
            self._position += size
            self._put(step)
            if len(self._ready) != ready:
                self._line = self._position + -self._position % self._step
        self._kept += octets[at:]

    def _room(self) -> int:
        """How many octets the parser may be fed now: to the end of the step, and to the bound of a message."""
        bound = self._framing.max_message
        if bound is None:
            return sys.maxsize
        if self._position - self._begin >= bound and len(self._ready) > self._before:
            self._end_of(len(self._ready))  # messages came since the end that is known
        if self._stateful:
            self._begin = self._line
        return min(self._step - self._position % self._step, max(0, self._begin + bound - self._position))

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

    def _end_of(self, count: int) -> int:
        """The number of octets of ``_kept`` that belong to the first ``count`` messages of ``_ready``."""
        start, skip = 0, 0
        base = self._base
        if self._before <= count and self._begin > base and not self._stateful:
            start, skip = self._begin - base, self._before
        end = start + self._boundary(start, count - skip, count == len(self._ready)) if count > skip else start
        if count == len(self._ready):
            self._begin = self._line if self._stateful else base + end
            self._before = count
        return end

    def _boundary(self, start: int, count: int, last: bool) -> int:
        """The number of octets of ``count`` messages: the shortest part of ``_kept`` at ``start`` that gives as many.

        ``last`` tells that no other messages follow, so that their end is near the end of ``_kept``, or at it.
        """
        size = len(self._kept) - start
        least, most = self._nearer_end(start, count, size) if last else self._nearer_start(start, count, size)
        if most > size or (most == size and self._given_by(start, size) < count):
            self._stateful = True  # what such a parser still holds is unknown
            return size
        while most - least > 1:
            at = (least + most) // 2
            if self._given_by(start, at) >= count:
                most = at
            else:
                least = at
        return most

    def _nearer_end(self, start: int, count: int, size: int) -> tuple[int, int]:
        """Too few octets and enough, found in doubled steps from the end: most reads end where a message does."""
        least, most, step = size - 1, size, 1
        while least > 0 and self._given_by(start, least) >= count:
            least, most, step = max(0, least - step), least, 2 * step
        return least, most

    def _nearer_start(self, start: int, count: int, size: int) -> tuple[int, int]:
        """The same in doubled steps from the start: one message of many costs its own octets only."""
        least, most = 0, 1
        while most < size and self._given_by(start, most) < count:
            least, most = most, min(2 * most, size)
        return least, most

    def _given_by(self, start: int, size: int) -> int:
        """The number of messages that a new parser makes of ``size`` octets of ``_kept`` at ``start``."""
        count = 0
        try:
            again = self._framing.make()
            with memoryview(self._kept) as kept:
                octets = bytes(kept[start : start + size])
            self._framing.put(again, octets)
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
        start = self._fed if not undelivered else self._boundary(0, delivered, last=False) if delivered else 0
        octets = bytes(self._kept[start:])
        self._reset()
        return octets

    def forget_error(self) -> None:
        self._error = None

    def settle(self) -> None:
        del self._kept[: self._fed]
        self._base += self._fed
        self._before -= min(self._before, self._given)
        self._fed = self._given = 0


def step_of(bound: int | None) -> int:
    """The octets that a parser is fed at once: an eighth of ``max_message``."""
    return sys.maxsize if bound is None else max(1, bound // 8)


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
