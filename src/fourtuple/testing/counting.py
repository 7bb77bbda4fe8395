"""Count the octets that a decoder searches and copies: linearity without a clock.

Inside of :func:`counted`, every :class:`~fourtuple.framing.BufferedDecoder` gathers octets in containers that
count; feed it through :func:`countable`. What C does to a slice that was taken out is not seen, the slice is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, SupportsIndex, overload

from fourtuple.framing.base import BufferedDecoder, Octets


@dataclass
class Count:
    """Octets searched and copied so far."""

    searched: int = 0
    copied: int = 0


_count = Count()


@contextmanager
def counted() -> Iterator[Count]:
    """Count what the buffers of all decoders do from here to the end of the block. Not for several threads."""
    global _count
    before = _count
    usual = {name: vars(BufferedDecoder)[name] for name in ("_grown", "_join", "_search")}
    _count = Count()
    for name, value in (("_grown", _CountedBytearray), ("_join", _join), ("_search", _search)):
        setattr(BufferedDecoder, name, staticmethod(value))
    try:
        yield _count
    finally:
        for name, value in usual.items():
            setattr(BufferedDecoder, name, value)
        _count = before


def countable(octets: bytes) -> bytes:
    """The same octets in a container that counts."""
    return _CountedBytes(octets)


def _join(pieces: Iterable[Octets]) -> bytes:
    joined = _CountedBytes(b"".join(pieces))
    _count.copied += len(joined)
    return joined


def _search(pattern: re.Pattern[bytes], octets: Octets, at: int = 0) -> re.Match[bytes] | None:
    found = pattern.search(octets, at)
    _count.searched += max(0, (found.end() if found else len(octets)) - at)
    return found


class _CountedBytes(bytes):
    """bytes whose searching and slicing is counted. A slice of it is plain bytes: already paid for."""

    __slots__ = ()

    @overload
    def __getitem__(self, key: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> bytes: ...
    def __getitem__(self, key: Any) -> Any:
        got = super().__getitem__(key)
        if isinstance(key, slice):
            _count.copied += len(got)
        return got

    def __bytes__(self) -> bytes:
        _count.copied += len(self)
        return super().__getitem__(slice(None))

    def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        at = super().find(sub, start, end)
        _found(at, len(sub) if not isinstance(sub, int) else 1, start, len(self) if end is None else end)
        return at

    def rfind(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        _count.searched += (len(self) if end is None else end) - start
        return super().rfind(sub, start, end)

    def count(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        _count.searched += (len(self) if end is None else end) - start
        return super().count(sub, start, end)

    def split(self, sep: Any = None, maxsplit: Any = -1) -> list[bytes]:
        _count.searched += len(self)
        _count.copied += len(self)
        return super().split(sep, maxsplit)


class _CountedBytearray(bytearray):
    """A bytearray whose searching, slicing and growing is counted."""

    def __init__(self, octets: Any = b"") -> None:
        super().__init__(octets)
        _count.copied += len(self)

    @overload
    def __getitem__(self, key: SupportsIndex) -> int: ...
    @overload
    def __getitem__(self, key: slice) -> bytearray: ...
    def __getitem__(self, key: Any) -> Any:
        got = super().__getitem__(key)
        if isinstance(key, slice):
            _count.copied += len(got)
        return got

    def __delitem__(self, key: SupportsIndex | slice) -> None:
        if not isinstance(key, slice) or key.start not in (None, 0):
            _count.copied += len(self)
        super().__delitem__(key)

    def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]
        _count.copied += len(other)
        return super().__iadd__(other)

    def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        at = super().find(sub, start, end)
        _found(at, len(sub) if not isinstance(sub, int) else 1, start, len(self) if end is None else end)
        return at

    def rfind(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        _count.searched += (len(self) if end is None else end) - start
        return super().rfind(sub, start, end)

    def count(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        _count.searched += (len(self) if end is None else end) - start
        return super().count(sub, start, end)

    def split(self, sep: Any = None, maxsplit: Any = -1) -> list[bytearray]:
        _count.searched += len(self)
        _count.copied += len(self)
        return super().split(sep, maxsplit)


def _found(at: int, size: int, start: int, end: int) -> None:
    _count.searched += max(0, (at + size if at >= 0 else end) - start)
