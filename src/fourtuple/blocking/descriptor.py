"""The end of a socket that several threads may be using: how they are woken, and when it is closed.

close(2) in one thread does not wake another thread that is in poll(2) or recv(2) on the same descriptor, and the number
may be reused for another socket before that thread returns. So the end takes three steps: wake every call that waits,
release the descriptor, and close it when the last call has returned.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress


class Descriptor:
    """Holds a connection's socket. Every call that uses the socket keeps a reference to this object meanwhile.

    When the last reference is gone, the socket is closed if the connection owns it (``owned``), and ``on_gone`` is
    called. References are used, not a counter: an interrupt may come between counting up and the ``try``, or a signal
    handler may close the connection for which its own thread waits.
    """

    __slots__ = ("_owned", "on_gone", "socket")

    def __init__(self, sock: socket.socket, *, owned: bool) -> None:
        self.socket: socket.socket = sock
        self._owned = owned
        self.on_gone: Callable[[], object] | None = None

    def shut(self, how: int) -> None:
        """Shut down one direction or both. A socket that is not connected any more is left as it is."""
        with suppress(OSError):
            self.socket.shutdown(how)

    def __del__(self) -> None:
        if self._owned:
            self.socket.close()
        if self.on_gone is not None:
            self.on_gone()


class Alarm:
    """Ends a poll(2) in another thread that waits to write: SHUT_RD wakes readers, but no shutdown wakes writers.

    Every method is called under the connection's lock. The descriptor is made when it is first needed, because most
    calls never wait.
    """

    __slots__ = ("_fd", "rung")

    def __init__(self) -> None:
        self._fd: int | None = None
        self.rung: bool = False

    def fileno(self) -> int | None:
        """Return a descriptor that is readable once the alarm has rung; None if none can be made."""
        if self._fd is None:
            with suppress(OSError, AttributeError):  # no descriptor left, or a system without eventfd(2)
                # It starts with the rings so far (eventfd(2), initval): one that came before the descriptor is not
                # missed.
                self._fd = os.eventfd(int(self.rung), os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        return self._fd

    def ring(self) -> None:
        """End the poll(2) that waits now, and any later one at once."""
        self.rung = True
        if self._fd is not None:
            os.eventfd_write(self._fd, 1)

    def close(self) -> None:
        """Close its descriptor."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
