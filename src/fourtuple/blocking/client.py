"""The blocking client that stays connected.

Nothing is decided here: :class:`~fourtuple.pool.ConnectionPool` decides. What the threads do that call the client is in
client_io.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, Unpack

from fourtuple.address import Address
from fourtuple.blocking.client_io import ClientIO, link_of
from fourtuple.blocking.connection import BlockingConnection
from fourtuple.blocking.link import BlockingLink
from fourtuple.blocking.polling import after
from fourtuple.blocking.pushes import PushStream
from fourtuple.blocking.thread_work import ThreadWork
from fourtuple.client.options import ClientOptions, Connect
from fourtuple.errors import ConnectionEnded, DeadlinePassed, Fate
from fourtuple.events import ClientState, ClientStatistics, Observer
from fourtuple.ignored import Ignored
from fourtuple.options import Pool, Pushes, Retries, call_plain
from fourtuple.pool import Call, Gap, Health
from fourtuple.pool.calls import Kind, check_timeout_of_call, told
from fourtuple.pool.correlation import Keys
from fourtuple.pool.framing_of_client import FramingOfClient
from fourtuple.pool.plan import Plan
from fourtuple.pool.pushes import NOTHING, no_pushes
from fourtuple.typevars import Generic, Heard, In_co, Out_contra, Ping, Told, Written


class Client(ClientIO, Generic[In_co, Out_contra]):
    """A client that stays connected, for code that blocks: a connection is there when a request needs one.

    ``with Client(address, framing) as client: reply = client.request(message)``. Several threads may use it. Its
    parameters are those of :class:`fourtuple.Client`, except that ``greet`` and ``on_push`` are plain functions. Their
    defaults are also the same. ``key``, ``is_push``, ``pushes``, ``idempotent``, ``pool``, ``retries`` and ``observer``
    are the same, and ``options`` are those of :func:`connect`. ``greet`` gets a :class:`~fourtuple.BlockingConnection`.
    ``on_push`` is called by :meth:`request`, after its reply has come (or before it is sent, to make room in the
    inbox), in the thread of the request. Idle connections are checked, replaced and sent a ping when they are used
    again, because no thread does it before.
    An attempt to connect is made in the thread of a request, or in a thread of its own, until it ends: if the request
    has not the time for all of it, and if there is another connection.
    """

    def __init__(
        self,
        address: Address | str,
        framing: FramingOfClient[In_co, Out_contra, Ping, Heard, Told, Written] | str,
        *,
        greet: Callable[[BlockingConnection[Heard, Told]], Ignored] | None = None,
        ping: Ping | Callable[[], Ping] | None = None,
        key: Keys[Heard, Written] | None = None,
        is_push: Callable[[Heard], bool] | None = None,
        on_push: Callable[[Heard | Gap], Ignored] | None = None,
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
            awaits=False,
        )
        super().__init__(plan, greet, on_push)

    # -- requests -------------------------------------------------------------------------------------------

    def request(self, message: Out_contra, timeout: float | None = None, *, idempotent: bool | None = None) -> In_co:
        """Send a message and return its reply; see :meth:`fourtuple.Client.request`.

        ``timeout`` bounds the whole call, in seconds, and ``idempotent`` says whether the request may be sent again
        after a failure. By default both are as the client was told.
        """
        reply: In_co = self._outcome(self._plan.call(message, timeout, idempotent), "request()")
        return reply

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until a connection is ready, at most ``timeout`` seconds (default: ``whole_timeout``).

        Raises :class:`~fourtuple.errors.DeadlinePassed`, whose cause is the last failure to connect, and
        :class:`~fourtuple.errors.PermanentFailure`.
        """
        check_timeout_of_call(timeout)
        seconds = self._plan.options.whole_timeout if timeout is None else timeout
        self._outcome(Call(kind=Kind.READY, timeout=seconds), "wait_ready()")

    def _outcome(self, call: Call, method: str) -> Any:
        """Put a call into the queue, and work until it is done."""
        work, inside = ThreadWork(lambda: call.done or self._must_deliver(), call), self._is_inside()
        try:
            with self._lock:
                self._check_may_wait(method, inside=inside)
                work.entered = True
                self._working.add(work.thread)
                self.pool.ask(call, self.clock())
            self._work(work)
            while not call.done:
                self._working.discard(work.thread)  # on_push may make a request
                self._deliver()
                self._working.add(work.thread)
                self._work(work)
        except BaseException:
            call.gone = _is_gone  # in any case: a second interrupt may come before the next line is done
            with self._lock:
                self.pool.give_up(call, self.clock())
            raise
        finally:
            # No call of a function before the first two are done: an interrupt might come as it begins.
            if work.link is not None and work.link.reader == work.thread:
                work.link.reader = None
            if work.entered:
                self._working.discard(work.thread)
            self._changes.wake()
            self._go_on_draining()
        if call.error is None:
            self._deliver()
        return call.result()

    def send(self, message: Out_contra, timeout: float | None = None) -> None:
        """Send a message that has no reply, on a connection that is ready: return when the kernel has taken it.

        ``timeout`` bounds the wait for the kernel, in seconds (default: no bound). It never waits for a connection:
        raises :class:`~fourtuple.errors.NotConnected` if none is ready. Other errors as
        :meth:`BlockingConnection.send`, with their fate.
        """
        check_timeout_of_call(timeout)
        with self._lock:
            self._check_usable()
            self._check_free("send()")
            now = self.clock()
            self._catch_up(now)
            self.pool.advance(now)
            link = self.pool.member_for_send(now).link
            assert isinstance(link, BlockingLink)
            start = link.position
            link.one_way = True
        try:
            link.connection.send(message, timeout)
        except Exception as error:  # a framing of the program's own may raise anything
            # After a deadline, octets that wait in the outbox may still leave.
            perhaps = link.taken > start or isinstance(error, DeadlinePassed)
            failed = told(error, Fate.PERHAPS_SENT if perhaps else Fate.NOT_SENT)
            raise failed from failed.__cause__

    # -- pushes ---------------------------------------------------------------------------------------------

    def pushes(self) -> PushStream[In_co]:
        """Return an iterator over the messages that answer no request; iterating does the work of reading.

        It yields a :class:`~fourtuple.Gap` where some may be missing: after a reconnect, and where a full inbox dropped
        some. Raises :class:`~fourtuple.errors.OptionError` if the client was made without ``pushes=``, or with
        ``on_push=``.
        """
        inbox = self.pool.inbox
        if inbox is None or self._on_push is not None:
            raise no_pushes(self._on_push)
        with self._lock:
            self._check_usable()
            self.pool.stays = True
        return PushStream(inbox, self._next_push)

    def _next_push(self, timeout: float | None) -> Any:
        inbox = self.pool.inbox
        assert inbox is not None
        work = ThreadWork(lambda: len(inbox) > 0 or self.pool.closed, None, after(timeout, self.clock))
        inside = self._is_inside()
        try:
            with self._lock:
                self._check_may_wait("pushes().receive()", inside=inside)
                work.entered = True
                self._working.add(work.thread)
            self._work(work)
            with self._lock:
                if (push := inbox.take()) is not NOTHING:
                    return push
        finally:
            # As in _outcome(). Another thread may wait for a reply where this one has read.
            if work.link is not None and work.link.reader == work.thread:
                work.link.reader = None
            if work.entered:
                self._working.discard(work.thread)
            self._changes.wake()
        if self.pool.closed:
            raise ConnectionEnded(f"client of {self._plan.address}: closed, no pushes will come")
        raise DeadlinePassed("receive", timeout or 0.0, str(self._plan.address), "no push came, receive again")

    def _must_deliver(self) -> bool:
        """Whether ``on_push`` must be called before a request can be sent: those that wait leave the others no room."""
        return self._on_push is not None and not self._delivering and self.pool.waits_for_room

    def _deliver(self) -> None:
        """Call ``on_push`` with what has come. What it raises is raised by the next request."""
        inbox, thread = self.pool.inbox, threading.get_ident()
        if self._on_push is None or inbox is None or self._delivering:
            return
        try:
            self._delivering.add(thread)
            while True:
                with self._lock:
                    push = inbox.take()
                if push is NOTHING:
                    return
                self._changes.wake()  # a request may wait for the room
                try:
                    call_plain("on_push", self._on_push, push)
                except Exception as error:
                    self.pool.push_failed(error)
        finally:
            self._delivering.discard(thread)

    # -- life -----------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """Replace all connections, each when it owes no reply any more. After a PermanentFailure, connect again."""
        with self._lock:
            self._check_usable()
            self.pool.expire(self.clock())
            self._changes.wake()

    def drain(self, timeout: float | None = None) -> None:
        """Refuse new requests, wait for those of other threads, at most ``timeout`` seconds, and close.

        If it is interrupted, as by Ctrl-C, the requests go on without a bound, and the last of them closes the client.
        """
        until = after(timeout, self.clock)
        inside, begun = self._is_inside(), False
        try:
            with self._lock:
                self._check_may_wait("drain()", inside=inside)
                begun = True
                self.pool.drain()
            while True:
                with self._lock:
                    if self.pool.drained or (until is not None and self.clock() >= until):
                        break
                    place = self._changes.place()
                self._changes.wait(place, until, self.clock)
        except BaseException:
            if begun:
                self._drain_left = True
                self._go_on_draining()
            raise
        self.close()

    def _go_on_draining(self) -> None:
        """Close if a drain() was interrupted, and no reply is owed any more."""
        if self._drain_left and not self.pool.closed and not self._is_inside():
            with self._lock:
                drained = self.pool.drained
            if drained:
                self.close()

    def close(self) -> None:
        """Close all connections. Idempotent.

        Requests that wait in other threads raise :class:`~fourtuple.errors.ConnectionEnded` with their fate; an attempt
        to connect ends, and so do the calls of ``greet`` on the connection that it was given. Where messages without a
        reply were sent, it lingers until the server's FIN, at most ``linger_timeout`` seconds.
        """
        if self.pool.disowned is not None:
            return
        with self._lock:
            lingering = [link for link in map(link_of, self.pool.members) if link.one_way]
            for link in lingering:
                link.lingers = True
            attempt = self._attempt
            self.pool.close(self.clock())
            self._attempt = None
            self._changes.wake()
        if attempt is not None:
            attempt.end()
        for link in lingering:
            link.finish(self.clock())
        for link in lingering:  # together: each one's time has begun
            link.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- seen from outside ----------------------------------------------------------------------------------

    @property
    def state(self) -> ClientState:
        """The state: ``new``, ``connecting``, ``greeting``, ``ready``, ``waiting``, ``failed``, ``draining``,
        ``closed``; ``forked`` in a forked child.
        """
        return self.pool.state(self.clock())

    @property
    def health(self) -> Health:
        """Whether requests can be served: the state, and the error, if something is wrong."""
        with self._lock:
            return self.pool.health(self.clock())

    @property
    def statistics(self) -> ClientStatistics:
        """An immutable snapshot of the counters."""
        with self._lock:
            return self.pool.statistics(self.clock())

    def __repr__(self) -> str:
        told = self.statistics
        counts = f"{told.open} open, {told.in_use} in use, {told.waiting} waiting"
        state = self.pool.state_text(self.clock())
        return f"<BlockingClient {self._plan.address} {self._plan.framing}, {state}, {counts}>"


def _is_gone() -> bool:
    """Say of a call that no thread waits for it."""
    return True
