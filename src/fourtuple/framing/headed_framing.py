r"""A head that announces a body: ``headed:line:crlf,size=PUB:last|HPUB:last,trailer=\r\n``.

::

    +--------------------------+-----------+---------+----
    | head, framed as it is    | body      | trailer | ...
    +--------------------------+-----------+---------+----
                               |<- size -->|
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, ClassVar

from fourtuple.errors import (
    EncodeError,
    IncompleteMessage,
    MalformedMessage,
    MessageError,
    MessageTooLong,
    OptionError,
)
from fourtuple.errors.base import interrupts
from fourtuple.framing.base import Framing, Octets
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import check_bounds, check_outside, check_size, octets_of
from fourtuple.framing.headsize import UNTIL_TRAILER, Size, SizeOf, read_size
from fourtuple.framing.lending import Swallowing, check_lendable, cutter
from fourtuple.framing.text import parse_framing
from fourtuple.framing.unmapped import Unmapped
from fourtuple.framing.usercode import check_function, is_count, mistake, name_of, told
from fourtuple.options import DEFAULT_MAX_MESSAGE, by_keyword
from fourtuple.printable import error_text
from fourtuple.typevars import In, In_co, Out, Out_contra

_WANTED = "a number of octets, None or UNTIL_TRAILER"
#: No head has been read.
_NONE: Any = object()


@dataclass(frozen=True)
class Headed(Framing[tuple[In_co, bytes | None], tuple[Out_contra, Octets | None]]):
    """A head that announces a body, made by :func:`headed`.

    Raises :class:`~fourtuple.errors.OptionError` for a ``head`` whose octets do not tell where it ends, or that drops
    octets behind itself, where the body begins (``slip``, ``json``, ``swallow``, ``resync``), and for a ``size`` that
    is not a function of one argument or a text.

    ``trailer`` are octets at the very end of each message. ``max_message`` bounds a received message with its head, in
    octets (default: 1 MiB); more raise :class:`~fourtuple.errors.MessageTooLong`. ``max_sent`` bounds a sent message,
    in octets. By default there is no bound, because your own program makes these messages.
    """

    head: Framing[In_co, Out_contra]
    size: SizeOf | str
    trailer: bytes = b""
    swallow: bytes = b""
    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_sent: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "headed"
    argument: ClassVar[str | None] = "head"
    _makes_values = True

    def __post_init__(self) -> None:
        check_bounds(self)
        check_lendable("headed", self.head)
        if self.head.drops_between:
            raise OptionError(f"headed: {self.head} drops octets after its messages, where the body begins")
        if not isinstance(self.size, str):
            check_function("headed", "size", self.size, b"", called="size(head)")
        assert self._size_of is not None  # reads it, or raises

    @cached_property
    def _size_of(self) -> SizeOf:
        return read_size(self.size, trailer=self.trailer) if isinstance(self.size, str) else self.size

    @cached_property
    def _bounded_head(self) -> Framing[In_co, Out_contra]:
        return _at_most(self.head, self.max_message)

    @property
    def max_buffered(self) -> int | None:
        head = self._bounded_head.max_buffered
        return None if head is None or self.max_message is None else max(head, self.max_message)

    @property
    def drops_between(self) -> bool:
        return bool(self.swallow)

    def mirror(self) -> Headed[Any, Any]:
        return replace(self, head=self.head.mirror())

    def decoder(self) -> BufferedDecoder[tuple[In_co, bytes | None] | Unmapped]:
        return _HeadedDecoder(self)

    def encode(self, message: tuple[Out_contra, Octets | None]) -> bytes:
        if not isinstance(message, tuple) or len(message) != 2:
            raise EncodeError(f"{self}: the message is {told(message)}; expected a tuple (head, body)")
        head, body = message
        encoded = self.head.encode(head)
        if encoded[:1] and encoded[:1] in self.swallow:
            raise EncodeError(f"{self}: the head begins with {encoded[:1]!r}, which the peer would swallow")
        size = self._announced(bytes(head) if isinstance(head, bytearray | memoryview) else head)
        if size is None:
            if body is not None:
                raise EncodeError(
                    f"{self}: the head {told(head)} announces no body, and the message has one; send None"
                )
        else:
            if body is None:
                raise EncodeError(f"{self}: the head {told(head)} announces a body, and the message has none")
            encoded += self._body(head, octets_of(self, body), size) + self.trailer
        check_size(self, len(encoded))
        return encoded

    def _announced(self, head: Any) -> Size:
        """What the head announces, as the peer will read it."""
        try:
            return asked(self, head)
        except MessageError as error:
            raise EncodeError(f"{self}: {error}") from error

    def _body(self, head: Any, body: bytes, size: Size) -> bytes:
        if size is UNTIL_TRAILER:
            check_outside(self, body, self.trailer, "the trailer")
        elif size != len(body):
            raise EncodeError(f"{self}: the head {told(head)} announces {size} octets, and the body has {len(body)}")
        return body


@by_keyword()
def headed(
    head: Framing[In, Out] | str,
    size: Callable[[In], Size] | str,
    trailer: bytes = b"",
    *,
    swallow: bytes = b"",
    max_message: int | None = DEFAULT_MAX_MESSAGE,
    max_sent: int | None = None,
) -> Headed[In, Out]:
    """Make a framing of a head that announces a body; messages are tuples ``(head, body)``.

    ``head`` is a framing or its text form. ``size(head)`` returns

    - the number of octets of the body. ``trailer`` follows it; it is checked and removed;
    - ``None``: no body and no trailer. The message is ``(head, None)``;
    - :data:`UNTIL_TRAILER`: the body ends where ``trailer`` begins.

    It must depend on the head alone: undelivered octets are cut again by calling it again, and the encoder calls it to
    reject a body that the head does not announce. Octets are given to it as ``bytes``. An error that it raises, and a
    negative number, are a :class:`~fourtuple.errors.MalformedMessage`, because they come from what the peer sent; any
    other result is a :class:`~fourtuple.errors.FramingMistake`. Both name the function.

    Instead of a function, ``size`` may be a text, which is also its text form: the number of a word of the head
    (``"4"``, the fifth), ``"last"``, places for the first words of heads (``"PUB:last|HPUB:last"``, upper or lower
    case; other heads have no body, unless ``*`` is one of the words), or a header line (``"header:content-length"``;
    without it, the body ends at the trailer, or there is none if there is no trailer).

    ``swallow`` are octets that are dropped before a head, in any number and order.

    ``max_message`` bounds the octets of head, body and trailer together. It is checked when the head has come, before
    memory is allocated for the body. The head has a bound of its own besides, that of its framing. ``max_sent`` bounds
    the octets of an encoded message. Default: None, no bound, because your program makes these messages.
    """
    return Headed(parse_framing(head), size, trailer, swallow, max_message, max_sent=max_sent)


def asked(framing: Headed, head: Any) -> Size:
    """What ``size(head)`` returns. Raises MalformedMessage or FramingMistake, which names the function."""
    size_of = framing._size_of
    try:
        size = size_of(head)
    except MessageError:
        raise
    except BaseException as error:
        if interrupts(error):
            raise
        text = f"{name_of(size_of)}() cannot tell the size of a body: {error_text(error)}"
        raise MalformedMessage(f"{framing}: {text}") from error
    if size is UNTIL_TRAILER and not framing.trailer:
        raise mistake(framing, size_of, size, "a number of octets or None, because there is no trailer")
    if size is None or size is UNTIL_TRAILER:
        return size
    if not is_count(size):
        raise mistake(framing, size_of, size, _WANTED)
    if size < 0:
        name = "the head" if isinstance(framing.size, str) else f"{name_of(size_of)}()"
        raise MalformedMessage(f"{framing}: {name} tells a body of {size} octets")
    return size


def _at_most(framing: Framing[In, Out], most: int | None) -> Framing[In, Out]:
    """The framing with a ``max_message`` of no more than ``most``, if that is one of its fields."""
    if most is None:
        return framing
    names = {each.name for each in fields(framing)}
    if "inner" in names:
        return replace(framing, inner=_at_most(framing.inner, most))  # type: ignore[call-arg,attr-defined]
    own = getattr(framing, "max_message", None)
    if "max_message" not in names or (own is not None and own <= most):
        return framing
    try:
        return replace(framing, max_message=most)  # type: ignore[call-arg]
    except OptionError:
        return framing


class _HeadedDecoder(BufferedDecoder[tuple[In_co, bytes | None]]):
    """``_start`` stays at the head until the message is whole, so that its octets can be cut again."""

    __slots__ = ("_body", "_head", "_heads", "_max", "_passed", "_searched", "_size", "_swallowing", "_trailer")
    _framing: Headed[In_co, Any]

    def __init__(self, framing: Headed[In_co, Any]) -> None:
        heads = cutter(framing._bounded_head)
        assert heads is not None
        self._heads = heads
        self._max = framing.max_message
        self._swallowing = Swallowing(framing.swallow)
        self._trailer = framing.trailer
        super().__init__(framing)

    def forget_error(self) -> None:
        super().forget_error()
        self._heads.decoder.forget_error()

    def _reset(self) -> None:
        super()._reset()
        self._heads.reset()
        #: The number of octets of the stream before ``_start``.
        self._passed = 0
        self._begin()

    def _begin(self) -> None:
        """Expect a head."""
        self._head = _NONE
        #: Where the body begins, relative to ``_start``, and what the head says of its size.
        self._body = 0
        self._size: Size = None
        #: How many octets of the body have been searched for the trailer.
        self._searched = 0

    def _stand_at(self, place: int) -> None:
        self._passed = place

    @property
    def _values(self) -> int:
        return 0 if self._head is _NONE else self._heads.values

    def _see_end(self) -> None:
        if self._head is _NONE:
            self._heads.decoder._see_end()
            self._need = min(self._need, max(1, self.buffered))

    def _split(self, limit: int | None) -> list[Any]:
        messages: list[Any] = []
        try:
            while limit is None or len(messages) < limit:
                if self._head is _NONE and not self._cut_head():
                    break
                body, end, after = self._cut_body()
                if after < 0:
                    break
                octets = None if self._size is None else bytes(self._buffer[body:end])
                messages.append((self._head, octets))
                self._move(after)
                self._begin()
                self._need = 1
        except MessageError as error:
            self._error = error
        return messages

    def _move(self, to: int) -> None:
        self._passed += to - self._start
        self._start = to

    def _cut_head(self) -> bool:
        """Read the head at ``_start``; False while it is unfinished."""
        self._move(self._swallowing.after(self._buffer, self._start))
        decoder = self._heads.decoder
        if self._start == len(self._buffer):
            self._need = 1
            return False
        start, skipped = self._start, decoder.skipped
        got = self._lend(decoder, start, self._passed)
        garbage = decoder.skipped - skipped
        self.skipped += garbage
        if not got:
            self._move(decoder._start)
            self._need, self._error = decoder._need, decoder._error
            return False
        self._move(start + garbage)
        (head,) = self._heads.map(got)
        if isinstance(head, Unmapped):
            raise MalformedMessage(f"the head does not map, so that the size of its body is unknown: {head.error}")
        body = decoder._start - self._start
        self._size = asked(self._framing, head)
        self._head, self._body = head, body
        self._check(body + (self._size + len(self._trailer) if isinstance(self._size, int) else 0))
        return True

    def _check(self, size: int, *, announced: bool = True) -> None:
        if self._max is not None and size > self._max:
            raise MessageTooLong(size if announced else self._max + 1, self._max, announced=announced)

    def _cut_body(self) -> tuple[int, int, int]:
        """Where the body begins, where it ends, and where the trailer ends: -1 while octets are missing."""
        start = self._start
        body = start + self._body
        if self._size is None:
            return body, body, body
        if self._size is UNTIL_TRAILER:
            return self._search_trailer(body)
        end = body + self._size
        after = end + len(self._trailer)
        if after > len(self._buffer):
            self._need = after - start
            return body, end, -1
        found = bytes(self._buffer[end:after])
        if found != self._trailer:
            raise MalformedMessage(f"a body of {self._size} octets ends with {found!r}, {self._trailer!r} was expected")
        return body, end, after

    def _search_trailer(self, body: int) -> tuple[int, int, int]:
        end = self._buffer.find(self._trailer, body + self._searched)
        if end < 0:
            end = max(body + self._searched, len(self._buffer) - len(self._trailer) + 1)
            self._check(end + len(self._trailer) - self._start, announced=False)
            self._searched = end - body
            self._need = len(self._buffer) - self._start + 1
            return body, end, -1
        after = end + len(self._trailer)
        self._check(after - self._start, announced=False)
        return body, end, after

    def _incomplete(self) -> MessageError:
        if self._head is _NONE:
            decoder = self._heads.decoder
            decoder._buffer, decoder._start = self._buffer, self._start
            return decoder._incomplete()
        known = isinstance(self._size, int)
        return IncompleteMessage(self.buffered, self._need if known else None)
