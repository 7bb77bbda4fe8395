"""The async client that stays connected.

Nothing is decided here: :class:`~fourtuple.pool.ConnectionPool` decides. What the client does on its loop, beside the
calls of the program, is in client_io.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, Unpack

from fourtuple.address import Address
from fourtuple.client.client_io import PLAIN, WRITTEN, ClientIO
from fourtuple.client.ending import end_of
from fourtuple.client.link import AsyncLink
from fourtuple.client.options import ClientOptions, Connect
from fourtuple.client.pushes import PushStream
from fourtuple.connection import Connection
from fourtuple.connection.awaitables import Later
from fourtuple.errors import Fate, FourTupleError
from fourtuple.events import ClientState, ClientStatistics, Observer
from fourtuple.ignored import Awaited
from fourtuple.options import Pool, Pushes, Retries, check_timeout
from fourtuple.pool import Call, Gap, Health
from fourtuple.pool.calls import Kind, check_timeout_of_call, told
from fourtuple.pool.correlation import Keys
from fourtuple.pool.framing_of_client import FramingOfClient
from fourtuple.pool.plan import Plan
from fourtuple.pool.pushes import no_pushes
from fourtuple.typevars import Generic, Heard, In_co, Out_contra, Ping, Told, Written


class Client(ClientIO, Generic[In_co, Out_contra]):
    """A client that stays connected: a connection is there when a request needs one.

    ``async with Client(address, framing) as client: reply = await client.request(message)``. It connects when the first
    request comes, connects again after a loss, and keeps up to ``max_connections`` connections. It belongs to the loop
    in which it is first used. The blocking client is :class:`fourtuple.blocking.Client`.

    Parameters
    ----------
    address, framing
        As for :func:`fourtuple.connect`. A name is looked up again for each connection.
    greet
        Called with each new :class:`~fourtuple.Connection` before any request uses it: log in, subscribe again. It uses
        that connection, not the client, which has it only afterwards. The ``timeout`` of connecting includes it. If it
        raises, the attempt has failed and another one follows; raise :class:`~fourtuple.errors.PermanentFailure` if
        none can succeed. Default: None.
    ping
        A message, or a function that makes one, that is sent on a connection without a request for ``ping_interval``;
        its reply shows that the server lives. A message is encoded at once, and its ``key`` taken, to see that it can
        be sent. If a function raises, or what it returns cannot be sent, the connection is closed, with the event
        :class:`~fourtuple.events.ClientDisconnected`. Default: None, as only the protocol knows one.
    key
        How replies are told: a function that returns the key of a request or a reply, or a pair of functions. Default:
        None, which means that replies come in the order of the requests.
    is_push, on_push, pushes
        For messages that answer no request: ``is_push`` recognises them, ``on_push`` is called with each, and with
        a :class:`~fourtuple.Gap` where some may be missing, a plain or an async function; ``pushes=Pushes()`` lets you
        iterate over :meth:`pushes` instead. Beside ``on_push``, ``pushes`` has the options of its inbox. Default: none,
        and such a message closes its connection.
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
        framing: FramingOfClient[In_co, Out_contra, Ping, Heard, Told, Written] | str,
        *,
        greet: Callable[[Connection[Heard, Told]], Awaitable[object]] | None = None,
        ping: Ping | Callable[[], Ping] | None = None,
        key: Keys[Heard, Written] | None = None,
        is_push: Callable[[Heard], bool] | None = None,
        on_push: Callable[[Heard | Gap], Awaited] | None = None,
        pushes: Pushes | None = None,
        idempotent: Callable[[Written], bool] | bool = False,
        pool: Pool | None = None,
        retries: Retries | None = None,
        observer: Observer | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        plan = Plan.of(
            address,
            framing,  # type: ignore[arg-type]  # a checker sees less of it here than it is; it is checked there
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
            awaits=True,
        )
        super().__init__(plan, greet, on_push)

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
        self._check_not_greeting("request()")
        plan = self._plan
        reply: In_co = await self._outcome(
            "request", lambda done, wake: plan.call(message, timeout, idempotent, wake=wake, gone=done.cancelled)
        )
        return reply

    async def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until a connection is ready, at most ``timeout`` seconds (default: ``whole_timeout``).

        Raises :class:`~fourtuple.errors.DeadlinePassed`, whose cause is the last failure to connect, and
        :class:`~fourtuple.errors.PermanentFailure`.
        """
        check_timeout_of_call(timeout)
        self._check_not_greeting("wait_ready()")
        seconds = self._plan.options.whole_timeout if timeout is None else timeout
        await self._outcome(
            "wait_ready", lambda done, wake: Call(kind=Kind.READY, timeout=seconds, wake=wake, gone=done.cancelled)
        )

    async def _outcome(self, name: str, make: Callable[[asyncio.Future[None], Callable[[], None]], Call]) -> Any:
        """Put a call into the queue, and wait for its outcome."""
        loop = self._enter(name)
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
            if not loop.is_closed():
                self._advance()
            raise
        return call.result()

    async def send(self, message: Out_contra) -> None:
        """Send a message that has no reply, on a connection that is ready; wait while the peer does not keep up.

        It never waits for a connection: raises :class:`~fourtuple.errors.NotConnected` if none is ready, because such a
        message would be kept without anyone knowing. Other errors as :meth:`request`.
        """
        self._enter("send")
        self._check_not_greeting("send()")
        now = self.clock()
        try:
            link = self.pool.member_for_send(now).link
            assert isinstance(link, AsyncLink)
            start = link.position
            link.one_way = True
            try:
                sent = link.connection.send(message)
            except Exception as error:  # a framing of the program's own may raise anything
                failed = told(error, Fate.NOT_SENT)
                raise failed from failed.__cause__
        except Exception:
            self._advance()
            await asyncio.sleep(0)
            raise
        try:
            await sent
        except FourTupleError as error:
            # What the kernel has taken may have reached the server. What is in the outbox when a connection is lost
            # never leaves.
            failed = told(error, Fate.PERHAPS_SENT if link.taken > start else Fate.NOT_SENT)
            raise failed from failed.__cause__

    # -- pushes ---------------------------------------------------------------------------------------------

    def pushes(self) -> PushStream[In_co]:
        """Return an iterator over the messages that answer no request, and keep the client connected from now on.

        It yields a :class:`~fourtuple.Gap` where some may be missing: after a reconnect, and where a full inbox dropped
        some. Raises :class:`~fourtuple.errors.OptionError` if the client was made without ``pushes=``, or with
        ``on_push=``.
        """
        self._enter("pushes", WRITTEN)
        inbox = self.pool.inbox
        if inbox is None or self._on_push is not None:
            raise no_pushes(self._on_push)
        self.pool.stays = True
        self._advance()
        return PushStream(inbox, str(self._plan.address), self._next_push, lambda: len(inbox) > 0)

    # -- life -----------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """Replace all connections, each when it owes no reply any more. After a PermanentFailure, connect again."""
        self._enter("expire", PLAIN)
        self.pool.expire(self.clock())
        self._advance()

    async def drain(self, timeout: float | None = None) -> None:
        """Refuse new requests, wait for the replies of those that were made, at most ``timeout`` seconds, and close.

        If it is cancelled, the client goes on by itself, and closes at the same moment.
        """
        check_timeout(timeout)
        loop = self._enter("drain")
        self._check_not_greeting("drain()")
        self.pool.drain()
        self._advance()
        until = None if timeout is None else loop.time() + timeout
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    while not self.pool.drained:
                        waiter = loop.create_future()
                        self._drain_waiters.append(waiter)
                        await waiter
        except BaseException:
            if not loop.is_closed():
                self._drain_alone(loop, until)
            raise
        await self.close()

    def _drain_alone(self, loop: asyncio.AbstractEventLoop, until: float | None) -> None:
        """Close when no reply is owed any more, or at a moment of the loop: the task that called drain() has left it.

        No task does this: one that was made while the loop cancels all tasks would be left pending.
        """
        if self.pool.closed:
            return
        if self.pool.drained:
            self.close()
            return
        waiter = loop.create_future()
        self._drain_waiters.append(waiter)
        end = None if until is None else loop.call_at(until, self.close)

        def woken(_waiter: object) -> None:
            if end is not None:
                end.cancel()
            self._drain_alone(loop, until)

        waiter.add_done_callback(woken)

    def close(self) -> Later[None]:
        """Close all connections; await the result to wait for their end. Idempotent.

        It takes effect at once: requests that wait raise :class:`~fourtuple.errors.ConnectionEnded` with their fate.
        Where messages without a reply were sent, it lingers until the server's FIN, at most ``linger_timeout``
        seconds. A ``greet`` or ``on_push`` that ignores its cancellation is abandoned after a second.

        Never raises. (In another event loop or thread than its own, it raises WrongThread.) If its event loop was
        closed, it closes what is left, and the calls that waited there never return.
        """
        if self.pool.disowned is not None:
            return Later(self._wait_closed)
        self._check_thread("close", PLAIN)
        if self._look_at_loop() is not None:
            self._let_go()
        else:
            self.pool.close(self.clock())
            for reader in list(self._readers.values()):
                reader.finish()
            # ``greet`` and ``on_push`` may close their own client: a task that cancels itself would not finish close().
            mine = asyncio.current_task() if asyncio._get_running_loop() is not None else None
            for task in (self._dialling, self._delivering):
                if task is not None and task is not mine:
                    task.cancel()
            self._advance()
        return Later(self._wait_closed)

    async def _wait_closed(self) -> None:
        if self.pool.disowned is not None:
            return
        if self._look_at_loop() is not None:  # perhaps since close()
            self._let_go()
            return
        mine = asyncio.current_task()
        tasks = {task for task in (self._dialling, self._delivering) if task is not None and task is not mine}
        if tasks or self._readers:
            self._check_thread("the end after close()", "a wait for it in that loop")
        await end_of(tasks, self._plan.address)
        if self._dialling in tasks:
            self._dialling = None
        if self._delivering in tasks:
            self._delivering = None
        for connection in list(self._readers):
            await connection.wait_closed()

    async def __aenter__(self) -> Self:
        self._enter("async with", WRITTEN)
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
    def state(self) -> ClientState:
        """The state: ``new``, ``connecting``, ``greeting``, ``ready``, ``waiting``, ``failed``, ``draining``,
        ``closed``; ``forked`` in a forked child; ``loop closed`` if its event loop was closed before the client.
        """
        self._look_at_loop()
        return self.pool.state(self.clock())

    @property
    def health(self) -> Health:
        """Whether requests can be served: the state, and the error, if something is wrong."""
        self._look_at_loop()
        return self.pool.health(self.clock())

    @property
    def statistics(self) -> ClientStatistics:
        """An immutable snapshot of the counters."""
        self._look_at_loop()
        return self.pool.statistics(self.clock())

    def __repr__(self) -> str:
        told = self.statistics
        counts = f"{told.open} open, {told.in_use} in use, {told.waiting} waiting"
        state = self.pool.state_text(self.clock())
        return f"<Client {self._plan.address} {self._plan.framing}, {state}, {counts}>"
