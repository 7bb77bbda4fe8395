"""The lines of a supervisor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fourtuple.address import Address
from fourtuple.cli.console import Console
from fourtuple.cli.console_words import operating_line, plural
from fourtuple.events import Event, Operating
from fourtuple.supervisor import events

#: How a worker ends that got SIGTERM itself, and has drained.
_DONE = "exit code 0"


class SuperviseConsole(Console):
    """Prints what happens to the workers."""

    def __init__(self, later: Callable[[float, Callable[[], None]], object]) -> None:
        super().__init__(later)
        self._lines: dict[type[Event], Callable[[Any], str]] = {
            Operating: operating_line,
            events.WorkerReady: lambda e: f"worker {e.slot} is ready (pid {e.pid}, {e.seconds:.1f} s)",
            events.WorkerEnded: lambda e: f"worker {e.slot} has ended (pid {e.pid}, {e.why})",
            events.WorkerReplaced: lambda e: f"worker {e.slot}: pid {e.new} replaces {e.old}, {e.why}",
            events.WorkerAnswers: lambda e: f"worker {e.slot} answers again (pid {e.pid})",
            events.QueueLent: lambda e: f"worker {e.by} accepts what waits for worker {e.slot}",
            events.RollBegun: lambda e: f"workers are replaced one by one: {e.why}",
            events.RollDone: lambda e: f"{plural(e.workers, 'worker')} replaced",
            events.WorkersChanged: lambda e: f"{plural(e.after, 'worker')} instead of {e.before}",
            events.UpgradeBegun: lambda e: f"upgrade: a new supervisor starts (pid {e.pid})",
            events.UpgradeDone: lambda e: f"upgrade: pid {e.pid} has taken over, this supervisor ends",
            events.SocketShared: lambda e: (
                f"all workers accept at one socket at {e.address}, which is {e.why}: the load is less even"
            ),
            events.Stopping: lambda e: f"Stopping {plural(e.workers, 'worker')}; Ctrl-C again aborts",
            events.Stopped: lambda e: "Stopped" + (f", {plural(e.unclean, 'worker')} aborted" if e.unclean else ""),
        }
        self._failures: dict[type[Event], Callable[[Any], str]] = {
            events.WorkerNotReady: _not_ready,
            events.WorkerDied: lambda e: (
                f"worker {e.slot} has {'ended' if e.why == _DONE else 'died'} (pid {e.pid}, {e.why}); "
                f"the next one starts {_in(e.seconds)}"
            ),
            events.WorkerKilled: lambda e: (
                f"worker {e.slot} had not stopped after {e.seconds:g} s, and is killed (pid {e.pid})"
            ),
            events.WorkerSilent: lambda e: (
                f"worker {e.slot} has not answered for {e.seconds:g} s (pid {e.pid}): new connections go to the others"
            ),
            events.RollAbandoned: lambda e: f"{e.why}; the workers before it go on",
            events.UpgradeAbandoned: lambda e: f"upgrade: {e.why}; this supervisor goes on",
        }

    def __call__(self, event: Event) -> None:
        kind = type(event)
        if kind in self._lines:
            self.say(self._lines[kind](event))
        elif kind in self._failures:
            self.complain(self._failures[kind](event))

    def supervising(self, address: Address, workers: int, service: str) -> None:
        """Print one address at which the workers listen, for a service if the program has several."""
        whose = f"{service}: " if service else ""
        self.say(f"{whose}Listening at {address} ({plural(workers, 'worker')})", "bold")


def _not_ready(event: events.WorkerNotReady) -> str:
    then = "" if event.seconds is None else f"; the next attempt follows {_in(event.seconds)}"
    return f"worker {event.slot} did not start: {event.why}{then}"


def _in(seconds: float) -> str:
    """Return when something follows, in words that do not round a short time to nothing."""
    return f"in {seconds:.1f} s" if seconds >= 0.05 else "now"
