"""The reference decoder of RESP: it finds the lines, strings and aggregates, and charges their values."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Protocol

from fourtuple.errors import IncompleteMessage, MalformedMessage, MessageError, MessageTooLong
from fourtuple.framing.base import Framing
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import MOST_DIGITS, announced_size
from fourtuple.framing.memory import VALUE, too_much
from fourtuple.framing.notation import excerpt
from fourtuple.framing.respvalues import (
    AGGREGATES,
    NOT_A_NUMBER,
    SCALARS,
    SIZE,
    charge,
    opening,
    words_charge,
)

_TOO_MANY_DIGITS = re.compile(rb"[1-9][0-9]{19,}")
_BULKS = b"$!="
_ARRAYS = b"*~>%|"
_STREAMED = b"$*~%"
_TWO = b"+-:$*"
_THREE = b"_#,(!=~>%|"


class Limits(Protocol):
    """What the decoder needs of its framing."""

    @property
    def protocol(self) -> int: ...
    @property
    def inline(self) -> bool: ...
    @property
    def max_count(self) -> int: ...
    @property
    def max_depth(self) -> int: ...
    @property
    def max_message(self) -> int | None: ...


class RespDecoder(BufferedDecoder):
    """Decodes one value after another; unfinished aggregates wait on a stack.

    ``_at`` is how far the unfinished message is decoded and ``_seen`` how far its line is searched, both relative to
    ``_start``. ``_bulk`` is the kind and the end of a bulk string, or of a chunk, whose length is known. ``_text`` is
    what has come of a streamed string. ``_attributed`` says that attributes have come and their value has not.
    """

    __slots__ = (
        "_at",
        "_attributed",
        "_bulk",
        "_charged",
        "_delivered",
        "_limits",
        "_max",
        "_max_memory",
        "_seen",
        "_stack",
        "_text",
        "_types",
        "_words",
    )

    def __init__(
        self, framing: Framing, limits: Limits, max_memory: int | None, words: Callable[[bytes], list[bytes]]
    ) -> None:
        self._limits = limits
        self._max = limits.max_message
        self._max_memory = max_memory
        self._words = words
        self._types = _TWO if limits.protocol == 2 else _TWO + _THREE
        super().__init__(framing)

    def _reset(self) -> None:
        super()._reset()
        #: The charge of the latest feed's messages.
        self._delivered = 0
        self._begin()

    def _begin(self) -> None:
        """Set the state between two messages."""
        self._at = 0
        self._seen = 0
        self._bulk: tuple[int, int] | None = None
        self._text: bytearray | None = None
        self._attributed = False
        #: For each unfinished aggregate, outermost first: kind, number of values (-1 if it is streamed, and a line
        #: ends it), values so far, charge before it.
        self._stack: list[tuple[int, int, list[Any], int]] = []
        #: The charge of the values of the unfinished message.
        self._charged = 0

    def _resume(self, at: int, charged: int, stack: list[tuple[int, int, list[Any], int]]) -> None:
        """Continue in the middle of a message, whose values before are made: the C leaves the rest to this decoder."""
        self._at, self._seen, self._charged, self._stack = at, at, charged, stack

    @property
    def _values(self) -> int:
        return self._charged + (self._delivered if self._given else 0)

    def settle(self) -> None:
        self._delivered = 0
        super().settle()

    def _split(self, limit: int | None) -> list[Any]:
        messages: list[Any] = []
        self._delivered = 0
        try:
            while limit is None or len(messages) < limit:
                if not self._value(messages):
                    break
        except MessageError as error:
            self._error = error
            self._stack, self._text, self._charged = [], None, 0  # the values before an error are not used
        self._need = self._bulk[1] if self._bulk else self._seen + 1
        return messages

    def _value(self, messages: list[Any]) -> bool:
        """Decode one value, perhaps the last of a message. Return ``False`` if more octets are needed."""
        if self._bulk is not None:
            return self._bulk_string(messages)
        begin = self._start + self._at
        at = self._buffer.find(b"\n", self._start + self._seen)
        self._bounded((at if at >= 0 else len(self._buffer)) - self._start)
        if at < 0:
            self._seen = len(self._buffer) - self._start
            return False
        line = bytes(self._buffer[begin:at])
        self._at = self._seen = at + 1 - self._start
        if self._text is not None:
            self._chunk(line, messages)
        elif line == b".\r" and self._streaming:
            self._end_streamed(messages)
        else:
            self._check_streamed()
            self._line(line, messages)
        return True

    def _line(self, line: bytes, messages: list[Any]) -> None:
        """Decode a line that begins or is a value."""
        self._attributed = False
        kind = line[0] if line else 10
        if kind in self._types:
            if not line.endswith(b"\r"):
                raise MalformedMessage(f"{excerpt(line)} ends with LF, CR LF was expected")
            self._typed(kind, line[1:-1], messages)
        elif kind in _THREE:
            raise MalformedMessage(f"{excerpt(line)} begins with a type of RESP3, which resp:3 reads")
        elif self._stack or not self._limits.inline:
            raise MalformedMessage(f"{excerpt(line)} begins with no type of RESP")
        else:
            self._inline(line, messages)

    def _inline(self, line: bytes, messages: list[Any]) -> None:
        """Decode a command of words, as people type it. An empty line is skipped."""
        found = self._words(line)
        if found:
            self._charge(words_charge(len(found), len(line)))
            messages.append(found)
        self._end()

    def _typed(self, kind: int, text: bytes, messages: list[Any]) -> None:
        if kind in SCALARS:
            if b"\r" in text:
                raise MalformedMessage(f"{excerpt(text)} has a CR inside")
            self._charge(charge(kind, len(text)))
            self._put(SCALARS[kind](text), messages)
            return
        if text == b"?" and self._limits.protocol == 3 and kind in _STREAMED:
            self._begin_streamed(kind)
            return
        size = self._announced(kind, text)
        if size < 0:
            self._charge(VALUE)
            self._put(None, messages)
        elif kind in _BULKS:
            self._expect(kind, size, charge(kind, size))
        else:
            self._aggregate(kind, size, messages)

    def _announced(self, kind: int, text: bytes) -> int:
        """The number of octets or elements that a line announces; -1 for a null."""
        if _TOO_MANY_DIGITS.fullmatch(text):
            raise self._too_many_digits(kind, text)
        if not SIZE.fullmatch(text):
            raise MalformedMessage(f"{excerpt(text)} {NOT_A_NUMBER}")
        size = int(text)
        if size < -1 or (size == -1 and kind not in b"$*"):
            raise MalformedMessage(f"{bytes((kind,))!r} announces {size}")
        return size

    def _too_many_digits(self, kind: int, digits: bytes) -> MessageError:
        if kind in _ARRAYS:
            count = digits[:MOST_DIGITS].decode() + ("..." if len(digits) > MOST_DIGITS else "")
            return MalformedMessage(f"{count} elements announced, no more than {self._limits.max_count} are allowed")
        try:
            announced_size(digits, self._max)
        except MessageError as error:
            return error
        return MalformedMessage(f"{excerpt(digits)} {NOT_A_NUMBER}")

    def _expect(self, kind: int, size: int, memory: int) -> None:
        """Expect the octets of a string or a chunk, whose size has been announced."""
        self._bounded(size, announced=True)
        self._bounded(self._at + size + 2, announced=True)
        self._check_memory(memory)
        self._bulk = (kind, self._at + size + 2)

    def _aggregate(self, kind: int, size: int, messages: list[Any]) -> None:
        limits = self._limits
        if size > limits.max_count:
            raise MalformedMessage(f"{size} elements announced, no more than {limits.max_count} are allowed")
        self._check_depth()
        wanted = 2 * size if kind in b"%|" else size
        own = opening(kind)
        self._check_memory(own + VALUE * wanted)
        self._stack.append((kind, wanted, [], self._charged))
        self._charge(own)
        if not wanted:
            self._close(messages)

    def _check_depth(self) -> None:
        if len(self._stack) >= self._limits.max_depth:
            raise MalformedMessage(f"more than {self._limits.max_depth} nested aggregates")

    # -- streamed values: their end comes after them, not their length before them --------------------------

    @property
    def _streaming(self) -> bool:
        """Whether the innermost aggregate is streamed."""
        return bool(self._stack) and self._stack[-1][1] < 0

    def _begin_streamed(self, kind: int) -> None:
        if kind in _BULKS:
            self._charge(VALUE)
            self._text = bytearray()
            return
        self._check_depth()
        self._stack.append((kind, -1, [], self._charged))
        self._charge(opening(kind))

    def _chunk(self, line: bytes, messages: list[Any]) -> None:
        """Take the line before a chunk of a streamed string; an empty chunk ends the string."""
        assert self._text is not None
        if line[:1] != b";" or line[-1:] != b"\r":
            raise MalformedMessage(f"{excerpt(line)} in a streamed string, a chunk was expected")
        size = self._announced(line[0], line[1:-1])
        if size:
            self._expect(line[0], size, size)
            return
        octets, self._text = bytes(self._text), None
        self._put(octets, messages)

    def _check_streamed(self) -> None:
        """Reject one more element of a streamed aggregate that has max_count."""
        if not self._streaming:
            return
        kind, _, values, _ = self._stack[-1]
        most = self._limits.max_count
        if len(values) >= (2 * most if kind == ord("%") else most):
            raise MalformedMessage(f"more than {most} elements of a streamed aggregate, no more are allowed")

    def _end_streamed(self, messages: list[Any]) -> None:
        kind, _, values, _ = self._stack[-1]
        if self._attributed:
            raise MalformedMessage("attributes at the end of a streamed aggregate, their value was expected")
        if kind == ord("%") and len(values) % 2:
            raise MalformedMessage("a streamed map ends after a key, its value was expected")
        self._close(messages)

    # -- complete values ------------------------------------------------------------------------------------

    def _bulk_string(self, messages: list[Any]) -> bool:
        assert self._bulk is not None
        kind, size = self._bulk
        end = self._start + size
        if end > len(self._buffer):
            return False
        if self._buffer[end - 2 : end] != b"\r\n":
            found = bytes(self._buffer[end - 2 : end])
            raise MalformedMessage(f"string of {size - 2 - self._at} octets ends with {found!r}, not CR LF")
        octets = bytes(self._buffer[self._start + self._at : end - 2])
        self._bulk = None
        self._at = self._seen = size
        if self._text is not None:
            self._charge(len(octets))
            self._text += octets
            return True
        self._charge(charge(kind, len(octets)))
        if kind == ord("="):
            # A verbatim string begins with three letters, its format, and a colon; only the colon is checked.
            if octets[3:4] != b":":
                raise MalformedMessage(f"verbatim string begins with {octets[:4]!r}, a format and : were expected")
            octets = octets[4:]
        self._put(SCALARS[ord("-")](octets) if kind == ord("!") else octets, messages)
        return True

    def _put(self, value: Any, messages: list[Any]) -> None:
        """Take a complete value: it is a message, or an element of the aggregate on top of the stack."""
        if not self._stack:
            messages.append(value)
            self._end()
            return
        _, wanted, values, _ = self._stack[-1]
        values.append(value)
        if len(values) == wanted:
            self._close(messages)

    def _close(self, messages: list[Any]) -> None:
        kind, _, values, charged = self._stack.pop()
        if kind == ord("|"):
            # Attributes of the value that follows are checked and dropped.
            self._charged, self._attributed = charged, True
            return
        made = AGGREGATES.get(kind)
        self._put(values if made is None else made(values), messages)

    def _end(self) -> None:
        """End a complete message."""
        self._delivered += self._charged
        self._start += self._at
        self._begin()

    # -- bounds -------------------------------------------------------------------------------------------

    def _bounded(self, size: int, announced: bool = False) -> None:
        if self._max is not None and size > self._max:
            if announced:
                raise MessageTooLong(size, self._max)
            raise MessageTooLong(self._max + 1, self._max, announced=False)

    def _charge(self, size: int) -> None:
        """Charge ``size`` octets for a decoded value."""
        self._charged += size
        if self._max_memory is not None and self._charged > self._max_memory:
            raise too_much(self._charged, self._max_memory)

    def _check_memory(self, size: int) -> None:
        """Raise if announced values would take too much memory, before they come."""
        if self._max_memory is not None and self._charged + size > self._max_memory:
            raise too_much(self._charged + size, self._max_memory, announced=True)

    def _incomplete(self) -> MessageError:
        return IncompleteMessage(self.buffered, None)
