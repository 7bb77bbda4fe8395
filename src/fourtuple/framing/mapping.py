"""Mappings of messages to values and back: JSON, text, struct layouts, and two functions of your own."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from fourtuple.errors import EncodeError, MalformedMessage, OptionError
from fourtuple.framing.base import Octets
from fourtuple.framing.checks import octets_of
from fourtuple.framing.checksums import Checksum
from fourtuple.framing.memory import look_at_json
from fourtuple.framing.notation import escape
from fourtuple.framing.usercode import check_function, name_of
from fourtuple.options import by_keyword
from fourtuple.typevars import Generic, In_co, Made_co, Out_contra, Taken_contra


@by_keyword()
@dataclass(frozen=True)
class Mapping(Generic[In_co, Out_contra, Taken_contra, Made_co]):
    """Messages to values and back. Mappings with a ``text``, their text form, are compared by it.

    ``Mapping[In, Out]`` gives the types of the values that ``decode`` makes and ``encode`` takes. Two more types, which
    are ``Any`` if left out, are those of the messages that ``decode`` takes and ``encode`` makes.
    ``look(octets, allowed)``, if given, is called before ``decode``. It raises for a message whose values would take
    more than ``allowed`` octets of memory, or whose values must not be made. ``name`` stands for a mapping without a
    text form where a framing is printed. Default: ``mapped:`` and the name of ``decode``, or that of ``encode`` if
    ``decode`` is a lambda.

    Raises :class:`~fourtuple.errors.OptionError` if ``decode`` or ``encode`` is not a function, is async, or does not
    take one argument.
    """

    decode: Callable[[Taken_contra], In_co] = field(repr=False)
    encode: Callable[[Out_contra], Made_co] = field(repr=False)
    text: str = ""
    look: Callable[[bytes, int | None], None] | None = field(default=None, repr=False)
    #: The size of every message in octets, if all have the same; otherwise ``None``.
    size: int | None = field(default=None, repr=False, kw_only=True)
    name: str = field(default="", repr=False, kw_only=True)
    #: What it makes of octets, if it takes nothing else; ``None`` if that is not known.
    of_octets: Literal["values", "octets"] | None = field(default=None, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        check_function("mapped", "decode", self.decode, b"", called="decode(message)")
        check_function("mapped", "encode", self.encode, b"", called="encode(value)")
        if not self.name:
            object.__setattr__(self, "name", self.text or _name_of("mapped", self.decode, self.encode))

    def __repr__(self) -> str:
        if self.text:
            return f"{type(self).__name__}(text={self.text!r})"
        return f"{type(self).__name__}(decode={name_of(self.decode)}, encode={name_of(self.encode)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return (self.text or (self.decode, self.encode)) == (other.text or (other.decode, other.encode))

    def __hash__(self) -> int:
        return hash(self.text or (self.decode, self.encode))


def _name_of(kind: str, *functions: object) -> str:
    """The kind of a mapping, and the first name of a function or class that is not a lambda."""
    names = (name_of(each) for each in functions)
    named = next((name for name in names if "<lambda>" not in name), "")
    return f"{kind}:{named}" if named else kind


#: The types of octets, which are sequences of numbers too.
_OCTETS = frozenset((bytes, bytearray, memoryview))


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


#: Messages as values of JSON (RFC 8259); they are sent without white space.
JSON_MAPPING: Mapping[Any, Any, bytes, bytes] = Mapping(json.loads, _dump, "json", look_at_json, of_octets="values")
#: Messages as text in UTF-8.
TEXT_MAPPING: Mapping[str, str, bytes, bytes] = Mapping(bytes.decode, str.encode, "text", of_octets="values")


def checksum_mapping(checksum: Checksum) -> Mapping[bytes, Octets, bytes, bytes]:
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

    text = f"check:{checksum.text}" if checksum.text else ""
    return Mapping(decode, encode, text, name=text or _name_of("check", checksum.make), of_octets="octets")


def struct_mapping(layout: str) -> Mapping[tuple[Any, ...], tuple[Any, ...] | list[Any], bytes, bytes]:
    """Return the mapping to tuples by a :mod:`struct` ``layout`` such as ``>HI``.

    Raises :class:`~fourtuple.errors.OptionError` for an invalid layout. Octets instead of a tuple raise
    :class:`~fourtuple.errors.EncodeError` when they are sent.
    """
    try:
        packing = struct.Struct(layout)
    except (struct.error, UnicodeEncodeError) as error:
        raise OptionError(f"struct: the layout {layout!r} cannot be read: {error}") from error

    def encode(values: tuple[Any, ...] | list[Any]) -> bytes:
        if values.__class__ in _OCTETS:  # a sequence of numbers too: b"5" would be sent as 53
            raise EncodeError(f"struct: expected a tuple of values for the layout {layout!r}, got octets")
        return packing.pack(*values)

    text = "struct:" + escape(layout.encode())
    return Mapping(packing.unpack, encode, text, size=packing.size, of_octets="values")
