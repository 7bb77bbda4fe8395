"""The splitters in C. :mod:`fourtuple.framing.splitting` is who uses them."""

from collections.abc import Callable
from typing import Any, final

from fourtuple.framing.base import Decoder as _Contract
from fourtuple.framing.base import Framing, Octets

STAMP: int
#: The largest ``max_depth`` of :func:`resp`.
MAX_DEPTH: int

@final
class Decoder(_Contract):
    def feed(self, data: Octets, limit: int | None = None) -> list[Any]: ...
    def finish(self) -> list[Any]: ...
    @property
    def buffered(self) -> int: ...
    @property
    def held(self) -> int: ...
    @property
    def skipped(self) -> int: ...  # type: ignore[override]
    def take(self, undelivered: int = 0) -> bytes: ...
    def settle(self) -> None: ...

@final
class Splitter:
    def decoder(self) -> Decoder: ...
    def encode_many(self, messages: list[Any]) -> bytes | None: ...

def fixed(framing: Framing, size: int) -> Splitter: ...
def length(
    framing: Framing, width: int, little: bool, offset: int, plus: int, skip: int, lead: bytes, max: int
) -> Splitter: ...
def delimited(
    framing: Framing, delimiters: tuple[bytes, ...], keep: bool, swallow: bool, resync: bool, strip_cr: bool, max: int
) -> Splitter: ...
def decimal(framing: Framing, digits: int, colon: bytes, comma: bytes, max: int) -> Splitter: ...
def syslog(framing: Framing, trailers: tuple[bytes, ...], counting: bool, digits: int, max: int) -> Splitter: ...
def resp(
    framing: Framing,
    three: bool,
    inline: bool,
    max_count: int,
    max_depth: int,
    max: int,
    max_memory: int,
    value: int,
    text: int,
    scalars: dict[int, Callable[[bytes], Any]],
    words: Callable[[bytes], list[bytes]],
    push: type[list[Any]],
    pairs: type[tuple[Any, ...]],
    members: type[tuple[Any, ...]],
    simple: type[bytes],
) -> Splitter: ...
