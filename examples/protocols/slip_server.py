r"""A device that speaks SLIP (RFC 1055), as many do behind a serial port server: 0xc0 ends a message.

    fourtuple serve examples/protocols/slip_server.py

    >>> from sliplib import SlipSocket                                     (from the package sliplib of PyPI)
    >>> device = SlipSocket.create_connection(("127.0.0.1", 9999))
    >>> device.send_msg(b"\x01\xc0\xdb")
    >>> device.recv_msg()

A request is a command octet and its data; the reply is the command, a CRC-32 of the data, and the data.
"""

import zlib

from fourtuple import Service
from fourtuple.framing import Slip

service = Service(Slip(max_message=1024))


@service.reply
def answer(request: bytes) -> bytes:
    command, data = request[:1], request[1:]
    return command + zlib.crc32(data).to_bytes(4) + data
