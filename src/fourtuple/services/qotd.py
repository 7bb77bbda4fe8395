"""Quote of the day (RFC 865): a short text, then the end."""

import datetime

from fourtuple.connection import Connection
from fourtuple.framing import Raw
from fourtuple.service import Service

__all__ = ["service"]

_QUOTES = (
    "Be conservative in what you do, be liberal in what you accept from others. -- RFC 793, section 2.10",
    "TCP is stream oriented, that is, one segment can carry any number of messages, or half of one.",
    "A name indicates what we seek. An address indicates where it is. -- RFC 791, section 2.3",
    "Every connection is named by two ends: four numbers that no other living connection shares.",
    "The network is reliable until the first time you write that down.",
)

service: Service[bytes, bytes] = Service(Raw(), name="qotd", silent_peers=True)


@service.conversation
async def quote(connection: Connection) -> None:
    """Send today's quote, of at most 512 characters, as RFC 865 recommends."""
    await connection.send((_QUOTES[datetime.date.today().toordinal() % len(_QUOTES)] + "\r\n").encode())
