"""The first connections of one process, which are made before the load begins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from fourtuple.address import Address
from fourtuple.client import take
from fourtuple.engine import Engine
from fourtuple.errors import OptionError
from fourtuple.load.dialing import Dialer, Way
from fourtuple.load.plan import Plan
from fourtuple.load.requesters import Requester
from fourtuple.load.schedule import Schedule
from fourtuple.load.slots import Slot
from fourtuple.net.connecting import connecting
from fourtuple.net.descriptors import connection_limit

T = TypeVar("T")


class Opening:
    """Finds the address, then lets every slot try to connect once, except those that are opened under load."""

    def __init__(self, plan: Plan, engine: Engine, clock: Callable[[], int], *, secure: bool) -> None:
        self._plan = plan
        self._engine = engine
        self._clock = clock
        self._secure = secure
        #: The first error of any connection of the run.
        self.first_error: Exception | None = None
        self._dialer: Dialer | None = None
        self._untried: set[Slot] = set()
        self._all_tried = asyncio.Event()
        self._stopped = False
        self._stoppable: asyncio.Future[Any] | None = None

    async def open(self, slots: Iterable[Slot]) -> None:
        """Connect; return when every slot has tried, or :meth:`stop` was called. Raises the first error if all failed.

        It also returns after the time for one connection. The other connections are made while the load runs.
        """
        load, plan, slots = self._plan.load, self._plan, list(slots)
        local = [Address.parse(text.strip(), default_port=0) for text in load.local.split(",") if text.strip()]
        steps = connecting(
            plan.address,
            timeout=load.connect_timeout,
            local_address=local[0] if local else None,
            sockets=plan.sockets,
        )
        began = self._clock()
        connected = await self._unless_stopped(take(steps))
        if connected is None:
            return
        took = self._clock() - began
        rate = None if load.connect_rate is None else Schedule(load.connect_rate, 0.0, plan.process, load.processes)
        self._dialer = Dialer(
            self._engine,
            Way.of(connected.socket, plan.address),
            timeout=load.connect_timeout,
            clock=self._clock,
            local=[(each.host, each.port) for each in local],
            schedule=rate,
        )
        if not slots:
            connected.socket.close()
            return
        at_once = [slot for slot in slots if not self.is_late(slot)]
        self._untried = set(at_once)
        if at_once and at_once[0].sockets is plan.sockets:
            # The first slot gets the connection that found the address.
            at_once.pop(0).connected(connected.socket, connected.name, took)
        else:
            connected.socket.close()
        for slot in at_once:
            slot.open()
        if not at_once and not self._untried:
            self._all_tried.set()
        try:
            async with asyncio.timeout(load.connect_timeout * (2 if self._secure else 1)):  # one more for a handshake
                await self._all_tried.wait()
        except TimeoutError:
            pass  # many connections and a slow server: the others are made while the load runs
        if self.first_error is not None and not self._stopped and not any(slot.ready for slot in slots):
            error, self.first_error = self.first_error, None
            raise error

    async def _unless_stopped(self, coroutine: Coroutine[Any, Any, T]) -> T | None:
        """Await the coroutine and return its result. If :meth:`stop` cancels it, return None."""
        self._stoppable = task = asyncio.ensure_future(coroutine)
        if self._stopped:
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if not self._stopped or (current is not None and current.cancelling()):
                raise
            return None
        finally:
            self._stoppable = None

    def is_late(self, slot: Slot) -> bool:
        """Return whether a slot is opened while the load runs, so that connecting is part of the load."""
        load = self._plan.load
        if load.connect_rate is not None:
            return True
        return isinstance(slot, Requester) and (load.churn == 0 or (load.ramp > 0 and load.rate is None))

    def tried(self, slot: Slot, error: Exception | None) -> None:
        """Note that a slot has its connection, or its first error."""
        if error is not None and self.first_error is None:
            self.first_error = error
        self._untried.discard(slot)
        if not self._untried:
            self._all_tried.set()

    def dial(self, slot: Slot) -> None:
        """Make a connection for a slot; do nothing before the address is found, and after :meth:`close`."""
        if self._dialer is not None:
            self._dialer.dial(slot)

    def stop(self) -> None:
        """End :meth:`open` early."""
        self._stopped = True
        self._all_tried.set()
        if self._stoppable is not None:
            self._stoppable.cancel()

    def close(self) -> None:
        """Make no more connections."""
        if self._dialer is not None:
            self._dialer.close()
            self._dialer = None


def check_descriptors(connections: int) -> None:
    """Raise RLIMIT_NOFILE (getrlimit(2)) as far as allowed. Raises OptionError if that is not enough."""
    possible = connection_limit(connections)
    if possible < connections:
        raise OptionError(
            f"connections: {connections} wanted of one process, and its descriptors are enough for "
            f"{possible}; raise the hard limit (ulimit -Hn), or give more processes"
        )
