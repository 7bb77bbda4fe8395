"""The process groups of programs that serve connections: the third signal kills them together with this process.

A program may ignore SIGTERM, and after the third signal its server can no longer kill it. The handler in C has its own
list of the groups.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fourtuple.signals.native import native

_groups: set[int] = set()


@contextmanager
def ends_with_us(group: int) -> Iterator[None]:
    """Let the third signal kill this process group while the block runs. May be used in any thread."""
    _groups.add(group)
    if native is not None:
        native.keep_group(group)
    try:
        yield
    finally:
        _groups.discard(group)
        if native is not None:
            native.let_group_go(group)


def kill_groups() -> None:
    """Kill all registered process groups."""
    for group in list(_groups):
        with suppress(OSError):
            os.killpg(group, signal.SIGKILL)


# The groups belong to the parent. The C compares the process id instead.
os.register_at_fork(after_in_child=_groups.clear)
