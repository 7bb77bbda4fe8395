"""Discard (RFC 863): all octets are discarded."""

from fourtuple.framing import Raw
from fourtuple.service import Service

__all__ = ["service"]

service: Service[bytes, bytes] = Service(Raw(), name="discard")


@service.reply
def discard(_message: bytes) -> None:
    """Send no reply."""
