"""Files that users name: read whole, and only where that ends.

A FIFO is opened when somebody opens its other end, and a terminal or a device may have no end at all: a server that
read one of these would wait in the middle of serving.
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


def read_regular(path: str | os.PathLike[str]) -> bytes:
    """The octets of a regular file. Raises OSError, which says what the path names where it is none; never waits."""
    # O_NONBLOCK: open(2) of a FIFO would wait for a writer. What a regular file is, it does not matter to.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    kind = stat.S_IFMT(os.fstat(number).st_mode)
    if kind != stat.S_IFREG:
        os.close(number)
        what = _KINDS.get(kind, "something else")
        raise OSError(errno.EINVAL, f"it is {what}, a regular file is needed", os.fspath(path))
    with open(number, "rb") as file:
        return file.read()
