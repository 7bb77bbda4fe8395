r"""A DICOM node that answers C-ECHO, the ping of hospitals (PS3.7, PS3.8): a type, a reserved octet, a length of four.

    fourtuple serve examples/protocols/dicom_server.py
    python -m pynetdicom echoscu 127.0.0.1 9999

An association offers contexts, each with a number; a command is a list of elements, in implicit little endian.
"""

import struct
from collections.abc import Iterator

from fourtuple import Connection, Service
from fourtuple.framing import Length

REQUEST, ACCEPT, DATA, RELEASE, RELEASED = 1, 2, 4, 5, 6
VERIFICATION, IMPLICIT = b"1.2.840.10008.1.1", b"1.2.840.10008.1.2"
WHAT, FIELD, NUMBER, ANSWERED, DATA_SET, STATUS = 0x0002, 0x0100, 0x0110, 0x0120, 0x0800, 0x0900
NOT_UNDERSTOOD = 0x0211
PDU, ITEM, ELEMENT = ">BxI", ">BxH", "<2xHI"  # the kind and the length of each

items, elements = Length(2, offset=2, skip=0), Length(4, offset=4, skip=0, byteorder="little")
service = Service(Length(4, offset=2, skip=0, max_message=1 << 17))


def packed(header: str, kind: int, body: bytes) -> bytes:
    return struct.pack(header, kind, len(body)) + body


@service.reply
def handle(message: bytes, connection: Connection) -> bytes | None:
    if message[0] == REQUEST:
        return packed(PDU, ACCEPT, message[6:74] + b"".join(accepted(message[74:])))
    if message[0] == DATA:
        answer = command_set(message[12:])
        return packed(PDU, DATA, struct.pack(">IBB", 2 + len(answer), message[10], 3) + answer)
    if message[0] == RELEASE:
        return packed(PDU, RELEASED, bytes(4))
    connection.close()
    return None


def accepted(body: bytes) -> Iterator[bytes]:
    for item in items.decoder().feed(body):
        kind, content = item[0], item[4:]
        if kind == 0x10:  # what all this is for: as it came
            yield item
        elif kind == 0x20:  # a context: its number, then what it is for, and how that may be written
            offered = [(each[0], each[4:]) for each in items.decoder().feed(content[4:])]
            known = (0x30, VERIFICATION) in offered and (0x40, IMPLICIT) in offered
            yield packed(ITEM, 0x21, bytes((content[0], 0, 0 if known else 3, 0)) + packed(ITEM, 0x40, IMPLICIT))
        elif kind == 0x50:  # the longest message, and who made this program
            longest, maker = struct.pack(">I", 1 << 17), b"1.2.826.0.1.3680043.10.1"
            yield packed(ITEM, kind, packed(ITEM, 0x51, longest) + packed(ITEM, 0x52, maker))


def command_set(body: bytes) -> bytes:
    """The answer to a command: every one but C-ECHO is not understood."""
    command = {int.from_bytes(each[2:4], "little"): each[8:] for each in elements.decoder().feed(body)}
    kind = int.from_bytes(command[FIELD], "little")
    status = 0 if kind == 0x30 else NOT_UNDERSTOOD
    fields = {WHAT: command[WHAT], FIELD: struct.pack("<H", kind | 0x8000), ANSWERED: command[NUMBER]}
    fields |= {DATA_SET: struct.pack("<H", 0x0101), STATUS: struct.pack("<H", status)}
    answer = b"".join(packed(ELEMENT, field, value) for field, value in fields.items())
    return packed(ELEMENT, 0, struct.pack("<I", len(answer))) + answer
