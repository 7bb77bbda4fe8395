"""The part of a run in one process: all its connections, from the first SYN to the last row of numbers.

::

    open()      every slot tries once          OPENING     nothing is sent
    run()       at the given moment             WARMUP      counted, not measured
                                                MEASURED
                stop(), or the time is up       AFTER       the last replies come, within `timeout`
                everything is closed
"""

from __future__ import annotations

import asyncio
import contextvars
import ssl
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from fourtuple import events
from fourtuple.connection import Connection
from fourtuple.engine import Channel, Engine
from fourtuple.errors import FourTupleError
from fourtuple.framing import Framing
from fourtuple.handlers import Runner
from fourtuple.handlers.handler_timeout import HandlerTimeouts
from fourtuple.handlers.spares import Spares
from fourtuple.handlers.threads import Threads
from fourtuple.load.adversaries import Fragmenter, HalfOpen, Idle, Resetter, SlowReader, SlowWriter
from fourtuple.load.alarm import Alarm
from fourtuple.load.meter import Meter
from fourtuple.load.opening import Opening, check_descriptors
from fourtuple.load.options import Load
from fourtuple.load.pacing import Paced, Pacer
from fourtuple.load.payload import Expectation, expectation
from fourtuple.load.plan import Plan
from fourtuple.load.pool import Closed, Pool
from fourtuple.load.pushes import without_pushes
from fourtuple.load.requesters import Requester
from fourtuple.load.schedule import SECOND, Schedule
from fourtuple.load.senders import Sender
from fourtuple.load.slots import Slot
from fourtuple.load.tally import Interval, Phase
from fourtuple.options import KIB, Deadlines, Limits, Sockets
from fourtuple.service import Service
from fourtuple.tls import TlsInfo
from fourtuple.tls.certificates import Certificates, client_context
from fourtuple.tls.start import tls_wanted

#: Slots that are made before the loop does other work.
_AT_ONCE = 1000
#: Seconds between two checks for the last replies and for the last FINs.
_LOOK = 0.005
#: Seconds that an interrupted run waits for its last replies, and every run for its last FINs.
_PATIENCE = 1.0

OnRow = Callable[[Interval], None]
T = TypeVar("T")


class Worker:
    """All connections of one process, and the host of their runners.

    ``clock`` returns nanoseconds. ``alarm`` makes the timer that wakes the open loop at a moment of that clock.
    """

    def __init__(
        self,
        plan: Plan,
        on_row: OnRow,
        clock: Callable[[], int] = time.perf_counter_ns,
        alarm: Callable[[asyncio.AbstractEventLoop, Callable[[], None]], Alarm] = Alarm,
    ) -> None:
        self.plan = plan
        self._make_alarm = alarm
        self.load: Load = plan.load
        self.clock = clock
        self.meter: Meter = Meter(clock)
        self.framing: Framing = plan.framing
        self.sockets: Sockets = plan.sockets
        self.tls_context: ssl.SSLContext | None = None
        if plan.tls is not None and tls_wanted(plan.tls):
            self.tls_context = client_context(plan.tls)
        self.expectation: Expectation = expectation(plan.load.expect)
        self.source: Callable[[dict[str, int]], Any] = plan.payload.source(plan.framing)
        constants = plan.payload.constants(plan.framing)
        #: The only message, if all requests are the same; None if they differ or each expects a different reply.
        self.message: Any = None
        if constants is not None and len(constants) == 1 and self.expectation.expected is None:
            self.message = constants[0]
        self.composed = 0
        self.limits: Limits = self._limits()
        load = self.load
        self.deadlines: Deadlines = Deadlines(
            first_message_timeout=None,
            message_timeout=None,
            write_timeout=load.timeout,
            handshake_timeout=load.connect_timeout,
            rate_timeout=None,
        )
        self.service: Service = Service(plan.framing, name="load")
        #: The number of requests on one connection before it is closed.
        self.visit: int = sys.maxsize if load.churn is None else load.churn
        self.pool: Pool = Pool(sys.maxsize if load.requests is None else plan.mine(load.requests))
        self.running: bool = False
        self.stopped: bool = False
        self.over: bool = False
        self.pacer: Pacer | None = None
        self.slots: list[Slot] = []
        self.requesters: list[Requester] = []
        self._on_row = on_row
        self._stop = asyncio.Event()
        self._timers: set[asyncio.TimerHandle] = set()
        self._interrupted = False
        self._user_error: Exception | None = None
        self._alarm: Alarm | None = None
        # The attributes that the runners need of their host.
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.engine: Engine = Engine(self.loop)
        self.engine.on_sweep.append(self._sweep)
        self.opening: Opening = Opening(plan, self.engine, clock, secure=self.tls_context is not None)
        self.observer: events.Observer = self._observed
        self.tasks: dict[asyncio.Task[Any], Runner] = {}
        self.context: contextvars.Context = contextvars.copy_context()
        self.spares: Spares = Spares(self.loop, self.context)
        self.handler_timeouts: HandlerTimeouts = HandlerTimeouts(self.engine)
        self.in_threads: dict[Runner, int] = {}
        self.threads: Threads = Threads(self.loop, 0, lambda: None, lambda: None)

    def _limits(self) -> Limits:
        """Limits whose outbox holds all requests in flight: ends that wait for each other to read would deadlock."""
        largest = max((len(each) for each in self._encoded_samples()), default=0)
        wanted = max(Limits().high_water, 2 * self.load.in_flight * largest)
        return Limits(high_water=wanted, max_outbox=max(Limits().max_outbox, 2 * wanted + 64 * KIB))

    def _encoded_samples(self) -> list[bytes]:
        values = {"n": 10**9, "connection": 10**9, "turn": 10**9, "process": 10**9}
        constants = self.plan.payload.constants(self.framing)
        messages = [self.source(values)] if constants is None else constants
        return [self.framing.encode(message) for message in messages]

    # -- the host of runners ------------------------------------------------------------------------------

    @property
    def certificates(self) -> Certificates | None:
        """None: these are clients, which have no server certificates."""
        return None

    def connection_of(self, channel: Channel) -> Connection:
        """Make the connection that the handler of this channel's messages gets."""
        return Connection(channel)

    def leave(self, channel: Channel) -> None:
        """Do nothing: the slots keep their own counts."""

    def secured(self, connection: Connection, tls: TlsInfo) -> None:
        """Do nothing: TLS is not started by a connection here."""

    def _observed(self, event: events.Event) -> None:
        """End the run if a handler of the load generator raises: that is a defect. Other errors are in the streams."""
        if isinstance(event, events.HandlerRaised):
            self.opening.first_error = event.error if isinstance(event.error, Exception) else None
            self._stop.set()

    def without_pushes(self, handle: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Return ``handle`` for the messages that are no pushes; pushes are counted."""
        return without_pushes(handle, self.plan.is_push, self.meter, self._failed)

    def _failed(self, error: Exception) -> None:
        """End the run: a function of the user's raised. :meth:`run` raises ``error``."""
        self._user_error = error
        self._stop.set()

    # -- opening ------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Find the address, and let every slot try to connect once; :meth:`stop` ends that.

        If no connection could be made, raises the first error: a
        :class:`~fourtuple.errors.ConnectError` or a :class:`~fourtuple.errors.TlsError`. Also raises
        :class:`~fourtuple.errors.OptionError` and :class:`~fourtuple.errors.AddressError`.
        """
        load, plan = self.load, self.plan
        if load.rate is not None:
            self._alarm = self._make_alarm(self.loop, lambda: self.pacer.tick() if self.pacer else None)
            self.pacer = Pacer(self, Schedule(load.rate, load.ramp, plan.process, load.processes), self._alarm)
        await self._assemble()
        await self.opening.open(self.slots)

    async def _assemble(self) -> None:
        """Make the slots, with pauses in which :meth:`stop` is heard. Raises OptionError if they are too many."""
        load = self.load
        kind: type[Requester] = Requester if load.rate is None else Paced
        if not load.replies:
            kind = Sender
        wanted: list[tuple[type[Slot], int]] = [
            (kind, load.connections),
            (Idle, load.idle),
            (SlowReader, load.slow_readers),
            (SlowWriter, load.slow_writers),
            (Fragmenter, load.fragmenters),
            (Resetter, load.resetters),
            (HalfOpen, load.half_open),
        ]
        mine = [(slot, self.plan.mine(count)) for slot, count in wanted]
        check_descriptors(sum(count for _, count in mine))  # first: each slot takes memory
        for slot, count in mine:
            for number in range(count):
                self.slots.append(slot(self, number))
                if not len(self.slots) % _AT_ONCE:
                    await asyncio.sleep(0)
                    if self._stop.is_set():
                        return
        self.requesters = [slot for slot in self.slots if isinstance(slot, Requester)]

    def tried(self, slot: Slot, error: Exception | None) -> None:
        """Note that a slot has its connection, or its first error."""
        self.opening.tried(slot, error)

    # -- running ------------------------------------------------------------------------------------------

    async def run(self, began: int | None = None) -> None:
        """Make the load, beginning at the moment ``began`` of the clock (default: now), then close everything."""
        load = self.load
        if began is not None:
            await asyncio.sleep(max(0, began - self.clock()) / SECOND)
        self._row()
        self.meter.enter(Phase.WARMUP if load.warmup else Phase.MEASURED, began)
        self._go()
        began = self.meter.began
        try:
            if load.warmup:
                await self._rows_until(began + int(load.warmup * SECOND))
                self.meter.enter(Phase.MEASURED)
            await self._rows_until(began + int(load.seconds * SECOND))
        finally:
            self._no_more()
        self.meter.enter(Phase.AFTER)
        await self._last_replies()
        await self._close()
        self._row()
        if self._user_error is not None:
            raise self._user_error
        if self.opening.first_error is not None and not isinstance(self.opening.first_error, FourTupleError):
            raise self.opening.first_error

    def _go(self) -> None:
        """Begin with every slot that has its connection, and open the others."""
        load, began = self.load, self.meter.began
        self.running = True
        for slot in self.slots:
            if slot.ready:
                slot.begin()
        rising = [slot for slot in self.slots if self.opening.is_late(slot)]
        for number, slot in enumerate(rising):
            order = number * load.processes + self.plan.process
            if load.ramp and load.rate is None:
                self.later(load.ramp * order / max(1, load.connections), slot.open)
            else:
                slot.open()
        if self.pacer is not None:
            self.pacer.start(began)

    async def _rows_until(self, end: int) -> None:
        """Close a row in every interval, until the moment ``end`` or :meth:`stop`."""
        step = int(self.load.row_seconds * SECOND)
        moment = self.clock()
        while moment < end and not self._stop.is_set():
            moment = min(moment + step, end)
            if end - moment < step // 4:
                moment = end  # no very short last row
            try:
                async with asyncio.timeout(max(0, moment - self.clock()) / SECOND):
                    await self._stop.wait()
            except TimeoutError:
                pass
            if moment == end or self._stop.is_set():
                self._before_last_row()
            self._row()

    def _before_last_row(self) -> None:
        """Count what belongs to the last row of a phase."""
        if self.meter.phase is Phase.MEASURED and self.pacer is not None:
            self.meter.tally.unsent += self.pacer.stop()

    def _row(self) -> None:
        for slot in self.slots:
            slot.count_octets()
        for requester in self.requesters:
            requester.count_requests()
        if not self.load.replies:
            self.meter.tally.replies = 0
        self._on_row(self.meter.roll(sum(slot.ready for slot in self.slots)))

    def dial(self, slot: Slot) -> None:
        """Make a connection for a slot."""
        self.opening.dial(slot)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call ``call`` after ``seconds``, if the run has not ended."""

        def due() -> None:
            self._timers.discard(timer)
            call()

        timer = self.loop.call_later(seconds, due)
        self._timers.add(timer)

    def _sweep(self, _now: float) -> None:
        """Abort connections whose oldest request or whose greeting has waited too long."""
        limit = self.clock() - int(self.load.timeout * SECOND)
        for requester in self.requesters:
            if requester.in_flight and requester.channel is not None and requester.oldest() < limit:
                requester.time_out()
            elif requester.greeting_since is not None and requester.greeting_since < limit:
                requester.no_greeting()

    # -- ending -------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End the run early; the results so far are kept."""
        self._interrupted = True
        self._stop.set()
        self.opening.stop()

    def perhaps_done(self) -> None:
        """Stop if all of the given number of requests have been answered."""
        if self.load.requests is None or self.pool.left > 0 or self._stop.is_set():
            return
        if not any(requester.in_flight or requester.left for requester in self.requesters):
            self._stop.set()

    def _no_more(self) -> None:
        """Send no more requests."""
        self.over = True
        if self.pacer is not None:
            self.pacer.stop()
        for requester in self.requesters:
            requester.give_back()
        self.pool = Closed(0)

    async def _last_replies(self) -> None:
        began = self.clock()
        while self._user_error is None and any(requester.owed for requester in self.requesters):
            # Looked up each time: the interrupt may come while the replies are awaited.
            patience = min(_PATIENCE, self.load.timeout) if self._interrupted else self.load.timeout
            if self.clock() - began >= patience * SECOND:
                break
            await asyncio.sleep(_LOOK)

    async def _close(self) -> None:
        """Close all connections and wait for the peers' FINs. Connections that do not end in time are aborted."""
        self.stopped = True
        for timer in self._timers:
            timer.cancel()
        for requester in self.requesters:
            if requester.greeting_since is not None and not self._interrupted:
                requester.no_greeting()
            if self.load.replies:
                self.meter.tally.unanswered += requester.in_flight
        for slot in self.slots:
            slot.leave("fin" if isinstance(slot, Requester) else "reset")
        until = self.clock() + int(_PATIENCE * SECOND)
        while self.clock() < until and any(slot.channel is not None for slot in self.slots):
            await asyncio.sleep(_LOOK)

    async def end(self) -> None:
        """Release everything at once. Idempotent."""
        self.stopped = self.over = True
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None
        for timer in self._timers:
            timer.cancel()
        self.opening.close()
        self.engine.close()
