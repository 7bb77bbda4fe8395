"""Messages of 16 octets, a reply to each."""

from fourtuple import Service
from fourtuple.framing import Fixed

service = Service(Fixed(16))


@service.reply
def turned(message: bytes) -> bytes:
    """Return the message turned by one octet."""
    return message[1:] + message[:1]
