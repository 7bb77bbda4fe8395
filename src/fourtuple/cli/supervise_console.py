"""The lines of a supervisor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fourtuple import events
from fourtuple.address import Address
from fourtuple.cli.console import Console, operating_line, plural
from fourtuple.supervisor.events import (
    QueueLent,
    RollAbandoned,
    RollBegun,
    RollDone,
    SocketShared,
    Stopped,
    Stopping,
    UpgradeAbandoned,
    UpgradeBegun,
    UpgradeDone,
    WorkerAnswers,
    WorkerDied,
    WorkerEnded,
    WorkerKilled,
    WorkerNotReady,
    WorkerReady,
    WorkerReplaced,
    WorkersChanged,
    WorkerSilent,
)


class SuperviseConsole(Console):
    """Prints what happens to the workers."""

    def __init__(self, later: Callable[[float, Callable[[], None]], object]) -> None:
        super().__init__(later)
        self._lines: dict[type[events.Event], Callable[[Any], str]] = {
            events.Operating: operating_line,
            WorkerReady: lambda e: f"worker {e.slot} is ready (pid {e.pid}, {e.seconds:.1f} s)",
            WorkerEnded: lambda e: f"worker {e.slot} has ended (pid {e.pid}, {e.why})",
            WorkerReplaced: lambda e: f"worker {e.slot}: pid {e.new} replaces {e.old}, {e.why}",
            WorkerAnswers: lambda e: f"worker {e.slot} answers again (pid {e.pid})",
            QueueLent: lambda e: f"worker {e.by} accepts what waits for worker {e.slot}",
            RollBegun: lambda e: f"workers are replaced one by one: {e.why}",
            RollDone: lambda e: f"{plural(e.workers, 'worker')} replaced",
            WorkersChanged: lambda e: f"{plural(e.after, 'worker')} instead of {e.before}",
            UpgradeBegun: lambda e: f"upgrade: a new supervisor starts (pid {e.pid})",
            UpgradeDone: lambda e: f"upgrade: pid {e.pid} has taken over, this supervisor ends",
            SocketShared: lambda e: (
                f"all workers accept at one socket at {e.address}, which is {e.why}: the load is less even"
            ),
            Stopping: lambda e: f"Stopping {plural(e.workers, 'worker')}; Ctrl-C again aborts",
            Stopped: lambda e: "Stopped" + (f", {plural(e.unclean, 'worker')} aborted" if e.unclean else ""),
        }
        self._failures: dict[type[events.Event], Callable[[Any], str]] = {
            WorkerNotReady: _not_ready,
            WorkerDied: lambda e: (
                f"worker {e.slot} has died (pid {e.pid}, {e.why}); the next one starts "
                + (f"in {e.seconds:.1f} s" if e.seconds else "now")
            ),
            WorkerKilled: lambda e: (
                f"worker {e.slot} had not stopped after {e.seconds:g} s, and is killed (pid {e.pid})"
            ),
            WorkerSilent: lambda e: (
                f"worker {e.slot} has not answered for {e.seconds:g} s (pid {e.pid}): new connections go to the others"
            ),
            RollAbandoned: lambda e: f"{e.why}; the workers before it go on",
            UpgradeAbandoned: lambda e: f"upgrade: {e.why}; this supervisor goes on",
        }

    def __call__(self, event: events.Event) -> None:
        kind = type(event)
        if kind in self._lines:
            self.say(self._lines[kind](event))
        elif kind in self._failures:
            self.complain(self._failures[kind](event))

    def supervising(self, address: Address, workers: int, service: str) -> None:
        """Print one address at which the workers listen, for a service if the program has several."""
        whose = f"{service}: " if service else ""
        self.say(f"{whose}Listening at {address} ({plural(workers, 'worker')})", "bold")


def _not_ready(event: WorkerNotReady) -> str:
    then = "" if event.seconds is None else f"; the next attempt follows in {event.seconds:.1f} s"
    return f"worker {event.slot} did not start: {event.why}{then}"
