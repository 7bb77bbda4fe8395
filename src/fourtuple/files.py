"""Files that users name: they are read whole, and only if they are regular files; whether one can be written.

open(2) of a FIFO waits until another process opens its other end, and a terminal or a device may have no end: a server
that read one of these would wait while it serves.
"""

from __future__ import annotations

import errno
import os
import stat

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a directory",
}
#: The device /dev/null, null(4): what people name for a file with nothing in it.
_NULL = os.makedev(1, 3)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Check that a file can be written, without opening it or making it.

    An existing file keeps its content, and a FIFO its reader, which would see an end of file. Raises :class:`OSError`
    with the errno that open(2) would have. A full disk shows only when the file is written.
    """
    try:
        is_folder = stat.S_ISDIR(os.stat(path).st_mode)
    except FileNotFoundError:
        folder = os.path.dirname(path) or os.curdir
        if not stat.S_ISDIR(os.stat(folder).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(path)) from None
        target, needed = folder, os.W_OK | os.X_OK
    else:
        if is_folder:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        target, needed = os.fspath(path), os.W_OK
    if not os.access(target, needed):
        why = errno.EROFS if os.statvfs(target).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(why, os.strerror(why), os.fspath(path))


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """Return the octets of a regular file, or of /dev/null, without waiting.

    Raises OSError, which tells what else the path names.
    """
    # O_NONBLOCK: without it, open(2) of a FIFO waits for a writer. It has no effect on regular files.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    status = os.fstat(number)
    kind = stat.S_IFMT(status.st_mode)
    if kind != stat.S_IFREG and not (kind == stat.S_IFCHR and status.st_rdev == _NULL):
        os.close(number)
        what = _KINDS.get(kind, "something else")
        raise OSError(errno.EINVAL, f"expected a regular file, got {what}", os.fspath(path))
    with open(number, "rb") as file:
        return file.read()
