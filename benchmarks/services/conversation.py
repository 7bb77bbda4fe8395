"""Messages of 16 octets, an async conversation."""

from fourtuple import Connection, Service
from fourtuple.framing import Fixed

service = Service(Fixed(16))


@service.conversation
async def turn(connection: Connection) -> None:
    """Answer every message with itself, turned by one octet."""
    async for message in connection:
        await connection.send(message[1:] + message[:1])
