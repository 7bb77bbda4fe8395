r"""The Redis serialization protocol, versions 2 and 3, both directions: ``resp``.

::

    *2\r\n $3\r\n GET\r\n $1\r\n k\r\n       [b"GET", b"k"]        a command
    GET k\r\n                                [b"GET", b"k"]        the same, inline
    +OK\r\n                                  Simple(b"OK")
    -ERR no such key\r\n                     ReplyError("ERR no such key")
    :42\r\n   $-1\r\n   $0\r\n\r\n           42   None   b""
    %1\r\n +a\r\n #t\r\n                     {Simple(b"a"): True}  of RESP3, which resp:3 reads

Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from fourtuple.errors import EncodeError, IncompleteMessage, MalformedMessage, MessageError, MessageTooLong, OptionError
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import MOST_DIGITS, announced_size, check_bounds, check_size, whole
from fourtuple.framing.memory import TEXT, VALUE, check_max_message_memory, memory_bound, too_much
from fourtuple.framing.notation import excerpt
from fourtuple.framing.respvalues import (
    AGGREGATES,
    NULL,
    NULL_ARRAY,
    SCALARS,
    Inline,
    Members,
    Pairs,
    Push,
    ReplyError,
    Simple,
    charge,
    inline_word,
    opening,
    words,
    words_charge,
)
from fourtuple.framing.splitting import LARGEST, Split, bound
from fourtuple.options import DEFAULT_MAX_MESSAGE, DEFAULT_MAX_MESSAGE_MEMORY

#: Deeper values could be decoded, but not encoded, compared or printed: these recurse, and Python limits its stack.
DEEPEST = 256


@dataclass(frozen=True)
class Resp(Split[Any, Any]):
    """Commands and typed replies, in both directions; ``protocol`` 3 also reads and writes RESP3.

    Decoded values are ``bytes``, :class:`Simple`, :class:`ReplyError`, ``int``, ``None`` and ``list``. RESP3 adds
    ``bool``, ``float``, :class:`Push`, and :class:`Members` for a set. A map is a ``dict`` if all keys are octets and
    unique, otherwise :class:`Pairs`. The encoder takes the same values, and also ``str``, ``tuple`` as an array,
    ``set`` and ``frozenset``. Protocol 2 rejects the types of RESP3 in both directions. With ``inline``, a line that
    does not begin with a type is a command of words, quoted as in redis-cli; an empty line is skipped.

    ``max_message`` bounds the octets of a message, ``max_message_memory`` the memory of its values: each is charged
    96 octets plus its own octets. More raise :class:`~fourtuple.errors.MessageTooLong`. ``max_count`` bounds the
    elements of one aggregate, ``max_depth`` (at most 256) the nesting of aggregates. An announcement above these two,
    and octets that are not RESP, raise :class:`~fourtuple.errors.MalformedMessage`.

    ``max_sent`` bounds a sent message, in octets. The default is no bound, because your own program makes these
    messages.
    """

    protocol: int = 2
    inline: bool = True
    max_count: int = 65536
    max_depth: int = 32
    max_message: int | None = DEFAULT_MAX_MESSAGE
    max_message_memory: int | None = DEFAULT_MAX_MESSAGE_MEMORY
    max_sent: int | None = field(default=None, kw_only=True)

    word: ClassVar[str] = "resp"
    argument: ClassVar[str | None] = "protocol"

    def __post_init__(self) -> None:
        if not whole(self.protocol, 2, 3):
            raise OptionError(f"resp: the protocol is {self.protocol!r}, it must be 2 or 3")
        if not whole(self.max_count, 1):
            raise OptionError(f"resp: max_count is {self.max_count!r}, it must be at least 1")
        if not whole(self.max_depth, 1, DEEPEST):
            raise OptionError(f"resp: max_depth is {self.max_depth!r}, it must be 1 to {DEEPEST}")
        check_bounds(self)
        check_max_message_memory(self)

    def reference(self) -> BufferedDecoder:
        return _RespDecoder(self)

    def _splitter(self, in_c: Any) -> Any:
        memory = memory_bound(self)
        if self.max_depth > in_c.MAX_DEPTH or max(self.max_count, memory or 0) > LARGEST:
            return None
        return in_c.splitter(
            self,
            three=self.protocol == 3,
            inline_commands=self.inline,
            max_count=self.max_count,
            max_depth=self.max_depth,
            max=bound(self.max_message),
            max_memory=bound(memory),
            value=VALUE,
            text=TEXT,
            scalars=SCALARS,
            words=self._words(),
            push=Push,
            pairs=Pairs,
            members=Members,
            simple=Simple,
        )

    def _words(self) -> Any:
        """The function that splits an inline command into words."""
        return partial(words, max_count=self.max_count, max_memory=memory_bound(self))

    def encode(self, message: Any) -> bytes:
        parts: list[bytes] = []
        self._write(message, parts, 0)
        encoded = b"".join(parts)
        check_size(self, len(encoded))
        return encoded

    def _write(self, value: Any, parts: list[bytes], depth: int) -> None:
        match value:
            case Simple():
                parts.append(b"+" + self._line(bytes(value)))
            case bytes() | bytearray() | memoryview():
                parts.append(b"$%d\r\n%b\r\n" % (len(bytes(value)), bytes(value)))
            case str():
                octets = self._encoded(value)
                parts.append(b"$%d\r\n%b\r\n" % (len(octets), octets))
            case ReplyError():
                parts.append(b"-" + self._line(self._encoded(value.text)))
            case _ if value is None or value is NULL:
                parts.append(b"_\r\n" if self.protocol == 3 else b"$-1\r\n")
            case _ if value is NULL_ARRAY:
                parts.append(b"_\r\n" if self.protocol == 3 else b"*-1\r\n")
            case Inline():
                parts.append(self._typed_in(value, depth))
            case bool():
                parts.append(self._three(value, b"#t\r\n" if value else b"#f\r\n"))
            case int():
                wide = not -(1 << 63) <= value < 1 << 63
                parts.append(self._three(value, b"(%d\r\n" % value) if wide else b":%d\r\n" % value)
            case float():
                parts.append(self._three(value, b"," + _float_text(value) + b"\r\n"))
            case Push():
                self._aggregate(self._three(value, b">"), value, len(value), parts, depth)
            case Members() | set() | frozenset():
                self._aggregate(self._three(value, b"~"), value, len(value), parts, depth)
            case dict() | Pairs():
                flat = self._flat(value)
                self._aggregate(self._three(value, b"%"), flat, len(value), parts, depth)
            case list() | tuple():
                self._aggregate(b"*", value, len(value), parts, depth)
            case _:
                raise EncodeError(f"{self}: there is no RESP for {type(value).__name__}")

    def _aggregate(self, kind: bytes, values: Any, count: int, parts: list[bytes], depth: int) -> None:
        if count > self.max_count:
            raise EncodeError(f"{self}: {count} elements, no more than {self.max_count} are allowed (max_count)")
        if depth >= self.max_depth:
            raise EncodeError(f"{self}: more than {self.max_depth} nested aggregates (max_depth)")
        parts.append(kind + b"%d\r\n" % count)
        for each in values:
            self._write(each, parts, depth + 1)

    def _typed_in(self, command: Inline, depth: int) -> bytes:
        """The octets of an inline command: words, quoted where they need it."""
        if depth or not self.inline or not command or len(command) > self.max_count:
            raise EncodeError(f"{self}: {command!r} cannot be sent inline: a command of words, not inside of a value")
        typed = b" ".join(map(inline_word, command)) + b"\r\n"
        if typed[0] in b"*$+-:_#,(!=%~|>":
            raise EncodeError(f"{self}: {command!r} cannot be sent inline: {typed[:1]!r} begins a value")
        return typed

    def _flat(self, value: Any) -> list[Any]:
        """Keys and values, alternating."""
        try:
            return [each for key, its in (value.items() if isinstance(value, dict) else value) for each in (key, its)]
        except (TypeError, ValueError) as error:
            raise EncodeError(f"{self}: Pairs must hold pairs of a key and a value: {error}") from error

    def _encoded(self, text: str) -> bytes:
        try:
            return text.encode()
        except UnicodeEncodeError as error:
            raise EncodeError(f"{self}: a text cannot be encoded in UTF-8: {error}") from error

    def _three(self, value: Any, octets: bytes) -> bytes:
        if self.protocol < 3:
            raise EncodeError(f"{self}: {type(value).__name__} {value!r} needs RESP3; use resp:3")
        return octets

    def _line(self, text: bytes) -> bytes:
        if b"\r" in text or b"\n" in text:
            raise EncodeError(f"{self}: {text!r} has a line ending inside; use bytes, which have a length")
        return text + b"\r\n"


def _float_text(value: float) -> bytes:
    if math.isnan(value):
        return b"nan"
    return repr(value).encode()


_INTEGER = re.compile(rb"[+-]?[0-9]{1,19}")
_TOO_LONG = re.compile(rb"\+?[0-9]{20,}")
_BULKS = b"$!="
_ARRAYS = b"*~>%|"
_TWO = b"+-:$*"
_THREE = b"_#,(!=~>%|"


class _RespDecoder(BufferedDecoder):
    """Decodes one value after another; unfinished aggregates wait on a stack.

    ``_at`` is how far the unfinished message is decoded and ``_seen`` how far its line is searched, both relative to
    ``_start``. ``_bulk`` is the kind and the end of a bulk string whose length is known.
    """

    __slots__ = (
        "_at",
        "_bulk",
        "_charged",
        "_delivered",
        "_limits",
        "_max",
        "_max_memory",
        "_seen",
        "_stack",
        "_types",
    )

    def __init__(self, framing: Resp) -> None:
        self._limits = framing
        self._max = framing.max_message
        self._max_memory = memory_bound(framing)
        self._types = _TWO if framing.protocol == 2 else _TWO + _THREE
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
        #: For each unfinished aggregate, outermost first: kind, number of values, values so far, charge before it.
        self._stack: list[tuple[int, int, list[Any], int]] = []
        #: The charge of the values of the unfinished message.
        self._charged = 0

    def _resume(self, at: int, bulk: int, end: int, depth: int, charged: int) -> None:
        """Continue in the middle of a message whose octets are fed next. The C leaves this message to this decoder.

        Its values are then not used; this decoder only finds the error after them.
        """
        self._at, self._seen, self._charged = at, at, charged
        self._bulk = (bulk, end) if bulk else None
        self._stack = [(_ARRAYS[0], 1 << 62, [], 0) for _ in range(depth)]

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
            self._stack, self._charged = [], 0  # the values before an error are not used
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
        return True

    def _inline(self, line: bytes, messages: list[Any]) -> None:
        """Decode a command of words, as people type it. An empty line is skipped."""
        found = self._limits._words()(line)
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
        size = self._announced(kind, text)
        if size < 0:
            self._charge(VALUE)
            self._put(None, messages)
        elif kind in _BULKS:
            self._bounded(size, announced=True)
            self._bounded(self._at + size + 2, announced=True)
            self._check_memory(charge(kind, size))
            self._bulk = (kind, self._at + size + 2)
        else:
            self._aggregate(kind, size, messages)

    def _announced(self, kind: int, text: bytes) -> int:
        """The number of octets or elements that a line announces; -1 for a null."""
        if _TOO_LONG.fullmatch(text):
            raise self._too_many_digits(kind, text.lstrip(b"+"))
        if not _INTEGER.fullmatch(text):
            raise MalformedMessage(f"{excerpt(text)} is not a number of at most 19 digits")
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
        return MalformedMessage(f"{excerpt(digits)} is not a number of at most 19 digits")

    def _aggregate(self, kind: int, size: int, messages: list[Any]) -> None:
        limits = self._limits
        if size > limits.max_count:
            raise MalformedMessage(f"{size} elements announced, no more than {limits.max_count} are allowed")
        if len(self._stack) >= limits.max_depth:
            raise MalformedMessage(f"more than {limits.max_depth} nested aggregates")
        wanted = 2 * size if kind in b"%|" else size
        own = opening(kind)
        self._check_memory(own + VALUE * wanted)
        self._stack.append((kind, wanted, [], self._charged))
        self._charge(own)
        if not wanted:
            self._close(messages)

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
            self._charged = charged
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
