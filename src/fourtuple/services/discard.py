"""Discard (RFC 863): whatever is sent is thrown away."""

from fourtuple.framing import Raw
from fourtuple.service import Service

service = Service(Raw(), name="discard")


@service.reply
def discard(_message: bytes) -> None:
    """Answer nothing."""
