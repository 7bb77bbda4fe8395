"""Messages of 16 octets, a reply to each."""

from fourtuple import Service
from fourtuple.framing import Fixed

service = Service(Fixed(16))


@service.reply
def loud(message: bytes) -> bytes:
    """Return the message in capital letters."""
    return message.upper()
