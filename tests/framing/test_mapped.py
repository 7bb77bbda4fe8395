"""Text that is mapped to values: what these take in memory is bounded, and no key's hash is the peer's choice."""

from __future__ import annotations

import dataclasses
import enum
import json
import tracemalloc
from functools import partial
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fourtuple.errors import FramingTextError, MalformedMessage, MessageTooLong, OptionError
from fourtuple.framing import (
    JSON_MAPPING,
    TEXT_MAPPING,
    Line,
    Mapped,
    Switch,
    Unmapped,
    checked,
    duplex,
    headed,
    mapped,
    memory,
    msgspec_mapping,
    parse_framing,
    struct_mapping,
    u32,
)
from fourtuple.framing.memory import json_charge
from fourtuple.framing.msgpack import look
from fourtuple.testing import drive
from framing.conftest import inside

MIB = 1 << 20


#: A value of JSON, to stand in a list many times, and what it is.
JSON_UNITS = {
    "lists": (b"[]", []),
    "lists of one": (b"[7]", [7]),
    "objects": (b"{}", {}),
    "objects of one": (b'{"":0}', {"": 0}),
    "small numbers": (b"7", 7),
    "numbers": (b"1000", 1000),
    "floats": (b"1.5", 1.5),
    "strings": (b'"ab"', "ab"),
    "records": (b'{"id":123,"name":"abc def","ok":true}', {"id": 123, "name": "abc def", "ok": True}),
}
KEYS = [1 << 60, 1.5, None, True, (1, 2), 7]


def of_length(unit: bytes, size: int) -> bytes:
    """A list of JSON with as many of a value as there is room for."""
    return b"[" + b",".join([unit] * (size // (len(unit) + 1))) + b"]"


@pytest.mark.parametrize("name", JSON_UNITS)
def test_what_json_is_charged_is_what_it_takes(name: str) -> None:
    """Right within a factor of two, or dearer than it is."""
    octets = of_length(JSON_UNITS[name][0], 200_000)
    tracemalloc.start()
    value = JSON_MAPPING.decode(octets)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert value[0] == JSON_UNITS[name][1]
    assert taken < 2.2 * json_charge(octets)
    assert json_charge(octets) < 6 * taken


@pytest.mark.parametrize("name", ["numbers", "floats", "strings", "records", "small numbers"])
def test_honest_json_of_a_mebibyte_maps(name: str) -> None:
    unit, value = JSON_UNITS[name]
    framing = parse_framing("u32+json")
    (message,) = drive(framing, [u32().encode(of_length(unit, MIB - 1000))]).messages
    assert message[-1] == value


@pytest.mark.parametrize("name", ["lists", "objects", "objects of one"])
@pytest.mark.parametrize("text", ["u32+json", "u32+msgspec-json", "u32+json,max_message_memory=1m"])
def test_json_that_takes_too_much_does_not_map(name: str, text: str, require_package: Any) -> None:
    if "msgspec" in text:
        require_package("msgspec")
    octets = of_length(JSON_UNITS[name][0], MIB - 1000)
    tracemalloc.start()
    messages = drive(parse_framing(text), [u32().encode(octets) + b"\0\0\0\1" + b"7"]).messages
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert messages[1] == 7
    assert isinstance(messages[0], Unmapped)
    assert isinstance(messages[0].error, MessageTooLong)
    assert "octets of memory, no more than" in str(messages[0].error)
    assert most < 8 * MIB, "no value was made"


def test_what_stands_in_strings_is_no_structure() -> None:
    for text in ("[" * 900_000, ",:{[" * 200_000, '\\"[[' * 100_000, "\\" * 200_000 + '"'):
        octets = JSON_MAPPING.encode([text])
        assert drive(
            parse_framing("u32,max_message=4m+json,max_message_memory=8m"), [u32(max_message=None).encode(octets)]
        )
        (message,) = drive(parse_framing("u32,max_message=4m+json"), [u32(max_message=None).encode(octets)]).messages
        assert message == [text]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('ab"\\\\[]{},:\\n', max_size=12),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text('a"\\\\{', max_size=4), inner, max_size=5),
    max_leaves=20,
)


@given(value=json_values, piece=st.integers(1, 40))
def test_structure_is_counted_outside_of_strings(value: Any, piece: int) -> None:
    """To the bracket, wherever the text is cut in pieces."""
    octets = json.dumps(value, ensure_ascii=False).encode()
    found = [each for each in inside(value) if isinstance(each, list | dict)]
    members = sum(2 * len(each) - 1 if isinstance(each, dict) else len(each) - 1 for each in found if each)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "_PIECE", piece)
        bare = b"".join(memory._outside_strings(octets))
    assert memory._structure(bare) == memory.CONTAINER * len(found) + memory.MEMBER * members


def test_utf16_hides_no_structure() -> None:
    """Half of a character may look like a quote."""
    octets = ("[" + '"\u0122",[],' * 100_000 + "1]").encode("utf-16-le")
    assert json_charge(octets) > 8 * MIB
    with pytest.raises(MessageTooLong):
        JSON_MAPPING.look(octets, 8 * MIB)  # type: ignore[misc]


def test_values_that_were_mapped_are_held_until_they_are_delivered() -> None:
    decoder = parse_framing("line+json").decoder()
    assert decoder.feed(b"[1,2]\n[3]\n[4") == [[1, 2], [3]]
    assert decoder.held == 2 + 8 * 8
    decoder.settle()
    assert decoder.held == decoder.buffered == 2
    decoder.feed(b"]\n")
    decoder.take()
    assert decoder.held == 0


@pytest.mark.parametrize("key", KEYS)
def test_keys_of_messagepack_are_text_or_octets(key: Any, require_package: Any) -> None:
    msgspec = require_package("msgspec")
    framing = parse_framing("u32+msgspec-msgpack")
    for value in ({key: 1}, [[{"a": {key: 1}}]], {"a": 1, "b": [1, 2, {key: {}}]}, {"a": bytes(300), "b": {key: 1}}):
        (message,) = drive(framing, [u32().encode(msgspec.msgpack.encode(value))]).messages
        assert isinstance(message, Unmapped)
        assert isinstance(message.error, MalformedMessage)
        assert "a map has a key that begins with 0x" in str(message.error)
        assert "only text and octets are keys" in str(message.error)


scalars = st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats(allow_nan=False)
packable = st.recursive(
    scalars | st.text(max_size=40) | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(max_size=40), inner, max_size=20),
    max_leaves=60,
)


@settings(max_examples=max(10, settings().max_examples // 4))
@given(value=packable)
def test_messagepack_that_is_right_is_left_alone(value: Any, require_package: Any) -> None:
    msgspec = require_package("msgspec")
    framing = parse_framing("u32+msgspec-msgpack,max_message_memory=none")
    assert drive(framing, [u32().encode(msgspec.msgpack.encode(value))]).messages == [value]
    look(msgspec.msgpack.encode(value), None, keys=True)


@given(octets=st.binary(max_size=60), keys=st.booleans())
def test_whatever_comes_as_messagepack_is_looked_at(octets: bytes, keys: bool, require_package: Any) -> None:
    """Octets that are none are left to the parser; whatever it makes of them has no key that it should not."""
    msgspec = require_package("msgspec")
    try:
        look(octets, 1024, keys=keys)
    except (MalformedMessage, MessageTooLong):
        return
    try:
        value = msgspec.msgpack.decode(octets)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return
    if keys:
        assert all(isinstance(key, str | bytes) for each in inside(value) if isinstance(each, dict) for key in each)


def test_messagepack_that_takes_too_much_does_not_map(require_package: Any) -> None:
    require_package("msgspec")
    many = b"\xdd" + (500_000).to_bytes(4, "big")
    for unit in (b"\x90", b"\x80", b"\x91\x01", b"\xa0"):
        (message,) = drive(parse_framing("u32+msgspec-msgpack"), [u32().encode(many + unit * 500_000)]).messages
        if unit == b"\xa0":
            assert len(message) == 500_000
        else:
            assert isinstance(message.error, MessageTooLong), unit
    (message,) = drive(parse_framing("u32+msgspec-msgpack"), [u32().encode(many + b"\x07" * 500_000)]).messages
    assert message == [7] * 500_000


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Tree:
    name: str
    children: list[Tree]
    weights: dict[str, float]


@dataclasses.dataclass
class Numbered:
    by_number: dict[int, str]


@pytest.mark.parametrize(
    "kind",
    [dict[int, str], list[dict[float, int]], set[int], frozenset[int | str], set[Any], Numbered, dict[str, set[int]]],
)
@pytest.mark.parametrize("format", ["json", "msgpack"])
def test_a_type_with_keys_that_collide_is_refused(kind: Any, format: str, require_package: Any) -> None:
    require_package("msgspec")
    with pytest.raises(
        OptionError, match=r"has (keys|members) of type \w+, which a peer can choose so that they collide"
    ):
        msgspec_mapping(kind, format=format)


@pytest.mark.parametrize(
    "kind",
    [
        dict[str, int],
        dict[Literal["a"] | Literal["b"], int],
        dict[Colour, int],
        set[str],
        Tree,
        dict,
        list[Any],
        Any,
        object,
    ],
)
@pytest.mark.parametrize("format", ["json", "msgpack"])
def test_a_type_with_keys_of_text_is_taken(kind: Any, format: str, require_package: Any) -> None:
    msgspec = require_package("msgspec")
    mapping = msgspec_mapping(kind, format=format)
    if kind in (dict, list[Any], Any, object) and format == "msgpack":
        with pytest.raises(MalformedMessage):
            mapping.look(msgspec.msgpack.encode([{1: 2}]), None)  # type: ignore[misc]


class Order:
    @classmethod
    def read(cls, octets: bytes) -> Order:
        return cls()

    def write(self) -> bytes:
        return b""


def parse(octets: bytes) -> bytes:
    return octets


OWN: Any = (lambda value: value, lambda value: value)
NAMED = [
    (mapped(Line(), parse, bytes), "line+mapped:parse"),
    (mapped(mapped(Line(), parse, bytes), Order.read, Order.write), "line+mapped:parse+mapped:Order.read"),
    (mapped(Line(), partial(parse), bytes), "line+mapped:parse"),
    (mapped(Line(), OWN[0], Order.write), "line+mapped:Order.write"),
    (mapped(Line(), *OWN), "line+mapped"),
    (mapped(mapped(Line(), *OWN), *OWN), "line+mapped"),
    (mapped(parse_framing("line+json"), *OWN), "line+json+mapped"),
    (
        mapped(parse_framing("line+json,max_message_memory=1m"), parse, bytes),
        "line+json,max_message_memory=1048576+mapped:parse",
    ),
    (checked(Line(), parse, size=1), "line+check:parse"),
    (parse_framing("line+check:xor+check:xor"), "line+check:xor+check:xor"),
]


@pytest.mark.parametrize(("framing", "name"), NAMED, ids=[name for _, name in NAMED])
def test_a_mapping_is_called_after_its_functions(framing: Any, name: str) -> None:
    """In the texts of errors, and in its repr: "mapped" would say nothing, and twice no more than once."""
    assert str(framing) == name
    assert "Mapping(decode=" in repr(framing) or "Mapping(text=" in repr(framing)
    assert "<function" not in repr(framing)


TEXTS: Any = Mapped(Line(), TEXT_MAPPING)
OF_VALUES: dict[str, tuple[Any, Any]] = {
    "line+text+text": (TEXTS, TEXT_MAPPING),
    "line+json+text": (parse_framing("line+json"), TEXT_MAPPING),
    "line+text+struct:>HI": (TEXTS, struct_mapping(">HI")),
    "line+text+check:crc32": (TEXTS, checked(Line(), "crc32").mapping),
    "duplex:(line+text),sends=line+json": (duplex(TEXTS, "line"), JSON_MAPPING),
    "duplex:line,sends=(line+text)+json": (duplex("line", TEXTS), JSON_MAPPING),
    "headed:line+json": (headed("line", len), JSON_MAPPING),
    "switch:a=(line+text)+json": (Switch({b"a": TEXTS}), JSON_MAPPING),
}


@pytest.mark.parametrize("name", OF_VALUES)
def test_a_mapping_of_octets_takes_no_values(name: str) -> None:
    """At run time, each message would not map, as if the peer had sent a wrong one."""
    inner, mapping = OF_VALUES[name]
    with pytest.raises(OptionError, match=r"the mapping \S+ takes octets, messages of \S.* are values$"):
        Mapped(inner, mapping)


def test_a_mapping_of_octets_says_what_it_was_given() -> None:
    with pytest.raises(FramingTextError) as caught:
        parse_framing("line+text+json")
    assert str(caught.value).endswith("line+text+json: the mapping json takes octets, messages of line+text are values")


@pytest.mark.parametrize("inner", [checked(Line(), "crc32"), mapped(Line(), parse, bytes), mapped(TEXTS, str, str)])
def test_a_mapping_takes_octets_and_what_functions_make(inner: Any) -> None:
    assert Mapped(inner, JSON_MAPPING).mapping is JSON_MAPPING


def test_a_type_of_msgspec_is_named(require_package: Any) -> None:
    require_package("msgspec")
    assert str(Mapped(Line(), msgspec_mapping(dict[str, int]))) == "line+msgspec-json:dict[str, int]"
    assert str(Mapped(Line(), msgspec_mapping(int, format="msgpack"))) == "line+msgspec-msgpack:int"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("line+mapped:parse", "a text cannot name the functions of mapped()"),
        (
            "line+jsn",
            "there is no mapping 'jsn'; did you mean json? There are json, text, struct:LAYOUT, check:CHECKSUM, ",
        ),
        ("line+struct", "there is no mapping 'struct'; did you mean struct:LAYOUT?"),
        ("lime+json", "there is no 'lime'; did you mean line?"),
    ],
)
def test_a_text_with_an_unknown_mapping(text: str, why: str) -> None:
    with pytest.raises(FramingTextError) as caught:
        parse_framing(text)
    assert caught.value.why.startswith(why)
