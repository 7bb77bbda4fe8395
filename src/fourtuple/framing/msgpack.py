"""Checks MessagePack before values are made of it: the types of the keys of its maps, and the memory of its values.

If a parser makes a dict of every map, the peer chooses the hashes of keys that are numbers, and can make them collide.
The specification: https://github.com/msgpack/msgpack/blob/master/spec.md
"""

from __future__ import annotations

import re

from fourtuple.errors import MalformedMessage
from fourtuple.framing.memory import CONTAINER, MEMBER, MOST, OCTET, too_much

#: First octets of values of a fixed size, and the number of octets that follow.
_FIXED = {
    0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
    0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17,
}  # fmt: skip
#: First octets of str, bin and ext: the number of octets of their length, and of the octets between it and the data.
_SIZED = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1)} | {
    0xD9: (1, 0), 0xDA: (2, 0), 0xDB: (4, 0),
}  # fmt: skip
_TEXTS = frozenset({0xC4, 0xC5, 0xC6, 0xD9, 0xDA, 0xDB, *range(0xA0, 0xC0)})
_ARRAYS = {0xDC: 2, 0xDD: 4}
_MAPS = {0xDE: 2, 0xDF: 4}


#: Numbers, booleans and nil of one octet: a run of them is handled in one step.
_SMALL = re.compile(rb"[\x00-\x7f\xc0\xc2\xc3\xe0-\xff]+")
_MAP = re.compile(rb"[\x80-\x8f\xde\xdf]")


def look(octets: bytes, allowed: int | None, *, keys: bool) -> None:
    """Raise MessageTooLong for a message whose values take more than ``allowed`` octets of memory.

    With ``keys``, raise MalformedMessage for a key that is neither text nor octets. Truncated or invalid MessagePack is
    left to the parser, which reports it.
    """
    small = allowed is None or MOST * len(octets) <= allowed
    if small and not (keys and _MAP.search(octets)):
        return
    charged = OCTET * len(octets)
    #: For each open container, the number of missing values; for a map, twice its missing pairs, as a negative number.
    lacking = [1]
    at, size = 0, len(octets)
    while at < size and lacking:
        lacks = lacking[-1]
        if not lacks:
            lacking.pop()
            continue
        first = octets[at]
        if lacks > 1 and (run := _SMALL.match(octets, at, at + lacks)):
            charged += MEMBER * (run.end() - at)
            lacking[-1] -= run.end() - at
            at = run.end()
        else:
            if keys and lacks < 0 and not lacks & 1 and first not in _TEXTS:
                raise MalformedMessage(f"a map has a key that begins with {first:#04x}; only text and octets are keys")
            lacking[-1] += 1 if lacks < 0 else -1
            charged += MEMBER
            at, opened = _behind(octets, at)
            if opened is not None:
                charged += CONTAINER
                lacking.append(opened)
        if allowed is not None and charged > allowed:
            raise too_much(charged, allowed)


def _behind(octets: bytes, at: int) -> tuple[int, int | None]:
    """The position after a value or after the head of a container, and what that container lacks (see ``lacking``)."""
    first = octets[at]
    at += 1
    if first < 0x80 or first >= 0xE0:
        return at, None
    if first in _FIXED:
        return at + _FIXED[first], None
    if 0xA0 <= first < 0xC0:
        return at + (first & 31), None
    if first in _SIZED:
        width, more = _SIZED[first]
        return at + width + more + int.from_bytes(octets[at : at + width], "big"), None
    if first < 0xA0:
        return at, (first & 15) * (-2 if first < 0x90 else 1)
    width = _ARRAYS.get(first) or _MAPS.get(first, 0)  # 0 for 0xc1, which is never used: the parser rejects it
    count = int.from_bytes(octets[at : at + width], "big")
    return at + width, -2 * count if first in _MAPS else count
