"""When all threads are taken and others wait for one: conversations in threads whose peers are silent are ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from fourtuple.engine import miss
from fourtuple.errors import DeadlinePassed
from fourtuple.handlers import Runner, Threads
from fourtuple.serving.admission import Admission


class Crowding:
    """Ends the conversations in threads that have been idle for longest, as many as connections wait for a thread.

    A thread cannot be taken away from its handler, and a peer that says one line and then nothing would keep it. A
    conversation that has been idle for less than ``crowded_idle_timeout``, or whose handler is at work, goes on.
    """

    def __init__(self, admissions: Sequence[Admission], runners: Sequence[Mapping[int, Runner]]) -> None:
        self._admissions = admissions
        self._runners = runners
        #: The ended ones whose handlers have not returned yet: their threads will be free.
        self._leaving: list[Runner] = []

    def look(self, now: float, threads: Threads, seconds: float | None) -> None:
        """End as many as are needed. Called by the sweep."""
        self._leaving = [runner for runner in self._leaving if runner.at_work]
        if seconds is None or not threads.full:
            return
        waiting = threads.waiting + sum(admission.queued("max_threads") for admission in self._admissions)
        missing = waiting - len(self._leaving)
        if missing > 0:
            for _, runner in self._idle(now - seconds)[:missing]:
                why = f"{threads.busy} threads are busy, {waiting} connections wait for one"
                miss(runner.channel, DeadlinePassed("crowded_idle_timeout", seconds, str(runner.stream.name), why))
                self._leaving.append(runner)

    def _idle(self, before: float) -> list[tuple[float, Runner]]:
        """Return the conversations that have been idle since ``before``, the longest idle first."""
        runners = chain.from_iterable(each.values() for each in self._runners)
        found = [(since, runner) for runner in runners if (since := runner.idle_since) is not None]
        return sorted(((since, runner) for since, runner in found if since <= before), key=lambda each: each[0])
