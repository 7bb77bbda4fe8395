"""A mapping takes the messages of the framing that it maps."""

from __future__ import annotations

from typing import Any, assert_type

from fourtuple.framing import (
    JSON_MAPPING,
    TEXT_MAPPING,
    Fixed,
    Framing,
    Line,
    Mapped,
    Mapping,
    Resp,
    checked,
    duplex,
    mapped,
    parse_framing,
    struct_mapping,
)
from fourtuple.framing.base import Octets


def read(text: str) -> int:
    return int(text)


def write(number: int) -> str:
    return str(number)


def unpack(octets: bytes) -> bytes:
    return octets


texts = Mapped(Line(), TEXT_MAPPING)

assert_type(texts, Mapped[str, str])
assert_type(Mapped(Line(), JSON_MAPPING), Mapped[Any, Any])
assert_type(Mapped(Fixed(6), struct_mapping(">HI")), Mapped[tuple[Any, ...], tuple[Any, ...] | list[Any]])
assert_type(checked(Line(), "crc32"), Mapped[bytes, Octets])
assert_type(Mapped(checked(Line(), "crc32"), JSON_MAPPING), Mapped[Any, Any])
assert_type(Mapped(mapped(Line(), unpack, unpack), JSON_MAPPING), Mapped[Any, Any])
assert_type(Mapped(texts, Mapping(read, write)), Mapped[int, int])
assert_type(mapped(texts, read, write), Mapped[int, int])
Mapped(duplex(Line(), Fixed(3)), TEXT_MAPPING)
Mapped(Resp(), TEXT_MAPPING)
Mapped(Line(), Mapping(bytes.decode, str.encode), max_message_memory=None)


def of_any(framing: Framing, octets: Framing[bytes, bytes], mapping: Mapping[str, int]) -> None:
    assert_type(Mapped(framing, TEXT_MAPPING), Mapped[str, str])
    assert_type(Mapped(octets, TEXT_MAPPING), Mapped[str, str])
    assert_type(Mapped(parse_framing("line"), TEXT_MAPPING), Mapped[str, str])
    assert_type(Mapped(texts, mapping), Mapped[str, int])
    assert_type(Mapped(Line(), mapping), Mapped[str, int])
