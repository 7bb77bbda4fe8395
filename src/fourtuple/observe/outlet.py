"""Where lines of a log go without ever waiting for whoever reads them.

A pipe that nobody reads is full after 64 KiB, a terminal that was stopped (Ctrl-S) sooner; a write waits then, and the
loop with it. So to these is written what they take at once. The rest is held, up to a bound, and a thread that lives as
long as something is held writes it when there is room. Lines above the bound are dropped, and counted.

The file's own description is left as it is: others share it (the shell, the next command), whom a write that does not
wait would surprise. It is opened once more, or written to only while it says that it has room.
"""

from __future__ import annotations

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

#: Octets that are held for a reader who is slow: some thousand lines.
MOST_HELD = 256 * 1024
#: What a pipe takes in one piece where it says that it has room (PIPE_BUF).
_PIECE = 4096
#: Milliseconds after which the thread looks again, whatever the kernel says.
_LOOK_AGAIN = 1000


class Writable(Protocol):
    """A text file, as far as it is needed here."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> object: ...


def unblocked(file: Writable, notice: Callable[[int], str]) -> Writable:
    """The file itself where a write does not wait for a reader, else an :class:`Outlet` for it.

    ``notice(count)`` is the line that says how many lines were dropped.
    """
    try:
        fd: int = file.fileno()  # type: ignore[attr-defined]
        mode = os.fstat(fd).st_mode
        waits = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)
    except (AttributeError, OSError, ValueError, TypeError):  # in memory, or closed
        return file
    return Outlet(file, fd, mode, notice) if waits else file


class Outlet:
    """Writes lines to a pipe, a socket or a terminal, as many as it takes; any thread may."""

    def __init__(self, file: Any, fd: int, mode: int, notice: Callable[[int], str]) -> None:
        self._file = file
        self._encoding = (getattr(file, "encoding", None) or "utf-8", getattr(file, "errors", None) or "strict")
        self._notice = notice
        self._lock = threading.Lock()
        self._held = bytearray()
        self._drainer: threading.Thread | None = None
        #: Lines that were dropped, and of which nobody has been told yet.
        self.dropped = 0
        with suppress(OSError, ValueError):
            file.flush()  # what was printed before comes before
        self._fd = fd
        self._write, close = _writer(fd, mode)
        weakref.finalize(self, close)

    def write(self, text: str) -> None:
        """Write lines, now or later, or count them as dropped. Raises OSError when the reader has gone."""
        octets = text.encode(*self._encoding)
        with self._lock:
            if not self._take(octets):
                self.dropped += text.count("\n")
            try:
                self._drain()
            except OSError:
                self._held.clear()
                raise
            if self._held and self._drainer is None:
                self._drain_later()

    def flush(self) -> None:
        """Nothing is kept back that the file takes."""

    def finish(self, seconds: float) -> None:
        """The end: wait for the reader so long, and no longer."""
        until = time.monotonic() + seconds
        with suppress(OSError):
            while time.monotonic() < until:
                with self._lock:
                    self._drain()
                    if not self._held:
                        return
                _wait_for_room(self._fd, min(50, _LOOK_AGAIN))

    def _take(self, octets: bytes) -> bool:
        """Hold the lines, and what has to be said before them; return whether there was room."""
        said = self._notice(self.dropped).encode(*self._encoding) if self.dropped else b""
        if len(self._held) + len(said) + len(octets) > (MOST_HELD // 2 if said else MOST_HELD):
            return False
        self._held += said + octets
        self.dropped = 0
        return True

    def _drain(self) -> None:
        """Write what is taken at once; with nothing held any more, say what was dropped."""
        while self._held:
            count = self._write(bytes(self._held[:65536]))
            if not count:
                return
            del self._held[:count]
            if not self._held and self.dropped:
                self._take(b"")

    def _drain_later(self) -> None:
        drainer = threading.Thread(target=self._drain_on, name="fourtuple-log", daemon=True)
        with suppress(RuntimeError, MemoryError):  # no thread to be had: the next line tries it
            drainer.start()
            self._drainer = drainer

    def _drain_on(self) -> None:
        """In a thread: wait for room, and write, until nothing is held."""
        while True:
            _wait_for_room(self._fd, _LOOK_AGAIN)
            with self._lock:
                try:
                    self._drain()
                except OSError:
                    self._held.clear()
                if not self._held:
                    self._drainer = None
                    return


def _wait_for_room(fd: int, milliseconds: int) -> bool:
    """Whether a write would be taken, in part at least, or raise."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(milliseconds))


def _writer(fd: int, mode: int) -> tuple[Callable[[bytes], int], Callable[[], object]]:
    """What writes without waiting, and what closes it.

    It returns how many octets were taken, and raises OSError when the reader has gone.
    """
    try:
        if stat.S_ISSOCK(mode):
            sock = socket.socket(fileno=os.dup(fd))
            return lambda octets: _taken(sock.send, octets, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL), sock.close
        again = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        return lambda octets: _taken(os.write, again, octets), lambda: os.close(again)
    except OSError:  # somebody else's terminal, no /proc, a reader who has gone
        return lambda octets: os.write(fd, octets[:_PIECE]) if _wait_for_room(fd, 0) else 0, lambda: None


def _taken(write: Callable[..., int], *arguments: object) -> int:
    try:
        return write(*arguments)
    except BlockingIOError:
        return 0
