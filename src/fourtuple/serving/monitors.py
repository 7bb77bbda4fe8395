"""What a server checks four times a second, together with its deadlines: the buffered octets, and the alarms.

None of this code runs when octets are received or sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal, TypeAlias, get_args

from fourtuple import events
from fourtuple.errors import ConnectionEnded
from fourtuple.handlers import Runner
from fourtuple.options import Limits, check_callable, check_choice, check_kind, check_range, check_whole
from fourtuple.printable import repr_of
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
        stream.note_cause(ConnectionEnded(f"aborted by this side ({limit}): {why}"))
        runner.abort()


#: The gauges that an alarm can watch.
Gauge: TypeAlias = Literal["connections", "buffered", "threads", "accept_queue"]


@dataclass(frozen=True, slots=True)
class Alarm:
    """Reports that a number has reached a threshold, and again every ``interval`` seconds while it stays there.

    Parameters
    ----------
    threshold
        The number at which the alarm is raised, at least 1.
    gauge
        The number that is watched: ``"connections"`` (the default), ``"buffered"`` (octets in all buffers),
        ``"threads"`` (busy ones) or ``"accept_queue"`` (the length of the longest, in connections).
    interval
        The least seconds between two reports. Default: 5, as in ranch: it pages you without a flood.
    callback
        Called on the loop with the :class:`~fourtuple.events.AlarmRaised` that the observer gets, too. Default: none.
    """

    threshold: int
    gauge: Gauge = "connections"
    interval: float = 5.0
    callback: Callable[[events.AlarmRaised], object] | None = None

    def __post_init__(self) -> None:
        check_choice("gauge", self.gauge, get_args(Gauge))
        check_whole("threshold", self.threshold, 1)
        check_kind("interval", self.interval, "float", "seconds")
        check_range("interval", self.interval, "seconds", None, 0)
        check_callable("callback", self.callback)


class Alarms:
    """Checks the gauges for the alarms: those given to the server, and that of the option ``alarm_connections``."""

    def __init__(
        self, alarms: Iterable[Alarm], gauges: Mapping[str, Callable[[], int]], observer: events.Observer
    ) -> None:
        self._own = tuple(alarms)
        self._gauges = gauges
        self._observer = observer
        self._raised: dict[Alarm, float] = {}

    def look(self, now: float, limits: Limits) -> None:
        """Raise the alarms that are due."""
        if limits.alarm_connections is not None:
            self._check(Alarm(limits.alarm_connections, interval=limits.alarm_interval), now)
        for alarm in self._own:
            self._check(alarm, now)

    def _check(self, alarm: Alarm, now: float) -> None:
        value = self._gauges[alarm.gauge]()
        if value < alarm.threshold:
            return
        last = self._raised.get(alarm)
        if last is not None and now - last < alarm.interval:
            return
        self._raised[alarm] = now
        event = events.AlarmRaised(alarm.gauge, value, alarm.threshold)
        self._observer(event)
        if alarm.callback is not None:
            try:
                alarm.callback(event)
            except Exception as error:
                asyncio.get_running_loop().call_exception_handler(
                    {"message": f"fourtuple: the callback of {repr_of(alarm)} failed", "exception": error}
                )
