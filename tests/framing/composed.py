"""What is known of framings that are made of framings: octets and the messages that they are.

The protocols are written from their specifications: memcached's protocol.txt, the NATS client protocol, beanstalkd's
protocol.txt, STOMP 1.2, and the headers of HTTP (RFC 9112) and of the Language Server Protocol.
"""

from __future__ import annotations

from fourtuple.errors import IncompleteMessage, MalformedMessage, MessageTooLong
from fourtuple.testing import Vector

COMPOSED: dict[str, list[Vector]] = {}
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
