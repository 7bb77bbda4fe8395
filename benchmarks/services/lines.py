"""Lines, a reply to each."""

from fourtuple import Service
from fourtuple.framing import Line

service = Service(Line())


@service.reply
def loud(message: bytes) -> bytes:
    """Return the line in capital letters."""
    return message.upper()
