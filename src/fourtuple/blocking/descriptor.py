"""The end of a socket that several threads may be using: who wakes them, and who closes it.

close(2) in one thread does not wake another one that is in poll(2) or recv(2) on the same descriptor, and its number
may mean the next socket before that thread has left. So an end takes three steps: wake every call that waits, let go
of the descriptor, and let the last call that leaves close it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import suppress


class Descriptor:
    """Holds a connection's socket; every call that uses the socket holds this meanwhile.

    When the last reference is gone, the socket is closed, if it is ours (``owned``), and ``on_gone`` is called.
    References, not a count that is raised and lowered: an interrupt may come between raising it and the ``try``, or in
    a signal handler that closes what its own thread is waiting for.
    """

    __slots__ = ("_owned", "on_gone", "socket")

    def __init__(self, sock: socket.socket, *, owned: bool) -> None:
        self.socket = sock
        self._owned = owned
        self.on_gone: Callable[[], object] | None = None

    def shut(self, how: int) -> None:
        """Shut down one direction or both; a socket that is not connected any more has nothing to shut."""
        with suppress(OSError):
            self.socket.shutdown(how)

    def __del__(self) -> None:
        if self._owned:
            self.socket.close()
        if self.on_gone is not None:
            self.on_gone()


class Alarm:
    """Ends a poll(2) from another thread, where the socket itself cannot: SHUT_RD wakes readers, nothing wakes writers.

    All calls are made under the lock of the connection that has it. The descriptor is made when it is asked for: most
    calls never wait.
    """

    __slots__ = ("_fd", "rung")

    def __init__(self) -> None:
        self._fd: int | None = None
        self.rung = False

    def fileno(self) -> int | None:
        """A descriptor that is readable once the alarm has rung; None when there is none to be had."""
        if self._fd is None:
            with suppress(OSError, AttributeError):  # no descriptor left; a system that has no eventfd(2)
                self._fd = os.eventfd(int(self.rung), os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        return self._fd

    def ring(self) -> None:
        """End the poll(2) of this moment, and any later one at once."""
        self.rung = True
        if self._fd is not None:
            os.eventfd_write(self._fd, 1)

    def close(self) -> None:
        """Close its descriptor."""
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)
