"""Hypothesis strategies for streams and the ways of cutting them. Only this module imports hypothesis."""

from __future__ import annotations

from typing import Any, overload

from hypothesis import strategies as st

from fourtuple.errors import EncodeError
from fourtuple.framing.base import Framing
from fourtuple.framing.text import parse_framing
from fourtuple.options import check_type
from fourtuple.testing.cutting import SPICE, cut
from fourtuple.typevars import Out

__all__ = ["messages", "octets", "pieces"]


def pieces(stream: bytes) -> st.SearchStrategy[list[bytes]]:
    """Return all ways of cutting a stream, including empty pieces. Raises OptionError for what is not bytes."""
    check_type("stream", stream, bytes, optional=False)
    return st.lists(st.integers(0, len(stream)), max_size=24).map(lambda places: cut(stream, places))


def octets(max_size: int = 40) -> st.SearchStrategy[bytes]:
    """Return octets, at most ``max_size`` (default: 40). Those with a meaning in some framing come more often."""
    spicy = st.lists(st.sampled_from(sorted(set(SPICE))), max_size=max_size).map(bytes)
    return st.binary(max_size=max_size) | spicy


@overload
def messages(framing: Framing[Any, bytes], values: None = None) -> st.SearchStrategy[list[bytes]]: ...
@overload
def messages(framing: Framing[Any, Out], values: st.SearchStrategy[Out]) -> st.SearchStrategy[list[Out]]: ...
def messages(framing: Framing, values: st.SearchStrategy[Any] | None = None) -> st.SearchStrategy[list[Any]]:
    """Return lists of messages that the framing can encode, drawn from ``values``; by default octets.

    Raises :class:`~fourtuple.errors.OptionError` for values that are not a strategy.
    """
    framing = parse_framing(framing)
    check_type("values", values, st.SearchStrategy)

    def encodes(message: Any) -> bool:
        try:
            framing.encode(message)
        except EncodeError:
            return False
        return True

    return st.lists((octets() if values is None else values).filter(encodes), max_size=8)
