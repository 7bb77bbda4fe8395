"""An observer that counts, for the page of metrics: why connections ended, how long they were open, what failed.

What a server counts itself (accepted connections, messages, octets) is taken from its statistics when a snapshot is
made. How long handlers take is measured by a wrapper around the handler, because events know only the slow ones.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from fourtuple import events
from fourtuple.errors import DeadlinePassed
from fourtuple.observe.declared import METRICS, OTHER
from fourtuple.observe.snapshot import MOST_VALUES, Distribution, Snapshot

_DURATION = METRICS["fourtuple_connection_duration_seconds"].bounds
_HANDLER = METRICS["fourtuple_handler_seconds"].bounds
_SIZE = METRICS["fourtuple_message_size_octets"].bounds

#: Events that are counted without a label, and the metric.
_COUNTED: dict[type[events.Event], str] = {
    events.HandlerRaised: "fourtuple_handler_errors_total",
    events.HandlerSlow: "fourtuple_handlers_slow_total",
    events.MessageFailed: "fourtuple_message_errors_total",
    events.MessageUnmapped: "fourtuple_messages_unmapped_total",
}


class Meter:
    """Counts the events of one server: an :data:`~fourtuple.events.Observer`.

    ``service`` is the value of the label ``service``. Events may come from any thread.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        #: The longest time for which a call has held the loop, in seconds.
        self.longest_hold: float = 0.0
        #: Seconds of calls of the handler, and octets of messages. The wrapper of the handler writes here.
        self.handler: Distribution = Distribution.empty(_HANDLER)
        self.received: Distribution = Distribution.empty(_SIZE)
        self.sent: Distribution = Distribution.empty(_SIZE)
        self._durations = Distribution.empty(_DURATION)
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._deadlines: Counter[str] = Counter()
        self._limits: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._handlers: dict[type[events.Event], Callable[[Any], None]] = {
            events.Closed: self._closed,
            events.DeadlineMissed: self._deadline,
            events.LimitExceeded: lambda event: _count(self._limits, event.limit),
            events.HandlerSlow: self._held,
            events.LoopHeld: self._held,
        }

    def __call__(self, event: events.Event) -> None:
        kind = type(event)
        handler, name = self._handlers.get(kind), _COUNTED.get(kind)
        if handler is None and name is None:
            return
        with self._lock:
            if name is not None:
                self._counts[name] += 1
            if handler is not None:
                handler(event)

    def _closed(self, event: events.Closed) -> None:
        self._reasons[event.reason.value] += 1
        self._durations.observe(event.seconds)

    def _deadline(self, event: events.DeadlineMissed) -> None:
        _count(self._deadlines, event.error.which if isinstance(event.error, DeadlinePassed) else OTHER)

    def _held(self, event: events.HandlerSlow | events.LoopHeld) -> None:
        self.longest_hold = max(self.longest_hold, event.seconds)

    def handled(self, seconds: float, received: Iterable[int], sent: Iterable[int] = ()) -> None:
        """Count a call of the handler, in any thread, with the octets of its messages and replies."""
        with self._lock:
            self.handler.observe(seconds)
            for size in received:
                self.received.observe(size)
            for size in sent:
                self.sent.observe(size)

    def fill(self, snapshot: Snapshot) -> None:
        """Put what was counted into a snapshot."""
        with self._lock:
            for name in _COUNTED.values():
                snapshot.put(name, self._counts[name], self.service)
            for name, counts in (
                ("fourtuple_connections_closed_total", self._reasons),
                ("fourtuple_deadlines_missed_total", self._deadlines),
                ("fourtuple_limits_exceeded_total", self._limits),
            ):
                for label, count in counts.items():
                    snapshot.put(name, count, self.service, label)
            snapshot.put("fourtuple_connection_duration_seconds", self._durations, self.service)
            snapshot.put("fourtuple_handler_seconds", self.handler, self.service)
            snapshot.put("fourtuple_message_size_octets", self.received, self.service, "in")
            snapshot.put("fourtuple_message_size_octets", self.sent, self.service, "out")
            snapshot.put("fourtuple_loop_longest_hold_seconds", self.longest_hold)


def _count(counts: Counter[str], label: str) -> None:
    """Count a label; one more than the bound of values is counted as "other"."""
    counts[label if label in counts or len(counts) < MOST_VALUES - 1 else OTHER] += 1
