"""What is known of framings that are made of framings: octets and the messages that they are.

The protocols are written from their specifications: memcached's protocol.txt, the NATS client protocol, beanstalkd's
protocol.txt, STOMP 1.2, and the headers of HTTP (RFC 9112) and of the Language Server Protocol.
"""

from __future__ import annotations

import sys

from fourtuple.errors import IncompleteMessage, MalformedMessage, MessageTooLong
from fourtuple.framing import TelnetCommand, Unmapped
from fourtuple.testing import Vector

COMPOSED: dict[str, list[Vector]] = {}


def wrong(found: bytes, right: bytes) -> MalformedMessage:
    """The error for a checksum."""
    return MalformedMessage(f"the checksum is {found!r}, {right!r} is right")


_CRLF = "trailer=\\x0d\\x0a"

# -- a head that announces a body -----------------------------------------------------------------------------

_STORE = "set:4|add:4|replace:4|append:4|prepend:4|cas:4|VALUE:3"
COMPOSED[f"headed:line:crlf,size={_STORE},{_CRLF}"] = [
    Vector(
        b"set k 0 0 3\r\nabc\r\nget k\r\ncas k 0 0 2 7 noreply\r\n\r\n\r\n",
        [(b"set k 0 0 3", b"abc"), (b"get k", None), (b"cas k 0 0 2 7 noreply", b"\r\n")],
    ),
    Vector(b"VALUE k 0 3\r\nabc\r\nEND\r\n", [(b"VALUE k 0 3", b"abc"), (b"END", None)]),
    Vector(b"set k 0 0 0\r\n\r\n\r\n", [(b"set k 0 0 0", b""), (b"", None)]),
    Vector(b"get k\r\nset k 0 0 3\r\nabcd\r\n", [(b"get k", None)], MalformedMessage),
    Vector(b"set k 0 0 -1\r\n", [], MalformedMessage),
    Vector(b"set k 0\r\n", [], MalformedMessage),
    Vector(b"set k 0 0 3\r\nabc\r", [], IncompleteMessage),
    Vector(b"set k 0 0 1048576\r\n", [], MessageTooLong),
]
COMPOSED[f"headed:line:crlf,size=PUB:last|HPUB:last|MSG:last|HMSG:last,{_CRLF}"] = [
    Vector(
        b"PING\r\nPUB a.b 5\r\nhe\r\no\r\nHPUB a 22 27\r\nNATS/1.0\r\nBar: Baz\r\n\r\nhello\r\n",
        [
            (b"PING", None),
            (b"PUB a.b 5", b"he\r\no"),
            (b"HPUB a 22 27", b"NATS/1.0\r\nBar: Baz\r\n\r\nhello"),
        ],
    ),
    Vector(b"pub a 0\r\n\r\n-ERR 'x'\r\n", [(b"pub a 0", b""), (b"-ERR 'x'", None)]),
    Vector(b"PUB a b\r\n", [], MalformedMessage),
]
COMPOSED[f"headed:line:crlf,size=put:4|RESERVED:2|FOUND:2|OK:1,{_CRLF}"] = [
    Vector(
        b"put 0 0 60 5\r\nhello\r\nreserve\r\nRESERVED 1 5\r\nhello\r\nOK 4\r\n--\n\n\r\n",
        [(b"put 0 0 60 5", b"hello"), (b"reserve", None), (b"RESERVED 1 5", b"hello"), (b"OK 4", b"--\n\n")],
    ),
]
COMPOSED["headed:delimited:\\\\x0a\\\\x0a,size=header:content-length,trailer=\\x00,swallow=\\x0d\\x0a"] = [
    Vector(
        b"SEND\ndestination:/a\n\nhello\0SEND\ncontent-length:3\n\na\0b\0",
        [(b"SEND\ndestination:/a", b"hello"), (b"SEND\ncontent-length:3", b"a\0b")],
    ),
    Vector(b"\n\nCONNECTED\n\n\0\n\r\nACK\n\n\0\n", [(b"CONNECTED", b""), (b"ACK", b"")], canonical=False),
    Vector(b"SEND\ncontent-length:3\n\nabcd", [], MalformedMessage),
    Vector(b"SEND\ncontent-length:3\ncontent-length:3\n\nabc\0", [], MalformedMessage),
    Vector(b"SEND\n\nhello", [], IncompleteMessage),
]
COMPOSED["headed:delimited:\\\\x0d\\\\x0a\\\\x0d\\\\x0a,size=header:content-length"] = [
    Vector(
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        [(b"POST / HTTP/1.1\r\nContent-Length: 5", b"hello"), (b"GET / HTTP/1.1\r\nHost: a", None)],
    ),
    Vector(b"A\r\nContent-Length: 5x\r\n\r\n", [], MalformedMessage),
    Vector(b"A\r\nContent-Length: 123456789012345678901\r\n\r\n", [], MalformedMessage),
]
COMPOSED["headed:fixed:6\\+struct:>HI,size=1"] = [
    Vector(b"\0\1\0\0\0\2hi\0\2\0\0\0\0", [((1, 2), b"hi"), ((2, 0), b"")]),
    Vector(b"\0\1\0\0\0\2h", [], IncompleteMessage),
    Vector(b"\0\1\xff\xff\xff\xff", [], MessageTooLong),
]
COMPOSED["headed:line,size=last,max_message=16"] = [
    Vector(b"ab 9\n123456789", [(b"ab 9", b"123456789")]),
    Vector(b"a 12\n", [], MessageTooLong),
    Vector(b"a 11\n12345678901", [(b"a 11", b"12345678901")]),
    Vector(b"a 1\n1a 00000000000001\n", [(b"a 1", b"1")], MessageTooLong),
    Vector(b"a 1\n1" + b"a" * 17, [(b"a 1", b"1")], MessageTooLong),
]
COMPOSED["headed:delimited:\\:,size=*:last|put:1,trailer=;"] = [
    Vector(b"put 1 9:x;get 2:ab;", [(b"put 1 9", b"x"), (b"get 2", b"ab")])
]
COMPOSED["headed:nmea\\,max_message=9,size=header:x,trailer=;,max_message=12"] = [
    Vector(b"zz$A*41\r\nab;$*00\r\n;", [(b"$A", b"ab"), (b"$", b"")], canonical=False),
    Vector(b"zz$A*42\r\nab;", [], MalformedMessage),
    Vector(b"$A*41\r\n12345678901234", [], MessageTooLong),
    Vector(b"zzzz$A*41\r\n12345;", [], MessageTooLong),
]

# -- a framing chosen by the first octets -----------------------------------------------------------------------

COMPOSED["switch:{=json\\+json|$=nmea\\+text,swallow=\\x0a\\x0d"] = [
    Vector(b'{"a":1}\n$A*41\r\n{"b":[]}\n', [{"a": 1}, "$A", {"b": []}]),
    Vector(b'\r\n\r\n{"a":1}$A*41\r\n\n', [{"a": 1}, "$A"], canonical=False),
    Vector(b'{"a":1}x', [{"a": 1}], MalformedMessage),
    Vector(b'{"a":', [], IncompleteMessage),
]
COMPOSED["switch:[=json|#=delimited:;,otherwise=json,swallow=\\x0a"] = [
    Vector(b"[1]#2;\n3\n", [b"[1]", b"#2", b"3"], canonical=False),
    Vector(b"#2;12", [b"#2", b"12"], canonical=False, final=True),
]

# -- stuffing in general, and telnet ------------------------------------------------------------------------------

COMPOSED["stuffed:\\xf8,escape=\\xf7,table=\\xf7\\x00|\\xf8\\x0f"] = [
    Vector(b"\xf8a\xf7\x0fb\xf7\0\xf8", [b"a\xf8b\xf7"]),
    Vector(b"a\xf8\xf8\xf8b\xf8", [b"a", b"b"], canonical=False),
    Vector(
        b"\xf8a\xf7\1\xf8b\xf7\xf8c\xf8",
        [
            Unmapped(b"a\xf7\1", MalformedMessage(r"the escape b'\xf7' stands before b'\x01', which is not a code")),
            Unmapped(b"b\xf7", MalformedMessage(r"the escape b'\xf7' stands before b'', which is not a code")),
            b"c",
        ],
        canonical=False,
    ),
    Vector(b"\xf8abc", [], IncompleteMessage),
]
COMPOSED["dle-stx"] = [
    Vector(b"\x10\2ab\x10\x10c\x10\3\x10\2\x10\3", [b"ab\x10c", b""]),
    Vector(b"\x10\2\x10\x10\2\x10\x10\3\x10\3", [b"\x10\2\x10\3"]),
    Vector(b"zz\x10\x10\2a\x10\2b\x10\3\3", [b"b"], canonical=False),
    Vector(
        b"\x10\2ab\x10x\x10\2c\x10\3",
        [Unmapped(b"ab", MalformedMessage("DLE (0x10) stands before b'x', not before STX, ETX or DLE")), b"c"],
        canonical=False,
    ),
    Vector(b"\x10\2ab\x10", [], IncompleteMessage),
]
COMPOSED["dle-stx,max_message=3"] = [
    Vector(b"\x10\2\x10\x10\x10\x10\x10\x10\x10\3", [b"\x10" * 3]),
    Vector(b"\x10\2abcd\x10\3", [], MessageTooLong),
]
COMPOSED["telnet"] = [
    Vector(b"\xff\xfd\3open\r\n\r\na\xff\xffb\r\n", [TelnetCommand(b"\xff\xfd\3"), b"open", b"", b"a\xffb"]),
    Vector(b"one\r\0two\rthree\nfour\r\r\n", [b"one", b"two", b"three", b"four", b""], canonical=False),
    Vector(
        b"\xff\xfa\x18\0a\xff\xffb\xff\xf0\xff\xf1x\xff\xfb\1y\r\n\xff\xff\n",
        [
            TelnetCommand(b"\xff\xfa\x18\0a\xff\xffb\xff\xf0"),
            TelnetCommand(b"\xff\xf1"),
            TelnetCommand(b"\xff\xfb\1"),
            b"xy",
            b"\xff",
        ],
        canonical=False,
    ),
    Vector(
        b"a\xff\xff\xff\xf1\xff\xff\xff\xf6b\r\n\xff\xf1\n",
        [TelnetCommand(b"\xff\xf1"), TelnetCommand(b"\xff\xf6"), b"a\xff\xffb", TelnetCommand(b"\xff\xf1"), b""],
        canonical=False,
    ),
    Vector(b"a\xff\xfa\1\r\n\xff\xf0b\n", [TelnetCommand(b"\xff\xfa\1\r\n\xff\xf0"), b"ab"], canonical=False),
    Vector(
        b"a\xff\xf1\r\xff\xf1\n", [TelnetCommand(b"\xff\xf1"), b"a", TelnetCommand(b"\xff\xf1"), b""], canonical=False
    ),
    Vector(b"a\xff\xf1\r", [TelnetCommand(b"\xff\xf1"), b"a"], canonical=False, final=True),
    Vector(b"a\xff\xf1", [TelnetCommand(b"\xff\xf1")], IncompleteMessage),
    Vector(b"a\xff\xfa\1\xff", [], IncompleteMessage),
    Vector(b"last\r", [b"last"], canonical=False, final=True),
    Vector(b"half", [], IncompleteMessage),
    Vector(b"\xff\xfd", [], IncompleteMessage),
]
COMPOSED["telnet,max_message=4"] = [
    Vector(b"1234\r\n\xff\xfd\3", [b"1234", TelnetCommand(b"\xff\xfd\3")]),
    Vector(b"12345\r\n", [], MessageTooLong),
    Vector(b"\xff\xfa123\xff\xf0", [], MessageTooLong),
    Vector(b"12\xff\xfd3\r\n", [], MessageTooLong),
    Vector(
        b"12\xff\xf1\xff\xf13\r\n", [TelnetCommand(b"\xff\xf1"), TelnetCommand(b"\xff\xf1"), b"123"], canonical=False
    ),
    Vector(b"12\xff\xf1345\r\n", [TelnetCommand(b"\xff\xf1")], MessageTooLong),
]

# -- the tail before the end of file --------------------------------------------------------------------------------

COMPOSED["line,last=on"] = [
    Vector(b"one\ntwo\n", [b"one", b"two"], final=True),
    Vector(b"one\ntwo", [b"one", b"two"], canonical=False, final=True),
    Vector(b"one\r\n\r", [b"one", b""], canonical=False, final=True),
]
COMPOSED["line:crlf,max_message=3,last=on"] = [
    Vector(b"one\r\ntwo", [b"one", b"two"], canonical=False, final=True),
    Vector(b"one\r\ntwo\r", [b"one", b"two"], canonical=False, final=True),
    Vector(b"one\r\nlong", [b"one"], MessageTooLong),
]
COMPOSED["delimited:#|;,keep=on,last=on"] = [Vector(b"a#b;c", [b"a#", b"b;", b"c"], canonical=False, final=True)]
COMPOSED["delimited:ab,resync=on,max_message=4,last=on"] = [
    Vector(b"1ab1234", [b"1", b"1234"], canonical=False, final=True),
    Vector(b"12345", [Unmapped(b"1234", MessageTooLong(5, 4, announced=False))], canonical=False, final=True),
]

# -- syslog as it comes ---------------------------------------------------------------------------------------------

COMPOSED["syslog,write=trailer,trailer=\\x0a|\\x00"] = [
    Vector(b"<1>a\n<2>b\n", [b"<1>a", b"<2>b"]),
    Vector(b"<1>a\0<2>b\n5 <1>ab<3>\0\0", [b"<1>a", b"<2>b", b"<1>ab", b"<3>", b""], canonical=False),
]
COMPOSED["syslog,trailer=\\x0d\\x0a|\\x0a,drop_empty=on"] = [
    Vector(b"5 <1>ab5 <1>cd", [b"<1>ab", b"<1>cd"]),
    Vector(b"\n5 <1>ab\n\r\n<2>\r\n\n<3>\n\r", [b"<1>ab", b"<2>", b"<3>"], canonical=False),
    Vector(b"5 <1>ab\n<2>", [b"<1>ab"], IncompleteMessage),
]

# -- lengths as devices have them, and checksums -------------------------------------------------------------

# GT06: 78 78, a length of protocol number, content, serial number and CRC (X.25, from the length on), then 0d 0a. The
# login of the protocol's document, and the answer to it.
GT06 = "u8,offset=2,adjustment=2,lead=xx,checksum=crc16-x25/be@2,trailer=\\x0d\\x0a"
LOGIN = bytes.fromhex("78780d01012345678901234500018cdd0d0a")
COMPOSED[GT06] = [
    Vector(LOGIN + bytes.fromhex("787805010001d9dc0d0a"), [LOGIN[3:14], b"\x01\x00\x01"]),
    Vector(
        LOGIN[:-3] + b"\xde\r\n" + LOGIN,
        [Unmapped(LOGIN[:-3] + b"\xde\r\n", wrong(b"\x8c\xde", b"\x8c\xdd")), LOGIN[3:14]],
        canonical=False,
    ),
    Vector(b"xy\5abcde", [], MalformedMessage),
    Vector(b"xx\1abcde", [], MalformedMessage),
    Vector(LOGIN[:-2] + b"\r\r", [], MalformedMessage),
    Vector(LOGIN[:-1], [], IncompleteMessage),
]
_GOOD = b"$\2" + b"ab" + bytes((0x24 ^ 2 ^ 0x61 ^ 0x62,))
COMPOSED["u8,offset=1,adjustment=1,lead=$,checksum=xor,resync=on,max_message=16"] = [
    Vector(_GOOD * 2, [b"ab", b"ab"]),
    Vector(b"noise" + _GOOD + b"more" + _GOOD, [b"ab", b"ab"], canonical=False),
    Vector(
        b"$\xff" + _GOOD + b"$\2ab\0" + _GOOD,
        [
            Unmapped(b"$\xff", MessageTooLong(255, 16)),
            b"ab",
            Unmapped(b"$\2ab\0", wrong(b"\0", b"%")),
            b"ab",
        ],
        canonical=False,
    ),
    Vector(_GOOD[:4], [], IncompleteMessage),
]
# Magic, type, length, as many binary protocols have it: the lead is shorter than the offset.
COMPOSED["u16,offset=3,skip=2,lead=MG"] = [
    Vector(b"MG\1\0\2hi", [b"\1\0\2hi"]),
    Vector(b"MX\1\0\2hi", [], MalformedMessage),
]
COMPOSED["u16,mask=1023"] = [
    Vector(b"\0\2hi\0\0", [b"hi", b""]),
    Vector(b"\x40\2hi\xfc\1x", [b"hi", b"x"], canonical=False),
]
COMPOSED["u16,skip=0,mask=65520"] = [Vector(b"\0\x25hi", [b"\0\x25hi"]), Vector(b"\0\x25h", [], IncompleteMessage)]
# ISO 8583 over TCP has four digits before a message, and some hosts count these, too.
COMPOSED["length:4,base=decimal"] = [
    Vector(b"0005hello0000", [b"hello", b""]),
    Vector(b"0001a00x1a", [b"a"], MalformedMessage),
    Vector(b"000", [], IncompleteMessage),
]
COMPOSED["length:4,inclusive=on,base=decimal,max_message=5"] = [
    Vector(b"0009hello", [b"hello"]),
    Vector(b"0010", [], MessageTooLong),
    Vector(b"0003", [], MalformedMessage),
]
COMPOSED["length:3,offset=1,lead=@,base=hex"] = [
    Vector(b"@00Aabcdefghij", [b"abcdefghij"]),
    Vector(b"@00aabcdefghij", [b"abcdefghij"], canonical=False),
]
COMPOSED["length:2,byteorder=native"] = [Vector((2).to_bytes(2, sys.byteorder) + b"hi", [b"hi"])]
# Modbus RTU's frame behind a length; a sentence of NMEA in a line; and digits before a delimiter.
_RTU = bytes.fromhex("010300000001")
_SHORT = MalformedMessage("the message has 1 octets, its checksum alone has 2")
COMPOSED["u8+check:crc16-modbus"] = [
    Vector(b"\x08" + _RTU + b"\x84\x0a", [_RTU]),
    Vector(b"\1a", [Unmapped(b"a", _SHORT)], canonical=False),
]
COMPOSED["line:net+check:xor/hex@1:-1"] = [
    Vector(b"$GPGLL,5057.970,N,00146.110,E,142451,A*27\r\n", [b"$GPGLL,5057.970,N,00146.110,E,142451,A*"]),
]
COMPOSED["delimited:;+check:sum16/hex+text"] = [
    Vector(b"ab00C3;", ["ab"]),
    Vector(b"ab00c3;", ["ab"], canonical=False),
    Vector(b"ab00C4;", [Unmapped(b"ab00C4", wrong(b"00C4", b"00C3"))], canonical=False),
]
