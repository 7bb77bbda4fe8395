"""Asks each worker regularly: one that does not answer gets no new connections meanwhile. It is not killed for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from fourtuple.errors import ChannelError
from fourtuple.events import Observer
from fourtuple.supervisor import events
from fourtuple.supervisor.process import Worker
from fourtuple.supervisor.respawning import Filling
from fourtuple.supervisor.slots import Slot, Slots

#: Seconds between two questions.
INTERVAL = 1.0
#: Seconds without an answer after which a worker counts as silent: stopped, or held by one call.
SILENT_AFTER = 2.0


class Heartbeat:
    """Keeps what is known of the workers up to date.

    ``recycle(slot, why)`` is called when a worker's lifetime is over.
    """

    def __init__(
        self,
        slots: Slots,
        filling: Filling,
        observer: Observer,
        recycle: Callable[[Slot, str], Coroutine[Any, Any, None]],
    ) -> None:
        self._slots = slots
        self._filling = filling
        self._observer = observer
        self._recycle = recycle
        self._loop = asyncio.get_running_loop()
        #: The workers whose answer is awaited, and the slots whose worker is being replaced for its age.
        self._asked: set[Worker] = set()
        self._recycling: set[Slot] = set()
        self._timer: asyncio.TimerHandle | None = None
        #: Called in each beat: the supervisor's loop runs.
        self.on_beat: Callable[[], object] = lambda: None

    def start(self) -> None:
        """Ask for the first time, and then regularly."""
        # The timer first: if something below raises, the next beat comes all the same.
        self._timer = self._loop.call_later(INTERVAL, self.start)
        self.on_beat()
        for slot in self._slots:
            worker = slot.worker
            # A held worker does not read: one question at a time, or they would pile up in the channel.
            if worker is not None and worker not in self._asked:
                self._asked.add(worker)
                self._filling.soon(self._ask(slot, worker))

    def stop(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()

    async def _ask(self, slot: Slot, worker: Worker) -> None:
        answer = asyncio.ensure_future(worker.channel.request("ping"))
        try:
            await asyncio.wait([answer], timeout=SILENT_AFTER)
            if not answer.done():
                self._silent(slot, worker)
            told = await answer
        except ChannelError:
            if worker.alive and not worker.stops:
                self._silent(slot, worker)  # user code has closed the channel
            return
        finally:
            self._asked.discard(worker)
            answer.cancel()
        self.reported(worker, told)
        self._look_at_age(slot, worker)

    def _silent(self, slot: Slot, worker: Worker) -> None:
        if worker.report.responsive and worker.alive:
            worker.report.responsive = False
            if slot.worker is worker:
                self._observer(events.WorkerSilent(slot.number, worker.pid, SILENT_AFTER))
                self._slots.steer()
                self._filling.lend(slot)

    def reported(self, worker: Worker, told: dict[str, Any]) -> None:
        """A worker has told something of itself."""
        report = worker.report
        report.messages = told.get("messages", report.messages)
        report.connections = told.get("connections", report.connections)
        report.full = frozenset(told.get("full", report.full))
        report.drained = told.get("drained", report.drained)
        slot = self._slots.find(worker.slot)
        if slot is None or slot.worker is not worker:
            return
        if not report.responsive:
            report.responsive = True
            self._observer(events.WorkerAnswers(worker.slot, worker.pid))
            self._filling.take_back(slot)
        self._slots.steer()

    def _look_at_age(self, slot: Slot, worker: Worker) -> None:
        age = self._loop.time() - (worker.ready_at or worker.began)
        why = slot.lifetime.over(worker.report.messages, age)
        if why and slot.worker is worker and slot not in self._recycling:
            self._recycling.add(slot)
            self._filling.soon(self._replace(slot, why))

    async def _replace(self, slot: Slot, why: str) -> None:
        try:
            with suppress(ChannelError):
                await self._recycle(slot, why)
        finally:
            self._recycling.discard(slot)
