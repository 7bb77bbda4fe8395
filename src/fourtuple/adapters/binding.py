"""The passive sockets of a program: the loop itself makes and binds them, so its arguments and errors stay the same."""

from __future__ import annotations

import asyncio
import os
import socket
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable
from typing import Any


async def sockets_of(
    own: Callable[..., Any],
    loop: asyncio.AbstractEventLoop,
    factory: Callable[[], asyncio.BaseProtocol],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> list[socket.socket]:
    """Return the bound sockets that the loop's method ``own`` makes of these arguments, not listening.

    Raises what it raises.
    """
    made = await own(loop, factory, *arguments, **options, start_serving=False)
    if isinstance(loop, BaseEventLoop):
        # A server of asyncio that does not serve only holds its sockets. They are given to ours.
        return [each._sock for each in made.sockets]
    given = options.get("sock")
    if given is not None:
        socks = [socket.socket(fileno=os.dup(given.fileno()))]
        given.detach()  # the loop closes the number, which it has got
    else:
        socks = [socket.socket(fileno=os.dup(each.fileno())) for each in made.sockets]
    made.close()
    await made.wait_closed()
    for sock in socks:
        sock.setblocking(False)
    return socks
