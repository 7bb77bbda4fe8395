r"""The Redis serialization protocol, versions 2 and 3, both directions: ``resp``.

::

    *2\r\n $3\r\n GET\r\n $1\r\n k\r\n       [b"GET", b"k"]        a command
    GET k\r\n                                [b"GET", b"k"]        the same, inline
    +OK\r\n                                  Simple(b"OK")
    -ERR no such key\r\n                     ReplyError("ERR no such key")
    :42\r\n   $-1\r\n   $0\r\n\r\n           42   None   b""
    %1\r\n +a\r\n #t\r\n                     {Simple(b"a"): True}  of RESP3, which resp:3 reads
    $?\r\n ;2\r\n ab\r\n ;1\r\n c\r\n ;0\r\n   b"abc"                a streamed string
    *?\r\n :1\r\n :2\r\n .\r\n              [1, 2]                a streamed array

Source: https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Literal

from fourtuple.errors import EncodeError, OptionError
from fourtuple.framing.buffered import BufferedDecoder
from fourtuple.framing.checks import at_least, check_bounds, check_size, whole
from fourtuple.framing.memory import TEXT, VALUE, check_max_message_memory, memory_bound
from fourtuple.framing.respdecoder import RespDecoder
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
    inline_word,
    words,
)
from fourtuple.framing.splitting import LARGEST, Split, bound
from fourtuple.options import DEFAULT_MAX_MESSAGE, DEFAULT_MAX_MESSAGE_MEMORY, seen

#: Deeper values could be decoded, but not encoded, compared or printed: these recurse, and Python limits its stack.
DEEPEST = 256


@dataclass(frozen=True)
class Resp(Split[Any, Any]):
    """Commands and typed replies, in both directions; ``protocol`` 3 also reads and writes RESP3.

    Decoded values are ``bytes``, :class:`Simple`, :class:`ReplyError`, ``int``, ``None`` and ``list``. RESP3 adds
    ``bool``, ``float``, :class:`Push`, and :class:`Members` for a set. A map is a ``dict`` if all keys are octets and
    unique, otherwise :class:`Pairs`. The encoder takes the same values, and also ``str``, ``tuple`` as an array,
    ``set`` and ``frozenset``. Protocol 2 rejects the types of RESP3 in both directions. Streamed strings, arrays,
    sets and maps of RESP3 are read, and never written. Numbers are read as strictly as hiredis reads them: no plus
    sign, no leading zeros, integers of 64 bits, finite doubles or ``inf``, ``-inf`` and ``nan``. With ``inline``, a
    line that does not begin with a type is a command of words, quoted as in redis-cli; an empty line is skipped.

    ``max_message`` bounds the octets of a message, ``max_message_memory`` the memory of its values: each is charged
    96 octets plus its own octets. More raise :class:`~fourtuple.errors.MessageTooLong`. ``max_count`` bounds the
    elements of one aggregate, ``max_depth`` (at most 256) the nesting of aggregates. An announcement above these two,
    and octets that are not RESP, raise :class:`~fourtuple.errors.MalformedMessage`.

    ``max_sent`` bounds a sent message, in octets. By default there is no bound, because your own program makes these
    messages.
    """

    protocol: Literal[2, 3] = 2
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
            raise OptionError(f"resp: the protocol is {seen(self.protocol)}, it must be 2 or 3")
        if not whole(self.max_count, 1):
            raise OptionError(f"resp: max_count is {seen(self.max_count)}, it must be {at_least(self.max_count, 1)}")
        if not whole(self.max_depth, 1, DEEPEST):
            raise OptionError(f"resp: max_depth is {seen(self.max_depth)}, it must be 1 to {DEEPEST}")
        check_bounds(self)
        check_max_message_memory(self)

    def reference(self) -> BufferedDecoder:
        memory = memory_bound(self)
        return RespDecoder(self, self, memory, partial(words, max_count=self.max_count, max_memory=memory))

    def _in_c_options(self) -> dict[str, Any] | None:
        memory = memory_bound(self)
        if max(self.max_count, memory or 0) > LARGEST:
            return None
        return {
            "three": self.protocol == 3,
            "max_count": self.max_count,
            "max_depth": self.max_depth,
            "max_memory": bound(memory),
            "value": VALUE,
            "text": TEXT,
            "scalars": SCALARS,
            "aggregates": AGGREGATES,
            "simple": Simple,
            "tail": b"\r\n",
        }

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
