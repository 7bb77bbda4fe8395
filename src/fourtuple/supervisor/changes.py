"""Changes of the workers that serve: a roll, a worker at the end of its lifetime, another number of workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from fourtuple.errors import WorkerNotStarted
from fourtuple.events import Observer
from fourtuple.supervisor import events
from fourtuple.supervisor.leaving import leave
from fourtuple.supervisor.respawning import Filling
from fourtuple.supervisor.slots import Slot, Slots


class Changes:
    """Replaces workers, adds and removes some: one change at a time.

    ``grace`` is the time that a handshake gets before the socket of a removed slot closes, in seconds. ``stopping``
    tells whether the supervisor stops: then no change begins.
    """

    def __init__(
        self, slots: Slots, filling: Filling, observer: Observer, grace: float, stopping: Callable[[], bool]
    ) -> None:
        self._slots = slots
        self._filling = filling
        self._observer = observer
        self._grace = grace
        self._stopping = stopping
        #: Held by a change; so are the start and an upgrade.
        self.lock: asyncio.Lock = asyncio.Lock()
        self._roll_waits = False

    # -- other workers in the same slots ------------------------------------------------------------------

    async def roll(self, why: str) -> bool:
        """Replace all workers, one by one; return whether all were replaced. See :meth:`Supervisor.roll`."""
        if self._stopping():
            return False
        if self._roll_waits:
            return True
        self._roll_waits = True
        try:
            await self.lock.acquire()
        finally:
            self._roll_waits = False
        try:
            if self._stopping():
                return False
            self._observer(events.RollBegun(why))
            began = asyncio.get_running_loop().time()
            for slot in self._slots:
                await self._replace(slot, why, began)
        except WorkerNotStarted as error:
            self._observer(events.RollAbandoned(str(error)))
            return False
        finally:
            self.lock.release()
        self._observer(events.RollDone(len(self._slots)))
        return True

    async def recycle(self, slot: Slot, why: str) -> None:
        """Replace the worker of one slot, whose lifetime is over."""
        async with self.lock:
            if slot.worker is None or slot.leaving:
                return
            try:
                await self._replace(slot, why, asyncio.get_running_loop().time())
            except WorkerNotStarted as error:
                self._observer(events.RollAbandoned(str(error)))

    async def _replace(self, slot: Slot, why: str, since: float) -> None:
        """Start a fresh worker for a slot, and drain the one before it."""
        async with slot.lock:
            if slot.worker is None or slot.worker.began < since:
                old = self._filling.install(slot, await self._filling.start(slot), why)
            else:
                old = None  # it has died meanwhile, and was started again
        if old is not None:
            self._filling.end(old)
            await asyncio.shield(old.ended)

    # -- more slots, or fewer -----------------------------------------------------------------------------

    async def resize(self, count: int) -> None:
        """Change the number of slots, and of workers. See :meth:`Supervisor.set_workers`."""
        async with self.lock:
            before = len(self._slots)
            if count > before:
                await self._grow(count - before)
            elif count < before:
                leaving = sorted(self._slots, key=lambda slot: slot.number)[count:]
                await leave(self._slots, leaving, self._filling, self._grace)
            else:
                return
            self._share_again()
            self._observer(events.WorkersChanged(before, len(self._slots)))

    async def _grow(self, by: int) -> None:
        added: list[Slot] = []
        try:
            while len(added) < by:
                added.append(self._slots.add())
            await self._filling.fill(added)
        except BaseException:
            await leave(self._slots, added, self._filling, self._grace)
            raise

    def _share_again(self) -> None:
        for slot in self._slots:
            place, workers = self._slots.share(slot)
            for worker in (slot.worker, slot.starting):
                if worker is not None:
                    worker.channel.tell("share", place=place, workers=workers)
