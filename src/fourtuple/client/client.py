"""The async client that stays connected.

Nothing is decided here: :class:`~fourtuple.pool.ConnectionPool` decides. This module makes connections, waits, and
wakes the tasks that wait.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, Unpack

from fourtuple.address import Address
from fourtuple.client.link import AsyncLink, Reader
from fourtuple.client.opening import connected
from fourtuple.client.options import ClientOptions, Connect
from fourtuple.client.pushes import PushStream
from fourtuple.connection import Connection
from fourtuple.connection.awaitables import Later
from fourtuple.engine import Channel
from fourtuple.errors import ConnectionEnded, DeadlinePassed, Fate, FourTupleError, OptionError, WrongThread
from fourtuple.events import ClientStatistics, Event
from fourtuple.forking import holds, why
from fourtuple.framing import Framing
from fourtuple.options import Pool, Pushes, Retries, check_timeout
from fourtuple.pool import Call, ConnectionPool, Gap, Health
from fourtuple.pool.calls import Kind, told
from fourtuple.pool.correlation import KeyOf
from fourtuple.pool.plan import Plan
from fourtuple.pool.pushes import NOTHING
from fourtuple.typevars import Generic, In_co, Out_contra


class Client(Generic[In_co, Out_contra]):
    """A client that stays connected: a connection is there when a request needs one.

    ``async with Client(address, framing) as client: reply = await client.request(message)``. It connects when the first
    request comes, connects again after a loss, and keeps up to ``max_connections`` connections. It belongs to the loop
    in which it is first used. The blocking client is :class:`fourtuple.blocking.Client`.

    Parameters
    ----------
    address, framing
        As for :func:`fourtuple.connect`. A name is looked up again for each connection.
    greet
        Called with each new :class:`~fourtuple.Connection` before any request uses it: log in, subscribe again. The
        ``timeout`` of connecting includes it. If it raises, the attempt has failed and another one follows; raise
        :class:`~fourtuple.errors.PermanentFailure` if none can succeed. Default: None.
    ping
        A message, or a function that makes one, that is sent on a connection without a request for ``ping_interval``;
        its reply shows that the server lives. Default: None, as only the protocol knows one.
    key
        How replies are told: a function that returns the key of a request or a reply, or a pair of functions. Default:
        None, which means that replies come in the order of the requests.
    is_push, on_push, pushes
        For messages that answer no request: ``is_push`` recognises them, ``on_push`` is called with each, and with
        a :class:`~fourtuple.Gap` after a reconnect, a plain or an async function; ``pushes=Pushes()`` lets you iterate
        over :meth:`pushes` instead. Default: none, and such a message closes its connection.
    idempotent
        Whether a request may be repeated although the server may have carried it out: True, or a function of the
        message. Default: False, so nothing is ever done twice.
    pool, retries
        :class:`~fourtuple.Pool` and :class:`~fourtuple.Retries`. Default: None, which means their defaults.
    observer
        Called with each event (:mod:`fourtuple.events`). Default: None.
    **options
        The options of :func:`fourtuple.connect`, except ``reconnect``. ``sockets`` defaults to keepalive probes after
        30 s and a user timeout of 45 s.

    Raises :class:`~fourtuple.errors.AddressError`, :class:`~fourtuple.errors.FramingTextError` and
    :class:`~fourtuple.errors.OptionError`.
    """

    def __init__(
        self,
        address: Address | str,
        framing: Framing[In_co, Out_contra] | str,
        *,
        greet: Callable[[Connection[In_co, Out_contra]], Awaitable[object]] | None = None,
        ping: Any = None,
        key: KeyOf | tuple[KeyOf, KeyOf] | None = None,
        is_push: Callable[[In_co], bool] | None = None,
        on_push: Callable[[In_co | Gap], object] | None = None,
        pushes: Pushes | None = None,
        idempotent: Callable[[Out_contra], bool] | bool = False,
        pool: Pool | None = None,
        retries: Retries | None = None,
        observer: Callable[[Event], object] | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        self._plan = Plan.of(
            address,
            framing,
            Connect(**options),
            pool=pool,
            retries=retries,
            pushes=pushes,
            key=key,
            is_push=is_push,
            on_push=on_push,
            greet=greet,
            ping=ping,
            idempotent=idempotent,
            observer=observer,
        )
        self._greet = greet
        self._on_push = on_push
        self.clock: Callable[[], float] = time.monotonic
        self.pool: ConnectionPool = self._plan.make_pool(random.random, time.time)
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
        self._forked = False
        holds(self)

    # -- requests -------------------------------------------------------------------------------------------

    async def request(
        self, message: Out_contra, timeout: float | None = None, *, idempotent: bool | None = None
    ) -> In_co:
        """Send a message and return its reply.

        Parameters
        ----------
        timeout
            Seconds for the whole request: waiting, connecting, and all attempts. Default: None, which means
            ``whole_timeout``.
        idempotent
            Whether it may be repeated although the server may have carried it out. Default: None, which asks the
            client's ``idempotent``.

        Every error has a ``fate`` (:class:`~fourtuple.errors.Fate`). A request that was ``not_sent`` is tried again by
        itself until its deadline. Raises :class:`~fourtuple.errors.DeadlinePassed`, whose cause is the last failure to
        connect, if there was one; :class:`~fourtuple.errors.ConnectionLost`, :class:`~fourtuple.errors.EndOfFile` and
        other errors of the connection on which it was sent; :class:`~fourtuple.errors.EncodeError`;
        :class:`~fourtuple.errors.UnmappedMessage`; :class:`~fourtuple.errors.TooManyWaiting`;
        :class:`~fourtuple.errors.PermanentFailure`; :class:`~fourtuple.errors.PushConsumerDied`; and
        :class:`~fourtuple.errors.ConnectionEnded` after close() or drain(). If it is cancelled, its late reply is
        dropped.
        """
        while self._plan.correlation.by_time and any(each.has_unread for each in self._readers.values()):
            await asyncio.sleep(0)  # the engine reads pushes in the loop's next turn
        reply: In_co = await self._outcome(
            lambda done, wake: self._plan.call(message, timeout, idempotent, wake=wake, gone=done.cancelled)
        )
        return reply

    async def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until a connection is ready, at most ``timeout`` seconds (default: ``whole_timeout``).

        Raises :class:`~fourtuple.errors.DeadlinePassed`, whose cause is the last failure to connect, and
        :class:`~fourtuple.errors.PermanentFailure`.
        """
        check_timeout(timeout)
        seconds = self._plan.options.whole_timeout if timeout is None else timeout
        await self._outcome(lambda done, wake: Call(kind=Kind.READY, timeout=seconds, wake=wake, gone=done.cancelled))

    async def _outcome(self, make: Callable[[asyncio.Future[None], Callable[[], None]], Call]) -> Any:
        """Put a call into the queue, and wait for its outcome."""
        loop = self._enter()
        done: asyncio.Future[None] = loop.create_future()
        call = make(done, lambda: None if done.done() else done.set_result(None))
        try:
            self.pool.ask(call, self.clock())
        except FourTupleError:
            await asyncio.sleep(0)  # a task that catches it and asks again would hold the loop
            raise
        self._advance()
        try:
            if call.done:
                await asyncio.sleep(0)  # as above
            await done
        except BaseException:
            # In every case, a cancellation included: the place in the order of replies stays, and the late reply is
            # dropped.
            self.pool.give_up(call, self.clock())
            self._advance()
            raise
        return call.result()

    async def send(self, message: Out_contra) -> None:
        """Send a message that has no reply, on a connection that is ready; wait while the peer does not keep up.

        It never waits for a connection: raises :class:`~fourtuple.errors.NotConnected` if none is ready, because such a
        message would be kept without anyone knowing. Other errors as :meth:`request`.
        """
        self._enter()
        now = self.clock()
        try:
            link = self.pool.member_for_send(now).link
            assert isinstance(link, AsyncLink)
            start = link.position
            try:
                sent = link.connection.send(message)
            except FourTupleError as error:
                raise told(error, Fate.NOT_SENT, error.__cause__) from error.__cause__
        except FourTupleError:
            self._advance()
            await asyncio.sleep(0)
            raise
        try:
            await sent
        except FourTupleError as error:
            # What the kernel has taken may have reached the server. What is in the outbox when a connection is lost
            # never leaves.
            raise told(error, Fate.PERHAPS_SENT if link.taken > start else Fate.NOT_SENT) from error.__cause__

    # -- pushes ---------------------------------------------------------------------------------------------

    def pushes(self) -> PushStream[In_co]:
        """Return an iterator over the messages that answer no request, and keep the client connected from now on.

        After a reconnect it yields a :class:`~fourtuple.Gap`. Raises :class:`~fourtuple.errors.OptionError`
        if the client was made without ``pushes=``.
        """
        self._enter()
        inbox = self.pool.inbox
        if inbox is None or self._on_push is not None:
            raise OptionError("pushes(): make the client with pushes=Pushes(), and without on_push=")
        self.pool.stays = True
        self._advance()
        return PushStream(inbox, str(self._plan.address), self._next_push, lambda: len(inbox) > 0)

    async def _next_push(self) -> Any:
        inbox = self.pool.inbox
        assert inbox is not None
        while (push := inbox.take()) is NOTHING:
            if self.pool.closed:
                raise ConnectionEnded(f"client of {self._plan.address}: closed, no pushes will come")
            waiter = self._enter().create_future()
            self._push_waiters.append(waiter)
            try:
                await waiter
            finally:
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
                except Exception as error:
                    self.pool.push_failed(error)

    # -- life -----------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """Replace all connections, each when it owes no reply any more. After a PermanentFailure, connect again."""
        self._enter()
        self.pool.expire(self.clock())
        self._advance()

    async def drain(self, timeout: float | None = None) -> None:
        """Refuse new requests, wait for the replies of those that were made, at most ``timeout`` seconds, and close."""
        check_timeout(timeout)
        loop = self._enter()
        self.pool.drain()
        self._advance()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not self.pool.drained:
                    waiter = loop.create_future()
                    self._drain_waiters.append(waiter)
                    await waiter
        await self.close()

    def close(self) -> Later[None]:
        """Close all connections; await the result to wait for their end. Idempotent.

        It takes effect at once: requests that wait raise :class:`~fourtuple.errors.ConnectionEnded` with their fate.
        """
        if not self._forked:
            self._check_loop()
            self.pool.close(self.clock())
            # ``greet`` and ``on_push`` may close their own client: a task that cancels itself would not finish close().
            mine = asyncio.current_task() if asyncio._get_running_loop() is not None else None
            for task in (self._dialling, self._delivering):
                if task is not None and task is not mine:
                    task.cancel()
            self._advance()
        return Later(self._wait_closed)

    async def _wait_closed(self) -> None:
        tasks = [task for task in (self._dialling, self._delivering) if task is not None]
        mine = asyncio.current_task()
        await asyncio.gather(*(task for task in tasks if task is not mine), return_exceptions=True)
        for connection in list(self._readers):
            await connection.wait_closed()

    async def __aenter__(self) -> Self:
        self._enter()
        if self._on_push is not None:
            self.pool.stays = True
            self._advance()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- seen from outside ----------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """The state: ``new``, ``connecting``, ``greeting``, ``ready``, ``waiting(2.4 s)``, ``failed``, ``draining``,
        ``closed``.
        """
        return "forked" if self._forked else self.pool.state_text(self.clock())

    @property
    def health(self) -> Health:
        """Whether requests can be served: the state, and the error, if something is wrong."""
        return self.pool.health(self.clock())

    @property
    def statistics(self) -> ClientStatistics:
        """An immutable snapshot of the counters."""
        return self.pool.statistics(self.clock())

    def __repr__(self) -> str:
        told = self.statistics
        counts = f"{told.open} open, {told.in_use} in use, {told.waiting} waiting"
        return f"<Client {self._plan.address} {self._plan.framing}, {self.state}, {counts}>"

    # -- the machinery --------------------------------------------------------------------------------------

    def _enter(self) -> asyncio.AbstractEventLoop:
        """Return the running loop. Raises in a forked child, and in another loop than before."""
        if self._forked:
            raise told(ConnectionEnded(why(f"client of {self._plan.address}: it")), Fate.NOT_SENT)
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            self._check_loop()
        return loop

    def _check_loop(self) -> None:
        running = asyncio._get_running_loop()
        if self._loop is not None and running is not self._loop and not self._loop.is_closed():
            whom = f"client of {self._plan.address}: it was used in another event loop before"
            raise WrongThread(whom, "asyncio.run_coroutine_threadsafe(client.request(...), loop), or a client per loop")
        if self._loop is not running and running is not None and not self.pool.closed:
            raise ConnectionEnded(f"client of {self._plan.address}: its event loop was closed; make a client per loop")

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

    async def _dial(self) -> None:
        """Make one attempt to connect and to greet."""
        connection: Connection | None = None
        seconds = self._plan.chosen.timeout
        try:
            async with asyncio.timeout(seconds):
                plan = self._plan
                connection = await connected(plan.address, plan.framing, plan.chosen, self._reader)
                self.pool.dial_greets(self.clock())
                if self._greet is not None:
                    await self._greet(connection)
        except Exception as error:
            if isinstance(error, TimeoutError) and not isinstance(error, FourTupleError):
                # connected() raises errors of its own at its deadline, so this one is of the timeout around ``greet``.
                error = DeadlinePassed("connect", seconds or 0.0, str(self._plan.address), "greet was not done in time")
            self._drop(connection)
            # The pool keeps the error: the frames of a traceback would keep the connection.
            self.pool.dial_failed(error.with_traceback(None), self.clock())
        except BaseException:
            self._drop(connection)
            self.pool.dialler.cancelled()
            raise
        else:
            self._join(self._readers[connection])
        finally:
            self._dialling = None
            self._advance()

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
        self._forked = True


def _wake(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
