"""How ``fourtuple connect`` opens its connection: once, or until the server is up."""

from __future__ import annotations

import asyncio
from typing import Any

from fourtuple.address import Address
from fourtuple.client import connect
from fourtuple.connection import Connection
from fourtuple.errors import ConnectError
from fourtuple.framing import Framing
from fourtuple.options import Deadlines

#: Seconds between two attempts, with --wait: soon enough after the server has started; a closed port costs one RST.
_AGAIN_SECONDS = 0.1

#: No deadlines: the user sees that nothing happens, and can end it.
DEADLINES = Deadlines(message_timeout=None, write_timeout=None)


async def open_connection(
    address: Address, framing: Framing, opening: dict[str, Any], wait: float | None
) -> Connection:
    """Connect; with ``wait``, try again for this many seconds until the server is up."""
    loop = asyncio.get_running_loop()
    until = loop.time() + (wait or 0.0)
    while True:
        left = until - loop.time()
        if wait is not None and left > 0:
            opening = opening | {"timeout": min(opening["timeout"], left)}
        try:
            return await connect(address, framing, deadlines=DEADLINES, **opening)
        except ConnectError:
            left = until - loop.time()
            if left <= 0:
                raise
        await asyncio.sleep(min(_AGAIN_SECONDS, left))
