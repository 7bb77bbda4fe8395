"""What a forked child lets go of: the sockets that this package opened, and whatever holds them.

After fork(2) both processes have the same sockets. A child that kept them would keep them alive: a port on which
nobody accepts once the parent has stopped, a connection whose peer never sees the parent's FIN. So the child closes
its copies, by close(2) alone. shutdown(2) and epoll_ctl(2) would reach what the parent has; what TLS would say goodbye
with is not said, because the conversation goes on, over there.

A program that is started in a child (subprocess, multiprocessing's spawn) inherits none of them: they are made with
close-on-exec. Sockets that we were given are not ours to close.
"""

from __future__ import annotations

import os
import socket
import weakref
from contextlib import suppress
from typing import Protocol


class Holder(Protocol):
    """Whoever holds sockets, or works with them."""

    def disown(self) -> None:
        """In a forked child: close the descriptors, and work no more. No thread is there but this one."""


_sockets: weakref.WeakSet[socket.socket] = weakref.WeakSet()
_holders: weakref.WeakSet[Holder] = weakref.WeakSet()


def ours(sock: socket.socket) -> socket.socket:
    """Have a child close this socket. Returns it."""
    _sockets.add(sock)
    return sock


def holds(holder: Holder) -> None:
    """Have a child call this one's ``disown()``."""
    _holders.add(holder)


def why(what: str) -> str:
    """For the text of an error: what a child may not use any more."""
    return f"{what} belongs to the parent process, this one is forked from it"


def _in_child() -> None:
    for holder in list(_holders):
        with suppress(Exception):  # whatever a thread was about that is not there any more, the others are let go of
            holder.disown()
    for sock in list(_sockets):
        with suppress(OSError):
            sock.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
