"""Character generator (RFC 864): lines of 72 characters without end, until the peer closes."""

import asyncio

from fourtuple.connection import Connection
from fourtuple.framing import Line
from fourtuple.service import Service

__all__ = ["service"]

_WIDTH = 72
_PRINTABLE = bytes(range(32, 127))
_LINES = [(_PRINTABLE * 2)[at : at + _WIDTH] for at in range(len(_PRINTABLE))]

service: Service[bytes, bytes] = Service(Line("crlf"), name="chargen", silent_peers=True)


@service.conversation
async def chargen(connection: Connection) -> None:
    """Send lines. Octets from the peer are discarded; its end of file ends the conversation."""
    pouring = asyncio.ensure_future(_pour(connection))
    listening = asyncio.ensure_future(_discard(connection))
    try:
        await asyncio.wait((pouring, listening), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (pouring, listening):
            task.cancel()
        await asyncio.gather(pouring, listening, return_exceptions=True)


async def _pour(connection: Connection) -> None:
    while not connection.draining.is_set():
        await connection.send_many(_LINES)
        await asyncio.sleep(0)  # Let the loop serve others: with a peer that keeps up, send never waits.


async def _discard(connection: Connection) -> None:
    while await connection.receive_some():
        pass
