r"""A name server for one small zone, over TCP (RFC 1035, 4.2.2): two octets of length before each message.

fourtuple serve examples/protocols/dns_server.py
dig +tcp +short -p 9999 @127.0.0.1 www.example A
"""

import socket
import struct

from fourtuple import Service
from fourtuple.framing import u16

ZONE = {b"www.example": "192.0.2.80", b"mail.example": "192.0.2.25"}
HEADER = struct.Struct(">6H")
ANSWER, AUTHORITATIVE, RECURSION_WANTED = 0x8000, 0x0400, 0x0100
FORMAT_ERROR, NO_SUCH_NAME = 1, 3
A, INTERNET = 1, 1

service = Service(u16())


@service.reply
def resolve(query: bytes) -> bytes | None:
    if len(query) < HEADER.size:
        return None  # not even an identifier to answer to
    number, flags, *_ = HEADER.unpack_from(query)
    flags = ANSWER | AUTHORITATIVE | (flags & RECURSION_WANTED)
    try:
        name, kind, end = question(query)
    except (IndexError, struct.error):
        return HEADER.pack(number, flags | FORMAT_ERROR, 0, 0, 0, 0)
    found = ZONE.get(name.lower())
    asked = query[HEADER.size : end]
    if found is None:
        return HEADER.pack(number, flags | NO_SUCH_NAME, 1, 0, 0, 0) + asked
    if kind != A:
        return HEADER.pack(number, flags, 1, 0, 0, 0) + asked
    # The name is that of the question, at octet 12; the answer is good for a minute.
    answer = struct.pack(">HHHIH", 0xC000 | HEADER.size, A, INTERNET, 60, 4) + socket.inet_aton(found)
    return HEADER.pack(number, flags, 1, 1, 0, 0) + asked + answer


def question(query: bytes) -> tuple[bytes, int, int]:
    """The name that is asked for, the type of record, and where the question ends."""
    labels, at = [], HEADER.size
    while size := query[at]:
        labels.append(query[at + 1 : at + 1 + size])
        at += 1 + size
    kind, _class = struct.unpack_from(">HH", query, at + 1)
    return b".".join(labels), kind, at + 5
