"""The passive sockets of a program: the loop itself makes and binds them, so its arguments and errors stay the same."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable
from contextlib import suppress
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
    path = arguments[0] if arguments else options.get("path")
    if own.__name__ == "create_unix_server" and path and not isinstance(loop, BaseEventLoop):
        return [_bound_unix(os.fspath(path))]  # uvloop removes the file when its server is closed
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


def _bound_unix(path: str) -> socket.socket:
    """Bind a Unix socket, as the loops do: a socket file that is there already is removed."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if not path.startswith("\0"):
            with suppress(FileNotFoundError):
                if stat.S_ISSOCK(os.stat(path).st_mode):
                    os.remove(path)
        sock.bind(path)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock
