"""The life of a server: its parts are opened in order, checked in each sweep, and closed in the opposite order.

::

    start()   engine -> admission -> handler timeouts, threads -> listening sockets -> the service's lifespan -> accept
    stop      drain or abort (serving/drain.py), then the same parts backwards
"""

from __future__ import annotations

import asyncio
import contextvars
import socket
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from typing import Any

from fourtuple import events
from fourtuple.address import Address
from fourtuple.engine import Engine, Listener, ReadinessChoice
from fourtuple.errors import DeadlinePassed, OptionError, ServiceError
from fourtuple.handlers import HandlerTimeouts, Runner, Spares, Threads
from fourtuple.net.backlog import listen
from fourtuple.net.given import take_given
from fourtuple.net.passive import open_listeners
from fourtuple.net.sockets import apply_options
from fourtuple.options import Limits, Sockets
from fourtuple.printable import error_text
from fourtuple.serving.accept import Acceptor
from fourtuple.serving.adopt import adopt
from fourtuple.serving.alarms import Alarm, Alarms
from fourtuple.serving.core import ServerCore
from fourtuple.serving.drain import Drain
from fourtuple.serving.load_shedding import BufferGuard, Crowding
from fourtuple.serving.registry import Registry
from fourtuple.serving.tear_down import LAST_SECONDS, TearDown


@dataclass(frozen=True, slots=True)
class Site:
    """A place where a server listens, and the core whose options its connections have."""

    place: Address | socket.socket
    sockets: Sockets
    core: ServerCore
    #: The number of its endpoint: several places may belong to one.
    endpoint: int


class Lifecycle:
    """Starts and stops the parts of one server."""

    def __init__(
        self,
        core: ServerCore,
        sites: Iterable[Site],
        sockets: Sockets,
        readiness: ReadinessChoice,
        engine: Engine | None,
        alarms: Iterable[Alarm],
    ) -> None:
        self._core = core
        #: Where the server listens, or will.
        self.sites: tuple[Site, ...] = tuple(sites)
        self._sockets = sockets
        self._readiness = readiness
        self._given_engine = engine
        #: The server's core, and those of endpoints with options of their own.
        self.cores: tuple[ServerCore, ...] = tuple(dict.fromkeys([core, *(site.core for site in self.sites)]))
        #: One core for each registry: the server's, and those of endpoints with limits of their own.
        self.groups: tuple[ServerCore, ...] = tuple(
            {id(each.registry): each for each in reversed(self.cores)}.values()
        )[::-1]
        #: Set when the server begins to stop.
        self.draining: asyncio.Event = asyncio.Event()
        self._crowding = Crowding(
            [group.admission for group in self.groups], [group.registry.runners for group in self.groups]
        )
        self.buffer_guards: list[BufferGuard] = [
            BufferGuard(each.admission, each.registry.runners, each.observer) for each in self.groups
        ]
        self._alarms = Alarms(alarms, self.gauges(), core.observer)
        self._stack: AsyncExitStack | None = None
        self._lifespan = AsyncExitStack()
        #: Set up now, by this task; None before and afterwards.
        self._setting_up: asyncio.Task[Any] | None = None
        #: Done when the set-up has ended, and what is left of a failed one was closed.
        self._set_up_ended: asyncio.Future[None] | None = None
        #: How often :meth:`_end_set_up` has cancelled it.
        self._cancellations = 0
        #: Whether the service's tear-down runs, or has ended the interpreter.
        self.tearing_down: bool = False
        #: Whether connections are accepted, or were.
        self._accepting = False
        #: Whether the start has failed, and its steps were undone.
        self.given_up: bool = False
        #: The listeners, in the order of the addresses.
        self.listeners: list[Listener] = []
        #: The tasks that connect by themselves, until the server begins to stop.
        self.calls: set[asyncio.Task[None]] = set()
        self.drain: Drain = Drain(self.groups, self._mark_draining, self._tear_down)
        self.acceptors: dict[ServerCore, Acceptor] = {each: Acceptor(each, self.drain.ended) for each in self.cores}
        #: The acceptor of the connections that come by adopt() and dial().
        self.acceptor: Acceptor = self.acceptors[core]

    @property
    def started(self) -> bool:
        """Whether :meth:`start` was called."""
        return self._stack is not None

    @property
    def starting(self) -> bool:
        """Whether it opens and sets up, and does not accept yet."""
        return self.started and not self._accepting

    @property
    def registries(self) -> list[Registry]:
        """The tables of the connections: the server's, and those of endpoints with limits of their own."""
        return [group.registry for group in self.groups]

    # -- beginning and end --------------------------------------------------------------------------------

    async def start(self, name: str) -> None:
        """Open everything; return when connections are accepted. Errors say ``name`` of the server."""
        await self.open(name)
        await self.set_up()
        try:
            self.accept()
        except BaseException as error:
            await self.undo(error)
            raise

    async def open(self, name: str) -> None:
        """Open the passive sockets, the first step of the start: no connection is accepted yet.

        They come first, so that an address in use is reported before the service opens databases. After an error,
        nothing is left open.
        """
        if self._stack is not None:
            raise ServiceError(f"{name} was started before; create another one")
        loop = asyncio.get_running_loop()
        engine, context = self._given_engine or Engine(loop, readiness=self._readiness), contextvars.copy_context()
        spares = Spares(loop, context)
        for each in self.cores:
            each.open(loop, engine, context, spares)
        self._stack = AsyncExitStack()
        try:
            self._open_parts(self._stack)
            for site in self.sites:
                self._listen(site)
        except BaseException:
            await self.give_up()
            raise

    async def set_up(self) -> None:
        """Set the service up, the second step. After an error, nothing is left open.

        Raises :class:`~fourtuple.errors.ServiceError` if the server was stopped meanwhile.
        """
        self._setting_up = task = asyncio.current_task()
        assert task is not None
        self._set_up_ended = asyncio.get_running_loop().create_future()
        before = task.cancelling()
        try:
            try:
                state = await self._lifespan.enter_async_context(self._core.service.running())
            finally:
                self._setting_up = None
            if self.draining.is_set():  # a set-up that went on in spite of its cancellation
                raise asyncio.CancelledError
        except BaseException as error:
            stopped = isinstance(error, asyncio.CancelledError) and self.draining.is_set()
            # Those of _end_set_up() are undone, as asyncio.timeout() does, and those of others go on.
            for _ in range(self._cancellations):
                task.uncancel()
            await self.give_up()
            if stopped and task.cancelling() <= before:
                raise ServiceError("drain() or abort() was called while the service was set up") from None
            raise
        finally:
            self._set_up_ended.set_result(None)
        for each in self.cores:
            each.set_up(state)

    async def _end_set_up(self) -> bool:
        """Cancel a set-up, which is the user's code, and wait for its end in bounded time; return whether it ended.

        It has the time of a tear-down, and then a second cancellation.
        """
        ended = self._set_up_ended
        if ended is None:
            return True
        for seconds in (self._core.deadlines.tear_down_timeout, LAST_SECONDS):
            if self._setting_up is not None:
                self._cancellations += 1
                self._setting_up.cancel()
            if not ended.done():
                await asyncio.wait({ended}, timeout=seconds)
        return ended.done()

    def accept(self) -> None:
        """Accept connections, the last step."""
        core = self._core
        self._accepting = True
        for group in self.groups:
            for listener in group.admission.listeners:
                group.admission.begin(listener)
        for listener in self.listeners:
            core.observer(events.Listening(listener.name, listener.backlog, listener.asked_backlog))

    async def undo(self, error: BaseException) -> None:
        """Stop: ``error``, which is raised next, came when everything was open. An observer may end the interpreter."""
        try:
            await self.drain.abort()
        except Exception as later:
            error.add_note(f"fourtuple: the tear-down also failed: {error_text(later)}")

    async def give_up(self) -> None:
        """Undo the steps of a start that is not completed."""
        self.given_up = True
        for listener in self.listeners:
            listener.close()
        await self._close()

    def _loop_closed(self) -> list[str]:
        """The loop was closed, and the engine has closed the connections: close the rest, and return what it was."""
        left = [repr(listener) for listener in self.listeners if not listener.closed]
        for listener in self.listeners:
            listener.close()
        for group in self.groups:
            group.registry.end_all()
        with suppress(RuntimeError):  # a thread's caller cannot be told
            self._core.threads.close()
        return left

    def _open_parts(self, stack: AsyncExitStack) -> None:
        core = self._core
        engine = core.engine
        if self._given_engine is None:
            stack.callback(engine.close)
        for group in self.groups:
            group.admission.open(engine)
            stack.callback(group.admission.close)
        engine.on_sweep.append(self._sweep)
        stack.callback(engine.on_sweep.remove, self._sweep)
        engine.on_loop_closed.append(self._loop_closed)
        stack.callback(engine.on_loop_closed.remove, self._loop_closed)
        timeouts = HandlerTimeouts(engine)
        threads = Threads(core.loop, core.limits.max_threads, self._threads_full, self._threads_free)
        for each in self.cores:
            each.open_rooms(timeouts, threads)
        stack.push_async_callback(core.spares.close)
        stack.callback(timeouts.close)
        # An exit stack runs backwards: close() tells the threads to end, and then join() waits for them.
        stack.push_async_callback(threads.join, 1.0)
        stack.callback(threads.close)
        for acceptor in self.acceptors.values():
            acceptor.make_template()

    def _listen(self, site: Site) -> None:
        place = site.place
        given = place.fd if isinstance(place, Address) else place
        if given is not None:
            opened, backlog = take_given(given, site.sockets)
            self._listener(site.core, opened, backlog, keeps_file=True)
            return
        assert isinstance(place, Address)
        for sock in open_listeners(place, site.sockets):
            self._listener(site.core, sock, site.sockets.backlog)

    def _listener(self, core: ServerCore, sock: socket.socket, backlog: int, *, keeps_file: bool = False) -> Listener:
        acceptor = self.acceptors[core]
        # The C names a connection by its addresses; the peer of a Unix socket is named by its credentials (SO_PEERCRED,
        # unix(7)).
        accept_many = None if sock.family == socket.AF_UNIX else acceptor.accept_many()
        listener = Listener(
            core.engine, sock, acceptor.accept, core.observer, backlog, self._listener_died, accept_many, keeps_file
        )
        core.admission.listeners.append(listener)
        self.listeners.append(listener)
        return listener

    def _add(self, core: ServerCore, sock: socket.socket, backlog: int, *, keeps_file: bool) -> Listener:
        """Accept at one more passive socket, while the server runs."""
        listener = self._listener(core, sock, backlog, keeps_file=keeps_file)
        core.admission.begin(listener)
        self._core.observer(events.Listening(listener.name, listener.backlog, listener.asked_backlog))
        return listener

    def borrow(self, sock: socket.socket, endpoint: int) -> Listener:
        """Accept at one more passive socket of another process, with the options of an endpoint."""
        site = self._site(endpoint)
        return self._add(site.core, *take_given(sock, site.sockets), keeps_file=True)

    def listen_at(self, sock: socket.socket, backlog: int, *, keeps_file: bool) -> Listener:
        """Listen at a bound socket. With ``keeps_file`` the file of a Unix socket stays."""
        apply_options(sock, self._sockets, passive=True)
        sock.setblocking(False)
        listen(sock, backlog)
        return self._add(self._core, sock, backlog, keeps_file=keeps_file)

    def give_back(self, listener: Listener) -> None:
        """Close a listener, and let others of the socket's owners accept what waits there."""
        listener.close()
        if listener in self.listeners:
            self.listeners.remove(listener)
        for group in self.groups:
            if listener in group.admission.listeners:
                group.admission.listeners.remove(listener)

    def _site(self, endpoint: int) -> Site:
        """Return the first site of an endpoint."""
        return next(site for site in self.sites if site.endpoint == endpoint)

    def adopt(self, given: socket.socket) -> Runner | None:
        """Take a connected socket; return the runner of its connection, None if it is refused."""
        draining = self.draining.is_set()
        return adopt(self._core, self.acceptor, given, self._sockets, started=self.started, draining=draining)

    def keep(self, call: asyncio.Task[None]) -> None:
        """Cancel the task of a call when the server begins to stop."""
        self.calls.add(call)
        call.add_done_callback(self.calls.discard)

    def _listener_died(self, _listener: Listener) -> None:
        # Without any listener, the server would run on and serve no one, and no supervisor would start it again.
        if all(listener.closed for listener in self.listeners):
            self.drain.begin()

    def _mark_draining(self) -> None:
        self.draining.set()
        for call in list(self.calls):
            call.cancel()
        for acceptor in self.acceptors.values():
            if acceptor.template is not None:
                acceptor.template.draining = True  # the drain waits for each end of a connection

    async def _tear_down(self) -> None:
        if self.calls:
            await asyncio.wait(self.calls)  # they were cancelled when the stop began
        set_up_ended = await self._end_set_up()
        await self._close()
        if not set_up_ended:
            seconds = self._core.deadlines.tear_down_timeout
            assert seconds is not None
            raise DeadlinePassed("tear_down_timeout", seconds, "the service's set-up", "it ignores its cancellation")

    async def _close(self) -> None:
        assert self._stack is not None
        self.tearing_down = True
        try:
            await TearDown(self._lifespan.aclose).within(self._core.deadlines.tear_down_timeout)
            self.tearing_down = False
        except Exception:
            self.tearing_down = False
            raise
        finally:
            await self._stack.aclose()

    # -- while it serves ----------------------------------------------------------------------------------

    def gauges(self) -> dict[str, Callable[[], int]]:
        """Return the numbers that an :class:`~fourtuple.Alarm` can watch."""
        return {
            "connections": lambda: sum(len(group.registry) for group in self.groups),
            "buffered": lambda: sum(
                runner.stream.buffered for group in self.groups for runner in group.registry.runners.values()
            ),
            "threads": lambda: self._core.threads.busy,
            "accept_queue": lambda: max((listener.accept_queue or 0 for listener in self.listeners), default=0),
        }

    def change_limits(self, limits: Limits) -> None:
        """Put other limits in force where the server's apply. Raises OptionError and EncodeError; nothing changes."""
        self._change_limits(self._core, limits)
        if self.started:
            self._core.threads.change_limit(limits.max_threads)
            self.acceptor.make_room()

    def change_endpoint_limits(self, endpoint: int, limits: Limits) -> None:
        """Put other limits in force at an endpoint with limits of its own."""
        core = self._site(endpoint).core
        self._change_limits(core, limits)
        if self.started:
            self.acceptors[core].make_room()

    def endpoint_limits(self, endpoint: int) -> Limits:
        """Return the limits that hold at an endpoint."""
        return self._site(endpoint).core.limits

    def reload_certificates(self) -> None:
        """Read all certificate files again. Raises OptionError if some cannot be used; the others are in force then."""
        preambles = {id(core.certificates): core.preamble for core in self.cores}
        failed: list[OptionError] = []
        for preamble in preambles.values():
            try:
                preamble.reload()
            except OptionError as error:
                failed.append(error)
        if failed:
            raise failed[0]

    def _change_limits(self, core: ServerCore, limits: Limits) -> None:
        core.change_limits(limits, started=self.started)
        for each, acceptor in self.acceptors.items():
            if each.admission is core.admission:
                each.take_limits(limits, started=self.started)
                if self.started:
                    acceptor.fill_template()

    def _sweep(self, now: float) -> None:
        core = self._core
        core.handler_timeouts.look(now)
        core.threads.look()
        for group, guard in zip(self.groups, self.buffer_guards, strict=True):
            group.admission.look()
            self.acceptors[group].look()
            group.throttling.look(now)
            guard.look(now, group.limits)
        self._crowding.look(now, core.threads, core.deadlines.crowded_idle_timeout)
        self._alarms.look(now, core.limits)

    def _threads_full(self) -> None:
        for group in self.groups:
            self._for_certain(group.admission.pause, "max_threads", self._core.threads.shortage)

    def _threads_free(self) -> None:
        for group in self.groups:
            self._for_certain(group.admission.resume, "max_threads")

    def _for_certain(self, change: Callable[..., None], *arguments: str) -> None:
        try:
            change(*arguments)
        except MemoryError:
            self._core.engine.sweep_on()  # the sweep checks the threads
            raise
