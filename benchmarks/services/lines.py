"""Lines, a reply to each."""

from fourtuple import Service
from fourtuple.framing import Line

service = Service(Line())


@service.reply
def turned(message: bytes) -> bytes:
    """Return the line turned by one octet."""
    return message[1:] + message[:1]
