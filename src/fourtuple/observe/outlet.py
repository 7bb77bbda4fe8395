"""Writing lines of a log without waiting for the reader.

A pipe that is not read is full after 64 KiB (pipe(7)), a stopped terminal (Ctrl-S) earlier; then a write blocks, and
the loop with it. So only as many octets are written as the file takes at once. The rest is held, up to a bound, and a
thread writes it when there is room, and ends when nothing is held. Lines beyond the bound are dropped and counted.

The flags of the open file description are not changed, because other processes share it (the shell, the next command)
and do not expect non-blocking writes. Instead, the file is opened again, or is written only when poll(2) reports room.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

#: The most octets that are held for a slow reader: some thousand lines.
MOST_HELD = 256 * 1024
#: The octets that a pipe takes in one piece if poll(2) reports room (PIPE_BUF, pipe(7)).
_PIECE = 4096
#: Milliseconds after which the thread tries again in any case.
_LOOK_AGAIN = 1000


class Writable(Protocol):
    """The methods of a text file that are needed here."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...


def unblocked(file: Writable, notice: Callable[[int], str]) -> Writable:
    """Return the file itself if a write to it does not wait for a reader, otherwise an :class:`Outlet` for it.

    ``notice(count)`` returns the line that says how many lines were dropped.
    """
    try:
        fd: int = file.fileno()  # type: ignore[attr-defined]
        mode = os.fstat(fd).st_mode
        waits = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)
    except (AttributeError, OSError, ValueError, TypeError):  # a file in memory, or a closed file
        return file
    return Outlet(file, fd, mode, notice) if waits else file


class Outlet:
    """Writes lines to a pipe, a socket or a terminal without waiting. Any thread may use it."""

    def __init__(self, file: Any, fd: int, mode: int, notice: Callable[[int], str]) -> None:
        self._file = file
        self._encoding = (getattr(file, "encoding", None) or "utf-8", getattr(file, "errors", None) or "strict")
        self._notice = notice
        self._lock = threading.Lock()
        self._held = bytearray()
        self._drainer: threading.Thread | None = None
        #: The number of dropped lines that no notice has reported yet.
        self.dropped: int = 0
        #: The first error that lost lines and that no call of write() has raised: also a reader that is too slow.
        self.error: OSError | None = None
        with suppress(OSError, ValueError):
            file.flush()  # earlier output comes first
        self._fd = fd
        self._write, close = _writer(fd, mode)
        weakref.finalize(self, close)

    def write(self, text: str) -> None:
        """Write lines now or later, or count them as dropped. Raises OSError if the reader has closed its end."""
        octets = text.encode(*self._encoding)
        with self._lock:
            if not self._take(octets):
                self.dropped += text.count("\n")
                self.error = self.error or _too_slow()
            try:
                self._drain()
            except OSError:
                self._held.clear()
                raise
            if self._held and self._drainer is None:
                self._drain_later()

    def flush(self) -> None:
        """Do nothing: write() already writes as much as the file takes."""

    def finish(self, seconds: float) -> None:
        """Write the held lines, waiting at most ``seconds`` for the reader. Lines that it does not read are lost."""
        until = time.monotonic() + seconds
        while True:
            with self._lock:
                try:
                    self._drain()
                except OSError as error:
                    self._lost(error)
                if not self._held:
                    return
                if time.monotonic() >= until:
                    self.error = self.error or _too_slow()
                    return
            _wait_for_room(self._fd, min(50, _LOOK_AGAIN))

    def _lost(self, error: OSError) -> None:
        self._held.clear()
        self.error = self.error or error

    def _take(self, octets: bytes) -> bool:
        """Hold the lines, after a notice if one is due. Return whether there was room."""
        said = self._notice(self.dropped).encode(*self._encoding) if self.dropped else b""
        if len(self._held) + len(said) + len(octets) > (MOST_HELD // 2 if said else MOST_HELD):
            return False
        self._held += said + octets
        self.dropped = 0
        return True

    def _drain(self) -> None:
        """Write as much as the file takes at once. When nothing is held, add the notice of dropped lines."""
        while self._held:
            count = self._write(self._piece())
            if not count:
                return
            del self._held[:count]
            if not self._held and self.dropped:
                self._take(b"")

    def _piece(self) -> bytes:
        """Return what to write next: whole lines, where a pipe takes them in one piece.

        A log whose reader stops reading then ends with a whole line.
        """
        if len(self._held) > _PIECE:
            end = self._held.rfind(b"\n", 0, _PIECE) + 1
            return bytes(self._held[: end or 65536])
        return bytes(self._held)

    def _drain_later(self) -> None:
        drainer = threading.Thread(target=self._drain_on, name="fourtuple-log", daemon=True)
        with suppress(RuntimeError, MemoryError):  # no thread can be started: the next line tries again
            drainer.start()
            self._drainer = drainer

    def _drain_on(self) -> None:
        """Wait for room and write until nothing is held. Runs in a thread."""
        while True:
            _wait_for_room(self._fd, _LOOK_AGAIN)
            with self._lock:
                try:
                    self._drain()
                except OSError as error:
                    self._lost(error)
                if not self._held:
                    self._drainer = None
                    return


def _too_slow() -> OSError:
    return BlockingIOError(errno.EAGAIN, "its reader is too slow")


def _wait_for_room(fd: int, milliseconds: int) -> bool:
    """Wait for room. Return whether a write would take at least one octet, or raise."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(milliseconds))


def _writer(fd: int, mode: int) -> tuple[Callable[[bytes], int], Callable[[], object]]:
    """Return a function that writes without waiting, and a function that closes its descriptor.

    The first returns how many octets it has written. It raises OSError if the reader has closed its end.
    """
    try:
        if stat.S_ISSOCK(mode):
            sock = socket.socket(fileno=os.dup(fd))
            return lambda octets: _taken(sock.send, octets, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL), sock.close
        again = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        return lambda octets: _taken(os.write, again, octets), lambda: os.close(again)
    except OSError:  # a terminal of another user, no /proc, or a closed reader
        return lambda octets: os.write(fd, octets[:_PIECE]) if _wait_for_room(fd, 0) else 0, lambda: None


def _taken(write: Callable[..., int], *arguments: object) -> int:
    try:
        return write(*arguments)
    except BlockingIOError:
        return 0
