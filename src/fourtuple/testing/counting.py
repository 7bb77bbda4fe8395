"""Count the octets that a decoder searches and copies, to check linearity without a clock.

Inside :func:`counted`, every :class:`~fourtuple.framing.BufferedDecoder` gathers octets in containers that
count. Feed it octets from :func:`countable`. For a decoder with other buffers, call :func:`watch`.

The work of the methods and operators of bytes and bytearray is counted, including access to an octet by its index. Work
of C code on a buffer (``re``, ``struct``, ``memoryview``) is not counted. Taking a slice is counted, later work on that
slice is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fourtuple.framing.base import Decoder, Octets
from fourtuple.framing.buffered import BufferedDecoder


@dataclass
class Count:
    """The numbers of octets searched and copied so far."""

    searched: int = 0
    copied: int = 0


_count = Count()


@contextmanager
def counted() -> Iterator[Count]:
    """Count the work of the buffers of all decoders inside the block, which gets the counts. Not thread-safe."""
    global _count
    before = _count
    original = {name: vars(BufferedDecoder)[name] for name in ("_grown", "_join", "_search")}
    _count = Count()
    for name, value in (("_grown", _CountedBytearray), ("_join", _join), ("_search", _search)):
        setattr(BufferedDecoder, name, staticmethod(value))
    try:
        yield _count
    finally:
        for name, value in original.items():
            setattr(BufferedDecoder, name, value)
        _count = before


def countable(octets: bytes) -> bytes:
    """Return the same octets in a container that counts."""
    return _CountedBytes(octets)


def watch(decoder: Decoder) -> None:
    """Replace the buffers in a decoder's additional attributes by containers that count."""
    before = (_count.searched, _count.copied)
    for name, value in attributes(decoder):
        if type(value) is bytearray:
            setattr(decoder, name, _CountedBytearray(value))
        elif type(value) is bytes:
            setattr(decoder, name, _CountedBytes(value))
    _count.searched, _count.copied = before


def attributes(decoder: Any) -> Iterator[tuple[str, Any]]:
    """The attributes of an object with their values, without those of every BufferedDecoder."""
    kind: type = type(decoder)
    for name in (*getattr(decoder, "__dict__", ()), *_slots(kind)):
        value = getattr(decoder, name, _UNSET)
        if value is not _UNSET and name not in BufferedDecoder.__slots__:
            yield name, value


_UNSET = object()


@lru_cache(maxsize=256)
def _slots(kind: type) -> list[str]:
    """The slots of a class and its bases, without those of every BufferedDecoder."""
    found: list[str] = []
    for each in kind.__mro__:
        slots = vars(each).get("__slots__", ())
        found += [slots] if isinstance(slots, str) else slots
    return [name for name in found if name not in BufferedDecoder.__slots__]


def _join(pieces: Iterable[Octets]) -> bytes:
    joined = _CountedBytes(b"".join(pieces))
    _count.copied += len(joined)
    return joined


def _search(pattern: re.Pattern[bytes], octets: Octets, at: int = 0) -> re.Match[bytes] | None:
    found = pattern.search(octets, at)
    _count.searched += max(0, (found.end() if found else len(octets)) - at)
    return found


def _method(name: str, base: type, *, copies: bool = False) -> Any:
    """A counting version of a method of bytes that examines all octets."""
    original = getattr(base, name)

    def method(self: Any, *arguments: Any, **options: Any) -> Any:
        _count.searched += len(self)
        if copies:
            _count.copied += len(self)
        return original(self, *arguments, **options)

    return method


def _finder(name: str, base: Any) -> Any:
    """A counting version of a search from the front, which ends at the match."""
    original = base.find

    def find(self: Any, sub: Any, start: Any = None, end: Any = None) -> int:
        first, last, _ = slice(start, end).indices(len(self))
        at: int = original(self, sub, first, last)
        size = 1 if isinstance(sub, int) else len(sub)
        _count.searched += max(0, (at + size if at >= 0 else last) - first)
        if at < 0 and name == "index":
            raise ValueError("subsection not found")
        return at

    return find


def _from_behind(name: str, base: type) -> Any:
    original = getattr(base, name)

    def find(self: Any, sub: Any, start: Any = None, end: Any = None) -> Any:
        first, last, _ = slice(start, end).indices(len(self))
        _count.searched += max(0, last - first)
        return original(self, sub, first, last)

    return find


def _counting(base: Any) -> dict[str, Any]:
    """Counting versions of the methods that bytes and bytearray share."""
    methods = {name: _finder(name, base) for name in ("find", "index")}
    methods |= {name: _from_behind(name, base) for name in ("rfind", "rindex", "count")}
    methods |= {name: _method(name, base) for name in ("rpartition", "isdigit", "isalnum", "isascii", "hex")}
    copiers = ("split", "rsplit", "splitlines", "replace", "translate", "decode", "strip", "rstrip", "lstrip")
    methods |= {name: _method(name, base, copies=True) for name in (*copiers, "upper", "lower")}

    original = base.__getitem__

    def getitem(self: Any, key: Any) -> Any:
        got = original(self, key)
        if isinstance(key, slice):
            _count.copied += len(got)
        else:
            _count.searched += 1
        return got

    def iterate(self: Any) -> Iterator[int]:
        for octet in base.__iter__(self):
            _count.searched += 1
            yield octet

    def contains(self: Any, sub: Any) -> bool:
        return bool(self.find(sub) >= 0)

    def partition(self: Any, separator: Any) -> Any:
        self.find(separator)
        _count.copied += len(self)
        return base.partition(self, separator)

    def to_bytes(self: Any) -> bytes:
        _count.copied += len(self)
        return bytes(memoryview(self))

    def added(self: Any, other: Any) -> Any:
        _count.copied += len(self) + len(other)
        return type(self)._made(bytes(memoryview(self)) + bytes(memoryview(other)))

    def added_behind(self: Any, other: Any) -> Any:
        """Handle ``buffer + data`` and ``buffer += data`` for a plain buffer. The result counts from then on."""
        _count.copied += len(self) + len(other)
        kind = _CountedBytearray if isinstance(other, bytearray) else _CountedBytes
        return kind._made(bytes(memoryview(other)) + bytes(memoryview(self)))

    return methods | {
        "__getitem__": getitem,
        "__iter__": iterate,
        "__contains__": contains,
        "__bytes__": to_bytes,
        "__add__": added,
        "__radd__": added_behind,
        "partition": partition,
    }


class _CountedBytes(bytes):
    """bytes whose searching and slicing is counted. A slice of it is plain bytes, because it is already counted."""

    __slots__ = ()

    @classmethod
    def _made(cls, octets: bytes) -> _CountedBytes:
        return cls(octets)


class _CountedBytearray(bytearray):
    """A bytearray whose searching, slicing and growing is counted."""

    def __init__(self, octets: Any = b"") -> None:
        super().__init__(octets)
        _count.copied += len(self)

    @classmethod
    def _made(cls, octets: bytes) -> _CountedBytearray:
        made = cls()
        bytearray.extend(made, octets)
        return made

    def __delitem__(self, key: Any) -> None:
        if not isinstance(key, slice) or key.start not in (None, 0):
            _count.copied += len(self)
        super().__delitem__(key)  # CPython removes from the front without moving the rest

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(key, slice) and (key.start not in (None, 0) or len(value)):
            _count.copied += len(self)
        super().__setitem__(key, value)

    def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]
        _count.copied += len(other)
        return super().__iadd__(other)

    def extend(self, other: Any) -> None:
        size = len(self)
        super().extend(other)
        _count.copied += len(self) - size

    def insert(self, at: Any, octet: Any) -> None:
        _count.copied += len(self)
        super().insert(at, octet)

    def pop(self, at: Any = -1) -> int:
        _count.copied += 1 if at == -1 else len(self)
        return super().pop(at)

    def copy(self) -> bytearray:
        _count.copied += len(self)
        return super().copy()


for _kind, _base in ((_CountedBytes, bytes), (_CountedBytearray, bytearray)):
    for _name, _value in _counting(_base).items():
        setattr(_kind, _name, _value)
