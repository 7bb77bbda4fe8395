"""What a stream holds after both its connection and its handler have ended."""

from __future__ import annotations

from typing import Any

from fourtuple.framing import Decoder
from fourtuple.framing.base import Octets


class LetGo(Decoder[Any]):
    """Replaces the decoder. It holds no octets and returns no messages."""

    __slots__ = ()

    buffered = 0

    def feed(self, data: Octets, limit: int | None = None) -> list[Any]:
        return []

    def finish(self) -> list[Any]:
        return []

    def take(self, undelivered: int = 0) -> bytes:
        return b""

    def settle(self) -> None:
        """Do nothing: nothing was fed."""


LET_GO = LetGo()


def alone(error: Exception | None) -> Exception | None:
    """Return a copy of the error without its traceback.

    The frames of a traceback refer to the stream, and the stream refers to the error. The copy breaks this reference
    cycle. The original keeps its traceback, because other code may still hold it.
    """
    if error is None:
        return None
    try:
        copy = type(error).__new__(type(error), *error.args)
        copy.args = error.args
        copy.__dict__.update(error.__dict__)
    except Exception:  # a third-party class that cannot be copied this way
        return error.with_traceback(None)
    return copy
