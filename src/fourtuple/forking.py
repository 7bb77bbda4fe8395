"""What a forked child releases: the sockets that this package opened, and the objects that hold them.

After fork(2) both processes have the same sockets. If the child kept them, they would stay open: a port on which no
process accepts when the parent has stopped, or a connection whose peer never gets the parent's FIN. So the child closes
its copies, with close(2) only. shutdown(2) and epoll_ctl(2) would also affect the parent's sockets. The child sends no
TLS close_notify, because the parent continues the conversation.

A program that is started in a child (subprocess, multiprocessing's spawn) inherits none of these sockets: they are made
with close-on-exec. Sockets that were given to this package are not closed.
"""

from __future__ import annotations

import os
import socket
import weakref
from contextlib import suppress
from typing import Protocol


class Holder(Protocol):
    """An object that holds sockets or uses them."""

    def _disown(self) -> None:
        """In a forked child: close the descriptors and stop working. Only this thread exists in the child."""


_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
_holders: weakref.WeakSet[Holder] = weakref.WeakSet()


def ours(sock: socket.socket) -> socket.socket:
    """Let a forked child close this socket. Returns the socket."""
    _sockets.add(sock)
    return sock


def holds(holder: Holder) -> None:
    """Let a forked child call ``_disown()`` of this object."""
    _holders.add(holder)


def why(what: str) -> str:
    """Return an error text: what a forked child must not use."""
    return f"{what} belongs to the parent process, this one is forked from it"


def _in_child() -> None:
    for holder in list(_holders):
        with suppress(Exception):  # the other holders are disowned even if one fails
            holder._disown()
    for sock in list(_sockets):
        with suppress(OSError):
            sock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
