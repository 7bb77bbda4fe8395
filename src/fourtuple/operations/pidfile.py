"""A file with the number of the process, which is locked while the process runs."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType

from fourtuple.errors import OperationError

#: The most octets of a file with a process's number.
_MOST = 32


class PidFile:
    """A file with this process's number; without a path it does nothing.

    It is locked before anything else is opened, so that a second process ends there, and written when the process is
    ready. At the end of a ``with`` block it is removed.

    The lock (flock(2)) goes with the process, however it ends. So a file that was left is taken over, and a file of a
    process that runs is refused, even if its number was given to another process meanwhile.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._fd = -1

    def lock(self) -> None:
        """Lock the file, and make it empty. Idempotent.

        Raises :class:`~fourtuple.errors.OperationError` if another process has it, or the system refuses it.
        """
        if self._path is not None and self._fd < 0:
            with _named(self._path):
                self._fd = _locked(self._path)
                os.ftruncate(self._fd, 0)

    def write(self) -> None:
        """Write the number of this process into the locked file: it is ready.

        Raises :class:`~fourtuple.errors.OperationError` if it cannot be written, as on a full disk.
        """
        if self._path is not None and self._fd >= 0:
            with _named(self._path):
                os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)

    def close(self) -> None:
        """Remove the file, and unlock it. Idempotent."""
        if self._path is None or self._fd < 0:
            return
        try:
            os.unlink(self._path)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._fd, 0)  # the user that the process became may not remove it
        os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> PidFile:
        self.lock()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()


def check_pidfile(path: str | None) -> None:
    """Raise :class:`~fourtuple.errors.OperationError` if the file cannot be made or written; nothing is made.

    A file that a process has locked is not an error: it may be the one that this is asked for.
    """
    if path is None:
        return
    with _named(path):
        try:
            os.close(_opened(path))
        except FileNotFoundError:
            folder = os.path.dirname(path) or os.curdir
            os.stat(folder)
            if not os.access(folder, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES)) from None


@contextmanager
def _named(path: str) -> Iterator[None]:
    """Raise what the system refuses as an error that names the file."""
    try:
        yield
    except OSError as error:
        raise OperationError(f"pidfile {path}: {error.strerror}") from error


def _locked(path: str) -> int:
    while True:
        fd = _opened(path, os.O_CREAT)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still_there(fd, path):
                return fd
        except BlockingIOError:
            number = os.pread(fd, _MOST, 0).decode("ascii", "replace").strip()
            holder = f"process {number}" if number else "a process that starts"
            os.close(fd)
            raise OperationError(f"pidfile {path}: {holder} runs with it") from None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # its process removed it between the open and the lock


def _opened(path: str, flags: int = 0) -> int:
    # O_NOFOLLOW: a link that another user made in a shared folder would have another file overwritten.
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | flags, 0o644)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        why = "it is not a regular file"
    elif not _is_number(os.pread(fd, _MOST + 1, 0)):
        # It would be made empty, and removed at the end: a mistyped path must not cost a file of the user's.
        why = "the file exists, and does not contain the number of a process"
    else:
        return fd
    os.close(fd)
    raise OperationError(f"pidfile {path}: {why}")


def _is_number(content: bytes) -> bool:
    """Return whether this is what a file with a process's number contains; an empty one is of a process that starts."""
    return len(content) <= _MOST and (not content.strip() or content.strip().isdigit())


def _is_still_there(fd: int, path: str) -> bool:
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return False
    mine = os.fstat(fd)
    return (mine.st_dev, mine.st_ino) == (there.st_dev, there.st_ino)
