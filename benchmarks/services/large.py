"""Large messages behind a length of four octets, a reply to each."""

from fourtuple import Service
from fourtuple.framing import u32

service = Service(u32())


@service.reply
def turned(message: bytes) -> bytes:
    """Return the message turned by one octet."""
    return message[1:] + message[:1]
