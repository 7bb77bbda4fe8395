"""Threads that wait for octets, scheduled so that one that is woken does not interrupt the one that runs.

A thread whose socket becomes readable interrupts the thread on its core at once, and that one mostly has the
interpreter's lock. So the woken thread can only wait for the lock: two switches of threads for nothing, each time.
With SCHED_BATCH (sched(7)) a woken thread runs when its core is free, or when its turn comes. It has the same share of
the processor as before.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: Other systems than Linux have no such policy.
_HAS_POLICIES = hasattr(os, "SCHED_BATCH")


@contextmanager
def unhurried() -> Iterator[None]:
    """Let the calling thread be scheduled by SCHED_BATCH meanwhile.

    A thread for which the program has chosen another policy keeps it, and so does one that may not change its own.
    """
    chosen = False
    with suppress(OSError):
        if _HAS_POLICIES and os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
            chosen = True
    try:
        yield
    finally:
        if chosen:
            with suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
