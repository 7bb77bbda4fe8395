"""Each field of each framing, given values of every kind: a value that prints and reads back, or an OptionError."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from fourtuple.errors import OptionError
from fourtuple.framing import (
    JSON_MAPPING,
    ContentLength,
    Delimited,
    Duplex,
    Fixed,
    Framing,
    Line,
    Mapped,
    Switch,
    Syslog,
    checked,
    custom,
    feed_parser,
    parse_framing,
    u16,
)
from fourtuple.framing.escaped import Escaped
from fourtuple.framing.text import _EXAMPLES, known_words

TEXTS = [f"{word}:{_EXAMPLES[word]}" if word in _EXAMPLES else word for word in known_words()]
NAMED = [parse_framing(each) for each in TEXTS]
GIVEN: list[Any] = [
    [],
    [b"#"],
    ["#"],
    [5],
    [b"#", b"#"],
    [[b"#"]],
    (),
    (b"#",),
    ("#",),
    ((b"#", 5),),
    [(b"#", "line")],
    "",
    "x",
    "text/plain",
    "line",
    b"",
    b"#",
    b"ab",
    bytearray(b"#"),
    memoryview(b"#"),
    -1,
    0,
    1,
    5,
    2.5,
    float("nan"),
    True,
    None,
    set(),
    {b"#"},
    {b"#", b";"},
    frozenset({b"#"}),
    {},
    {b"#": 5},
    {b"#": "line"},
    {"#": Line()},
    {b"#": Line()},
    object(),
    int,
    Line,
    Line(),
    len,
    iter([b"#"]),
]


def own() -> list[Framing]:
    return [
        Mapped(Line(), JSON_MAPPING),
        checked(u16(), "crc16-modbus"),
        custom(lambda buffer, seen: None, lambda message: b""),
        feed_parser(lambda: None),  # type: ignore[arg-type, return-value]
        Duplex(Line(), Fixed(2)),
    ]


def fields() -> list[tuple[Framing, str]]:
    framings = [*NAMED, *own()]
    return [(each, field.name) for each in framings for field in dataclasses.fields(each) if field.init]


@pytest.mark.parametrize(("framing", "name"), fields(), ids=lambda each: str(each)[:40])
def test_a_field_takes_a_value_that_reads_back_or_says_what_it_expects(framing: Framing, name: str) -> None:
    for given in GIVEN:
        try:
            made = dataclasses.replace(framing, **{name: given})
        except OptionError:
            continue
        assert isinstance(hash(made), int)
        assert repr(made)
        made.decoder()
        if framing in NAMED and not callable(given):  # no text names a function
            assert parse_framing(str(made)) == made, (given, str(made))


SHAPED = [
    (Delimited([b"#", b";"]), Delimited((b"#", b";")), "delimited:#|;"),
    (Delimited(b"#"), Delimited((b"#",)), "delimited:#"),
    (Syslog(trailer=[b"\n", b"\0"]), Syslog(trailer=(b"\n", b"\0")), r"syslog,trailer=\x0a|\x00"),
    (Syslog(trailer=b"\0"), Syslog(trailer=(b"\0",)), r"syslog,trailer=\x00"),
    (ContentLength(content_types=[b"a/b"]), ContentLength(content_types=(b"a/b",)), "content-length,content_types=a/b"),
    (ContentLength(content_types=b"a/b"), ContentLength(content_types=(b"a/b",)), "content-length,content_types=a/b"),
    (Escaped(table=[b"}]", b"~^"]), Escaped(), "stuffed"),
    (Switch([(b"$", Line())]), Switch({b"$": Line()}), "switch:$=line"),
]


@pytest.mark.parametrize(("given", "made", "text"), SHAPED, ids=str)
def test_a_list_or_one_value_is_made_a_tuple(given: Framing, made: Framing, text: str) -> None:
    assert (given, hash(given), str(given)) == (made, hash(made), text)
    assert parse_framing(text) == given


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Delimited(5), "delimited: delimiters is 5, expected a delimiter (bytes) or a tuple of them"),
        (lambda: Delimited({b"#"}), "delimited: delimiters is {b'#'} (set), expected a delimiter (bytes) or a tuple"),
        (lambda: Delimited("#"), "delimited: delimiters is '#', expected a delimiter (bytes) or a tuple of them"),
        (lambda: Delimited(["#"]), "delimited: a delimiter is '#', it must be at least one octet"),
        (lambda: Syslog(trailer=5), "syslog: trailer is 5, expected a trailer (bytes) or a tuple of them"),
        (lambda: ContentLength(content_types="text/plain"), "content_types is 'text/plain', expected a media type"),
        (lambda: ContentLength(content_types=["a/b"]), "a media type of content_types is 'a/b', it must be at least"),
        (lambda: Escaped(table=5), "stuffed: table is 5, expected an octet and its code (bytes) or a tuple of them"),
        (lambda: Switch({(b"$", Line())}), "switch: cases are {("),
    ],
)
def test_another_value_is_told_with_what_is_expected(make: Any, told: str) -> None:
    with pytest.raises(OptionError) as caught:
        make()
    assert told in str(caught.value)
