"""Alarms: a number of the server has reached its threshold.

The numbers are checked four times a second, together with the deadlines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from fourtuple import events
from fourtuple.ignored import Ignored
from fourtuple.options import (
    Limits,
    by_keyword,
    call_plain,
    check_choice,
    check_function,
    check_kind,
    check_range,
    check_whole,
)
from fourtuple.printable import repr_of

#: The gauges that an alarm can watch.
Gauge: TypeAlias = Literal["connections", "buffered", "threads", "accept_queue"]


@by_keyword()
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
        Called on the loop with the :class:`~fourtuple.events.AlarmRaised` that the observer also gets. Default: none.
    """

    threshold: int
    gauge: Gauge = "connections"
    interval: float = 5.0
    callback: Callable[[events.AlarmRaised], Ignored] | None = None

    def __post_init__(self) -> None:
        check_choice("gauge", self.gauge, get_args(Gauge))
        check_whole("threshold", self.threshold, 1)
        check_kind("interval", self.interval, "float", "seconds")
        check_range("interval", self.interval, "seconds", None, 0)
        check_function("callback", self.callback, "event")


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
                call_plain("callback", alarm.callback, event)
            except (Exception, asyncio.CancelledError) as error:
                asyncio.get_running_loop().call_exception_handler(
                    {"message": f"fourtuple: the callback of {repr_of(alarm)} failed", "exception": error}
                )
