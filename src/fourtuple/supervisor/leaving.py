"""How slots are removed without a lost connection: steered away from, swept, and only then closed.

::

    steer away      no SYN-RECV and an empty queue          the worker has drained        close
      |------------------------------------------------------|------------------------------|
      | at least 1 s, at most handshake_grace                 | its drain_timeout
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from fourtuple.supervisor.places import Place, handshakes
from fourtuple.supervisor.respawning import Filling
from fourtuple.supervisor.slots import Slot, Slots

#: The least seconds between steering away from a slot and closing its sockets. A handshake over a quick network takes
#: less, even if its SYN-ACK was lost once and sent again (RFC 6298: after 1 s).
LEAST_GRACE = 1.0
#: Seconds between two looks at the kernel.
_LOOK = 0.1


async def swept(
    waiting: Callable[[], int],
    under_way: Callable[[], frozenset[object] | None],
    grace: float,
    *,
    least: float = LEAST_GRACE,
    sleep: Callable[[float], object] = asyncio.sleep,
    clock: Callable[[], float] | None = None,
) -> bool:
    """Wait until nothing is on its way to sockets that were just steered away from; return whether that is so.

    ``waiting`` counts what is in their accept queues. ``under_way`` names the handshakes of their address: only those
    that were there at the beginning can be theirs. After ``grace`` seconds the wait ends in any case.
    """
    now = clock or asyncio.get_running_loop().time
    began = now()
    theirs = under_way()
    while True:
        age = now() - began
        if theirs:
            seen = under_way()
            theirs = None if seen is None else theirs & seen
        quiet = theirs is not None and not theirs and not waiting()
        if quiet and age >= least:
            return True
        if age >= grace:
            return quiet
        await sleep(min(_LOOK, grace - age))  # type: ignore[misc]


async def leave(slots: Slots, leaving: Sequence[Slot], filling: Filling, grace: float) -> None:
    """Remove these slots; the others get their connections. Return when their workers have ended."""
    for slot in leaving:
        slot.leaving = True
        slot.hurry.set()
        if slot.worker is None:
            filling.lend(slot)
    slots.steer(always=True)
    places = [place for place in slots.places if not place.shared]
    if places:
        await swept(lambda: _waiting(places, leaving), lambda: handshakes(places), grace)
    await asyncio.gather(*(_emptied(slot, filling) for slot in leaving))
    for slot in leaving:
        # Each close moves another socket in the kernel's array. What the kernel gave to this one by the old indexes,
        # in the moment before it was steered again, is swept by a sibling.
        if places and _waiting(places, [slot]):
            await _swept_by_sibling(slot, filling, places, grace)
        filling.take_back(slot)
        slots.remove(slot)


async def _emptied(slot: Slot, filling: Filling) -> None:
    """Drain the worker of a slot, and wait for its end."""
    async with slot.lock:
        worker, slot.worker = slot.worker, None
    if worker is not None:
        filling.end(worker)
        await asyncio.shield(worker.ended)


async def _swept_by_sibling(slot: Slot, filling: Filling, places: Sequence[Place], grace: float) -> None:
    filling.lend(slot)
    await swept(lambda: _waiting(places, [slot]), frozenset, grace, least=0)


def _waiting(places: Sequence[Place], slots: Sequence[Slot]) -> int:
    return sum(place.waiting(slot.number) for place in places for slot in slots)
