"""The values of RESP, and how text becomes them; :mod:`fourtuple.framing.resp` finds the text."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fourtuple.errors import MalformedMessage
from fourtuple.framing.memory import TEXT, VALUE, too_much
from fourtuple.framing.notation import excerpt


class Simple(bytes):
    """A simple string: octets that are written as ``+OK`` rather than with a length."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Simple({super().__repr__()})"


class Push(list[Any]):
    """A RESP3 push: a list that answers no command."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Push({super().__repr__()})"


class Pairs(tuple[Any, ...]):
    """A RESP3 map that is no dict: a tuple of pairs, in the order in which they came.

    Octets alone are keys of a dict, each once: Python's hash of them is secret, and nobody makes them collide. Whoever
    chooses numbers as keys chooses their hashes, and a dict of a hundred thousand that collide takes minutes to make.
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
    """Written as the null reply, where ``None`` means no reply."""

    def __repr__(self) -> str:
        return "NULL"


#: Written as the null reply. ``None`` is, too, but a handler that returns it replies nothing.
NULL = _Null()


_INTEGER = re.compile(rb"[+-]?[0-9]{1,19}")
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


def words_charge(count: int, octets: int) -> int:
    """What an inline command of so many words is charged, which ``octets`` of its line made."""
    return VALUE * (1 + count) + octets


def _unescaped(match: re.Match[bytes]) -> bytes:
    return bytes((int(match[1], 16),)) if match[1] else _CONTROLS.get(match[2], match[2])


SCALARS: dict[int, Callable[[bytes], Any]] = {
    ord("+"): Simple, ord("-"): _error, ord(":"): _integer, ord("_"): _null,
    ord("#"): _bool, ord(","): _float, ord("("): _big,
}  # fmt: skip


def mapping(values: list[Any]) -> Any:
    """What keys and values in turn come to: a dict where all keys are octets, each once, and else Pairs."""
    keys = values[::2]
    if _KEYS.issuperset(map(type, keys)):
        made = dict(zip(keys, values[1::2], strict=True))
        if len(made) == len(keys):
            return made
    return Pairs(zip(keys, values[1::2], strict=True))


_KEYS = frozenset({bytes, Simple})
#: What the list of an aggregate's values becomes, where it does not stay one.
AGGREGATES: dict[int, Callable[[list[Any]], Any]] = {ord(">"): Push, ord("%"): mapping, ord("~"): Members}


def opening(kind: int) -> int:
    """What an aggregate of this type is charged for itself."""
    return 2 * VALUE if kind == ord("%") else VALUE


def charge(kind: int, size: int) -> int:
    """What a value of this type is charged, which has ``size`` octets of text."""
    return VALUE + (TEXT * size if kind in b"-!" else size)
