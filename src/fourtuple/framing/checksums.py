"""Checksums behind messages, by name: ``crc16-modbus``, ``xor/hex@1:-1``; and the check sequences of RFC 1662.

::

    spec = name [ "/" ( "be" | "le" | "hex" ) ] [ "@" first [ ":" end ] ]
"""

from __future__ import annotations

import re
from binascii import crc32, crc_hqx
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, reduce, wraps
from operator import xor
from typing import Literal
from zlib import adler32

from fourtuple.errors import MalformedMessage, OptionError
from fourtuple.framing.checks import whole
from fourtuple.framing.usercode import check_function, encoded, name_of
from fourtuple.options import among, seen
from fourtuple.options.checking import LARGEST

Form = Literal["be", "le", "hex"]


@lru_cache(maxsize=32)
def _table(width: int, polynomial: int, reflected: bool) -> list[int]:
    top, mask = 1 << (width - 1), (1 << width) - 1

    def entry(octet: int) -> int:
        crc = octet if reflected else octet << (width - 8)
        for _ in range(8):
            if reflected:
                crc = crc >> 1 ^ (polynomial if crc & 1 else 0)
            else:
                crc = (crc << 1 ^ (polynomial if crc & top else 0)) & mask
        return crc

    return [entry(octet) for octet in range(256)]


def _crc(width: int, polynomial: int, start: int, end: int, *, reflected: bool) -> Callable[[bytes], int]:
    """A CRC of the catalogues; ``polynomial`` is written in the order of ``reflected``, ``end`` is the last xor."""
    shift, mask = width - 8, (1 << width) - 1

    def crc(octets: bytes) -> int:
        table, value = _table(width, polynomial, reflected), start
        if reflected:
            for octet in octets:
                value = value >> 8 ^ table[(value ^ octet) & 255]
        else:
            for octet in octets:
                value = (value << 8 ^ table[value >> shift ^ octet]) & mask
        return value ^ end

    return crc


def _fletcher16(octets: bytes) -> int:
    low = high = 0
    for octet in octets:
        low = (low + octet) % 255
        high = (high + low) % 255
    return high << 8 | low


def _fletcher32(octets: bytes) -> int:
    low = high = 0
    for at in range(0, len(octets), 2):
        low = (low + int.from_bytes(octets[at : at + 2], "little")) % 65535
        high = (high + low) % 65535
    return high << 16 | low


#: For each name: its octets, their default order, and the function.
_NAMED: dict[str, tuple[int, Form, Callable[[bytes], int]]] = {
    "adler32": (4, "be", adler32),
    "crc16-arc": (2, "le", _crc(16, 0xA001, 0, 0, reflected=True)),
    "crc16-ccitt": (2, "be", lambda octets: crc_hqx(octets, 0xFFFF)),
    "crc16-dnp": (2, "le", _crc(16, 0xA6BC, 0, 0xFFFF, reflected=True)),
    "crc16-kermit": (2, "le", _crc(16, 0x8408, 0, 0, reflected=True)),
    "crc16-modbus": (2, "le", _crc(16, 0xA001, 0xFFFF, 0, reflected=True)),
    "crc16-x25": (2, "le", _crc(16, 0x8408, 0xFFFF, 0xFFFF, reflected=True)),
    "crc16-xmodem": (2, "be", lambda octets: crc_hqx(octets, 0)),
    "crc32": (4, "be", crc32),
    "crc32-mpeg2": (4, "be", _crc(32, 0x04C11DB7, 0xFFFFFFFF, 0, reflected=False)),
    "crc32c": (4, "be", _crc(32, 0x82F63B78, 0xFFFFFFFF, 0xFFFFFFFF, reflected=True)),
    "crc8": (1, "be", _crc(8, 0x07, 0, 0, reflected=False)),
    "crc8-maxim": (1, "be", _crc(8, 0x8C, 0, 0, reflected=True)),
    "fletcher16": (2, "be", _fletcher16),
    "fletcher32": (4, "be", _fletcher32),
    "lrc-modbus": (1, "be", lambda octets: -sum(octets) & 255),
    "sum": (1, "be", lambda octets: sum(octets) & 255),
    "sum16": (2, "be", lambda octets: sum(octets) & 0xFFFF),
    "xor": (1, "be", lambda octets: reduce(xor, octets, 0)),
}
CHECKSUM_NAMES = tuple(_NAMED)

_SPEC = re.compile(r"([a-z0-9-]+)(?:/([a-z]+))?(?:@(-?[0-9]{1,5})(?::(-?[0-9]{1,5}))?)?")


@dataclass(frozen=True)
class Checksum:
    """The octets that check others: ``make`` of the octets from ``first`` to ``end``, which count as in a slice."""

    text: str
    size: int
    make: Callable[[bytes], bytes]
    first: int = 0
    end: int | None = None

    def of(self, octets: bytes) -> bytes:
        """The checksum of these octets, of which it checks a part."""
        return self.make(octets[self.first : self.end])

    def check(self, octets: bytes, found: bytes) -> None:
        """Raise :class:`~fourtuple.errors.MalformedMessage` if ``found`` is not the checksum of the octets."""
        right = self.of(octets)
        if found != right and found.upper() != right:  # the digits of /hex may be small letters
            raise MalformedMessage(f"the checksum is {found!r}, {right!r} is right")


@lru_cache(maxsize=64)
def read_checksum(text: str) -> Checksum:
    """The checksum of a text. Raises :class:`~fourtuple.errors.OptionError` for an unknown name."""
    found = _SPEC.fullmatch(text)
    if found is None or found[1] not in _NAMED:
        there = among(found[1] if found else "", CHECKSUM_NAMES)
        raise OptionError(f"there is no checksum {text!r}{there}, with /be, /le or /hex and @FIRST:END")
    size, usual, number = _NAMED[found[1]]
    form = found[2] or usual
    if form not in ("be", "le", "hex"):
        raise OptionError(f"checksum {text!r}: {form!r} is not a form; there are be, le and hex")
    first, end = int(found[3] or 0), None if found[4] is None else int(found[4])
    _check_range(f"checksum {text!r}", first, end)
    if form == "hex":
        return Checksum(text, 2 * size, lambda octets: b"%0*X" % (2 * size, number(octets)), first, end)
    order: Literal["big", "little"] = "little" if form == "le" else "big"
    return Checksum(text, size, lambda octets: number(octets).to_bytes(size, order), first, end)


def _check_range(whom: str, first: int, end: int | None) -> None:
    """Reject a range that is empty in every message: the checksum would check nothing."""
    if end == 0 or (end is not None and end <= first and (first < 0) == (end < 0)):
        raise OptionError(
            f"{whom}: the range from octet {first} to octet {end} is empty; the end, which is not part of it, must be "
            "greater, or left out for the end of the message"
        )


def own_checksum(make: Callable[[bytes], bytes], size: int, first: int, end: int | None) -> Checksum:
    """A checksum that a function of one's own makes, of ``size`` octets."""
    check_function("checked", "checksum", make, b"", called="checksum(octets)")
    for name, place in (("first", first), ("end", 0 if end is None else end)):
        if not whole(place, -LARGEST):
            raise OptionError(f"checked: {name} is {seen(place)}, it must be a whole number, as in a slice")
    _check_range("checked", first, end)

    @wraps(make)
    def made(octets: bytes) -> bytes:
        found = encoded(name_of(make), make, make(octets))
        if len(found) != size:
            raise ValueError(f"{name_of(make)}() returned {len(found)} octets, a checksum of {size} is expected")
        return found

    return Checksum("", size, made, first, end)


def fcs16(octets: bytes) -> bytes:
    """FCS-16 as it is sent: the complement of CRC-CCITT (reflected), least significant octet first."""
    return _NAMED["crc16-x25"][2](octets).to_bytes(2, "little")


def fcs32(octets: bytes) -> bytes:
    """FCS-32 as it is sent: the CRC of Ethernet, least significant octet first."""
    return crc32(octets).to_bytes(4, "little")
