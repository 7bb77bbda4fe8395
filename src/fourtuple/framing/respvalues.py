"""The values of RESP, and functions that make them of text; :mod:`fourtuple.framing.resp` finds the text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fourtuple.errors import MalformedMessage
from fourtuple.framing.memory import TEXT, VALUE, too_much
from fourtuple.framing.notation import excerpt


class Simple(bytes):
    """A simple string: octets that are written as ``+OK``, without a length."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Simple({super().__repr__()})"


class Push(list[Any]):
    """A RESP3 push: a list that is not the reply to a command."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Push({super().__repr__()})"


class Inline(tuple[bytes, ...]):
    """A command to be sent inline, as a person types it: ``GET key``. What is received is a list."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Inline({super().__repr__()})"


class Pairs(tuple[Any, ...]):
    """A RESP3 map that cannot be a dict: a tuple of pairs, in the order in which they came.

    A map becomes a dict only if all its keys are octets and unique: Python's hash of octets is secret, so a peer cannot
    make them collide. A peer that chooses numbers as keys chooses their hashes, and a dict of a hundred thousand
    colliding keys takes minutes to make.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Pairs({super().__repr__()})"


class Members(tuple[Any, ...]):
    """A RESP3 set: a tuple of its members, in the order in which they came, for the same reason as :class:`Pairs`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Members({super().__repr__()})"


@dataclass(frozen=True, slots=True)
class ReplyError:
    """An error as a reply: a value, not an exception. ``text`` begins with its kind, as in ``ERR no such key``."""

    text: str


class _Null:
    """Encoded as the null reply. A handler that returns ``None`` sends no reply."""

    def __repr__(self) -> str:
        return "NULL"


#: Encoded as the null reply. ``None`` is encoded in the same way, but a handler that returns ``None`` sends no reply.
NULL = _Null()


class _NullArray(_Null):
    __slots__ = ()

    def __repr__(self) -> str:
        return "NULL_ARRAY"


#: The null of RESP2 in the form of an array, ``*-1``, which some commands answer; it is received as None.
NULL_ARRAY = _NullArray()


#: An integer, a size or a count: as hiredis reads them, so that each has one text only.
SIZE = re.compile(rb"0|-?[1-9][0-9]{0,18}")
NOT_A_NUMBER = "is not a number of at most 19 digits, without + and leading zeros"
_BIG = re.compile(rb"-?[0-9]{1,4000}")
_FLOAT = re.compile(rb"-?inf|-?nan|-?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")
#: The most octets of a double, as in hiredis: the longest text of a double without an exponent.
_LONGEST_FLOAT = 325
# All quantifiers are possessive: no octet is tried twice, and `re` stores no backtracking position for each octet.
_WORD = re.compile(
    rb"""\s*+(?:"([^"\\]*+(?:\\.[^"\\]*+)*+)"|'([^'\\]*+(?:\\'?+[^'\\]*+)*+)'|([^\s"']++))(?=\s|\Z)""", re.DOTALL
)
_ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_CONTROLS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def _integer(text: bytes) -> int:
    if not SIZE.fullmatch(text):
        raise MalformedMessage(f"{excerpt(text)} {NOT_A_NUMBER}")
    value = int(text)
    if not -(1 << 63) <= value < 1 << 63:
        raise MalformedMessage(f"{excerpt(text)} is not an integer of 64 bits")
    return value


def _big(text: bytes) -> int:
    if not _BIG.fullmatch(text):
        raise MalformedMessage(f"{excerpt(text)} is not a number of at most 4000 digits, without +")
    try:
        return int(text)
    except ValueError as error:  # if sys.set_int_max_str_digits() allows less
        raise MalformedMessage(f"{excerpt(text)} is not a number: {error}") from error


def _float(text: bytes) -> float:
    if len(text) > _LONGEST_FLOAT or not _FLOAT.fullmatch(text):
        raise MalformedMessage(f"{excerpt(text)} is not a number of at most {_LONGEST_FLOAT} octets, inf, -inf or nan")
    value = float(text)
    if math.isinf(value) and not text.endswith(b"inf"):
        raise MalformedMessage(f"{excerpt(text)} is larger than the largest double")
    return value


def _bool(text: bytes) -> bool:
    if text not in (b"t", b"f"):
        raise MalformedMessage(f"{excerpt(text)} is neither t nor f")
    return text == b"t"


def _null(text: bytes) -> None:
    if text:
        raise MalformedMessage(f"{excerpt(text)} follows a null")


def _error(text: bytes) -> ReplyError:
    return ReplyError(text.decode("utf-8", "backslashreplace"))


def words(line: bytes, max_count: int, max_memory: int | None) -> list[bytes]:
    """The words of an inline command, quoted as redis-cli and redis itself read them."""
    found: list[bytes] = []
    at, line = 0, line.rstrip()
    while at < len(line):
        match = _WORD.match(line, at)
        if match is None:
            raise MalformedMessage("inline command with unbalanced quotes")
        if match[1] is not None:
            found.append(_ESCAPE.sub(_unescaped, match[1]))
        else:
            found.append(match[3] if match[2] is None else match[2].replace(b"\\'", b"'"))
        at = match.end()
        if len(found) > max_count:
            raise MalformedMessage(f"inline command of more than {max_count} words, no more are allowed")
        if max_memory is not None and (charge := words_charge(len(found), at)) > max_memory:
            raise too_much(charge, max_memory)
    return found


def inline_word(word: Any) -> bytes:
    """A word as :func:`words` reads it: in quotes, if it has anything but plain characters."""
    octets = word.encode() if isinstance(word, str) else bytes(word)
    if octets and all(0x21 <= each < 0x7F and each not in b"\"'\\" for each in octets):
        return octets
    quoted = b"".join(
        bytes((each,)) if 0x20 <= each < 0x7F and each not in b'"\\' else b"\\x%02x" % each for each in octets
    )
    return b'"' + quoted + b'"'


def words_charge(count: int, octets: int) -> int:
    """The charge of an inline command of ``count`` words, made of ``octets`` octets of its line."""
    return VALUE * (1 + count) + octets


def _unescaped(match: re.Match[bytes]) -> bytes:
    return bytes((int(match[1], 16),)) if match[1] else _CONTROLS.get(match[2], match[2])


SCALARS: dict[int, Callable[[bytes], Any]] = {
    ord("+"): Simple, ord("-"): _error, ord(":"): _integer, ord("_"): _null,
    ord("#"): _bool, ord(","): _float, ord("("): _big,
}  # fmt: skip


def mapping(values: list[Any]) -> Any:
    """Alternating keys and values as a dict, if all keys are octets and unique; otherwise as Pairs."""
    keys = values[::2]
    if _KEYS.issuperset(map(type, keys)):
        made = dict(zip(keys, values[1::2], strict=True))
        if len(made) == len(keys):
            return made
    return Pairs(zip(keys, values[1::2], strict=True))


_KEYS = frozenset({bytes, Simple})
#: The function that makes an aggregate of the list of its values, for types that are not a list.
AGGREGATES: dict[int, Callable[[list[Any]], Any]] = {ord(">"): Push, ord("%"): mapping, ord("~"): Members}


def opening(kind: int) -> int:
    """The charge of an aggregate of this type, without its elements."""
    return 2 * VALUE if kind == ord("%") else VALUE


def charge(kind: int, size: int) -> int:
    """The charge of a value of this type with ``size`` octets of text."""
    return VALUE + (TEXT * size if kind in b"-!" else size)
