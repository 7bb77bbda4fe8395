"""PURE: what numbers did since the last looks: rates, and series for sparklines."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fourtuple.inspector.model import ActiveSocket, Counters, Socket, key_of

#: Looks that are remembered.
LENGTH = 60


@dataclass(frozen=True, slots=True)
class Rates:
    """Octets a second that a connection sent and received since the last look; None at the first look."""

    sent: float | None = None
    received: float | None = None


@dataclass(slots=True)
class _Last:
    time: float
    sent: int
    received: int


@dataclass
class History:
    """Rates of the connections that were looked at, and series of the machine's counters."""

    _last: dict[object, _Last] = field(default_factory=dict)
    _rates: dict[object, Rates] = field(default_factory=dict)
    _counters: tuple[float, Counters] | None = None
    total: deque[float] = field(default_factory=lambda: deque(maxlen=LENGTH))
    overflows: deque[float] = field(default_factory=lambda: deque(maxlen=LENGTH))
    retransmitted: deque[float] = field(default_factory=lambda: deque(maxlen=LENGTH))

    def add(self, sockets: Iterable[Socket], total: int, counters: Counters, now: float) -> None:
        """Take what was seen at a moment, in seconds of any clock. What is not seen any more is forgotten."""
        last, self._last, self._rates = self._last, {}, {}
        for each in sockets:
            if isinstance(each, ActiveSocket) and each.info is not None:
                key = key_of(each)
                acked, received = each.info.bytes_acked or 0, each.info.bytes_received or 0
                before = last.get(key)
                if before is not None and now > before.time:
                    seconds = now - before.time
                    self._rates[key] = Rates((acked - before.sent) / seconds, (received - before.received) / seconds)
                self._last[key] = _Last(now, acked, received)
        self.total.append(total)
        self._count(counters, now)

    def _count(self, counters: Counters, now: float) -> None:
        before, self._counters = self._counters, (now, counters)
        if before is None or now <= before[0]:
            return
        for series, name in ((self.overflows, "overflows"), (self.retransmitted, "retransmitted")):
            new, old = getattr(counters, name), getattr(before[1], name)
            if new is not None and old is not None:
                series.append((new - old) / (now - before[0]))

    def rates_of(self, socket: Socket) -> Rates:
        """Return the rates of a connection."""
        return self._rates.get(key_of(socket), Rates())


@dataclass
class Track:
    """The numbers of one connection over the last looks."""

    rtt: deque[float] = field(default_factory=lambda: deque(maxlen=LENGTH))
    cwnd: deque[float] = field(default_factory=lambda: deque(maxlen=LENGTH))
    receive_queue: deque[float] = field(default_factory=lambda: deque(maxlen=LENGTH))
    send_queue: deque[float] = field(default_factory=lambda: deque(maxlen=LENGTH))
    retransmitted: deque[float] = field(default_factory=lambda: deque(maxlen=LENGTH))

    def add(self, socket: ActiveSocket) -> None:
        """Take the numbers of one look."""
        self.receive_queue.append(socket.receive_queue)
        self.send_queue.append(socket.send_queue)
        if socket.info is not None:
            self.rtt.append(socket.info.rtt / 1e6)
            self.cwnd.append(socket.info.snd_cwnd)
            self.retransmitted.append(socket.info.total_retrans)

    def series(self) -> Sequence[tuple[str, Sequence[float]]]:
        """Return the series with their names, without those that never were anything."""
        named = (
            ("round trip", self.rtt), ("cwnd", self.cwnd), ("receive queue", self.receive_queue),
            ("send queue", self.send_queue), ("retransmitted", self.retransmitted),
        )  # fmt: skip
        return [(name, tuple(values)) for name, values in named if any(values)]
