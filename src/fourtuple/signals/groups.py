"""Process groups that end with this process when the third signal ends it: those of programs that serve connections.

A program may ignore SIGTERM, and its server is not there any more to kill it. The handler in C has the list itself.
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
    """While the block runs, the third signal kills this process group. In any thread."""
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
    """Kill all of them."""
    for group in list(_groups):
        with suppress(OSError):
            os.killpg(group, signal.SIGKILL)


# They are the parent's; the C looks whose process it is.
os.register_at_fork(after_in_child=_groups.clear)
