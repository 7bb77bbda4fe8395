"""Messages behind a length of four octets, a reply to each."""

from fourtuple import Service
from fourtuple.framing import u32

service = Service(u32())


@service.reply
def loud(message: bytes) -> bytes:
    """Return the message in capital letters."""
    return message.upper()
