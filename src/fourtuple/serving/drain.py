"""How a server stops: gracefully and in bounded time, or at once. Either way its tear-down runs once.

The time line of a drain::

    drain() is called          half-closes                       the rest is aborted       it has stopped
      |--------------------------|------------------------- ... ---|-------------------------|--> tear-down
      |  drain_idle_timeout, drain_first_message_timeout           |  a quarter, 2 s at most |
      |                    last call: half-closes the busy ones    |                         |
      |                                          | linger_timeout  |                         |
      |--------------------------------- drain_timeout --------------------------------------|

A drain and an abort each run in a separate task: if a caller stops waiting, the stop itself goes on.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

from fourtuple import events
from fourtuple.engine import Listener
from fourtuple.serving.abandon import disown, hide
from fourtuple.serving.core import ServerCore
from fourtuple.serving.farewells import Farewells

if TYPE_CHECKING:
    from fourtuple.handlers import Runner

#: Seconds that an abort waits for tasks, threads and programs to return their connections. Without a bound, one of
#: them could hang the stop.
ABORT_SECONDS = 2.0
#: The share of a drain's time that is kept for the abort at its end, at most ABORT_SECONDS.
ABORT_SHARE = 1 / 4
#: The share of an abort's time that follows its last measure against handlers that still run: a second
#: cancellation, SIGKILL.
LAST_SHARE = 1 / 4
#: The least seconds of each part, however short the drain is, so that it can take effect.
LEAST_SECONDS = 0.1

#: The most tasks that are waited for at once.
_FEW = 16


class Drain:
    """The stop of one server. :meth:`fourtuple.Server.drain` tells what it means for open connections.

    Parameters
    ----------
    groups
        The server that is stopped: one core for each registry. Endpoints with limits of their own have their own.
    on_begin
        Called when the stop begins, and again when an abort cuts it short.
    tear_down
        Awaited once, when all connections have ended or were abandoned. The abort raises what this raises.
    """

    def __init__(
        self, groups: Sequence[ServerCore], on_begin: Callable[[], None], tear_down: Callable[[], Awaitable[object]]
    ) -> None:
        self._groups = groups
        # What all endpoints share is looked up here: the loop, the engine, the deadlines, the threads, the tasks.
        self._server = groups[0]
        self._on_begin = on_begin
        self._tear_down = tear_down
        self._gone = asyncio.Event()
        self._change = asyncio.Event()
        self._abort_seconds = ABORT_SECONDS
        #: Whether the handlers' tasks are hidden from :func:`asyncio.all_tasks`.
        self._hides = False
        #: Whether the connections that had to be aborted are counted.
        self._counted = False
        self._draining: asyncio.Task[None] | None = None
        self._aborting: asyncio.Task[None] | None = None
        #: What the tear-down raised, and where.
        self._failed: tuple[Exception, TracebackType | None] | tuple[None, None] = None, None

    @property
    def gone(self) -> bool:
        """Whether the server has stopped, including its tear-down."""
        return self._gone.is_set()

    def ended(self) -> None:
        """Wake the drain or abort: a connection has ended."""
        self._change.set()

    async def wait(self) -> None:
        """Return when the server has stopped. Raises what the tear-down raised."""
        await self._gone.wait()
        # A drain that something has cancelled ends with the abort, which then tells how the stop has ended.
        draining = self._draining is not None and not self._draining.cancelled()
        await (self.drain() if draining else self.abort())

    async def drain(self, timeout: float | None = None) -> None:
        """Stop gracefully, within ``timeout`` seconds (default: ``drain_timeout``)."""
        await self._end_of(self.begin(timeout))

    def begin(self, timeout: float | None = None) -> asyncio.Task[None]:
        """Begin to stop gracefully, or return the task of the drain that has begun.

        One that ended before the server had stopped, because something cancelled its task, is begun anew.
        """
        if self._draining is None or self._ended_early(self._draining):
            self._draining = self._server.loop.create_task(self._drain(timeout))
        return self._draining

    async def abort(self) -> None:
        """Stop now. Raises what the tear-down raised.

        Like a drain, an abort that ended before the server had stopped is begun anew.
        """
        if self._aborting is None or self._ended_early(self._aborting):
            self._aborting = self._server.loop.create_task(self._abort())
        await self._end_of(self._aborting)

    async def _end_of(self, stop: asyncio.Task[None]) -> None:
        """Wait until a drain or an abort has ended, and raise what the tear-down raised."""
        try:
            # shield(): a caller that is cancelled or times out must not cancel the stop of a server.
            await asyncio.shield(stop)
        except Exception as error:
            failed, trace = self._failed
            if error is failed:  # asyncio gives the traceback only to the first that awaits a task
                error.with_traceback(trace)
            raise

    def hide_handlers(self) -> None:
        """Hide the handlers' tasks from a loop that closes meanwhile: the abort that follows ends or abandons them."""
        self._hides = True
        for task in self._server.tasks:
            hide(task)

    async def abort_for_certain(self) -> None:
        """Abort, again if necessary, until the server has stopped.

        This is for a caller that was cancelled: by its own timeout, or because the loop closes. A loop that closes
        cancels all tasks, including the one that aborts.
        """
        while not self._gone.is_set():
            with suppress(asyncio.CancelledError):
                await self.abort()

    def _ended_early(self, stop: asyncio.Task[None]) -> bool:
        """Whether the task of a drain or abort has ended, and the server has not stopped."""
        return stop.done() and not self._gone.is_set()

    # -- gracefully ---------------------------------------------------------------------------------------

    async def _drain(self, timeout: float | None) -> None:
        try:
            if self._aborting is None:  # otherwise nothing is left to drain, or to tell
                await self._end_conversations(timeout)
        finally:
            # In every case: a server that is draining for ever could not be stopped any more.
            await self.abort()

    async def _end_conversations(self, timeout: float | None) -> None:
        """Wait until every connection has ended, or the time for it has passed."""
        server = self._server
        self._on_begin()
        limit = timeout if timeout is not None else server.deadlines.drain_timeout
        server.observer(events.Draining(self._count(), limit))
        for _, listener in self._listeners():
            # Unregistered, but still open: connections that complete their handshake now are accepted below, and not
            # reset.
            listener.pause("draining")
        started = server.engine.clock()
        patience: float | None = None
        if limit is not None:
            patience, self._abort_seconds = shared_out(limit)
        farewells = Farewells(started, server.deadlines, patience)
        while self._aborting is None and (self._sweep_queues() or self._count() or server.tasks):
            now = server.engine.clock()
            if patience is not None and now - started >= patience:
                break
            for say in farewells.due(self._living(), now):
                say()
            await self._some_ended(0.05)

    def _count(self) -> int:
        """Return the number of connections whose end is awaited."""
        return sum(len(group.registry) for group in self._groups)

    def _living(self) -> list[Runner]:
        return [runner for group in self._groups for runner in group.registry.living()]

    def _listeners(self) -> Iterator[tuple[ServerCore, Listener]]:
        return ((group, listener) for group in self._groups for listener in group.listeners)

    def _sweep_queues(self) -> bool:
        """Accept what waits in the accept queues; close listeners with an empty queue. Return whether one is left."""
        for group, listener in self._listeners():
            while not (listener.closed or listener.backing_off) and len(group.registry) < group.max_connections:
                # The queue is empty: closed at once, so that the next client is refused and can go to another server. A
                # handshake that completes between the two calls ends with RST.
                if not listener.accept_one() and not listener.backing_off:
                    listener.close()
            # Without a free descriptor accept(2) fails even if the queue is empty; TCP_INFO has the queue's length.
            if listener.backing_off and listener.accept_queue == 0:
                listener.close()
        return not all(listener.closed for _, listener in self._listeners())

    async def _some_ended(self, seconds: float) -> None:
        """Wait until a connection or a handler's task ends, at most ``seconds``.

        Idle connections are checked that often. Only a few tasks are waited for: to wait for a million takes longer
        than ``seconds``.
        """
        self._change.clear()
        change = self._server.loop.create_task(self._change.wait())
        some = itertools.islice(self._server.tasks, _FEW)
        await asyncio.wait((change, *some), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        # The tasks that were waited for go on: asyncio.wait(), unlike wait_for(), does not cancel them.
        change.cancel()

    # -- at once ------------------------------------------------------------------------------------------

    async def _abort(self) -> None:
        server = self._server
        self._on_begin()
        for _, listener in self._listeners():
            listener.close()
        for group in () if self._counted else self._groups:
            # Before the aborts, which take connections out of the registry.
            group.registry.aborted += len(group.registry)
        self._counted = True
        for runner in self._living():
            runner.abort()
        if self._hides:
            self.hide_handlers()
        for task in list(server.tasks):
            task.cancel()
        # Tasks unwind, threads return lent sockets, programs end. What has not ended in time is abandoned.
        last = self._abort_seconds * LAST_SHARE
        if not await self._all_back(max(self._abort_seconds - last, LEAST_SECONDS)):
            for runner in self._living():
                # SIGKILL for a program: SIGTERM was part of the abort.
                runner.give_up()
            for task in list(server.tasks):
                task.cancel()  # again: a handler may have swallowed the first cancellation
            await self._all_back(max(last, LEAST_SECONDS))
        abandoned = self._abandon()
        server.observer(events.Drained(sum(group.registry.aborted for group in self._groups), abandoned))
        try:
            await self._tear_down()
        except Exception as error:
            self._failed = error, error.__traceback__
            raise
        finally:
            self._gone.set()

    async def _all_back(self, seconds: float) -> bool:
        """Wait until all connections and handlers have ended, at most ``seconds``; return whether they have."""
        server = self._server
        until = server.loop.time() + seconds
        while self._count() or server.tasks or server.threads.busy:
            left = until - server.loop.time()
            if left <= 0:
                return False
            await self._some_ended(min(0.05, left))
        return True

    def _abandon(self) -> int:
        """Abandon the handlers that have not ended; return their number."""
        server = self._server
        left: dict[int, Runner] = {runner.channel.id: runner for runner in self._living()}
        for task, runner in server.tasks.items():
            left[runner.channel.id] = runner
            # Otherwise asyncio.run() would wait for it without a bound: it gathers all tasks, without a timeout.
            disown(task)
        for id, runner in left.items():
            runner.channel.abandon()
            server.observer(events.HandlerAbandoned(id, runner.stream.name, runner.handler_name))
        server.registry.abandoned += len(left)
        return len(left)


def shared_out(limit: float) -> tuple[float, float]:
    """Divide a drain of ``limit`` seconds: return the seconds for conversations, and those for the abort at its end."""
    abort = min(ABORT_SECONDS, limit * ABORT_SHARE)
    return limit - abort, abort
