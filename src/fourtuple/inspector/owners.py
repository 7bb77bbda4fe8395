"""Who holds a socket: the descriptors of all processes, read once for the inodes that are asked for."""

from __future__ import annotations

import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from fourtuple.inspector.model import Owner

_SOCKET = "socket:["


@dataclass(frozen=True, slots=True)
class Owners:
    """The owners of sockets by inode, and how many processes did not let us look."""

    by_inode: dict[int, tuple[Owner, ...]]
    hidden: int


def owners_of(inodes: Collection[int], proc: str = "/proc") -> Owners:
    """Find all processes that hold these sockets.

    A process of another user hides its descriptors, unless we are root or have CAP_SYS_PTRACE (proc(5)). One readlink
    for each descriptor of the machine is what this costs: ask for the rows that are shown.
    """
    wanted = {f"{_SOCKET}{inode}]": inode for inode in inodes if inode}
    found: dict[int, list[Owner]] = {}
    hidden = 0
    if wanted:
        for pid in filter(str.isdigit, os.listdir(proc)):
            try:
                held = _held(f"{proc}/{pid}/fd", wanted)
            except PermissionError:
                hidden += 1
                continue
            except OSError:
                continue  # it ended meanwhile
            if held:
                program = _program(f"{proc}/{pid}")
                for inode, descriptor in held:
                    found.setdefault(inode, []).append(Owner(int(pid), program, descriptor))
    return Owners({inode: tuple(sorted(some, key=_order)) for inode, some in found.items()}, hidden)


def _order(owner: Owner) -> tuple[int, int]:
    return owner.pid, owner.descriptor


def _held(folder: str, wanted: dict[str, int]) -> list[tuple[int, int]]:
    held = []
    for descriptor in os.listdir(folder):
        with suppress(OSError):  # it was closed meanwhile
            inode = wanted.get(os.readlink(f"{folder}/{descriptor}"))
            if inode is not None:
                held.append((inode, int(descriptor)))
    return held


def _program(folder: str) -> str:
    try:
        with open(f"{folder}/comm", errors="surrogateescape") as comm:
            return comm.read().rstrip("\n")
    except OSError:
        return "?"
