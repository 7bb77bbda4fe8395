r"""A gateway for short messages that speaks SMPP 3.4: a length that counts itself, a command, a status, a number.

    fourtuple serve examples/protocols/smpp_server.py

    >>> client = smpplib.client.Client("127.0.0.1", 9999)                 (the package smpplib)
    >>> client.connect()
    >>> client.bind_transceiver(system_id="alice", password="secret")
    >>> client.send_message(source_addr="1", destination_addr="2", short_message=b"hello")

Both sides may ask, at any time: a receipt that was asked for is a request of the server, and its answer is ignored.
"""

import itertools
import struct

from fourtuple import Connection, Service
from fourtuple.framing import Length

RESPONSE = 0x80000000
GENERIC_NACK, SUBMIT, DELIVER, UNBIND, ENQUIRE = RESPONSE, 4, 5, 6, 0x15
BINDS = (1, 2, 9)  # receiver, transmitter, transceiver
OK, BAD_COMMAND, NOT_BOUND, BAD_PASSWORD = 0, 3, 4, 0xE

Peer = Connection[bytes, bytes, dict[str, bytes]]

service = Service(Length(4, inclusive=True, skip=0, max_message=1 << 16), state=dict[str, bytes])
numbers = itertools.count(1)


def pdu(command: int, status: int, number: int, body: bytes = b"") -> bytes:
    return struct.pack(">IIII", 16 + len(body), command, status, number) + body


@service.reply
def handle(message: bytes, connection: Peer) -> bytes | None:
    _length, command, _status, number = struct.unpack_from(">IIII", message)
    if command in BINDS:
        name, password, _ = message[16:].split(b"\0", 2)
        if password != b"secret":
            return pdu(command | RESPONSE, BAD_PASSWORD, number)
        connection.state["name"] = name
        return pdu(command | RESPONSE, OK, number, b"fourtuple\0")
    if command == ENQUIRE:
        return pdu(command | RESPONSE, OK, number)
    if command & RESPONSE:
        return None
    if not connection.state:
        return pdu(command | RESPONSE, NOT_BOUND, number)
    if command == SUBMIT:
        submit(number, message[16:], connection)
        return None
    if command == UNBIND:
        connection.state.clear()
        return pdu(command | RESPONSE, OK, number)
    return pdu(GENERIC_NACK, BAD_COMMAND, number)


def submit(number: int, body: bytes, connection: Peer) -> None:
    """Take a message; where a receipt is wanted, send that too."""
    _service, rest = body.split(b"\0", 1)
    source, rest = rest[2:].split(b"\0", 1)
    destination, rest = rest[2:].split(b"\0", 1)
    _schedule, _validity, rest = rest[3:].split(b"\0", 2)
    name = b"%d" % next(numbers)
    connection.send(pdu(SUBMIT | RESPONSE, OK, number, name + b"\0"))
    if rest[0] & 1:
        text = b"id:%b stat:DELIVRD text:%b" % (name, rest[5 : 5 + rest[4]])
        ends = b"\0\1\1" + destination + b"\0\1\1" + source + b"\0"
        connection.send(pdu(DELIVER, OK, next(numbers), ends + b"\4" + bytes(8) + bytes((len(text),)) + text))
