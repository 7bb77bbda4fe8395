"""The splitters in C. :mod:`fourtuple.framing.splitting` is who uses them."""

from typing import Any, final

from fourtuple.framing.base import Decoder as _Contract
from fourtuple.framing.base import Framing, Octets

STAMP: int
#: The largest ``max_depth`` of RESP.
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

def splitter(framing: Framing, **options: Any) -> Splitter:
    """The splitter of one framing; ``_split/split.h`` names the options."""
