"""What turns messages into values and back: JSON, text, struct layouts, and two functions of your own."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fourtuple.errors import OptionError
from fourtuple.framing.memory import look_at_json
from fourtuple.framing.notation import escape
from fourtuple.framing.usercode import check_function
from fourtuple.typevars import Generic, In_co, Out_contra


@dataclass(frozen=True)
class Mapping(Generic[In_co, Out_contra]):
    """Messages to values and back. ``text`` is its text form, where there is one; it is what is compared then.

    ``Mapping[In, Out]`` says the types of the values that ``decode`` makes and ``encode`` takes.
    ``look(octets, allowed)``, if given, raises for a message whose values would take more memory than is allowed, or
    must not be made at all, before ``decode`` makes them.

    Raises :class:`~fourtuple.errors.OptionError` for what is no function, is async, or takes no message.
    """

    decode: Callable[[Any], In_co] = field(repr=False)
    encode: Callable[[Out_contra], Any] = field(repr=False)
    text: str = ""
    look: Callable[[bytes, int | None], None] | None = field(default=None, repr=False)
    #: The octets of every message, where all have the same number of them.
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


def struct_mapping(layout: str) -> Mapping[tuple[Any, ...], Sequence[Any]]:
    """Messages to tuples by a :mod:`struct` layout such as ``>HI``. Raises OptionError for a wrong one."""
    try:
        packing = struct.Struct(layout)
    except (struct.error, UnicodeEncodeError) as error:
        raise OptionError(f"struct: the layout {layout!r} cannot be read: {error}") from error
    text = "struct:" + escape(layout.encode())
    return Mapping(packing.unpack, lambda values: packing.pack(*values), text, size=packing.size)
