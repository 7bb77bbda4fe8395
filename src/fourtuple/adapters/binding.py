"""The passive sockets of a program: the loop itself makes and binds them, so its arguments and errors stay the same."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fourtuple.net.sockets import labelled


@dataclass(frozen=True, slots=True)
class Bound:
    """The passive sockets of one server of a program, bound, and not listening."""

    #: What listens.
    socks: list[socket.socket]
    #: The program's own object (``sock=``), if what listens is a copy of it. The server's end closes it, as natively.
    given: socket.socket | None = None

    def give_up(self, programs: object) -> None:
        """Close what belongs to no one: not the object ``programs``, which the program has made."""
        for sock in self.socks:
            if sock is not programs:
                sock.close()


async def sockets_of(
    own: Callable[..., Any],
    loop: asyncio.AbstractEventLoop,
    factory: Callable[[], asyncio.BaseProtocol],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> Bound:
    """Return the bound sockets that the loop's method ``own`` makes of these arguments, not listening.

    Raises what it raises.
    """
    path = arguments[0] if arguments else options.get("path")
    given = options.get("sock")
    if isinstance(loop, BaseEventLoop):
        # A server of asyncio that does not serve only holds its sockets. They are given to ours.
        made = await own(loop, factory, *arguments, **options, start_serving=False)
        socks = [each._sock for each in made.sockets]
        if given is not None and _is_mislabelled(given):
            return Bound([_copy(given)], given)
        return Bound(socks)
    if given is not None:
        # uvloop's server closes what it is given. It gets a copy, as the program has labelled it, and judges that.
        judged = socket.socket(given.family, given.type, given.proto, fileno=os.dup(given.fileno()))
        try:
            copies = await _made_and_closed(own, loop, factory, arguments, {**options, "sock": judged})
        finally:
            judged.close()
        given.setblocking(False)  # as the loop does
        return Bound(copies, given)
    if own.__name__ == "create_unix_server" and path:
        return Bound([_bound_unix(os.fspath(path))])  # uvloop removes the file when its server is closed
    return Bound(await _made_and_closed(own, loop, factory, arguments, options))


async def _made_and_closed(
    own: Callable[..., Any],
    loop: asyncio.AbstractEventLoop,
    factory: Callable[[], asyncio.BaseProtocol],
    arguments: tuple[Any, ...],
    options: dict[str, Any],
) -> list[socket.socket]:
    """Let the loop make its server, and close that; return copies of its sockets."""
    made = await own(loop, factory, *arguments, **options, start_serving=False)
    copies = [_copy(each) for each in made.sockets]
    made.close()
    await made.wait_closed()
    return copies


def _copy(sock: Any) -> socket.socket:
    """Return an object of ours for another descriptor of a socket, non-blocking; its family is the kernel's."""
    copy = socket.socket(fileno=os.dup(sock.fileno()))
    copy.setblocking(False)
    return copy


def _is_mislabelled(sock: socket.socket) -> bool:
    asked = labelled(sock)
    if asked is sock:
        return False
    asked.detach()
    return True


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
