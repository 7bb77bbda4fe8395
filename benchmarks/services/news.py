"""Messages of 100 octets: one that begins with ``!`` goes to everybody, any other is answered."""

from fourtuple import Connection, Service
from fourtuple.framing import Fixed

service = Service(Fixed(100))


@service.reply
def spread(message: bytes, connection: Connection) -> bytes | None:
    """Send news to all connections, return anything else."""
    if message.startswith(b"!"):
        assert connection.server is not None
        connection.server.broadcast(message)
        return None
    return message.upper()
