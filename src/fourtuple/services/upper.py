"""Upper: every line is returned in upper case."""

from fourtuple.framing import Line
from fourtuple.service import Service

__all__ = ["service"]

service: Service[bytes, bytes] = Service(Line(), name="upper")


@service.reply
def upper(message: bytes) -> bytes:
    """Return the line in upper case."""
    return message.upper()
