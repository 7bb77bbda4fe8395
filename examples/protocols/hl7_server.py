r"""A hospital's inbox (HL7 version 2 over MLLP): 0x0b, the message, 0x1c 0x0d; each is acknowledged.

fourtuple serve examples/protocols/hl7_server.py
mllp_send --port 9999 --loose --file admission.hl7 127.0.0.1          (from the package hl7 of PyPI)
"""

from fourtuple import Service
from fourtuple.framing import Mllp

service = Service(Mllp())


@service.reply
def acknowledge(message: bytes) -> bytes:
    header = message.split(b"\r", 1)[0]
    if not header.startswith(b"MSH") or len(header) < 4:
        return segments([b"MSH", b"^~\\&"], [b"MSA", b"AR", b"", b"the message does not begin with MSH"])
    fields = header.split(header[3:4])  # the fourth octet says what separates the fields
    fields += [b""] * (12 - len(fields))
    sender, receiver, control = fields[2:4], fields[4:6], fields[9]
    reply = [b"MSH", b"^~\\&", *receiver, *sender, b"", b"", b"ACK", control, fields[10], fields[11]]
    return segments(reply, [b"MSA", b"AA" if control else b"AE", control])


def segments(*rows: list[bytes]) -> bytes:
    return b"".join(b"|".join(row) + b"\r" for row in rows)
