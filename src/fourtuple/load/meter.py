"""The counters of a running load: the current row, and how rows are closed."""

from __future__ import annotations

import time
from collections.abc import Callable

from fourtuple.load.histogram import Recorder
from fourtuple.load.schedule import SECOND
from fourtuple.load.tally import MAX_SAMPLES, Interval, Phase, Tally
from fourtuple.printable import printable


class Meter:
    """The counters of one process.

    Hot paths write to ``latency.counts`` (see :meth:`fourtuple.load.histogram.Recorder.record`) and to ``tally``;
    :meth:`roll` closes a row and begins the next. ``clock`` returns nanoseconds. Its default is
    :func:`time.perf_counter_ns`, because on Linux that is CLOCK_MONOTONIC, one clock for all processes of a machine.
    """

    def __init__(
        self, clock: Callable[[], int] = time.perf_counter_ns, cpu: Callable[[], int] = time.process_time_ns
    ) -> None:
        self.clock = clock
        self._cpu = cpu
        self.latency: Recorder = Recorder()
        self.lateness: Recorder = Recorder()
        self.connecting: Recorder = Recorder()
        self.handshaking: Recorder = Recorder()
        self.tally: Tally = Tally()
        self.phase: Phase = Phase.OPENING
        #: When the load began, in nanoseconds of the clock.
        self.began: int = clock()
        self._since = self.began
        self._cpu_since = cpu()
        self._number = 0
        self._samples = 0

    def enter(self, phase: Phase, now: int | None = None) -> None:
        """Begin the next phase. The row before must be closed. The load begins with the first phase after OPENING."""
        if self.phase is Phase.OPENING:
            self._since = self.clock() if now is None else now
            self.began = self._since
            self._cpu_since = self._cpu()
        self.phase = phase
        self._number = 0

    def roll(self, open_connections: int) -> Interval:
        """Close the current row and return it."""
        now, cpu = self.clock(), self._cpu()
        tally, self.tally = self.tally, Tally()
        tally.seconds = max(0, now - self._since) / SECOND
        tally.cpu = cpu - self._cpu_since
        tally.latency = self.latency.take()
        tally.lateness = self.lateness.take()
        tally.connecting = self.connecting.take()
        tally.handshaking = self.handshaking.take()
        tally.replies += tally.latency.count
        tally.connects += tally.connecting.count
        row = Interval(self._number, (self._since - self.began) / SECOND, self.phase, open_connections, tally)
        self._number += 1
        self._since, self._cpu_since = now, cpu
        return row

    def sample(self, text: str) -> None:
        """Keep the text of one of the first few failures. It is escaped, because the peer may have made it."""
        if self._samples < MAX_SAMPLES:
            self._samples += 1
            self.tally.samples.append(printable(text))
