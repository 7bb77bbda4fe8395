"""The largest value that an option takes works, in C and in Python; anything larger is refused where it is made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from fourtuple import Service, serve_in_thread
from fourtuple.blocking import connect
from fourtuple.errors import FramingTextError, OptionError
from fourtuple.framing import (
    ContentLength,
    Fixed,
    Framing,
    Gap,
    Json,
    Length,
    Line,
    Mapped,
    Raw,
    Resp,
    Varint,
    checked,
    parse_framing,
)
from fourtuple.options import Limits, Sockets
from fourtuple.options.checking import LARGEST
from fourtuple.options.declaring import Declared, declared

SOON = 20.0

#: What the working of a connection depends on.
SERVED = ["max_connections", "max_batch", "max_threads", "read_size", "high_water", "max_outbox", "max_buffered"]
SERVED += ["max_message_rate", "max_octet_rate", "accept_rate"]
#: What has to grow with another one.
BESIDE = {"high_water": "max_outbox", "low_water": "high_water"}


def maximum(each: Declared) -> float:
    fields = {field.name: field for family in (Limits, Sockets) for field in dataclasses.fields(family)}
    most: float = fields[each.name].metadata["maximum"]
    return most


def numbers(family: Any) -> list[Declared]:
    return [each for each in declared(family) if each.annotation.split(" ")[0] in ("int", "float")]


@pytest.mark.parametrize("each", [*numbers(Limits), *numbers(Sockets)], ids=lambda each: each.name)
def test_more_than_the_largest_is_refused(each: Declared) -> None:
    family = Limits if each.family == "Limits" else Sockets
    most = maximum(each)
    with pytest.raises(OptionError, match=r"expected no more than [0-9.e+]+, got") as caught:
        family(**{each.name: type(most)(most * 2 + 1)})
    assert each.name in str(caught.value)


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("threads", [False, True])
def test_the_largest_works(name: str, threads: bool) -> None:
    service = Service("line")

    @service.reply(threads=threads)
    def reply(message: bytes) -> bytes:
        return message

    most = next(maximum(each) for each in numbers(Limits) if each.name == name)
    options: dict[str, Any] = {name: most}
    if name in BESIDE:
        options[BESIDE[name]] = most
    with serve_in_thread(service, limits=Limits(**options)) as server, connect(server.address, "line") as client:
        assert client.request_many([b"a", b"b"], SOON) == [b"a", b"b"]


@pytest.mark.parametrize(
    ("name", "value", "needed"),
    [
        ("max_octet_rate", 1e-300, "expected at least 1, got "),
        ("max_message_rate", 1e-300, "expected at least 0.001, got "),
        ("accept_rate", 1e-9, "expected at least 0.001, got "),
    ],
)
def test_a_rate_at_which_nothing_ever_comes_is_refused(name: str, value: float, needed: str) -> None:
    with pytest.raises(OptionError, match=needed):
        Limits(**{name: value})


# -- framings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("fixed:4+struct:>HI", "messages of 4 octets, struct:>HI takes 6; use fixed:6"),
        ("fixed:6+struct:>q", "messages of 6 octets, struct:>q takes 8; use fixed:8"),
        ("u8+struct:300s", "messages of no more than 255 octets, struct:300s takes 300"),
        ("u32,max_message=100+struct:101s", "messages of no more than 100 octets, struct:101s takes 101"),
        ("line+struct:999999999999s", "messages of no more than 1048576 octets"),
        ("resp,max_depth=1000000", "max_depth is 1000000, it must be 1 to 256"),
    ],
)
def test_a_framing_that_can_have_no_message_is_refused(text: str, told: str) -> None:
    with pytest.raises(FramingTextError, match=told):
        parse_framing(text)


@pytest.mark.parametrize("text", ["fixed:6+struct:>HI", "u8+struct:255s", "u32,max_message=none+struct:>q", "raw+json"])
def test_a_framing_that_fits_is_not(text: str) -> None:
    framing: Framing[Any, Any] = parse_framing(text)
    assert isinstance(framing, Mapped)


@pytest.mark.parametrize("depth", [1, 33, 256])
def test_the_deepest_value_is_decoded_and_encoded(depth: int) -> None:
    framing = Resp(max_depth=depth)
    octets = b"*1\r\n" * depth + b":1\r\n"
    (value,) = framing.decoder().feed(octets)
    assert framing.encode(value) == octets


SIZES: list[tuple[Callable[[Any], object], str]] = [
    (lambda n: Fixed(n), "fixed: the size"),
    (lambda n: Fixed(3).decoder() and Line(max_message=n), "line: max_message"),
    (lambda n: Line(max_sent=n), "line: max_sent"),
    (lambda n: Length(4, max_message=n), "length: max_message"),
    (lambda n: Length(n), "length: the width"),
    (lambda n: Length(4, offset=n), "length: the offset"),
    (lambda n: Length(4, adjustment=n), "length: the adjustment"),
    (lambda n: Length(4, skip=n), "length: skip"),
    (lambda n: Length(4, mask=n), "length: mask"),
    (lambda n: Varint(n), "varint: the width"),
    (lambda n: Varint(4, offset=n), "varint: the offset"),
    (lambda n: Raw(max_message=n), "raw: max_message"),
    (lambda n: ContentLength(max_header=n), "content-length: max_header"),
    (lambda n: Json(max_depth=n), "json: max_depth"),
    (lambda n: Resp(max_depth=n), "resp: max_depth"),
    (lambda n: Resp(max_count=n), "resp: max_count"),
    (lambda n: Resp(n), "resp: the protocol"),
    (lambda n: Resp(max_message_memory=n), "resp: max_message_memory"),
    (lambda n: Gap(n), "gap: gap_timeout"),
    (lambda n: checked(Line(), bytes, size=n), "checked: size"),
    (lambda n: checked(Line(), lambda octets: b"1", size=1, first=n), "checked: first"),
    (lambda n: checked(Line(), lambda octets: b"1", size=1, end=n), "checked: end"),
]


@pytest.mark.parametrize(("make", "told"), SIZES, ids=[told for _, told in SIZES])
def test_a_number_that_no_framing_can_have(make: Callable[[Any], object], told: str) -> None:
    for number in (1 << 63, 10**400, 10**5000, -(10**5000), float("inf"), float("nan"), True, "1"):
        with pytest.raises(OptionError, match=f"^{told} is ") as caught:
            make(number)
        assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["fixed:{}", "line,max_message={}", "u32,offset={}", "length:{}", "resp,max_count={}",
                                  "json,max_depth={}", "content-length,max_header={}", "u64,max_sent={}",
                                  "resp,max_message_memory={}", "varint:{}", "gap:{}", "u8+check:xor@{}",
                                  "u32,mask={}", "hdlc:{}", "resp:{}"])  # fmt: skip
def test_a_number_in_a_text_that_no_framing_can_have(text: str) -> None:
    for number in ("9223372036854775808", "1" + "0" * 400, "1" + "0" * 5000, "inf", "nan", "²"):
        with pytest.raises(FramingTextError):
            parse_framing(text.format(number))


def test_the_largest_size_works() -> None:
    for size in (LARGEST, (1 << 31) + 1):
        decoder = Fixed(size).decoder()
        assert decoder.feed(b"abc") == []
        assert decoder.buffered == 3
