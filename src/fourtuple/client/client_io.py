"""The I/O of an async client, on its loop: it connects, does what is due, delivers pushes, and wakes tasks that wait.

::

    a call, a reply, a loss, the timer --> _advance(): the pool does what is due
                                              |--> an attempt to connect is due: _dial() in a task --> _join()
                                              |--> something is due later: _set_timer()
                                              +--> pushes, or the end of a drain: the tasks that wait for them are woken
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from fourtuple.cancelling import on_request
from fourtuple.client.ending import let_go
from fourtuple.client.link import Reader
from fourtuple.client.opening import connected
from fourtuple.connection import Connection
from fourtuple.engine import Channel
from fourtuple.errors import (
    ConnectionEnded,
    DeadlinePassed,
    Fate,
    FourTupleError,
    PermanentFailure,
    WrongThread,
)
from fourtuple.errors.base import interrupts
from fourtuple.forking import holds, why
from fourtuple.options import function_name, refuse_unrun
from fourtuple.pool import ConnectionPool
from fourtuple.pool.calls import told
from fourtuple.pool.functions import failure_of
from fourtuple.pool.plan import Plan, called_in_greet
from fourtuple.pool.pushes import NOTHING
from fourtuple.printable import repr_of

#: How a call is made from outside of the client's loop: a coroutine, a plain function, and what has to be written.
_AWAITED = "asyncio.run_coroutine_threadsafe(client.{}(...), loop)"
PLAIN = "loop.call_soon_threadsafe(client.{})"
WRITTEN = "asyncio.run_coroutine_threadsafe() with a coroutine that does it"


class ClientIO:
    """The tasks, the timer and the connections of one client."""

    def __init__(
        self,
        plan: Plan,
        greet: Callable[[Connection[Any, Any]], Awaitable[object]] | None,
        on_push: Callable[[Any], object] | None,
    ) -> None:
        self._plan = plan
        self._greet = greet
        self._on_push = on_push
        self.clock: Callable[[], float] = time.monotonic
        self.pool: ConnectionPool = self._plan.make_pool(random.random, time.time, self._passes)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._dialling: asyncio.Task[None] | None = None
        self._delivering: asyncio.Task[None] | None = None
        #: The tasks that wait for a push, and those that wait for the end of a drain.
        self._push_waiters: list[asyncio.Future[None]] = []
        self._drain_waiters: list[asyncio.Future[None]] = []
        #: The connections whose sockets are open, and their readers.
        self._readers: dict[Connection, Reader] = {}
        holds(self)

    # -- the loop -------------------------------------------------------------------------------------------

    def _enter(self, call: str, instead: str = _AWAITED) -> asyncio.AbstractEventLoop:
        """Return the running loop. Raises in a forked child, without a loop, and in another one than before."""
        whom = f"client of {self._plan.address}"
        if self.pool.disowned is not None:
            raise told(self.pool.disowned, Fate.NOT_SENT)
        self._check_thread(call, instead)
        loop = asyncio._get_running_loop()
        if not self.pool.closed and (stranded := self._look_at_loop()) is not None:
            raise told(stranded, Fate.NOT_SENT)
        if loop is None:
            raise told(
                WrongThread(f"{whom}: no event loop runs in this thread", "call it in a coroutine"), Fate.NOT_SENT
            )
        self._loop = self._loop or loop
        return loop

    def _look_at_loop(self) -> Exception | None:
        """Tell the pool if the loop was closed; return the error that says so. A loop tells no one of its end."""
        if self._loop is not None and self._loop.is_closed() and self.pool.stranded is None:
            whom = f"client of {self._plan.address}"
            self.pool.stranded = ConnectionEnded(f"{whom}: its event loop was closed; make a client per loop")
        return self.pool.stranded

    def _check_thread(self, call: str, instead: str) -> None:
        """Raise WrongThread where another loop runs than the client's, or none while that one runs.

        While the client's loop does not run, any thread without a loop may call. ``instead`` tells how others do it.
        """
        loop, here = self._loop, asyncio._get_running_loop()
        if loop is None or loop is here or loop.is_closed() or (here is None and not loop.is_running()):
            return
        whom = f"client of {self._plan.address}: {call}: it was used in another event loop before"
        raise told(WrongThread(whom, f"{instead.format(call)}, or a client per loop"), Fate.NOT_SENT)

    def _let_go(self) -> None:
        """Close a client whose loop was closed: nothing there can be woken, cancelled or awaited any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for reader in list(self._readers.values()):
            reader.look_at_loop()
        self.pool.close(self.clock())
        self._readers.clear()
        self._push_waiters.clear()
        self._drain_waiters.clear()
        tasks, self._dialling, self._delivering = (self._dialling, self._delivering), None, None
        for task in tasks:
            if task is not None:
                let_go(task)

    def _check_not_greeting(self, method: str) -> None:
        """Raise PermanentFailure in ``greet``, where the client would wait for itself."""
        if self._dialling is not None and self._dialling is asyncio.current_task():
            raise told(called_in_greet(self._plan.address, method), Fate.NOT_SENT)

    def _advance(self) -> None:
        """Do what is due, and see to it that what is due later will be done."""
        now = self.clock()
        self.pool.advance(now)
        if self.pool.dial_due(now) and self._loop is not None:
            self.pool.dial_begins(now)
            self._dialling = self._loop.create_task(self._dial())
        self._set_timer(now)
        if self.pool.inbox is not None:
            for reader in list(self._readers.values()):
                reader.go_on()  # a request may wait now for a reply behind the pushes for which there was no room
        if self._push_waiters and (self.pool.closed or (self.pool.inbox is not None and len(self.pool.inbox))):
            _wake(self._push_waiters)
        if self._drain_waiters and self.pool.drained:
            _wake(self._drain_waiters)
            self._drain_waiters.clear()

    def _set_timer(self, now: float) -> None:
        moment = self.pool.next_moment()
        if self._timer is not None:
            if moment is not None and self._timer_at <= moment:
                return  # it rings earlier than needed, and is then set again
            self._timer.cancel()
            self._timer = None
        if moment is not None and self._loop is not None and not self.pool.closed:
            self._timer_at = moment
            self._timer = self._loop.call_later(max(0.0, moment - now), self._rings)

    def _rings(self) -> None:
        self._timer = None
        self._advance()

    # -- connections ----------------------------------------------------------------------------------------

    async def _dial(self) -> None:
        """Make one attempt to connect and to greet."""
        connection: Connection | None = None
        assert self._loop is not None
        seconds = self._plan.chosen.timeout
        limit = asyncio.timeout_at(None if seconds is None else self._loop.time() + seconds)
        try:
            plan = self._plan
            # Outside of the limit: it keeps the same time itself, and knows what has not ended in it.
            connection = await connected(plan.address, plan.framing, plan.chosen, self._reader)
            self.pool.dial_greets(self.clock())
            if self._greet is not None:
                async with limit:
                    await _awaitable(self._greet, self._greet(connection), connection)
        except BaseException as error:
            self._drop(connection)
            self._dial_failed(error, connection, late=limit.expired())
            if on_request(error):
                raise
        else:
            if self.pool.closed:  # ``greet`` went on although close() had cancelled it
                self._drop(connection)
            else:
                self._join(self._readers[connection])
        finally:
            self._dialling = None
            if not self._loop.is_closed():
                self._advance()

    def _dial_failed(self, error: BaseException, connection: Connection | None, *, late: bool) -> None:
        """Tell the pool why an attempt failed, whatever ``greet`` raised; and the loop, if it is to end the program."""
        if interrupts(error):
            self._interrupt(error)
        if self.pool.closed:
            return
        if isinstance(error, TimeoutError) and not isinstance(error, FourTupleError) and late:
            # connected() raises errors of its own at its deadline, so this one is of the timeout around ``greet``.
            seconds = self._plan.chosen.timeout or 0.0
            error = DeadlinePassed("connect", seconds, str(self._plan.address), "greet was not done in time")
        what = "greet" if connection is not None and self._greet is not None else "the attempt to connect"
        # The pool keeps the error: the frames of a traceback would keep the connection.
        self.pool.dial_failed(failure_of(error, f"{self._plan.address}: {what}"), self.clock())

    def _passes(self, error: BaseException) -> bool:
        """Whether what a function of the program raised goes on from here. On the loop nothing does."""
        if not interrupts(error):
            return False
        if self._loop is None or self._loop.is_closed():
            return True
        self._interrupt(error)
        return False

    def _interrupt(self, error: BaseException) -> None:
        """Raise Ctrl-C or sys.exit() out of the loop, as it would be raised out of a task."""
        assert self._loop is not None
        if self._loop.is_closed():
            raise error
        self._loop.call_soon(_raise, error)

    def _reader(self, connection: Connection, channel: Channel) -> Reader:
        reader = self._readers[connection] = Reader(self, connection, channel)
        return reader

    def _join(self, reader: Reader) -> None:
        """Give a connection that has greeted to the pool, with what came behind the replies to ``greet``."""
        reader.member = self.pool.dial_done(reader.link, self.clock())
        if self._on_push is not None:
            self.pool.stays = True
            if self._delivering is None:
                assert self._loop is not None
                self._delivering = self._loop.create_task(self._deliver())
        # Replies and pushes that came in one read with the last reply to ``greet`` bring no other event.
        reader.drain()

    def _drop(self, connection: Connection | None) -> None:
        if connection is not None:
            connection.abort()

    def _forget(self, connection: Connection) -> None:
        """Forget a connection whose socket is closed."""
        self._readers.pop(connection, None)

    def _disown(self) -> None:
        """In a forked child: the connections are the parent's, and the client does nothing here."""
        self.pool.disown(ConnectionEnded(why(f"client of {self._plan.address}: it")))

    # -- pushes ---------------------------------------------------------------------------------------------

    async def _next_push(self) -> Any:
        self._check_not_greeting("pushes().receive()")
        inbox = self.pool.inbox
        assert inbox is not None
        while (push := inbox.take()) is NOTHING:
            if self.pool.closed:
                raise ConnectionEnded(f"client of {self._plan.address}: closed, no pushes will come")
            waiter = self._enter("pushes().receive", WRITTEN).create_future()
            self._push_waiters.append(waiter)
            try:
                await waiter
            finally:
                with suppress(ValueError):  # the loop was closed, and then the client
                    self._push_waiters.remove(waiter)
        for reader in list(self._readers.values()):
            reader.go_on()
        return push

    async def _deliver(self) -> None:
        """Call ``on_push`` with each push. The next request also raises what it raises."""
        assert self._on_push is not None
        with suppress(ConnectionEnded):
            while True:
                push = await self._next_push()
                try:
                    result = self._on_push(push)
                    if isinstance(result, Awaitable):
                        await result
                    else:
                        refuse_unrun("on_push", self._on_push, result)
                except BaseException as error:
                    if on_request(error):
                        raise
                    self.pool.push_failed(error)
                    if interrupts(error):
                        self._interrupt(error)


def _wake(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


def _awaitable(function: Callable[..., Any], result: Any, connection: Connection) -> Awaitable[object]:
    """Return what ``greet`` returned. Raises PermanentFailure for what cannot be awaited: it would be so each time."""
    if not isinstance(result, Awaitable):
        raise PermanentFailure(
            f"{connection.name}: greet: {function_name(function)} returned {repr_of(result)}; expected an async def, "
            "or a function that returns what can be awaited"
        )
    return result


def _raise(error: BaseException) -> None:
    raise error
