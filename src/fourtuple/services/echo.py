"""Echo (RFC 862): every message is returned."""

from fourtuple.framing import Raw
from fourtuple.service import Service

__all__ = ["service"]

service: Service[bytes, bytes] = Service(Raw(), name="echo")


@service.reply
def echo(message: bytes) -> bytes:
    """Return the message."""
    return message
