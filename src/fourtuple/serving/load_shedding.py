"""Load shedding: which connections are ended when the server is short of memory or of threads.

New connections are not ended but wait: a full server pauses accept (``admission.py``). Both parts look four times a
second, together with the deadlines. None of this code runs when octets are received or sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter

from fourtuple import events
from fourtuple.engine import miss
from fourtuple.errors import ConnectionEnded, DeadlinePassed
from fourtuple.handlers import Runner, Threads
from fourtuple.options import Limits
from fourtuple.serving.admission import Admission
from fourtuple.stream import Reason

#: Seconds between two sums over the buffers of all connections: with 10,000 connections a sum takes 2 ms.
BUFFER_GUARD_SECONDS = 1.0
#: The connections holding most are aborted until this share of max_buffered is left. Without the margin, the server
#: would stay at the limit and abort a connection each second.
RELIEF = 7 / 8


class BufferGuard:
    """Keeps the octets in all buffers below ``max_buffered``: it aborts the connections holding most.

    Between two checks the limit may be exceeded by as much as the machine can receive in a second.
    """

    def __init__(self, admission: Admission, runners: Mapping[int, Runner], observer: events.Observer) -> None:
        self._admission = admission
        self._runners = runners
        self._observer = observer
        self._looked = 0.0
        #: Octets held at the latest check.
        self.octets: int = 0
        #: The number of aborted connections.
        self.ended: int = 0

    def look(self, now: float, limits: Limits) -> None:
        """Add up the buffers, and abort the connections holding most if the sum exceeds the limit."""
        if now - self._looked < BUFFER_GUARD_SECONDS:
            return
        self._looked = now
        total = limits.max_buffered
        # A stream that is over was ended before; only its socket is still used by a thread.
        held = [(runner.stream.buffered, runner) for runner in self._runners.values() if not runner.stream.over]
        self.octets = sum(octets for octets, _ in held)
        for octets, runner in held:
            own = runner.stream.limits.max_buffered_per_connection
            if own is not None and octets > own:
                self._end(runner, octets, "max_buffered_per_connection", f"{octets} octets, {own} are allowed")
        if total is not None and self.octets > total:
            self._admission.pause("max_buffered", f"max_buffered reached: {self.octets} octets are held")
            self._relieve(held, total)
        else:
            self._admission.resume("max_buffered")

    def _relieve(self, held: list[tuple[int, Runner]], total: int) -> None:
        for octets, runner in sorted(held, key=itemgetter(0), reverse=True):
            if self.octets <= total * RELIEF:
                return
            why = f"{octets} octets of {self.octets}, more than any other; {total} are allowed for all connections"
            self._end(runner, octets, "max_buffered", why)

    def _end(self, runner: Runner, octets: int, limit: str, text: str) -> None:
        stream = runner.stream
        self.octets -= octets
        self.ended += 1
        why = f"{stream.name} holds {text}"
        self._observer(events.LimitExceeded(runner.connection.id, stream.name, limit, why))
        stream.because(Reason.LIMIT)
        # Before the abort, whose own error says less: the first cause stays.
        stream.note_cause(ConnectionEnded(f"aborted by this side ({limit}): {why}"))
        runner.abort()


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
        # Those that were ended at the last looks give their threads back later; without them, each look would end
        # others.
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
