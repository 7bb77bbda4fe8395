"""Mappings of messages to values and back: JSON, text, struct layouts, and two functions of your own."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fourtuple.errors import MalformedMessage, OptionError
from fourtuple.framing.base import Octets
from fourtuple.framing.checks import octets_of
from fourtuple.framing.checksums import Checksum
from fourtuple.framing.memory import look_at_json
from fourtuple.framing.notation import escape
from fourtuple.framing.usercode import check_function
from fourtuple.typevars import Generic, In_co, Out_contra


@dataclass(frozen=True)
class Mapping(Generic[In_co, Out_contra]):
    """Messages to values and back. Mappings with a ``text``, their text form, are compared by it.

    ``Mapping[In, Out]`` gives the types of the values that ``decode`` makes and ``encode`` takes.
    ``look(octets, allowed)``, if given, is called before ``decode``. It raises for a message whose values would take
    more than ``allowed`` octets of memory, or whose values must not be made.

    Raises :class:`~fourtuple.errors.OptionError` if ``decode`` or ``encode`` is not a function, is async, or does not
    take one argument.
    """

    decode: Callable[[Any], In_co] = field(repr=False)
    encode: Callable[[Out_contra], Any] = field(repr=False)
    text: str = ""
    look: Callable[[bytes, int | None], None] | None = field(default=None, repr=False)
    #: The size of every message in octets, if all have the same; otherwise ``None``.
    size: int | None = field(default=None, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        check_function("mapped", "decode", self.decode, b"", called="decode(message)")
        check_function("mapped", "encode", self.encode, b"", called="encode(value)")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return (self.text or (self.decode, self.encode)) == (other.text or (other.decode, other.encode))

    def __hash__(self) -> int:
        return hash(self.text or (self.decode, self.encode))


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


JSON_MAPPING: Mapping[Any, Any] = Mapping(json.loads, _dump, "json", look_at_json)
TEXT_MAPPING: Mapping[str, str] = Mapping(bytes.decode, str.encode, "text")


def checksum_mapping(checksum: Checksum) -> Mapping[bytes, Octets]:
    """Map messages to the octets before their checksum, which is checked and written."""
    size = checksum.size

    def decode(message: bytes) -> bytes:
        body = len(message) - size
        if body < 0:
            raise MalformedMessage(f"the message has {len(message)} octets, its checksum alone has {size}")
        octets = bytes(message)
        checksum.check(octets[:body], octets[body:])
        return octets[:body]

    def encode(octets: Octets) -> bytes:
        message = octets_of("a checksum", octets)
        return message + checksum.of(message)

    return Mapping(decode, encode, f"check:{checksum.text}" if checksum.text else "")


def struct_mapping(layout: str) -> Mapping[tuple[Any, ...], Sequence[Any]]:
    """Return the mapping to tuples by a :mod:`struct` ``layout`` such as ``>HI``.

    Raises :class:`~fourtuple.errors.OptionError` for an invalid layout.
    """
    try:
        packing = struct.Struct(layout)
    except (struct.error, UnicodeEncodeError) as error:
        raise OptionError(f"struct: the layout {layout!r} cannot be read: {error}") from error
    text = "struct:" + escape(layout.encode())
    return Mapping(packing.unpack, lambda values: packing.pack(*values), text, size=packing.size)
