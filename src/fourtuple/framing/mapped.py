"""Messages as values: ``u32+json``, ``fixed:6+struct:>HI``, ``line+text``; ``mapped(framing, decode, encode)``.

::

    octets  --framing-->  message  --decode-->  value
    octets  <--framing--  message  <--encode--  value
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fourtuple.errors import EncodeError, OptionError
from fourtuple.framing.base import Decoder, Framing, Octets
from fourtuple.framing.notation import escape
from fourtuple.framing.unmapped import Unmapped


@dataclass(frozen=True)
class Mapping:
    """Messages to values and back. ``text`` is its text form, where there is one; it is what is compared then."""

    decode: Callable[[bytes], Any] = field(repr=False)
    encode: Callable[[Any], bytes] = field(repr=False)
    text: str = ""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return (self.text or (self.decode, self.encode)) == (other.text or (other.decode, other.encode))

    def __hash__(self) -> int:
        return hash(self.text or (self.decode, self.encode))


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


JSON = Mapping(json.loads, _dump, "json")
TEXT = Mapping(bytes.decode, str.encode, "text")


def struct_mapping(layout: str) -> Mapping:
    """Messages to tuples by a :mod:`struct` layout such as ``>HI``. Raises OptionError for a wrong one."""
    try:
        packing = struct.Struct(layout)
    except (struct.error, UnicodeEncodeError) as error:
        raise OptionError(f"struct: the layout {layout!r} cannot be read: {error}") from error
    return Mapping(packing.unpack, lambda values: packing.pack(*values), "struct:" + escape(layout.encode()))


def msgspec_mapping(kind: Any = Any, *, format: str = "json") -> Mapping:
    """Messages to values of type ``kind``, checked, by msgspec; ``format`` is ``"json"`` or ``"msgpack"``.

    Raises :class:`~fourtuple.errors.OptionError` where msgspec is not installed.
    """
    try:
        import msgspec  # only where it is asked for
    except ImportError as error:
        raise OptionError("msgspec is not installed") from error
    if format not in ("json", "msgpack"):
        raise OptionError(f"msgspec: the format is {format!r}, it must be 'json' or 'msgpack'")
    codec = getattr(msgspec, format)
    text = f"msgspec-{format}" if kind is Any else ""
    return Mapping(codec.Decoder(kind).decode, codec.Encoder().encode, text)


def mapping_named(text: str) -> Mapping | None:
    """The mapping of a text form, ``None`` for what is none."""
    word, colon, argument = text.partition(":")
    if word == "struct" and colon:
        return struct_mapping(argument.replace("\\", ""))
    if text in ("msgspec-json", "msgspec-msgpack"):
        return msgspec_mapping(format=word.removeprefix("msgspec-"))
    return {"json": JSON, "text": TEXT}.get(text)


@dataclass(frozen=True)
class Mapped(Framing):
    """The messages of ``inner`` as values.

    A message that does not map is an :class:`~fourtuple.framing.Unmapped` in its place, with the mapping's
    error; a value that does not map back is an :class:`~fourtuple.errors.EncodeError`. The errors of the stream
    are those of ``inner``.
    """

    inner: Framing
    mapping: Mapping

    word: ClassVar[str] = "mapped"

    @property
    def max_message(self) -> int | None:
        """The bound of ``inner``: octets, before they are mapped."""
        bound: int | None = getattr(self.inner, "max_message", None)
        return bound

    @property
    def max_buffered(self) -> int | None:
        return self.inner.max_buffered

    @property
    def gap_timeout(self) -> float | None:
        return self.inner.gap_timeout

    @property
    def ends_stream(self) -> bool:  # type: ignore[override]
        """As ``inner`` says."""
        return self.inner.ends_stream

    @property
    def delimits_itself(self) -> bool:  # type: ignore[override]
        """As ``inner`` says."""
        return self.inner.delimits_itself

    def __str__(self) -> str:
        return f"{self.inner}+{self.mapping.text or 'mapped'}"

    def decoder(self) -> Decoder:
        return _MappedDecoder(self.inner.decoder(), self.mapping.decode)

    def reference(self) -> Decoder:
        return _MappedDecoder(self.inner.reference(), self.mapping.decode)

    def encode(self, message: Any) -> bytes:
        try:
            octets = self.mapping.encode(message)
        except EncodeError:
            raise
        except Exception as error:
            raise EncodeError(f"{self}: {type(message).__name__} does not map: {error}") from error
        return self.inner.encode(octets)


def mapped(framing: Framing, decode: Callable[[bytes], Any], encode: Callable[[Any], bytes]) -> Mapped:
    """The messages of ``framing`` as values: ``decode(message)`` makes one, ``encode(value)`` undoes it.

    Whatever ``decode`` raises makes the message an :class:`~fourtuple.framing.Unmapped`.
    """
    return Mapped(framing, Mapping(decode, encode))


class _MappedDecoder(Decoder):
    __slots__ = ("_decode", "_inner")

    def __init__(self, inner: Decoder, decode: Callable[[bytes], Any]) -> None:
        self._inner = inner
        self._decode = decode

    @property
    def skipped(self) -> int:  # type: ignore[override]
        """Octets that the inner framing skipped."""
        return self._inner.skipped

    @property
    def buffered(self) -> int:
        return self._inner.buffered

    @property
    def held(self) -> int:
        return self._inner.held

    def _map(self, messages: list[Any]) -> list[Any]:
        return [self._mapped(each) for each in messages]

    def _mapped(self, message: Any) -> Any:
        if isinstance(message, Unmapped):
            return message
        try:
            return self._decode(message)
        except Exception as error:
            return Unmapped(message, error)

    def feed(self, data: Octets, limit: int | None = None) -> list[Any]:
        return self._map(self._inner.feed(data, limit))

    def finish(self) -> list[Any]:
        return self._map(self._inner.finish())

    def gap(self) -> list[Any]:
        return self._map(self._inner.gap())

    def take(self, undelivered: int = 0) -> bytes:
        return self._inner.take(undelivered)

    def settle(self) -> None:
        self._inner.settle()
