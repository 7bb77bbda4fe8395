"""The process groups of programs that serve connections: the third signal kills them together with this process.

A program may ignore SIGTERM, and after the third signal its server can no longer kill it.
"""

from __future__ import annotations

import os
import signal
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: The groups; 0 is a free place. The handler in C reads it while other threads write, so it never changes its size. A
#: group for which there is no free place survives this process.
TABLE = array("i", [0]) * 4096
_free = list(range(len(TABLE)))


@contextmanager
def ends_with_us(group: int) -> Iterator[None]:
    """Let the third signal kill this process group while the block runs. May be used in any thread."""
    try:
        place = _free.pop()
    except IndexError:
        yield
        return
    TABLE[place] = group
    try:
        yield
    finally:
        TABLE[place] = 0
        _free.append(place)


def kill_groups() -> None:
    """Kill all registered process groups."""
    for group in filter(None, TABLE):
        with suppress(OSError):
            os.killpg(group, signal.SIGKILL)


def _in_child() -> None:
    """The groups belong to the parent."""
    for place, group in enumerate(TABLE):
        if group:
            TABLE[place] = 0


os.register_at_fork(after_in_child=_in_child)
