"""PURE: a path between two ends: so many octets a second, a delay, a queue in front of it, and losses by chance."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field

from fourtuple.care.packets import is_syn, payload_of


@dataclass
class Path:
    """One direction of a path. Times are seconds of any clock.

    Parameters
    ----------
    rate
        Octets a second.
    delay
        Seconds that a packet is on its way, behind the queue.
    queue
        Octets that may wait; a packet that finds it full is dropped.
    loss
        The part of segments with data that are lost by chance, 0 to 1.
    seed
        Of chance, so that a run can be repeated.
    """

    rate: float
    delay: float
    queue: int
    loss: float
    seed: int = 1
    lost: int = 0
    overflowed: int = 0
    carried: int = 0
    _free_at: float = 0.0
    _waiting: deque[tuple[float, float, bytes]] = field(default_factory=deque)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def push(self, packet: bytes, now: float) -> None:
        """Take a packet at the near end: it is queued, or dropped."""
        if payload_of(packet) and not is_syn(packet) and self._random.random() < self.loss:
            self.lost += 1
            return
        if self.queued(now) + len(packet) > self.queue:
            self.overflowed += 1
            return
        begins = max(now, self._free_at)
        self._free_at = begins + len(packet) / self.rate
        self._waiting.append((self._free_at, self._free_at + self.delay, packet))

    def pop(self, now: float) -> list[bytes]:
        """Return the packets that have arrived at the far end."""
        arrived = []
        while self._waiting and self._waiting[0][1] <= now:
            arrived.append(self._waiting.popleft()[2])
        self.carried += len(arrived)
        return arrived

    def queued(self, now: float) -> int:
        """Return the octets that wait to be sent."""
        return round(max(0.0, self._free_at - now) * self.rate)

    @property
    def due(self) -> float | None:
        """When the next packet arrives; None if none is on its way."""
        return self._waiting[0][1] if self._waiting else None
