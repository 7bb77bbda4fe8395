"""The memory of decoded values: the bound for one message, and the charges that count against it.

``max_message`` counts octets. A decoder that makes values of octets needs a second bound, which follows memory:
four octets of RESP or two of JSON can become an object of sixty octets. So each value is charged a constant plus its
octets. The charges depend on the octets alone, not on the interpreter, so that every implementation, including the C,
computes the same number for the same message.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import ClassVar, Protocol

from fourtuple.errors import MessageTooLong, OptionError
from fourtuple.framing.checks import at_least, whole
from fourtuple.options import DEFAULT_MAX_MESSAGE_MEMORY, seen

#: The charge of a value besides its octets: an object, and its entry in a list or a dict. A map is charged twice this.
VALUE = 96
#: The charge of an octet of text in an error: it may become ``\xff``, in a str with four octets a character.
TEXT = 16

#: Charges for a complete message that is mapped to values: an octet, a value in a list or dict, a list or dict itself.
#: They are lower than VALUE and correct within a factor of two, so that a complete ordinary message passes. Its values
#: are held while it is handled, and a slow peer cannot extend that.
OCTET, MEMBER, CONTAINER = 2, 24, 64
#: The largest charge of one octet of such text. If a message is within the bound at this charge, nothing is counted.
MOST = OCTET + MEMBER + CONTAINER

_UNIT = "octets of memory"
_PIECE = 64 * 1024
_STRING = re.compile(rb'"[^"]*"')


class MakesValues(Protocol):
    """A framing whose decoders make values of octets."""

    word: ClassVar[str]

    @property
    def max_message(self) -> int | None:
        """The most octets of a message; ``None`` means no bound."""

    @property
    def max_message_memory(self) -> int | None:
        """The most octets of memory of the values of a message; ``None`` means no bound."""


def memory_bound(framing: MakesValues) -> int | None:
    """The memory bound of a framing. The default bound is raised to four times ``max_message``, if that is more."""
    bound = framing.max_message_memory
    if bound != DEFAULT_MAX_MESSAGE_MEMORY:
        return bound
    octets = framing.max_message
    return None if octets is None else max(bound, 4 * octets)


def check_max_message_memory(framing: MakesValues) -> None:
    """Reject a bound below 1024 octets, which few messages could meet. For the ``__post_init__`` of framings."""
    bound = framing.max_message_memory
    if bound is not None and not whole(bound, 1024):
        needed = f"None or {at_least(bound, 1024)} octets"
        raise OptionError(f"{framing.word}: max_message_memory is {seen(bound)}, it must be {needed}")


def look_at_json(octets: bytes, allowed: int | None) -> None:
    """Raise MessageTooLong for JSON whose values take more than ``allowed`` octets of memory."""
    if allowed is None or MOST * len(octets) <= allowed or (charged := json_charge(octets)) <= allowed:
        return
    # Count again without the brackets and commas inside strings; few messages need this. UTF-16, which contains zero
    # octets, is left out: a quote octet in it may be half of another character.
    if b"\0" not in octets:
        charged = OCTET * len(octets) + sum(map(_structure, _outside_strings(octets)))
    if charged > allowed:
        raise too_much(charged, allowed)


def _outside_strings(octets: bytes) -> Iterator[bytes]:
    """JSON without its strings, in pieces: as one piece, many small strings would take many times its memory."""
    octets = octets.replace(b"\\\\", b"").replace(b'\\"', b"")
    at = 0
    while at < len(octets):
        end = min(at + _PIECE, len(octets))
        if octets.count(b'"', at, end) & 1:
            end = octets.find(b'"', end) + 1 or len(octets)
        yield _STRING.sub(b"", octets[at:end])
        at = end


def json_charge(octets: bytes) -> int:
    """The charge of the values of JSON, counting all brackets and commas, including those in strings."""
    return OCTET * len(octets) + _structure(octets)


def _structure(octets: bytes) -> int:
    containers, members = octets.count(b"[") + octets.count(b"{"), octets.count(b",") + octets.count(b":")
    return CONTAINER * containers + MEMBER * members


def too_much(size: int, allowed: int, *, announced: bool = False) -> MessageTooLong:
    """The error for a message whose values take more memory than is allowed."""
    return MessageTooLong(size, allowed, announced=announced, unit=_UNIT, option="max_message_memory")


def weight(message: object) -> int:
    """The octets of memory of a value, including the contents of its lists, tuples, sets and dicts.

    For the values of a third-party parser, which are measured: they cannot be charged as they are made.
    """
    total, waiting = 0, [message]
    known: set[int] = set()
    while waiting:
        each = waiting.pop()
        if id(each) in known:
            continue
        known.add(id(each))
        total += sys.getsizeof(each, VALUE)
        if isinstance(each, dict):
            waiting += [*each, *each.values()]
        elif isinstance(each, list | tuple | set | frozenset):
            waiting += each
    return total
