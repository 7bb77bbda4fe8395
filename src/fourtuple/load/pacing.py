"""The open loop: requests are sent at scheduled times, whether the server keeps up or not.

Every request has an *intended* moment, and its latency is measured from that moment. If a server stalls for a second,
the latencies of all requests that were due in that second show it. A closed loop sends none of these requests and shows
one slow reply (Gil Tene calls this coordinated omission).

Requests that cannot be sent, because every connection has its maximum in flight, are not stored: the schedule knows
their moments. They are sent in order as soon as there is room, and keep their intended moments. How late they were sent
is recorded too.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from fourtuple.load.host import SlotHost
from fourtuple.load.requesters import Requester, record
from fourtuple.load.schedule import Schedule

if TYPE_CHECKING:
    from fourtuple.load.alarm import Alarm


class Walker(Protocol):
    """The interface of a connection for the pacer."""

    parked: bool

    @property
    def room(self) -> bool:
        """Whether one more request may be sent."""

    def push(self, now: int) -> None:
        """Send the request that is due."""

    def flush(self) -> None:
        """Send the pushed requests now."""


#: The most requests sent before the loop does other work.
_BATCH = 512
#: The least nanoseconds between two wake-ups: at high rates, requests due in between are sent together.
_QUIET = 100_000


class Pacer:
    """Gives the requests of one process to its connections when they are due."""

    def __init__(self, worker: SlotHost, schedule: Schedule, alarm: Alarm) -> None:
        self._worker = worker
        self._alarm = alarm
        self._clock = worker.clock
        self._lateness = worker.meter.lateness.counts
        self.schedule = schedule
        #: Connections with room; the first gets the next request.
        self.free: deque[Walker] = deque()
        self._began = 0
        self._number = 0
        self._next = 0
        self._stopped = True

    def start(self, began: int) -> None:
        """Begin the schedule at the moment ``began``."""
        self._began = began
        self._next = began + self.schedule.at(0)
        self._stopped = False
        self.tick()

    def stop(self) -> int:
        """End the schedule; return how many requests were due and not sent."""
        if self._stopped:
            return 0
        self._stopped = True
        self._alarm.set(None)
        due = self.schedule.before(self._clock() - self._began)
        return max(0, min(due, self._number + self._worker.pool.left) - self._number)

    def due(self, now: int) -> bool:
        """Whether a request waits for room."""
        return self._next <= now and not self._stopped and self._worker.pool.left > 0

    def take(self, now: int) -> int:
        """Take the request that is sent now; return its intended moment."""
        intended = self._next
        self._number += 1
        self._next = self._began + self.schedule.at(self._number)
        self._worker.pool.take(1)
        record(self._lateness, now - intended)
        return intended

    def tick(self) -> None:
        """Send the requests that are due, and set the alarm for the next one."""
        now = self._clock()
        touched: dict[Walker, None] = {}
        for _ in range(_BATCH):
            if not (self.free and self.due(now)):
                break
            slot = self.free.popleft()
            if not slot.room:
                slot.parked = True
                continue
            slot.push(now)
            touched[slot] = None
            if slot.room:
                self.free.append(slot)
            else:
                slot.parked = True
        for slot in touched:
            slot.flush()
        if self._stopped or not self.free or self._worker.pool.left <= 0:
            self._alarm.set(None)  # the next connection with room sets it again
        else:
            self._alarm.set(max(self._next, self._clock() + (_QUIET if self._next > now else 0)))

    def joined(self, slot: Walker) -> None:
        """Note that a connection has room."""
        slot.parked = False
        self.free.append(slot)
        if len(self.free) == 1 and not self._stopped:
            self._alarm.set(max(self._next, self._clock()))


class Paced(Requester):
    """One connection of the open loop."""

    visit_left: int

    def __init__(self, worker: SlotHost, number: int) -> None:
        super().__init__(worker, number)
        assert worker.pacer is not None
        self._pacer = worker.pacer
        #: The moments when the requests in flight were sent; ``sent`` has their intended moments.
        self._left_at: deque[int] = deque()
        self._asked = 0
        #: Whether the pacer skips this connection until :meth:`Pacer.joined` is called.
        self.parked = True

    @property
    def room(self) -> bool:
        """Whether one more request may be in flight."""
        return self.can_write and len(self.sent) < self._depth and self.visit_left > 0

    def start(self) -> None:
        if self.parked:
            self._pacer.joined(self)

    def _compose(self, now: int) -> Any:
        self.sent.append(self._pacer.take(now))
        self._left_at.append(now)
        self.made()
        self.visit_left -= 1
        self._asked += 1
        return self._message if self._message is not None else self.compose()

    def push(self, now: int) -> None:
        """Send the request that is due."""
        assert self.channel is not None
        self.channel.stream.send(self._compose(now))

    def flush(self) -> None:
        """Send the pushed requests now."""
        if self.channel is not None:
            self.channel.settle()

    def answered(self, reply: Any) -> Any:
        now = self._clock()
        if self._early():
            return self._unasked(reply)
        record(self._counts, now - self.sent.popleft())
        self._left_at.popleft()
        if self.parked and self.room:
            if self._pacer.due(now):
                return self._compose(now)
            self._pacer.joined(self)
        if not self.sent:
            self.no_more()
        return None

    def no_more(self) -> None:
        if self.visit_left <= 0 or self.worker.pool.left <= 0:
            super().no_more()

    def oldest(self) -> int:
        return self._left_at[0]

    def count_requests(self) -> None:
        self.worker.meter.tally.requests += self._asked
        self._asked = 0

    def forget(self) -> None:
        self.sent.clear()
        self._left_at.clear()
        self._expected.clear()
