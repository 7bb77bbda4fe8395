"""Time (RFC 868): the seconds since 1900 as 32 bits, then the end."""

import struct
import time

from fourtuple.connection import Connection
from fourtuple.framing import Fixed
from fourtuple.service import Service

__all__ = ["service"]

#: From 1900-01-01 to the epoch, RFC 868.
_SECONDS_TO_1970 = 2_208_988_800

service: Service[bytes, bytes] = Service(Fixed(4), name="time", silent_peers=True)


@service.conversation
async def seconds(connection: Connection) -> None:
    """Send the time. The 32 bits overflow in 2036 and begin at 0 again."""
    await connection.send(struct.pack("!I", (int(time.time()) + _SECONDS_TO_1970) % 2**32))
