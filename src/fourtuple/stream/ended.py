"""What a stream holds when its connection has ended, and its handler, too."""

from __future__ import annotations

from typing import Any

from fourtuple.framing import Decoder
from fourtuple.framing.base import Octets


class LetGo(Decoder[Any]):
    """In the place of the decoder: it holds nothing, and nothing comes of it."""

    __slots__ = ()

    buffered = 0

    def feed(self, data: Octets, limit: int | None = None) -> list[Any]:
        return []

    def finish(self) -> list[Any]:
        return []

    def take(self, undelivered: int = 0) -> bytes:
        return b""

    def settle(self) -> None:
        """Nothing was fed."""


LET_GO = LetGo()


def alone(error: Exception | None) -> Exception | None:
    """The same error without those who raised it: their frames refer to the stream, and that refers to the error.

    It is not taken from the error itself, which others may have kept.
    """
    if error is None:
        return None
    try:
        copy = type(error).__new__(type(error), *error.args)
        copy.args = error.args
        copy.__dict__.update(error.__dict__)
    except Exception:  # somebody's own kind, made in a way of its own
        return error.with_traceback(None)
    return copy
