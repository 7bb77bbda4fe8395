"""Daytime (RFC 867): the date and time as a line of text, then the end."""

import time

from fourtuple.connection import Connection
from fourtuple.framing import Line
from fourtuple.service import Service

__all__ = ["service"]

service: Service[bytes, bytes] = Service(Line("crlf"), name="daytime", silent_peers=True)


@service.conversation
async def daytime(connection: Connection) -> None:
    """Send the local date and time."""
    await connection.send(time.strftime("%A, %B %d, %Y %H:%M:%S-%Z").encode())
