"""The life of a server: its parts are opened in order, checked in each sweep, and closed in the opposite order.

::

    start()   engine -> admission -> handler timeouts, threads -> listening sockets -> the service's lifespan -> accept
    stop      drain or abort (serving/drain.py), then the same parts backwards
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack

from fourtuple import events
from fourtuple.address import Address
from fourtuple.engine import Engine, Listener, ReadinessChoice
from fourtuple.errors import ServiceError
from fourtuple.handlers import Runner
from fourtuple.net.given import take_given
from fourtuple.net.sockets import apply_options, open_listeners
from fourtuple.options import Sockets
from fourtuple.serving.accept import Acceptor
from fourtuple.serving.adopt import adopt
from fourtuple.serving.core import ServerCore
from fourtuple.serving.crowding import Crowding
from fourtuple.serving.drain import Drain
from fourtuple.serving.monitors import Alarm, Alarms, BufferGuard
from fourtuple.serving.tear_down import within


class Lifecycle:
    """Starts and stops the parts of one server."""

    def __init__(
        self,
        core: ServerCore,
        addresses: Iterable[Address | socket.socket],
        sockets: Sockets,
        readiness: ReadinessChoice,
        engine: Engine | None,
        alarms: Iterable[Alarm],
    ) -> None:
        self._core = core
        self._addresses = tuple(addresses)
        self._sockets = sockets
        self._readiness = readiness
        self._given_engine = engine
        #: Set when the server begins to stop.
        self.draining = asyncio.Event()
        self._crowding = Crowding(core.admission, core.registry.runners)
        self.buffer_guard = BufferGuard(core.admission, core.registry.runners, core.observer)
        self._alarms = Alarms(alarms, self.gauges(), core.observer)
        self._stack: AsyncExitStack | None = None
        self._lifespan = AsyncExitStack()
        #: The tasks that connect by themselves, until the server begins to stop.
        self.calls: set[asyncio.Task[None]] = set()
        self.drain = Drain(core, self._mark_draining, self._tear_down)
        self.acceptor: Acceptor = Acceptor(core, core.given_observer, self.drain.ended)

    @property
    def started(self) -> bool:
        """Whether :meth:`start` was called."""
        return self._stack is not None

    # -- beginning and end --------------------------------------------------------------------------------

    async def start(self, name: str) -> None:
        """Open everything; return when connections are accepted. Errors say ``name`` of the server."""
        if self._stack is not None:
            raise ServiceError(f"{name} was started before; create another one")
        core, loop = self._core, asyncio.get_running_loop()
        core.open(loop, self._given_engine or Engine(loop, readiness=self._readiness))
        self._stack = AsyncExitStack()
        try:
            if self._given_engine is None:
                self._stack.callback(core.engine.close)
            core.admission.open(core.engine)
            self._stack.callback(core.admission.close)
            core.engine.on_sweep.append(self._sweep)
            self._stack.callback(core.engine.on_sweep.remove, self._sweep)
            core.open_rooms(self._threads_full, self._threads_free)
            self._stack.push_async_callback(core.spares.close)
            self._stack.callback(core.handler_timeouts.close)
            self._stack.push_async_callback(core.threads.join, 1.0)
            self._stack.callback(core.threads.close)
            self.acceptor.make_template()
            # Passive sockets come first, so that an address in use is reported before the service opens databases.
            # No connection is accepted until the service is set up.
            opened = [pair for address in self._addresses for pair in self._open(address)]
            core.set_up(await self._lifespan.enter_async_context(core.service.running()))
        except BaseException:
            for listener in core.listeners:
                listener.close()
            await self._stack.aclose()
            raise
        for listener in opened:
            listener.start()
            core.observer(events.Listening(listener.name, listener.backlog, listener.asked_backlog))

    def _open(self, wanted: Address | socket.socket) -> list[Listener]:
        given = wanted.fd if isinstance(wanted, Address) else wanted
        if given is not None:
            opened, backlog = take_given(given, self._sockets)
            return [self._listener(opened, backlog, given=True)]
        assert isinstance(wanted, Address)
        sockets = open_listeners(wanted, self._sockets)
        return [self._listener(sock, self._sockets.backlog) for sock in sockets]

    def _listener(self, sock: socket.socket, backlog: int, *, given: bool = False) -> Listener:
        core = self._core
        accept_many = None if sock.family == socket.AF_UNIX else self.acceptor.accept_many()
        listener = Listener(
            core.engine, sock, self.acceptor.accept, core.observer, backlog, self._listener_died, accept_many, given
        )
        core.admission.listeners.append(listener)
        return listener

    def borrow(self, sock: socket.socket) -> Listener:
        """Accept at one more passive socket of another process, while the server runs."""
        listeners = self._core.listeners
        listener = self._listener(*take_given(sock, self._sockets), given=True)
        # What pauses one listener pauses all of them, except a lack of descriptors, which each has to meet by itself.
        for why in set().union(*(each.paused for each in listeners)) - {"resources"}:
            listener.pause(why)
        if not listener.paused:
            listener.start()
        self._core.observer(events.Listening(listener.name, listener.backlog, listener.asked_backlog))
        return listener

    def give_back(self, listener: Listener) -> None:
        """Close a listener, and let others of the socket's owners accept what waits there."""
        listener.close()
        if listener in self._core.admission.listeners:
            self._core.admission.listeners.remove(listener)

    def listen_at(self, sock: socket.socket, backlog: int) -> Listener:
        """Listen at a bound socket, and accept at once."""
        core = self._core
        apply_options(sock, self._sockets, passive=True)
        sock.setblocking(False)
        sock.listen(backlog)
        many = None if sock.family == socket.AF_UNIX else self.acceptor.accept_many()
        listener = Listener(core.engine, sock, self.acceptor.accept, core.observer, backlog, self._listener_died, many)
        core.admission.listeners.append(listener)
        listener.start()
        core.observer(events.Listening(listener.name, listener.backlog, backlog))
        return listener

    def adopt(self, given: socket.socket) -> Runner | None:
        """Take a connected socket; return the runner of its connection, None if it is refused."""
        draining = self.draining.is_set()
        return adopt(self._core, self.acceptor, given, self._sockets, started=self.started, draining=draining)

    def keep(self, call: asyncio.Task[None]) -> None:
        """Cancel the task of a call when the server begins to stop."""
        self.calls.add(call)
        call.add_done_callback(self.calls.discard)

    def _listener_died(self, _listener: Listener) -> None:
        if all(listener.closed for listener in self._core.listeners):
            self.drain.begin()

    def _mark_draining(self) -> None:
        self.draining.set()
        for call in list(self.calls):
            call.cancel()
        if self.acceptor.template is not None:
            self.acceptor.template.draining = True  # the drain waits for each end of a connection

    async def _tear_down(self) -> None:
        assert self._stack is not None
        if self.calls:
            await asyncio.wait(self.calls)  # they were cancelled when the stop began
        try:
            await within(self._core.deadlines.tear_down_timeout, self._lifespan.aclose())
        finally:
            await self._stack.aclose()

    # -- while it serves ----------------------------------------------------------------------------------

    def gauges(self) -> dict[str, Callable[[], int]]:
        """Return the numbers that an :class:`~fourtuple.Alarm` can watch."""
        core = self._core
        return {
            "connections": lambda: len(core.registry),
            "buffered": lambda: sum(runner.stream.buffered for runner in core.registry.runners.values()),
            "threads": lambda: core.threads.busy,
            "accept_queue": lambda: max((listener.accept_queue or 0 for listener in core.listeners), default=0),
        }

    def _sweep(self, now: float) -> None:
        core = self._core
        core.handler_timeouts.look(now)
        core.threads.look()
        core.admission.look()
        self.acceptor.look()
        core.throttling.look(now)
        self._crowding.look(now, core.threads, core.deadlines.crowded_idle_timeout)
        self.buffer_guard.look(now, core.limits)
        self._alarms.look(now, core.limits)

    def _threads_full(self) -> None:
        self._for_certain(self._core.admission.pause, "max_threads", self._core.threads.shortage)

    def _threads_free(self) -> None:
        self._for_certain(self._core.admission.resume, "max_threads")

    def _for_certain(self, change: Callable[..., None], *arguments: str) -> None:
        try:
            change(*arguments)
        except MemoryError:
            self._core.engine.sweep_on()  # the sweep checks the threads
            raise
