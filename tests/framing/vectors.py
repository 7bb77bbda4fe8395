"""What is known of every framing: octets and the messages that they are, most of them published.

A key is the text form; :data:`KNOWN` is what the tests of the contract, the properties and the fuzzing run over.
"""

from __future__ import annotations

from fourtuple.errors import IncompleteMessage, MalformedMessage, MessageTooLong
from fourtuple.testing import Vector

KNOWN: dict[str, list[Vector]] = {}

# -- a fixed size, whole streams --------------------------------------------------------------------------------

KNOWN["fixed:1"] = [Vector(b"abc", [b"a", b"b", b"c"])]
KNOWN["fixed:16"] = [
    Vector(b"Hi there, serverFarewell, client", [b"Hi there, server", b"Farewell, client"]),
    Vector(b"Hi there, serve", [], IncompleteMessage),
]
KNOWN["eof"] = [
    Vector(b"all of it\n", [b"all of it\n"]),
    Vector(b"", [b""]),
]
KNOWN["eof,max_message=8"] = [
    Vector(b"12345678", [b"12345678"]),
    Vector(b"123456789", [], MessageTooLong),
]

# -- lines --------------------------------------------------------------------------------------------------------

KNOWN["line"] = [
    Vector(b"one\n\nthree\n", [b"one", b"", b"three"]),
    Vector(b"one\r\n\r\nth\rree\r\n", [b"one", b"", b"th\rree"], canonical=False),
    Vector(b"one\r\ntwo\nthree\r\r\n", [b"one", b"two", b"three\r"], canonical=False),
    Vector(b"no end", [], IncompleteMessage),
    Vector(b"no end\r", [], IncompleteMessage),
]
KNOWN["line,max_message=5"] = [
    Vector(b"12345\r\n12345\n", [b"12345", b"12345"], canonical=False),
    Vector(b"12345\r\n12345\r6\n", [b"12345"], MessageTooLong),
    Vector(b"12345\n123456\n", [b"12345"], MessageTooLong),
    Vector(b"123456\r\n", [], MessageTooLong),
]
KNOWN["line:lf"] = [Vector(b"one\r\ntwo\r\r\n\n", [b"one\r", b"two\r\r", b""])]
KNOWN["line:lf,max_message=4"] = [
    Vector(b"1234\n", [b"1234"]),
    Vector(b"1234\r\n", [], MessageTooLong),
]
KNOWN["line:crlf"] = [
    Vector(b"EHLO me\r\n\r\nbare\nLF\r\n", [b"EHLO me", b"", b"bare\nLF"]),
    Vector(b"bare\rCR\r\r\n", [b"bare\rCR\r"]),
]
KNOWN["line:crlf,max_message=5"] = [
    Vector(b"12345\r\n", [b"12345"]),
    Vector(b"12345\r", [], IncompleteMessage),
    Vector(b"12345\r6\r\n", [], MessageTooLong),
    Vector(b"123456\r\n", [], MessageTooLong),
]
# -- binary lengths -----------------------------------------------------------------------------------------------

KNOWN["u8"] = [Vector(b"\3abc\0\1x", [b"abc", b"", b"x"]), Vector(b"\5abc", [], IncompleteMessage)]
KNOWN["u16"] = [
    # DNS over TCP (RFC 1035, 4.2.2): the query for example.com A behind its length.
    Vector(
        bytes.fromhex("001d dbe3 0100 0001 0000 0000 0000 07 6578616d706c65 03 636f6d 00 0001 0001"),
        [bytes.fromhex("dbe3 0100 0001 0000 0000 0000 07 6578616d706c65 03 636f6d 00 0001 0001")],
    ),
    Vector(b"\0\0\0\2hi", [b"", b"hi"]),
]
KNOWN["u16le"] = [Vector(b"\2\0hi", [b"hi"])]
KNOWN["u24"] = [Vector(b"\0\0\2hi", [b"hi"])]
KNOWN["u32,max_message=8"] = [
    Vector(b"\0\0\0\x0812345678", [b"12345678"]),
    Vector(b"\0\0\0\2hi\0\0\0\x09", [b"hi"], MessageTooLong),
    Vector(b"\xff\xff\xff\xff", [], MessageTooLong),
]
KNOWN["u32le"] = [Vector(b"\2\0\0\0hi", [b"hi"]), Vector(b"\2\0\0", [], IncompleteMessage)]
KNOWN["u64"] = [Vector(b"\0\0\0\0\0\0\0\2hi", [b"hi"]), Vector(b"\0\1\0\0\0\0\0\2hi", [], MessageTooLong)]
KNOWN["length:5"] = [Vector(b"\0\0\0\0\2hi", [b"hi"])]
