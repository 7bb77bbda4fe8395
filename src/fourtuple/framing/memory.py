"""What decoded values take in memory: the bound of one message, and what is charged against it.

``max_message`` counts octets. A decoder that makes values of them needs a second bound, in units that follow memory:
four octets of RESP or two of JSON can be an object of sixty. So each value is charged a constant and its octets. The
charges are made of the octets alone, never asked of the interpreter: every implementation, and the C, comes to the
same number at the same message.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Protocol

from fourtuple.errors import MessageTooLong, OptionError
from fourtuple.options import DEFAULT_MAX_MESSAGE_MEMORY

#: What a value is charged beside its octets: an object, and its place in a list or a dict. A map counts for two.
VALUE = 96
#: What an octet of text in an error is charged: it may become ``\xff``, in a str of four octets a character.
TEXT = 16

#: What text that is mapped to values at once is charged: an octet, a value in a list or dict, a list or dict itself.
#: Lower than VALUE, and right within a factor of two: a whole message of honest text passes, and it is held for as long
#: as it is handled, not for as long as its peer likes.
OCTET, MEMBER, CONTAINER = 2, 24, 64
#: The most that an octet of such text can be charged. Of a message that is small enough nothing is counted.
MOST = OCTET + MEMBER + CONTAINER

_UNIT = "octets of memory"
_PIECE = 64 * 1024
_STRING = re.compile(rb'"[^"]*"')


class MakesValues(Protocol):
    """A framing whose decoders make values of octets."""

    word: ClassVar[str]

    @property
    def max_message(self) -> int | None:
        """The most octets of a message."""

    @property
    def max_message_memory(self) -> int | None:
        """The most that the values of a message take."""


def memory_bound(framing: MakesValues) -> int | None:
    """The bound of a framing; its default grows with a ``max_message`` that somebody typed."""
    bound = framing.max_message_memory
    if bound != DEFAULT_MAX_MESSAGE_MEMORY:
        return bound
    octets = framing.max_message
    return None if octets is None else max(bound, 4 * octets)


def check_max_message_memory(framing: MakesValues) -> None:
    """Refuse a bound that hardly a message could meet. For the ``__post_init__`` of framings."""
    bound = framing.max_message_memory
    if bound is not None and (type(bound) is not int or bound < 1024):
        raise OptionError(f"{framing.word}: max_message_memory is {bound!r}, it must be None or at least 1024 octets")


def look_at_json(octets: bytes, allowed: int | None) -> None:
    """Raise for JSON whose values take more than ``allowed``."""
    if allowed is None or MOST * len(octets) <= allowed or (charged := json_charge(octets)) <= allowed:
        return
    # What stands in strings counts for nothing: few messages need this second look. In UTF-16, which has zeros, a quote
    # could not be told from half of a character.
    if b"\0" not in octets:
        charged = OCTET * len(octets) + sum(map(_structure, _outside_strings(octets)))
    if charged > allowed:
        raise too_much(charged, allowed)


def _outside_strings(octets: bytes) -> Iterator[bytes]:
    """JSON without its strings, in pieces: all at once, many small strings would take many times the memory of one."""
    octets = octets.replace(b"\\\\", b"").replace(b'\\"', b"")
    at = 0
    while at < len(octets):
        end = min(at + _PIECE, len(octets))
        if octets.count(b'"', at, end) & 1:
            end = octets.find(b'"', end) + 1 or len(octets)
        yield _STRING.sub(b"", octets[at:end])
        at = end


def json_charge(octets: bytes) -> int:
    """What the values of JSON are charged, with all brackets and commas, those in strings too."""
    return OCTET * len(octets) + _structure(octets)


def _structure(octets: bytes) -> int:
    containers, members = octets.count(b"[") + octets.count(b"{"), octets.count(b",") + octets.count(b":")
    return CONTAINER * containers + MEMBER * members


def too_much(size: int, allowed: int, *, announced: bool = False) -> MessageTooLong:
    """The error of a message whose values take more than is allowed."""
    return MessageTooLong(size, allowed, announced=announced, unit=_UNIT, option="max_message_memory")
