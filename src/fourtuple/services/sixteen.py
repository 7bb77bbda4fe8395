"""The sixteen-octet service: a message of exactly 16 octets is answered with 16 octets."""

from fourtuple.framing import Fixed
from fourtuple.service import Service

__all__ = ["service"]

service: Service[bytes, bytes] = Service(Fixed(16), name="sixteen")


@service.reply
def farewell(_message: bytes) -> bytes:
    """Return the farewell, 16 octets long."""
    return b"Farewell, client"
