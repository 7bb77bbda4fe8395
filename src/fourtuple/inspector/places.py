"""Where a socket belongs: its user's name, its control group, its container, its interface."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Collection
from functools import lru_cache

#: Where cgroup version 2 is mounted, alone or beside version 1.
_MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
#: Container engines write 64 hexadecimal digits into a cgroup's path, whatever stands around them.
_NO_DIGIT = re.compile(r"[^0-9a-f]")
_CONTAINER_DIGITS = 64
#: As many digits as `docker ps` shows.
_SHORT = 12
_UNITS = (".service", ".scope", ".slice")


@lru_cache(maxsize=1024)
def user_name(uid: int) -> str:
    """Return the name of a user, or the number as text if there is no name."""
    import pwd  # imported here: it reads the user database

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def interface_name(index: int) -> str:
    """Return the name of an interface, or its number as text if it is gone."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)


def cgroup_paths(ids: Collection[int]) -> dict[int, str]:
    """Return the paths of cgroups. The id of a cgroup is the inode of its folder (kernfs, 64-bit systems)."""
    left, found = {number for number in ids if number}, dict[int, str]()
    for mount in _MOUNTS:
        if not left:
            break
        if not os.path.exists(f"{mount}/cgroup.controllers"):
            continue
        for folder, _folders, _files in os.walk(mount):
            try:
                number = os.stat(folder).st_ino
            except OSError:
                continue  # it was removed meanwhile
            if number in left:
                left.discard(number)
                found[number] = folder.removeprefix(mount) or "/"
                if not left:
                    break
    return found


def container_of(path: str) -> str | None:
    """PURE: return the container, or the service, that a cgroup's path names; None if it names neither."""
    runs: list[str] = _NO_DIGIT.split(path)
    container = next((digits for digits in runs if len(digits) == _CONTAINER_DIGITS), None)
    if container is not None:
        return container[:_SHORT]
    last = next((part for part in reversed(path.split("/")) if part.endswith(_UNITS)), None)
    return None if last is None or last.endswith(".slice") else last
