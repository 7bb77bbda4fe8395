r"""What a head says of its body, in text: ``last``, ``4``, ``PUB:last|HPUB:last``, ``header:content-length``.

::

    size         = place | "header:" name | alternative *("|" alternative)
    alternative  = (first word of the head, or "*") ":" place
    place        = "last" | the number of a word, from 0 on; negative ones count from the end
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Literal, TypeAlias

from fourtuple.errors import MalformedMessage, OptionError
from fourtuple.framing.checks import announced_size
from fourtuple.framing.notation import excerpt
from fourtuple.framing.usercode import is_count, told


class _Until(Enum):
    TRAILER = "UNTIL_TRAILER"

    def __repr__(self) -> str:
        return self.value


#: What ``size(head)`` returns if the body ends where the trailer begins.
UNTIL_TRAILER: Final = _Until.TRAILER
#: What ``size(head)`` returns: octets, ``None`` for no body, or :data:`UNTIL_TRAILER`.
Size: TypeAlias = int | Literal[_Until.TRAILER] | None
#: The function that tells a body's size from its head.
SizeOf: TypeAlias = Callable[[Any], Size]

_ALTERNATIVE = re.compile(r"([^\s,:|=+\\]+):(last|-?[0-9]{1,4})")
_PLACE = re.compile(r"last|-?[0-9]{1,4}")
_HEADER = re.compile(r"header:([!#$%&'*.^_`~0-9A-Za-z-]+)")
_EXAMPLES = "'last', '4', 'PUB:last|HPUB:last' or 'header:content-length'"


def read_size(text: str, *, trailer: bytes) -> SizeOf:
    """The function of a text. Raises :class:`~fourtuple.errors.OptionError` for an invalid text."""
    if _PLACE.fullmatch(text):
        return _Place(text)
    if header := _HEADER.fullmatch(text):
        return _Header(header[1], UNTIL_TRAILER if trailer else None)
    places: dict[bytes, _Place] = {}
    for each in text.split("|"):
        found = _ALTERNATIVE.fullmatch(each)
        if found is None:
            raise OptionError(f"headed: size is {text!r}; {each!r} is not one of {_EXAMPLES}")
        word = found[1].upper().encode()
        if word in places:
            raise OptionError(f"headed: size is {text!r}, which gives two places for {found[1]}")
        places[word] = _Place(found[2])
    return _Words(places)


class _Place:
    """The number at one place of a head: a word of octets, or an item of a tuple or list."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._index = -1 if text == "last" else int(text)

    def __call__(self, head: Any) -> int:
        octets = isinstance(head, bytes)
        items = head.split() if octets else head
        if not octets and not isinstance(items, tuple | list):
            raise MalformedMessage(f"the head is {told(head)}, which has no words and no items")
        try:
            found = items[self._index]
        except IndexError:
            raise MalformedMessage(f"the head {_shown(head)} has no {self._name()}, which is the body's size") from None
        if octets and found.isdigit():
            return announced_size(found, None)
        if not octets and is_count(found):
            return found
        raise MalformedMessage(f"{self._name()} of the head {_shown(head)} is not a number of octets")

    def _name(self) -> str:
        return "last word" if self._text == "last" else f"word {self._text}"


class _Words:
    """A place for each first word of a head. Heads with another one have no body."""

    def __init__(self, places: dict[bytes, _Place]) -> None:
        self._places = places
        self._otherwise = places.get(b"*")

    def __call__(self, head: Any) -> Size:
        words = head.split(None, 1) if isinstance(head, bytes) else ()
        place = self._places.get(words[0].upper(), self._otherwise) if words else self._otherwise
        return None if place is None else place(head)


class _Header:
    """The value of a header line, ``name: value``; what holds without this header is ``otherwise``."""

    def __init__(self, name: str, otherwise: Size) -> None:
        self._name = name.lower().encode()
        self._otherwise = otherwise

    def __call__(self, head: Any) -> Size:
        if not isinstance(head, bytes):
            raise MalformedMessage(f"the head is {told(head)}, which has no header lines")
        values = []
        for line in head.split(b"\n"):
            name, colon, value = line.partition(b":")
            if colon and name.strip().lower() == self._name:
                values.append(value.strip())
        if not values:
            return self._otherwise
        if len(values) > 1 or not values[0].isdigit():
            shown = " and ".join(excerpt(each) for each in values[:2])
            raise MalformedMessage(f"the header {self._name.decode()}: expected one number of octets, got {shown}")
        return announced_size(values[0], None)


def _shown(head: Any) -> str:
    return excerpt(head) if isinstance(head, bytes) else told(head)
