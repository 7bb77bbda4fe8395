"""Options of a server with several processes."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Self, Unpack

from fourtuple.options.declaring import Options, option

if TYPE_CHECKING:
    from fourtuple.options.changes import ProcessesChanges

#: The most workers of one supervisor.
MOST_WORKERS = 256
#: The control group's bound for processor time (cgroups(7)): microseconds, and the period in which they may be used.
_QUOTA = "/sys/fs/cgroup/cpu.max"


def processors() -> int:
    """Return how many processors this process may use: by its affinity, and by the quota of its container."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError), open(_QUOTA) as quota:
        most, period = map(int, quota.read().split())  # "max 100000" without a bound
        count = min(count, max(1, ceil(most / period)))
    return count


@dataclass(frozen=True, kw_only=True)
class Processes(Options):
    """The worker processes of a server, and when they are replaced. ``None`` switches a function off."""

    workers: int | None = option(
        None,
        "the number of worker processes under a supervisor, each with its own interpreter; auto: one for each "
        "processor that may be used",
        unit="processes",
        reason="none: one process, without a supervisor; it suffices for most services",
        minimum=1,
        maximum=MOST_WORKERS,
        words={"auto": processors},
    )
    """The number of worker processes under a supervisor, each with its own interpreter; auto: one for each processor
    that may be used. Default: none (one process, without a supervisor; it suffices for most services).
    """
    start_timeout: float | None = option(
        60.0,
        "from the start of a worker until it accepts connections; then it is killed, and the start has failed",
        unit="seconds",
        reason="imports and set-ups take seconds; a start that never ends must not block all later rolls",
        above=0,
    )
    """From the start of a worker until it accepts connections; then it is killed, and the start has failed, in seconds.
    Default: 60 (imports and set-ups take seconds; a start that never ends must not block all later rolls).
    """
    handshake_grace: float = option(
        5.0,
        "the longest time that a slot which is removed still accepts the handshakes that were under way",
        unit="seconds",
        reason="a handshake takes a round trip, and three seconds more if its SYN-ACK was lost twice",
        minimum=1,
    )
    """The longest time that a slot which is removed still accepts the handshakes that were under way, in seconds.
    Default: 5 (a handshake takes a round trip, and three seconds more if its SYN-ACK was lost twice).
    """
    recycle_messages: int | None = option(
        None,
        "the number of messages after which a worker is replaced by a fresh one",
        unit="messages",
        reason="none: replacing workers hides leaks of memory, it does not mend them",
        minimum=1,
    )
    """The number of messages after which a worker is replaced by a fresh one. Default: none (replacing workers hides
    leaks of memory, it does not mend them).
    """
    recycle_after: float | None = option(
        None,
        "the age at which a worker is replaced by a fresh one",
        unit="seconds",
        reason="none: as for recycle_messages",
        minimum=1,
    )
    """The age at which a worker is replaced by a fresh one, in seconds. Default: none (as for recycle_messages)."""
    recycle_jitter: float = option(
        0.1,
        "the share by which recycle_messages and recycle_after are longer or shorter for each worker, at random",
        reason="workers that began together would be replaced together",
        minimum=0,
        maximum=0.9,
    )
    """The share by which recycle_messages and recycle_after are longer or shorter for each worker, at random. Default:
    0.1 (workers that began together would be replaced together).
    """

    if TYPE_CHECKING:

        def replace(self, **changes: Unpack[ProcessesChanges]) -> Self: ...  # type: ignore[override]
