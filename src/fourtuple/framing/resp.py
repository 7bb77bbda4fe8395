r"""The Redis serialization protocol, versions 2 and 3, both directions: ``resp``.

::

    *2\r\n $3\r\n GET\r\n $1\r\n k\r\n       [b"GET", b"k"]        a command
    GET k\r\n                                [b"GET", b"k"]        the same, inline
    +OK\r\n                                  Simple(b"OK")
    -ERR no such key\r\n                     ReplyError("ERR no such key")
    :42\r\n   $-1\r\n   $0\r\n\r\n           42   None   b""
    %1\r\n +a\r\n #t\r\n                     {Simple(b"a"): True}  RESP3

Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from fourtuple.errors import EncodeError, IncompleteMessage, MalformedMessage, MessageError, MessageTooLong, OptionError
from fourtuple.framing.base import (
    MOST_DIGITS,
    BufferedDecoder,
    announced_size,
    check_max_message,
    check_size,
    whole,
)
from fourtuple.framing.notation import excerpt
from fourtuple.framing.splitting import LARGEST, Split, bound
from fourtuple.options import DEFAULT_MAX_MESSAGE


class Simple(bytes):
    """A simple string: octets that are written as ``+OK`` rather than with a length."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Simple({super().__repr__()})"


class Push(list[Any]):
    """A RESP3 push: a list that answers no command."""

    def __repr__(self) -> str:
        return f"Push({super().__repr__()})"


@dataclass(frozen=True, slots=True)
class ReplyError:
    """An error as a reply: a value, not an exception. ``text`` begins with its kind, as in ``ERR no such key``."""

    text: str


class _Null:
    def __repr__(self) -> str:
        return "NULL"


#: Written as the null reply. ``None`` is, too, but a handler that returns it replies nothing.
NULL = _Null()


@dataclass(frozen=True)
class Resp(Split):
    """Commands in, typed replies out, or the other way round.

    Decoded values: ``bytes``, :class:`Simple`, :class:`ReplyError`, ``int``, ``None``, ``list``, and of RESP3
    ``bool``, ``float``, ``dict`` (a list of pairs where a key cannot be one), :class:`Push`; a set is a list.
    With ``inline``, a line that begins with no type is a command of words, quoted as in redis-cli; an empty line
    is skipped. Encoded are the same; ``protocol`` 2 refuses ``bool``, ``float`` and ``dict``.

    ``max_message`` bounds all octets of a message, ``max_count`` the elements of one aggregate, ``max_depth``
    how deep they stand in each other; what announces more than the last two, or what is no RESP, is
    :class:`~fourtuple.errors.MalformedMessage`.
    """

    protocol: int = 2
    inline: bool = True
    max_count: int = 65536
    max_depth: int = 32
    max_message: int | None = DEFAULT_MAX_MESSAGE

    word: ClassVar[str] = "resp"
    argument: ClassVar[str | None] = "protocol"

    def __post_init__(self) -> None:
        if not whole(self.protocol, 2, 3):
            raise OptionError(f"resp: the protocol is {self.protocol!r}, it must be 2 or 3")
        for name in ("max_count", "max_depth"):
            if not whole(getattr(self, name), 1):
                raise OptionError(f"resp: {name} is {getattr(self, name)!r}, it must be at least 1")
        check_max_message(self)

    def reference(self) -> BufferedDecoder:
        return _RespDecoder(self)

    def _splitter(self, in_c: Any) -> Any:
        if self.max_depth > in_c.MAX_DEPTH or self.max_count > LARGEST:
            return None
        largest = bound(self.max_message)
        return in_c.resp(
            self, self.inline, self.max_count, self.max_depth, largest, _SCALARS, _words, _mapping, Push, Simple
        )

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
                octets = value.encode()
                parts.append(b"$%d\r\n%b\r\n" % (len(octets), octets))
            case ReplyError():
                parts.append(b"-" + self._line(value.text.encode()))
            case None | _Null():
                parts.append(b"_\r\n" if self.protocol == 3 else b"$-1\r\n")
            case bool():
                parts.append(self._three(value, b"#t\r\n" if value else b"#f\r\n"))
            case int():
                wide = not -(1 << 63) <= value < 1 << 63
                parts.append(self._three(value, b"(%d\r\n" % value) if wide else b":%d\r\n" % value)
            case float():
                parts.append(self._three(value, b"," + _float_text(value) + b"\r\n"))
            case list() | tuple():
                kind = b">" if isinstance(value, Push) else b"*"
                self._aggregate(self._three(value, kind) if kind == b">" else kind, value, len(value), parts, depth)
            case dict():
                flat = [each for pair in value.items() for each in pair]
                self._aggregate(self._three(value, b"%"), flat, len(value), parts, depth)
            case _:
                raise EncodeError(f"{self}: there is no RESP for {type(value).__name__}")

    def _aggregate(self, kind: bytes, values: Any, count: int, parts: list[bytes], depth: int) -> None:
        if count > self.max_count:
            raise EncodeError(f"{self}: {count} elements, no more than {self.max_count} are allowed (max_count)")
        if depth >= self.max_depth:
            raise EncodeError(f"{self}: more than {self.max_depth} aggregates in each other (max_depth)")
        parts.append(kind + b"%d\r\n" % count)
        for each in values:
            self._write(each, parts, depth + 1)

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
_BIG = re.compile(rb"[+-]?[0-9]{1,4000}")
_FLOAT = re.compile(rb"[+-]?(?:inf|[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)|nan")
# Possessive throughout: nothing is tried twice, and the engine of `re` keeps no place to come back to for each octet.
_WORD = re.compile(
    rb"""\s*+(?:"([^"\\]*+(?:\\.[^"\\]*+)*+)"|'([^'\\]*+(?:\\'?+[^'\\]*+)*+)'|([^\s"']++))(?=\s|\Z)""", re.DOTALL
)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_CONTROLS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def _integer(text: bytes) -> int:
    if not _INTEGER.fullmatch(text):
        raise MalformedMessage(f"{excerpt(text)} is no number of at most 19 digits")
    return int(text)


def _big(text: bytes) -> int:
    if not _BIG.fullmatch(text):
        raise MalformedMessage(f"{excerpt(text)} is no number of at most 4000 digits")
    try:
        return int(text)
    except ValueError as error:  # where sys.set_int_max_str_digits() allows less
        raise MalformedMessage(f"{excerpt(text)} is no number: {error}") from error


def _float(text: bytes) -> float:
    if not _FLOAT.fullmatch(text):
        raise MalformedMessage(f"{excerpt(text)} is no number")
    return float(text)


def _bool(text: bytes) -> bool:
    if text not in (b"t", b"f"):
        raise MalformedMessage(f"{excerpt(text)} is neither t nor f")
    return text == b"t"


def _null(text: bytes) -> None:
    if text:
        raise MalformedMessage(f"{excerpt(text)} stands behind a null")


def _error(text: bytes) -> ReplyError:
    return ReplyError(text.decode("utf-8", "backslashreplace"))


def _words(line: bytes) -> list[bytes]:
    """The words of an inline command, quoted as redis-cli and redis itself read them."""
    words, at, line = [], 0, line.rstrip()
    while at < len(line):
        match = _WORD.match(line, at)
        if match is None:
            raise MalformedMessage("inline command with unbalanced quotes")
        if match[1] is not None:
            words.append(_ESCAPE.sub(_unescaped, match[1]))
        else:
            words.append(match[3] if match[2] is None else match[2].replace(b"\\'", b"'"))
        at = match.end()
    return words


def _unescaped(match: re.Match[bytes]) -> bytes:
    return bytes((int(match[1], 16),)) if match[1] else _CONTROLS.get(match[2], match[2])


_SCALARS: dict[int, Callable[[bytes], Any]] = {
    ord("+"): Simple, ord("-"): _error, ord(":"): _integer, ord("_"): _null,
    ord("#"): _bool, ord(","): _float, ord("("): _big,
}  # fmt: skip
_BULKS = b"$!="
_AGGREGATES = b"*~>%|"


class _RespDecoder(BufferedDecoder):
    """One value after the other; unfinished aggregates wait on a stack.

    ``_at`` is how far the unfinished message is decoded and ``_seen`` how far its line is searched, both from
    ``_start`` on; ``_bulk`` is the kind and the end of the bulk string whose length is known.
    """

    __slots__ = ("_at", "_bulk", "_limits", "_max", "_seen", "_stack")

    def __init__(self, framing: Resp) -> None:
        self._limits = framing
        self._max = framing.max_message
        super().__init__(framing)

    def _reset(self) -> None:
        super()._reset()
        self._begin()

    def _begin(self) -> None:
        """Be between two messages."""
        self._at = 0
        self._seen = 0
        self._bulk: tuple[int, int] | None = None
        #: Kind, values wanted, values there: of each aggregate that is not whole, the outermost first.
        self._stack: list[tuple[int, int, list[Any]]] = []

    def _split(self, limit: int | None) -> list[Any]:
        messages: list[Any] = []
        try:
            while limit is None or len(messages) < limit:
                if not self._value(messages):
                    break
        except MessageError as error:
            self._error = error
        self._need = self._bulk[1] if self._bulk else self._seen + 1
        return messages

    def _value(self, messages: list[Any]) -> bool:
        """Decode one value, perhaps the last of a message; ``False`` where more octets are needed first."""
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
        if kind in _SCALARS or kind in _BULKS or kind in _AGGREGATES:
            if not line.endswith(b"\r"):
                raise MalformedMessage(f"{excerpt(line)} ends with LF, CR LF was expected")
            self._typed(kind, line[1:-1], messages)
        elif self._stack or not self._limits.inline:
            raise MalformedMessage(f"{excerpt(line)} begins with no type of RESP")
        else:
            words = _words(line)
            if words:
                messages.append(words)
            self._start += self._at
            self._begin()
        return True

    def _typed(self, kind: int, text: bytes, messages: list[Any]) -> None:
        if kind in _SCALARS:
            if b"\r" in text:
                raise MalformedMessage(f"{excerpt(text)} has a CR inside")
            self._put(_SCALARS[kind](text), messages)
            return
        if _TOO_LONG.fullmatch(text):
            raise self._too_many_digits(kind, text.lstrip(b"+"))
        size = _integer(text)
        if size == -1 and kind in b"$*":
            self._put(None, messages)
        elif size < 0:
            raise MalformedMessage(f"{bytes((kind,))!r} announces {size}")
        elif kind in _BULKS:
            self._bounded(size, announced=True)
            self._bounded(self._at + size + 2, announced=True)
            self._bulk = (kind, self._at + size + 2)
        else:
            self._aggregate(kind, size, messages)

    def _too_many_digits(self, kind: int, digits: bytes) -> MessageError:
        if kind in _AGGREGATES:
            count = digits[:MOST_DIGITS].decode() + ("..." if len(digits) > MOST_DIGITS else "")
            return MalformedMessage(f"{count} elements announced, no more than {self._limits.max_count} are allowed")
        try:
            announced_size(digits, self._max)
        except MessageError as error:
            return error
        return MalformedMessage(f"{excerpt(digits)} is no number of at most 19 digits")

    def _aggregate(self, kind: int, size: int, messages: list[Any]) -> None:
        limits = self._limits
        if size > limits.max_count:
            raise MalformedMessage(f"{size} elements announced, no more than {limits.max_count} are allowed")
        if len(self._stack) >= limits.max_depth:
            raise MalformedMessage(f"more than {limits.max_depth} aggregates in each other")
        wanted = 2 * size if kind in b"%|" else size
        self._stack.append((kind, wanted, []))
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
        if kind == ord("="):
            # A verbatim string: three letters of format and a colon, which is checked and dropped.
            if octets[3:4] != b":":
                raise MalformedMessage(f"verbatim string begins with {octets[:4]!r}, a format and : were expected")
            octets = octets[4:]
        self._put(_error(octets) if kind == ord("!") else octets, messages)
        return True

    def _put(self, value: Any, messages: list[Any]) -> None:
        """A value is whole: it is a message, or an element of what is on top of the stack."""
        if not self._stack:
            messages.append(value)
            self._start += self._at
            self._begin()
            return
        _, wanted, values = self._stack[-1]
        values.append(value)
        if len(values) == wanted:
            self._close(messages)

    def _close(self, messages: list[Any]) -> None:
        kind, _, values = self._stack.pop()
        if kind == ord("|"):
            # Attributes of the value that follows: checked, and nobody asked for them.
            return
        made: Any = values
        if kind == ord(">"):
            made = Push(values)
        elif kind == ord("%"):
            made = _mapping(values)
        self._put(made, messages)

    def _bounded(self, size: int, announced: bool = False) -> None:
        if self._max is not None and size > self._max:
            if announced:
                raise MessageTooLong(size, self._max)
            raise MessageTooLong(self._max + 1, self._max, announced=False)

    def _incomplete(self) -> MessageError:
        return IncompleteMessage(self.buffered, None)


def _mapping(values: list[Any]) -> Any:
    pairs = list(zip(values[::2], values[1::2], strict=True))
    try:
        return dict(pairs)
    except TypeError:
        return [list(pair) for pair in pairs]
