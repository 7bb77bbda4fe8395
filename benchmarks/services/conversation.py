"""Messages of 16 octets, an async conversation."""

from fourtuple import Connection, Service
from fourtuple.framing import Fixed

service = Service(Fixed(16))


@service.conversation
async def shout(connection: Connection) -> None:
    """Answer every message with itself in capital letters."""
    async for message in connection:
        await connection.send(message.upper())
