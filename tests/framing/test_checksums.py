"""Checksums: the check values of the catalogues, forms and ranges, and functions of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fourtuple.errors import EncodeError, FramingTextError, MalformedMessage, OptionError
from fourtuple.framing import Fixed, Length, Line, Unmapped, checked, parse_framing, u8
from fourtuple.framing.checksums import CHECKSUM_NAMES, read_checksum
from fourtuple.testing import Vector, check_framing

#: What each makes of "123456789", most significant octet first: the "check" of the catalogues of CRCs; RFC 1950's sum
#: and the others by hand.
CHECKS = {
    "adler32": 0x091E01DE,
    "crc16-arc": 0xBB3D,
    "crc16-ccitt": 0x29B1,
    "crc16-dnp": 0xEA82,
    "crc16-kermit": 0x2189,
    "crc16-modbus": 0x4B37,
    "crc16-x25": 0x906E,
    "crc16-xmodem": 0x31C3,
    "crc32": 0xCBF43926,
    "crc32-mpeg2": 0x0376E6E7,
    "crc32c": 0xE3069283,
    "crc8": 0xF4,
    "crc8-maxim": 0xA1,
    "fletcher16": 0x1EDE,
    "fletcher32": 0xDF09D509,
    "lrc-modbus": 0x23,
    "sum": 0xDD,
    "sum16": 0x01DD,
    "xor": 0x31,
}


@pytest.mark.parametrize("name", CHECKSUM_NAMES)
def test_the_check_value(name: str) -> None:
    checksum = read_checksum(f"{name}/be")
    assert checksum.of(b"123456789") == CHECKS[name].to_bytes(checksum.size, "big")
    assert read_checksum(f"{name}/le").of(b"123456789") == checksum.of(b"123456789")[::-1]
    assert read_checksum(f"{name}/hex").of(b"123456789") == checksum.of(b"123456789").hex().upper().encode()


@pytest.mark.parametrize(
    ("octets", "check"), [(b"abcde", 0xC8F0), (b"abcdef", 0x2057), (b"abcdefgh", 0x0627)], ids=["5", "6", "8"]
)
def test_fletchers_examples(octets: bytes, check: int) -> None:
    assert read_checksum("fletcher16").of(octets) == check.to_bytes(2, "big")


def test_a_range_counts_as_a_slice_does() -> None:
    assert read_checksum("xor@1:-1").of(b"$ab*") == bytes((0x61 ^ 0x62,))
    assert read_checksum("xor@-2").of(b"$ab*") == bytes((0x62 ^ 0x2A,))


def test_a_function_of_ones_own() -> None:
    framing = checked(Line(), lambda octets: b"%03d" % (sum(octets) % 1000), size=3, first=1)
    assert framing.encode(b"xab") == b"xab195\n"
    vectors = [
        Vector(b"xab195\n", [b"xab"]),
        Vector(
            b"xab196\n",
            [Unmapped(b"xab196", MalformedMessage("the checksum is b'196', b'195' is right"))],
            canonical=False,
        ),
    ]
    check_framing(framing, vectors, text=False)


def test_a_function_that_returns_something_else() -> None:
    for wrong, says in ((lambda octets: b"ab", "returned 2 octets"), (lambda octets: 7, "returned 7")):
        framing = checked(u8(), wrong, size=1)  # type: ignore[arg-type, return-value]
        with pytest.raises(EncodeError, match=says):
            framing.encode(b"x")
        (message,) = framing.decoder().feed(b"\2x\0")
        assert isinstance(message, Unmapped)
        assert says in str(message.error)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: checked(u8(), "crc16"), "there is no checksum 'crc16'"),
        (lambda: checked(u8(), "crc16-modbuz"), "did you mean crc16-modbus?"),
        (lambda: checked(u8(), "xor/oct"), "'oct' is not a form; there are be, le and hex"),
        (lambda: checked(u8(), "xor", size=1), "are for a function"),
        (lambda: checked(u8(), "crc8@5:2"), "checksum 'crc8@5:2': the range from octet 5 to octet 2 is empty"),
        (lambda: checked(u8(), "crc8@-2:-2"), "the range from octet -2 to octet -2 is empty"),
        (lambda: checked(u8(), "crc8@-2:0"), "the range from octet -2 to octet 0 is empty"),
        (lambda: checked(u8(), lambda octets: b"x", size=1, first=3, end=3), "from octet 3 to octet 3 is empty"),
        (lambda: checked(u8(), lambda octets: b""), "size is None"),
        (lambda: checked(u8(), lambda: b"", size=1), "does not take that"),
        (lambda: Length(2, checksum="nonsense"), "there is no checksum 'nonsense'"),
        (lambda: Length(2, resync=True), "resync looks for the next lead, and there is none"),
        (lambda: Length(1, lead=b"ab", offset=1), "lead has 2 octets, and the offset is 1"),
        (lambda: Length(1, mask=0x101), "mask is 257"),
        (lambda: Length(1, mask=0b101), "mask is 0x5, whose bits are not one run"),
        (lambda: Length(4, base="hex", mask=1), "bits of a binary field"),
        (lambda: Length(17, base="decimal"), "the width is 17 octets, it must be 1 to 16"),
        (lambda: Length(9), "the width is 9 octets, it must be 1 to 8"),
    ],
)
def test_what_is_no_checksum_and_no_header(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(OptionError) as caught:
        make()
    assert says in str(caught.value)


def test_the_text_form() -> None:
    for text in ("fixed:8+check:crc16-modbus+struct:>HI", "u16+check:xor/hex@1:-1", "length:4,base=decimal"):
        assert str(parse_framing(text)) == text
    assert parse_framing("fixed:8+check:crc16-modbus") == checked(Fixed(8), "crc16-modbus")
    with pytest.raises(FramingTextError, match="there is no checksum 'nope'"):
        parse_framing("u16+check:nope")


@pytest.mark.parametrize(
    ("framing", "size", "says"),
    [
        ("length:2,base=decimal", 100, "a length of 2 octets is 0 to 99"),
        ("u16,mask=255", 256, "is 0 to 255"),
        ("u8+check:crc32", 252, "is 0 to 255"),
        ("u8,checksum=crc32", 252, "is 0 to 255"),
    ],
)
def test_what_does_not_fit_its_field(framing: str, size: int, says: str) -> None:
    parse_framing(framing).encode(b"x" * (size - 1))
    with pytest.raises(EncodeError, match=says):
        parse_framing(framing).encode(b"x" * size)
