"""The slots of a supervisor: each has passive sockets of its own, and the worker that accepts at them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

from fourtuple.backoff import Backoff
from fourtuple.supervisor.places import Place
from fourtuple.supervisor.plan import Lifetime, Standing, routable
from fourtuple.supervisor.process import Worker

#: Crashes of a worker are followed by the next start at once if it has worked, and by growing pauses if it has not.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0


def _backoff() -> Backoff:
    return Backoff(first=FIRST_PAUSE, longest=LONGEST_PAUSE, spread=0.0)


@dataclass(eq=False)
class Slot:
    """One worker's place. One worker at a time serves it; another may be starting, or draining after it.

    Who accepts at its passive sockets (how a worker comes and goes is in respawning.py)::

        its worker --- dies: after 1 s; does not answer: at once ---> a sibling, which has borrowed them
            ^                                                            |
            +------ a new worker is ready, or the old one answers -------+

        either --- leave(): steered away from, swept, its worker drained ---> removed
    """

    number: int
    worker: Worker | None = None
    #: The worker that is being started for it.
    starting: Worker | None = None
    #: No new worker is started while this lock is held by another's start.
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: Ends the pause after a crash at once.
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    backoff: Backoff = field(default_factory=_backoff)
    #: When the next start may begin.
    not_before: float = 0.0
    lifetime: Lifetime = field(default_factory=lambda: Lifetime(None, None))
    #: The slot is being removed.
    leaving: bool = False
    #: The worker of another slot that accepts at this slot's sockets, while it has no worker of its own.
    lent_to: Worker | None = None

    @property
    def serving(self) -> bool:
        """Whether a worker serves it and answers."""
        return self.worker is not None and self.worker.report.responsive

    def standing(self, service: str) -> Standing:
        """Return what :func:`~fourtuple.supervisor.plan.routable` needs to know, at the places of a service."""
        worker = self.worker
        if worker is None:
            return Standing(self.number, ready=False, leaving=self.leaving)
        report = worker.report
        return Standing(self.number, True, report.responsive, service in report.full, self.leaving)


class Slots:
    """All slots, by number, and the places at which their workers accept."""

    def __init__(self, places: list[Place]) -> None:
        self.places = places
        self._slots: dict[int, Slot] = {}
        self._steered: dict[Place, frozenset[int]] = {}
        #: Whether this supervisor steers: in an upgrade, only one of both does.
        self.steering = True

    def __iter__(self) -> Iterator[Slot]:
        return iter(list(self._slots.values()))

    def __len__(self) -> int:
        return len(self._slots)

    def find(self, number: int) -> Slot | None:
        """Return the slot of this number."""
        return self._slots.get(number)

    def add(self) -> Slot:
        """Add a slot, with passive sockets. Raises a :class:`~fourtuple.errors.ListenError`; then nothing changes."""
        number = next(number for number in range(1, len(self._slots) + 2) if number not in self._slots)
        for place in self.places:
            place.add(number)
        slot = self._slots[number] = Slot(number)
        return slot

    def adopt(self, number: int) -> Slot:
        """Add a slot whose passive sockets are open."""
        slot = self._slots[number] = Slot(number)
        return slot

    def remove(self, slot: Slot) -> None:
        """Remove a slot that is steered away from, and close its passive sockets for all processes."""
        del self._slots[slot.number]
        for place in self.places:
            place.remove(slot.number)
        self.steer(always=True)  # the kernel has moved a socket

    def steer(self, *, always: bool = False) -> None:
        """Let those slots get new connections that can take them: a worker may be full at one service alone."""
        if not self.steering:
            return
        for place in self.places:
            slots = routable(slot.standing(place.service) for slot in self)
            if always or slots != self._steered.get(place):
                self._steered[place] = slots
                place.steer(slots)

    def share(self, slot: Slot) -> tuple[int, int]:
        """Return a slot's place among those that stay, and their number: for its worker's share of the limits."""
        staying = [each for each in self if not each.leaving] or [slot]
        return (staying.index(slot) if slot in staying else 0), len(staying)

    def sibling(self, slot: Slot) -> Worker | None:
        """Return the worker that lends a hand to a slot without one: the one with the fewest connections."""
        able = [each.worker for each in self if each is not slot and each.serving and not each.leaving]
        return min((each for each in able if each is not None), key=lambda each: each.report.connections, default=None)
