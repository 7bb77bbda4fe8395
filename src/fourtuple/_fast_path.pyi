"""The splitters in C, which :mod:`fourtuple.framing.splitting` uses. The rest of the module is no one's to type."""

from typing import Any, final

from fourtuple.framing.base import Decoder as _Contract
from fourtuple.framing.base import Octets

STAMP: int

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
    @property
    def whole(self) -> int: ...  # type: ignore[override]
    def take(self, undelivered: int = 0) -> bytes: ...
    def settle(self) -> None: ...

@final
class Splitter:
    """The splitter of one framing; ``_split/split.h`` names the options."""

    def __init__(self, **options: Any) -> None: ...
    def decoder(self) -> Decoder: ...
    def encode_many(self, messages: list[Any]) -> bytes | None: ...
