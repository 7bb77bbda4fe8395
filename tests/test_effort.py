"""Every parser of what peers send and users write costs what its text is long: twice the text, twice the work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from effort import effort
from fourtuple.address import Address, parse_networks
from fourtuple.cli.types import unescaped
from fourtuple.four_tuple import FourTuple
from fourtuple.framing import parse_framing
from fourtuple.framing.header import _length_and_type
from fourtuple.framing.notation import nest, split_unescaped, unescape, unnest
from fourtuple.framing.respvalues import words
from fourtuple.load.payload import Template
from fourtuple.options import parse_size
from fourtuple.proxy import ProxyReader
from fourtuple.proxy.header import parse
from fourtuple.tls import TlsInfo
from fourtuple.tls.info import _escaped


def subject(text: str) -> Any:
    return TlsInfo("", "", None, None, {"subject": ((("commonName", text),),)}, None).subject


def piecewise(octets: bytes) -> None:
    """A PROXY header that comes octet by octet."""
    reader = ProxyReader(lambda header, now: None, 0.0)
    for at in range(len(octets)):
        if reader.done or reader.error:
            return
        reader.received(octets[at : at + 1], 0.0)


def v2(tlv: bytes) -> Callable[[int], bytes]:
    """A PROXY header of TLVs, as many as there is room for."""

    def made(size: int) -> bytes:
        body = bytes(12) + tlv * (size // len(tlv))
        return b"\r\n\r\n\0\r\nQUIT\n\x21\x11" + len(body).to_bytes(2, "big") + body

    return made


def repeated(*parts: Any) -> Callable[[int], Any]:
    """Some text, something many times, and some text."""
    before, many, behind = parts
    return lambda size: before + many * (size // len(many)) + behind


#: What is read, the parser, and texts that could be expensive.
CASES: dict[str, tuple[Callable[..., Any], list[Callable[[int], Any]]]] = {
    "headers": (
        _length_and_type,
        [
            repeated(b"a:", b" ", b"\x01"),
            repeated(b"a:", b" \t", b"x"),
            repeated(b"", b"a", b":x"),
            repeated(b"", b"a:b\r\n", b""),
            repeated(b"content-length:", b" ", b"1 x"),
            repeated(b"content-length:", b"9", b""),
        ],
    ),
    "words": (
        lambda line: words(line, 1 << 20, None),
        [
            repeated(b"", b" ", b'"'),
            repeated(b'"', b"x", b""),
            repeated(b'"', b"\\x", b""),
            repeated(b"'", b"\\'", b""),
            repeated(b"", b"x", b'"'),
            repeated(b"", b'"a" ', b'"'),
            repeated(b"", b"a ", b""),
        ],
    ),
    "addresses": (
        Address.parse,
        [
            repeated("", "1", ""),
            repeated("", "1", ":1"),
            repeated("h:", "9", ""),
            repeated("[", ":", "]:1"),
            repeated("[", "1:", "]:1"),
            repeated("", "a.", ":x"),
            repeated("unix:", "/", ""),
            repeated("", " ", "h:1"),
            repeated("", "[", ""),
        ],
    ),
    "four-tuples": (FourTuple.parse, [repeated("1.2.3.4:1 ", "<-", " 1.2.3.4:2"), repeated("", "1:1 ", "")]),
    "networks": (
        parse_networks,
        [repeated("", "1.2.3.4,", ""), repeated("", ",", ""), repeated("1.2.3.4/", "1", ""), repeated("", "1.", "")],
    ),
    "sizes": (parse_size, [repeated("", "1", ""), repeated("1", " ", "x"), repeated("", " ", "1k")]),
    "framings": (
        parse_framing,
        [
            repeated("line", "+json", ""),
            repeated("line", "+json", "+x"),
            repeated("", "switch:a=", "line"),
            repeated("", "switch:a=line,otherwise=", "line"),
            repeated("line", ",", ""),
            repeated("delimited:a", "|a", ""),
            repeated("delimited:", "\\", ""),
            repeated("", "\\", ""),
            repeated("fixed:", "9", ""),
            repeated("line,max_message=", "9", ""),
        ],
    ),
    "escapes": (unescape, [repeated("", "\\", ""), repeated("", "\\x4", ""), repeated("", "a", "\\")]),
    "separators": (
        lambda text: split_unescaped(text, ","),
        [repeated("", ",", ""), repeated("", "a", ""), repeated("", "\\,", "")],
    ),
    "nesting": (lambda text: unnest(nest(text)), [repeated("", "\\", ""), repeated("", ",", "")]),
    "PROXY": (
        parse,
        [
            v2(b"\x04\0\0"),
            v2(b"\x03\0\4abcd"),
            v2(b"\x20\0\5abcde"),
            v2(b"\x20\0\x0babcde\x21\0\3xyz"),
            repeated(b"PROXY ", b"T", b""),
            repeated(b"PROXY TCP4 ", b" ", b"\r\n"),
        ],
    ),
    "PROXY, octet by octet": (piecewise, [v2(b"\x04\0\0"), repeated(b"PROXY ", b"T", b"")]),
    "names in certificates": (subject, [repeated("", ",", ""), repeated("", "\\", "x")]),
    "names, escaped": (_escaped, [repeated("", ",", "")]),
    "octets of the command line": (unescaped, [repeated("", "\\", ""), repeated("", "\\x4", "")]),
    "templates": (Template.parse, [repeated(b"", b"{", b""), repeated(b"", b"{n}", b""), repeated(b"{n:", b"0", b"}")]),
}


@pytest.mark.parametrize("name", CASES)
def test_twice_the_text_is_twice_the_work(name: str) -> None:
    parser, texts = CASES[name]
    for number, text in enumerate(texts):
        effort(parser, text(1000))  # what is remembered between calls is made now
        once, twice = effort(parser, text(2000)), effort(parser, text(4000))
        assert twice < 2.5 * once + 2000, f"{name}, text {number}: {once} steps, twice as much text {twice}"
        assert twice < 300 * 4000, f"{name}, text {number}: {twice} steps for 4,000 characters"


def again(text: str) -> None:
    """Looks at the rest of the text at each level."""
    if text:
        again(text[50:])


def one_more(text: str) -> None:
    """Makes all of it anew for each character."""
    made = ""
    for each in text:
        made = f"{made}{each}"


def find_again(text: str) -> None:
    """Searches from the beginning, again and again."""
    for _ in range(0, len(text), 50):
        text.find("x")


@pytest.mark.parametrize("parser", [again, one_more, find_again])
def test_a_quadratic_parser_is_found(parser: Callable[[str], None]) -> None:
    once, twice = (effort(parser, "a" * size) for size in (4000, 8000))
    assert twice > 2.5 * once + 2000
