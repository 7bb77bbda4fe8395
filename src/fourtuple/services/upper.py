"""Lines come back in capital letters."""

from fourtuple.framing import Line
from fourtuple.service import Service

service = Service(Line(), name="upper")


@service.reply
def upper(message: bytes) -> bytes:
    """Return the line in upper case."""
    return message.upper()
