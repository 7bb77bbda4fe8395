"""What is known of every framing: octets and the messages that they are, most of them published.

A key is the text form; :data:`KNOWN` is what the tests of the contract, the properties and the fuzzing run over.
"""

from __future__ import annotations

import json

from fourtuple.errors import IncompleteMessage, MalformedMessage, MessageTooLong
from fourtuple.framing import Members, Pairs, Push, ReplyError, Simple, Unmapped
from fourtuple.testing import Vector
from framing.composed import COMPOSED

KNOWN: dict[str, list[Vector]] = {}
NOT_JSON = json.JSONDecodeError("Expecting value", "hi", 0)

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
# Modbus TCP (Modbus Messaging on TCP/IP 1.0b, 4.2): read a holding register; unit and function are counted.
MODBUS = bytes.fromhex("15 01 00 00 00 06 ff 03 00 04 00 01"), bytes.fromhex("15 01 00 00 00 05 ff 03 02 00 05")
KNOWN["u16,offset=4,skip=0,max_message=260"] = [
    Vector(MODBUS[0] + MODBUS[1], [*MODBUS]),
    Vector(MODBUS[0][:9], [], IncompleteMessage),
]
# DICOM (PS3.8, 9.3): type, a reserved octet, u32; A-RELEASE-RQ and A-ABORT.
DICOM = bytes.fromhex("05 00 00000004 00000000"), bytes.fromhex("07 00 00000004 00000002")
KNOWN["u32,offset=2,skip=0"] = [Vector(DICOM[0] + DICOM[1], [*DICOM])]
# TPKT (RFC 1006, 6): version 3, reserved, the length of all; an X.224 connection request inside.
X224 = bytes.fromhex("0e e0 0000 0000 00 01 00 08 00 0b 00 00 00")
KNOWN["u16,offset=2,inclusive=on,lead=\\x03\\x00"] = [
    Vector(b"\3\0\0\x13" + X224 + b"\3\0\0\4", [X224, b""]),
    Vector(b"\3\0\0\4\2\0\0\4", [b""], MalformedMessage),
    Vector(b"\3\0\0\3", [], MalformedMessage),
]
# The examples of tokio's LengthDelimitedCodec: a length that counts itself; header octets on both sides.
KNOWN["u16,adjustment=-2"] = [Vector(b"\0\5abc", [b"abc"]), Vector(b"\0\1", [], MalformedMessage)]
KNOWN["u24,adjustment=2,skip=0"] = [Vector(b"\0\0\3HHabc", [b"\0\0\3HHabc"])]
KNOWN["u16,offset=1,adjustment=-3,skip=0"] = [Vector(b"H\0\6abc", [b"H\0\6abc"])]
KNOWN["u16le,offset=1,adjustment=1,skip=3"] = [Vector(b"\0\3\0Habc", [b"Habc"])]
KNOWN["varint"] = [
    # protobuf, encoding: 150 is 96 01; delimited messages {1: 150} and {2: "testing"}.
    Vector(b"\x09\x12\7testing", [b"\x12\7testing"]),
    Vector(b"\3\x08\x96\1\0", [b"\x08\x96\1", b""]),
    Vector(b"\x96\1" + b"x" * 150, [b"x" * 150]),
    Vector(b"\x7f" + b"x" * 127 + b"\x80\1" + b"x" * 128, [b"x" * 127, b"x" * 128]),
    Vector(b"\x83\0abc", [b"abc"], canonical=False),
    Vector(b"\1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", [b"a"], MalformedMessage),
    Vector(b"\xff\xff\xff\x7f", [], MessageTooLong),
    Vector(b"\x80\x80", [], IncompleteMessage),
]
# MQTT 3.1.1, 2.2: PINGREQ and a PUBLISH of "hi" to a/b.
KNOWN["varint:4,offset=1,keep=on"] = [Vector(b"\xc0\0\x30\7\0\3a/bhi", [b"\xc0\0", b"\x30\7\0\3a/bhi"])]

# -- decimal lengths ------------------------------------------------------------------------------------

HELLO = bytes.fromhex("31 32 3a 68 65 6c 6c 6f 20 77 6f 72 6c 64 21 2c")  # as the netstring text has it
KNOWN["netstring"] = [
    Vector(HELLO + b"0:,", [b"hello world!", b""]),
    Vector(b"1:a,01:a,", [b"a"], MalformedMessage),
    Vector(b"1:a;", [], MalformedMessage),
    Vector(b":,", [], MalformedMessage),
    Vector(b"99999999:", [], MessageTooLong),
    Vector(b"12:hello", [], IncompleteMessage),
]
KNOWN["netstring,max_message=12"] = [Vector(HELLO, [b"hello world!"]), Vector(b"13:", [], MessageTooLong)]
KNOWN["netstring,max_message=none"] = [Vector(HELLO, [b"hello world!"]), Vector(b"1" * 21, [], MalformedMessage)]
SYSLOG = b"<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - 'su root' failed"  # RFC 5424, 6.5
KNOWN["octet-counting"] = [
    Vector(b"%d %b5 <1>ab" % (len(SYSLOG), SYSLOG), [SYSLOG, b"<1>ab"]),
    Vector(b"0 ", [], MalformedMessage),
    Vector(b"5 <1>ab<1>", [b"<1>ab"], MalformedMessage),
]
KNOWN["syslog"] = [
    Vector(b"5 <1>ab" + b"6 <1>a\nb", [b"<1>ab", b"<1>a\nb"]),
    Vector(SYSLOG + b"\n5 <1>ab<2>cd\n0x\n", [SYSLOG, b"<1>ab", b"<2>cd", b"0x"], canonical=False),
    Vector(b"<1>ab", [], IncompleteMessage),
    Vector(b"5x", [], MalformedMessage),
]
KNOWN["syslog,write=trailer,trailer=\\x00"] = [Vector(b"<1>a\nb\0<2>\0", [b"<1>a\nb", b"<2>"])]
NO_COUNT = MalformedMessage("a length and b' ' were expected, the octets are b'5x'")
KNOWN["syslog,max_message=8,resync=on"] = [
    Vector(b"5 <1>ab" + b"8 <1>abc\nd", [b"<1>ab", b"<1>abc\nd"]),
    # A count that is too large is skipped as it says, with what looks like a message inside.
    Vector(
        b"12 <1>abcd\n2 xy3 abc<2>\n",
        [Unmapped(b"<1>abcd\n", MessageTooLong(12, 8)), b"abc", b"<2>"],
        canonical=False,
    ),
    Vector(b"5xyz\n1 a", [Unmapped(b"5xyz", NO_COUNT), b"a"], canonical=False),
    Vector(
        b"<1>345678\n<1>\n",
        [Unmapped(b"<1>34567", MessageTooLong(9, 8, announced=False)), b"<1>"],
        canonical=False,
    ),
    Vector(
        b"9" * 21 + b" x\n\n2 ab",
        [Unmapped(b"9" * 8, MessageTooLong(9, 8, announced=False)), b"", b"ab"],
        canonical=False,
    ),
    Vector(b"5 abc", [], IncompleteMessage),
    Vector(b"5x", [], IncompleteMessage),
]
KNOWN["syslog,trailer=\\n|\\x00,max_message=8,drop_empty=on,resync=on"] = [
    Vector(b"5 <1>ab\n\0\n<2>x\0\n3 abc\n", [b"<1>ab", b"<2>x", b"abc"], canonical=False),
    Vector(b"5xyz\n\n5 \nabcd\n", [Unmapped(b"5xyz", NO_COUNT), b"\nabcd"], canonical=False),
]
KNOWN["content-length"] = [
    Vector(b'Content-Length: 17\r\n\r\n{"jsonrpc":"2.0"}', [b'{"jsonrpc":"2.0"}']),
    Vector(b"Content-Type: x; charset=utf-8\r\ncontent-length:2\r\n\r\nhi", [b"hi"], canonical=False),
    Vector(b"Content-Length: 0\r\n\r\n", [b""]),
    Vector(b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na", [], MalformedMessage),
    Vector(b"Content-Length : 1\r\n\r\na", [], MalformedMessage),
    Vector(b"\r\n\r\n", [], MalformedMessage),
    Vector(b"Content-Length: -1\r\n\r\n", [], MalformedMessage),
    Vector(b"Content-Length: 1048577\r\n\r\n", [], MessageTooLong),
]
KNOWN["content-length,content_types=application/vscode-jsonrpc|text/plain"] = [
    Vector(b"Content-Length: 2\r\n\r\n{}", [b"{}"]),
    Vector(
        b"Content-Type: Text/Plain; charset=utf-8\r\nContent-Length: 1\r\n\r\na"
        b"Content-Length: 1\r\nContent-Type: image/png\r\n\r\nbContent-Length: 1\r\n\r\nc",
        [b"a", Unmapped(b"b", MalformedMessage("the Content-Type is b'image/png', which is not wanted")), b"c"],
        canonical=False,
    ),
]
KNOWN["content-length,max_header=32"] = [
    Vector(b"A: 345678\r\nContent-Length: 1\r\n\r\na", [b"a"], canonical=False),
    Vector(b"A: 3456789\r\nContent-Length: 1\r\n\r\na", [], MessageTooLong),
]

# -- delimiters -----------------------------------------------------------------------------------------

KNOWN["delimited:#"] = [Vector(b"imei:1,a##b#", [b"imei:1,a", b"", b"b"]), Vector(b"#a", [b""], IncompleteMessage)]
KNOWN["delimited:#|;|\\r\\n"] = [Vector(b"a;b\r\nc\rd#", [b"a", b"b", b"c\rd"], canonical=False)]
KNOWN["delimited:##,keep=on"] = [Vector(b"a#b##c##", [b"a#b##", b"c##"])]
KNOWN["delimited:</fox>|\\x00"] = [Vector(b"<fox>1</fox>2\0", [b"<fox>1", b"2"], canonical=False)]
KNOWN["delimited:#,swallow=on,max_message=4"] = [
    Vector(b"a#\r\nb#\nc#\rd##e#", [b"a", b"b", b"c", b"d", b"", b"e"], canonical=False),
    Vector(b"a#\r\r#", [b"a", b"\r"], canonical=False),
    Vector(b"1234#\r\n1234#\r\n", [b"1234", b"1234"], canonical=False),
    Vector(b"1234#\r\n12345", [b"1234"], MessageTooLong),
]
KNOWN["delimited:ab,resync=on,max_message=4"] = [
    Vector(
        b"1234ab123456abxab",
        [b"1234", Unmapped(b"1234", MessageTooLong(5, 4, announced=False)), b"x"],
        canonical=False,
    ),
    Vector(b"12345a", [Unmapped(b"1234", MessageTooLong(5, 4, announced=False))], canonical=False, final=True),
]
KNOWN["line,resync=on,max_message=4"] = [
    Vector(
        b"1234\r\n12345\r\nx\n",
        [b"1234", Unmapped(b"1234", MessageTooLong(5, 4, "line", announced=False)), b"x"],
        canonical=False,
    )
]
KNOWN["line,keep=on"] = [Vector(b"a\r\n\nb\n", [b"a\r\n", b"\n", b"b\n"])]

# -- markers ----------------------------------------------------------------------------------------------

# The two first segments of the example in HL7's MLLP specification (release 1, 1.3.1).
HL7 = (
    b"MSH|^~\\&|ZIS|1^AHospital|||200405141144||ADT^A01|20041104082400|P|2.3|||AL|NE|||8859/15|\r"
    b"EVN|A01|20041104082400.0000+0100|20041104082400\r"
)
KNOWN["mllp"] = [
    Vector(b"\x0b%b\x1c\r\x0b\x1c\r" % HL7, [HL7, b""]),
    Vector(
        b"\r\n\x0ba\x1cb\x1c\r\x0bc\x0b\x1c\r\x0bd\x1c\rzz",
        [
            Unmapped(b"a\x1cb", MalformedMessage(r"the message has b'\x1c' inside")),
            Unmapped(b"c\x0b", MalformedMessage(r"the message has b'\x0b' inside")),
            b"d",
        ],
        canonical=False,
    ),
    Vector(b"\x0ba\x1c", [], IncompleteMessage),
]
KNOWN["mllp,skip_garbage=off,max_message=4"] = [
    Vector(b"\x0b1234\x1c\r", [b"1234"]),
    Vector(b"\x0b1\x1c\r\n\x0b", [b"1"], MalformedMessage),
    Vector(b"\x0b12345\x1c\r", [], MessageTooLong),
    Vector(b"\x0b1234\x1c5\x1c\r", [], MessageTooLong),
]
KNOWN["stx-etx"] = [Vector(b"\x02ST,+00012.5  g\x03", [b"ST,+00012.5  g"])]
KNOWN["stx-etx:lrc"] = [
    Vector(b"\x02abc\x03" + bytes((0x61 ^ 0x62 ^ 0x63 ^ 3,)), [b"abc"]),
    Vector(
        b"\x02abc\x03\x03\x02\x03\x03",
        [Unmapped(b"abc", MalformedMessage("the checksum is b'\\x03', b'c' is right")), b""],
        canonical=False,
    ),
    Vector(b"\x02abc\x03", [], IncompleteMessage),
]
KNOWN["marked:@R,end=R@,checksum=sum-hex"] = [
    Vector(b"@RabR@C3", [b"ab"]),
    Vector(b"x@@RabR@c3@", [b"ab"], IncompleteMessage),
]
KNOWN["nmea"] = [
    Vector(b"$GPGLL,5057.970,N,00146.110,E,142451,A*27\r\n", [b"$GPGLL,5057.970,N,00146.110,E,142451,A"]),
    Vector(b"!AIVDM,1,1,,B,177KQJ5000G?tO`K>RA1wUbN0TKH,0*5C\r\n", [b"!AIVDM,1,1,,B,177KQJ5000G?tO`K>RA1wUbN0TKH,0"]),
    Vector(b"\n\r$GP,$A*41\n!B\r\n\n", [b"$A", b"!B"], canonical=False),
    Vector(
        b"$A*42\r\n$A*41\r\n",
        [Unmapped(b"$A*42", MalformedMessage("the checksum is b'42', b'41' is right")), b"$A"],
        canonical=False,
    ),
    Vector(b"x$A*4", [], IncompleteMessage),
]
KNOWN["nmea:required,max_message=8"] = [
    Vector(b"$1234*04\r\n", [b"$1234"]),
    Vector(b"$1234*04x\r\n", [], MessageTooLong),
]

# -- stuffed ----------------------------------------------------------------------------------------------

KNOWN["slip"] = [
    Vector(b"\xc0a\xdb\xdcb\xdb\xddc\xc0", [b"a\xc0b\xdbc"]),  # RFC 1055
    Vector(b"a\xc0\xc0\xc0\xdb\xdd\xdc\xc0", [b"a", b"\xdb\xdc"], canonical=False),
    Vector(
        b"\xdbx\xc0y\xc0",
        [Unmapped(b"\xdbx", MalformedMessage("ESC (0xdb) is followed by something other than 0xdc or 0xdd")), b"y"],
        canonical=False,
    ),
    Vector(b"\xc0abc", [], IncompleteMessage),
]
KNOWN["slip,lead=off"] = [Vector(b"a\xdb\xdc\xc0b\xc0", [b"a\xc0", b"b"])]
KNOWN["slip,max_message=3"] = [Vector(b"\xc0abc\xc0", [b"abc"]), Vector(b"\xc0abcd\xc0", [], MessageTooLong)]
KNOWN["cobs"] = [
    # The paper's example (an IP header that begins 45 00 00 2c), its figures, and the runs around its longest code.
    Vector(
        bytes.fromhex("02 45 01 04 2c 4c 79 01 05 40 06 4f 37 00"),
        [bytes.fromhex("45 00 00 2c 4c 79 00 00 40 06 4f 37")],
    ),
    Vector(b"\1\1\0\1\1\1\0", [b"\0", b"\0\0"]),
    Vector(b"\3\x11\x22\2\x33\0", [b"\x11\x22\0\x33"]),
    Vector(b"\2\x11\1\1\1\0", [b"\x11\0\0\0"]),
    Vector(b"\1\0", [b""]),
    Vector(b"\xff" + bytes(range(1, 255)) + b"\0", [bytes(range(1, 255))]),
    Vector(b"\xff" + bytes(range(1, 255)) + b"\2\xff\0", [bytes(range(1, 256))]),
    Vector(b"\1\xff" + bytes(range(1, 255)) + b"\0", [bytes(range(255))]),
    Vector(b"\xff" + bytes(range(2, 256)) + b"\1\1\0", [bytes(range(2, 256)) + b"\0"]),
    Vector(
        b"\5a\0\2b\0",
        [Unmapped(b"\5a", MalformedMessage("the code 5 at octet 0 points beyond the end at 2")), b"b"],
        canonical=False,
    ),
]
# The examples of COBS/R (Craig McQueen, https://pythonhosted.org/cobs/): the last code is often the last octet.
KNOWN["cobs,reduced=on"] = [
    Vector(b"5234\0", [b"2345"]),
    Vector(b"\x2f\0", [b"\x2f"]),
    Vector(b"\1\2\0", [b"\0\2"]),
    Vector(b"\2\1\0", [b"\1"]),
    Vector(b"\xfe\x05\0", [b"\x05\xfe"]),
    Vector(b"\1\0", [b""]),
    Vector(b"\xff" + bytes(range(1, 255)) + b"\0", [bytes(range(1, 255))]),
]
KNOWN["cobs,max_message=3"] = [Vector(b"\4abc\0", [b"abc"]), Vector(b"\5abcd\0", [], MessageTooLong)]
KNOWN["hdlc"] = [
    Vector(b"\x7ea\x7d\x5eb\x7d\x5d\x7e", [b"a\x7eb\x7d"]),
    Vector(b"\x7ea\x7e\x7eb\x7d\x7e\x7d\x31\x7e", [b"a", b"\x11"], canonical=False),
]
KNOWN["hdlc:16"] = [
    # RFC 1662 gives the good FCS; "123456789" is the check of the CRC catalogues (906e).
    Vector(b"\x7e123456789\x6e\x90\x7e", [b"123456789"]),
    Vector(
        b"\x7e123456789\x6e\x91\x7e",
        [Unmapped(b"123456789\x6e\x91", MalformedMessage("the check sequence is 6e91, 6e90 is right"))],
        canonical=False,
    ),
]
KNOWN["hdlc:32"] = [Vector(b"\x7e123456789\x26\x39\xf4\xcb\x7e", [b"123456789"])]
KNOWN["hdlc,escapes=jt808"] = [
    Vector(b"\x7e\x30\x7d\x02\x08\x7d\x01\x55\x7e", [b"\x30\x7e\x08\x7d\x55"])
]  # JT/T 808, 4.4.2

# -- structured -------------------------------------------------------------------------------------------

KNOWN["resp"] = [
    Vector(b"*2\r\n$4\r\nLLEN\r\n$6\r\nmylist\r\n", [[b"LLEN", b"mylist"]]),
    Vector(b"+OK\r\n-Error message\r\n:0\r\n:-1000\r\n", [Simple(b"OK"), ReplyError("Error message"), 0, -1000]),
    Vector(b"$5\r\nhello\r\n$0\r\n\r\n$-1\r\n*0\r\n", [b"hello", b"", None, []]),
    Vector(b"*3\r\n:1\r\n*2\r\n+a\r\n*0\r\n$-1\r\n", [[1, [Simple(b"a"), []], None]]),
    # The RESP specification: arrays inside of an array, and a null inside of one.
    Vector(
        b"*2\r\n*3\r\n:1\r\n:2\r\n:3\r\n*2\r\n+Hello\r\n-World\r\n*3\r\n$5\r\nhello\r\n$-1\r\n$5\r\nworld\r\n",
        [[[1, 2, 3], [Simple(b"Hello"), ReplyError("World")]], [b"hello", None, b"world"]],
    ),
    Vector(b"*-1\r\n", [None], canonical=False),
    Vector(b"+" + b"x" * 1000 + b"\r\n", [Simple(b"x" * 1000)]),
    Vector(b"PING\r\n\r\nset k \"a\\x41 b\" 'c d'\n", [[b"PING"], [b"set", b"k", b"aA b", b"c d"]], canonical=False),
    Vector(b":1\r\n%1\r\n+a\r\n#t\r\n", [1], MalformedMessage),
    Vector(b"*2\r\n:1\r\n_\r\n", [], MalformedMessage),
    Vector(b":1\r\n:x\r\n", [1], MalformedMessage),
    Vector(b"*1\r\nPING\r\n", [], MalformedMessage),
    Vector(b"$3\r\nabcd\r\n", [], MalformedMessage),
    Vector(b"*65537\r\n", [], MalformedMessage),
    Vector(b"*1\r\n" * 33, [], MalformedMessage),
    Vector(b"$1048577\r\n", [], MessageTooLong),
    Vector(b"*2\r\n:1\r\n", [], IncompleteMessage),
]
KNOWN["resp:3"] = [
    Vector(b"%2\r\n+first\r\n:1\r\n+second\r\n:2\r\n", [{Simple(b"first"): 1, Simple(b"second"): 2}]),
    Vector(b"_\r\n#t\r\n#f\r\n,1.23\r\n,inf\r\n", [None, True, False, 1.23, float("inf")]),
    Vector(b"(3492890328409238509324850943850943825024385\r\n", [3492890328409238509324850943850943825024385]),
    Vector(b">2\r\n+message\r\n$1\r\nx\r\n", [Push([Simple(b"message"), b"x"])]),
    Vector(b"=15\r\ntxt:Some string\r\n!5\r\nERR x\r\n", [b"Some string", ReplyError("ERR x")], canonical=False),
    Vector(b"~2\r\n:1\r\n:2\r\n~0\r\n", [Members((1, 2)), Members()]),
    Vector(b"|1\r\n+ttl\r\n:3\r\n*1\r\n:1\r\n|0\r\n\r\n:1\r\n", [[1], 1], canonical=False),
    # A map with a key that is not octets, or with one twice, is not a dict.
    Vector(b"%2\r\n:1\r\n$1\r\na\r\n$1\r\nb\r\n_\r\n%0\r\n", [Pairs(((1, b"a"), (b"b", None))), {}]),
    Vector(b"%2\r\n+a\r\n:1\r\n+a\r\n:2\r\n", [Pairs(((Simple(b"a"), 1), (Simple(b"a"), 2)))]),
    Vector(b"%1\r\n%1\r\n+a\r\n:1\r\n*0\r\n", [Pairs((({Simple(b"a"): 1}, []),))]),
]
# Streamed types of the RESP3 specification (github.com/antirez/RESP3, "Streamed types").
KNOWN["resp:3"] += [
    Vector(b"$?\r\n;4\r\nHell\r\n;5\r\no wor\r\n;1\r\nd\r\n;0\r\n", [b"Hello word"], canonical=False),
    Vector(b"*?\r\n:1\r\n:2\r\n:3\r\n.\r\n$?\r\n;0\r\n", [[1, 2, 3], b""], canonical=False),
    Vector(b"%?\r\n+a\r\n:1\r\n+b\r\n:2\r\n.\r\n", [{Simple(b"a"): 1, Simple(b"b"): 2}], canonical=False),
    Vector(b"*2\r\n~?\r\n:1\r\n.\r\n*?\r\n*?\r\n.\r\n.\r\n", [[Members((1,)), [[]]]], canonical=False),
    Vector(b"*?\r\n$?\r\n;1\r\n.\r\n;0\r\n|1\r\n+a\r\n:1\r\n:2\r\n.\r\n", [[b".", 2]], canonical=False),
    Vector(b":1\r\n%?\r\n:1\r\n.\r\n", [1], MalformedMessage),
    Vector(b"*?\r\n|1\r\n+a\r\n:1\r\n.\r\n", [], MalformedMessage),
    Vector(b"$?\r\n;1\r\nab\r\n", [], MalformedMessage),
    Vector(b"$?\r\n:1\r\n", [], MalformedMessage),
    Vector(b"$?\r\n;-1\r\n", [], MalformedMessage),
    Vector(b"*1\r\n.\r\n", [], MalformedMessage),
    Vector(b"*?\r\n.\n", [], MalformedMessage),
    Vector(b">?\r\n", [], MalformedMessage),
    Vector(b"*?\r\n" * 33, [], MalformedMessage),
    Vector(b"$?\r\n;1048577\r\n", [], MessageTooLong),
    Vector(b"*?\r\n:1\r\n", [], IncompleteMessage),
]
KNOWN["resp"] += [
    Vector(b"*?\r\n", [], MalformedMessage),
    Vector(b".\r\n;0\r\n", [[b"."], [b";0"]], canonical=False),  # lines that begin with no type are commands
]
KNOWN["resp:3,max_count=2"] = [
    Vector(
        b"*?\r\n:1\r\n:2\r\n.\r\n%?\r\n" + b":1\r\n" * 4 + b".\r\n", [[1, 2], Pairs(((1, 1), (1, 1)))], canonical=False
    ),
    Vector(b"*?\r\n:1\r\n:2\r\n:3\r\n", [], MalformedMessage),
    Vector(b"%?\r\n" + b":1\r\n" * 5, [], MalformedMessage),
]
KNOWN["resp:3,max_message_memory=1024"] = [
    Vector(b"*?\r\n" + b":1\r\n" * 9 + b".\r\n", [[1] * 9], canonical=False),
    Vector(b"*?\r\n" + b":1\r\n" * 10, [], MessageTooLong),
    Vector(
        b"$?\r\n;464\r\n" + b"x" * 464 + b"\r\n;464\r\n" + b"x" * 464 + b"\r\n;0\r\n", [b"x" * 928], canonical=False
    ),
    Vector(b"$?\r\n;464\r\n" + b"x" * 464 + b"\r\n;465\r\n", [], MessageTooLong),
    Vector(b"*9\r\n" + b":1\r\n" * 9, [[1] * 9]),  # 10 values of 96 octets, and 9 digits
    Vector(b"*9\r\n" + b":1\r\n" * 8 + b":" + b"1" * 18 + b"\r\n", [[1] * 8 + [int("1" * 18)]]),
    Vector(b"*10\r\n", [], MessageTooLong),
    Vector(b":1\r\n*2\r\n*5\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n*3\r\n:1\r\n", [1], MessageTooLong),
    Vector(b"+x\r\n$929\r\n", [Simple(b"x")], MessageTooLong),
    Vector(b"-" + b"x" * 58 + b"\r\n-" + b"x" * 59 + b"\r\n", [ReplyError("x" * 58)], MessageTooLong),
    Vector(b"a b c d e f g h i\r\n", [[bytes((each,)) for each in b"abcdefghi"]], canonical=False),
    Vector(b"a b c d e f g h i j\r\n", [], MessageTooLong),
]
KNOWN["resp,inline=off,max_message=16"] = [
    Vector(b"*1\r\n$4\r\nPING\r\n", [[b"PING"]]),
    Vector(b"PING\r\n", [], MalformedMessage),
    Vector(b"+123456789012345\r\n", [], MessageTooLong),
]
KNOWN["json"] = [
    Vector(b'{"a": [1, "}\\""]}\n"x\\\\"\ntrue\n-1.5e3\n', [b'{"a": [1, "}\\""]}', b'"x\\\\"', b"true", b"-1.5e3"]),
    Vector(b' [2]3"four"{}', [b"[2]", b"3", b'"four"', b"{}"], canonical=False),
    Vector(b"[1]\n12", [b"[1]", b"12"], canonical=False, final=True),
    Vector(b"{}\n[}", [b"{}"], MalformedMessage),
    Vector(b"[1],", [b"[1]"], MalformedMessage),
    Vector(b"nul ", [], MalformedMessage),
    Vector(b'{"a":', [], IncompleteMessage),
]
KNOWN["json,max_depth=2,max_message=8"] = [
    Vector(b"[[1,2]]\n", [b"[[1,2]]"]),
    Vector(b"[[12345]", [], IncompleteMessage),
    Vector(b"[[[", [], MalformedMessage),
    Vector(b'"1234567"', [], MessageTooLong),
    Vector(b"123456789 ", [], MessageTooLong),
]
KNOWN["json,elements=on"] = [
    Vector(b'[{"a": [1, "}"]}]\n[[2]]\n[3]\n["four"]\n', [b'{"a": [1, "}"]}', b"[2]", b"3", b'"four"']),
    Vector(b' [ {"a":1} ,[ ],3 , null,"x,]" ]', [b'{"a":1}', b"[ ]", b"3", b"null", b'"x,]"'], canonical=False),
    Vector(b"[]\n[ ] [1]", [b"1"], canonical=False),
    Vector(b"[1,2", [b"1"], IncompleteMessage),
    Vector(b'[1,{"a":', [b"1"], IncompleteMessage),
    Vector(b"[1,]", [b"1"], MalformedMessage),
    Vector(b"[,1]", [], MalformedMessage),
    Vector(b"[1 2]", [b"1"], MalformedMessage),
    Vector(b"[1],", [b"1"], MalformedMessage),
    Vector(b"[1}", [], MalformedMessage),
    Vector(b"{}", [], MalformedMessage),
]
KNOWN["json,elements=on,max_depth=2,max_message=8"] = [
    Vector(b"[[[1]]]\n", [b"[[1]]"]),
    Vector(b"[[[[1]]]]\n", [], MalformedMessage),
    Vector(b"[12345678]\n", [b"12345678"]),
    Vector(b'["1234567"]', [], MessageTooLong),
]
KNOWN["u16+json"] = [
    Vector(b'\0\7{"a":1}\0\4null', [{"a": 1}, None]),
    Vector(b"\0\2hi\0\x011", [Unmapped(b"hi", NOT_JSON), 1], canonical=False),
]
KNOWN["line+json"] = [Vector(b'{"a":1}\n[]\n', [{"a": 1}, []])]
KNOWN["line,resync=on,max_message=4+text"] = [Vector("é\nabc\n".encode(), ["é", "abc"])]
KNOWN["fixed:6+struct:>HI"] = [Vector(b"\0\1\0\0\0\2", [(1, 2)])]
KNOWN["gap,max_message=8"] = [Vector(b"12345678", [b"12345678"]), Vector(b"123456789", [], MessageTooLong)]
KNOWN["gap+json"] = [Vector(b'{"a":1}', [{"a": 1}]), Vector(b"hi", [Unmapped(b"hi", NOT_JSON)], canonical=False)]
KNOWN["gap"] = [Vector(b"\1\3\0\0\0\1\x84\x0a", [b"\1\3\0\0\0\1\x84\x0a"]), Vector(b"*IDN?", [b"*IDN?"])]
KNOWN["switch:$=line|\\x01=u8\\,offset=1\\,skip=0"] = [
    Vector(b"$GPGGA\n\1\2ab$\n", [b"$GPGGA", b"\1\2ab", b"$"]),
    Vector(b"$GP\nx", [b"$GP"], MalformedMessage),
    Vector(b"\1\2a", [], IncompleteMessage),
]
KNOWN["switch:xx=delimited:\\\\x2c|ab=netstring,otherwise=fixed:3"] = [
    Vector(b"xx1,yyyab1", [b"xx1", b"yyy"], MalformedMessage),
    Vector(b"x2yaaa", [b"x2y", b"aaa"]),
]

KNOWN["line:net"] = [
    Vector(b"EHLO me\r\n\r\n", [b"EHLO me", b""]),
    Vector(b"one\ntwo\r\nth\rree\n", [b"one", b"two", b"th\rree"], canonical=False),
    Vector(b"no end\r", [], IncompleteMessage),
]
KNOWN["line:net,max_message=5,keep=on"] = [
    Vector(b"1234\r\n", [b"1234\r\n"]),
    Vector(b"123456\n", [], MessageTooLong),
]
KNOWN["line:cr"] = [Vector(b"IDN?\r\r\nx\r", [b"IDN?", b"", b"\nx"]), Vector(b"x\n", [], IncompleteMessage)]
KNOWN["line:cr,keep=on,max_message=4"] = [Vector(b"1234\r", [b"1234\r"]), Vector(b"12345\r", [], MessageTooLong)]
KNOWN |= COMPOSED
