"""The blocking client that stays connected.

Nothing is decided here: :class:`~fourtuple.pool.ConnectionPool` decides. There is no thread: the threads that call
``request()`` and ``pushes()`` do the work. One of them connects, the one whose reply is awaited on a connection reads
there, for the others too, and all others wait for a condition.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, Unpack

from fourtuple.address import Address
from fourtuple.blocking.client import opened
from fourtuple.blocking.connection import BlockingConnection
from fourtuple.blocking.link import BlockingLink
from fourtuple.blocking.polling import after, clock, earlier
from fourtuple.blocking.pushes import PushStream
from fourtuple.client.options import ClientOptions, Connect
from fourtuple.errors import ConnectionBusy, ConnectionEnded, DeadlinePassed, Fate, FourTupleError, OptionError
from fourtuple.events import ClientStatistics, Event
from fourtuple.forking import holds, why
from fourtuple.options import Pool, Pushes, Retries, check_timeout
from fourtuple.pool import Call, ConnectionPool, Gap, Health, Member
from fourtuple.pool.calls import Kind, told
from fourtuple.pool.correlation import FramingOfPing, KeyOf
from fourtuple.pool.plan import Plan, called_in_greet
from fourtuple.pool.pushes import NOTHING
from fourtuple.typevars import Generic, In_co, Out_contra, Ping


class Client(Generic[In_co, Out_contra]):
    """A client that stays connected, for code that blocks: a connection is there when a request needs one.

    ``with Client(address, framing) as client: reply = client.request(message)``. Several threads may use it. Its
    parameters are those of :class:`fourtuple.Client`, except that ``greet`` and ``on_push`` are plain functions. Their
    defaults are also the same. ``key``, ``is_push``, ``pushes``, ``idempotent``, ``pool``, ``retries`` and ``observer``
    are the same, and ``options`` are those of :func:`connect`. ``greet`` gets a :class:`~fourtuple.BlockingConnection`.
    ``on_push`` is called by :meth:`request`, after its reply has come, in the thread of the request. Idle connections
    are checked, replaced and sent a ping when they are used again, because no thread does it before.
    """

    def __init__(
        self,
        address: Address | str,
        framing: FramingOfPing[In_co, Out_contra, Ping] | str,
        *,
        greet: Callable[[BlockingConnection[In_co, Out_contra]], object] | None = None,
        ping: Ping | Callable[[], Ping] | None = None,
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
        self._greet = greet
        self._on_push = on_push
        self.clock: Callable[[], float] = clock
        self.pool: ConnectionPool = self._plan.make_pool(random.random, time.time)
        # Reentrant: an observer, which is called under it, may look at the client.
        self._changed = threading.Condition(threading.RLock())
        #: The threads that call ``on_push`` now: a request made there does not call it again.
        self._delivering: set[int] = set()
        #: The thread that greets now.
        self._greeting: int | None = None
        self._forked = False
        holds(self)

    # -- requests -------------------------------------------------------------------------------------------

    def request(self, message: Out_contra, timeout: float | None = None, *, idempotent: bool | None = None) -> In_co:
        """Send a message and return its reply; see :meth:`fourtuple.Client.request`.

        ``timeout`` bounds the whole call, in seconds, and ``idempotent`` says whether the request may be sent again
        after a failure. By default both are as the client was told.
        """
        call = self._plan.call(message, timeout, idempotent)
        reply: In_co = self._outcome(call, "request()")
        return reply

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until a connection is ready, at most ``timeout`` seconds (default: ``whole_timeout``).

        Raises :class:`~fourtuple.errors.DeadlinePassed`, whose cause is the last failure to connect, and
        :class:`~fourtuple.errors.PermanentFailure`.
        """
        check_timeout(timeout)
        seconds = self._plan.options.whole_timeout if timeout is None else timeout
        self._outcome(Call(kind=Kind.READY, timeout=seconds), "wait_ready()")

    def _outcome(self, call: Call, method: str) -> Any:
        """Put a call into the queue, and work until it is done."""
        with self._changed:
            self._check_may_wait(method)
            self.pool.ask(call, self.clock())
            try:
                self._work_until(lambda: call.done, call)
            except BaseException:
                self.pool.give_up(call, self.clock())
                raise
            finally:
                self._changed.notify_all()
        if call.error is None:
            self._deliver()
        return call.result()

    def send(self, message: Out_contra, timeout: float | None = None) -> None:
        """Send a message that has no reply, on a connection that is ready: return when the kernel has taken it.

        ``timeout`` bounds the wait for the kernel, in seconds (default: no bound). It never waits for a connection:
        raises :class:`~fourtuple.errors.NotConnected` if none is ready. Other errors as
        :meth:`BlockingConnection.send`, with their fate.
        """
        check_timeout(timeout)
        with self._changed:
            self._check_may_wait("send()")
            now = self.clock()
            self._catch_up(now)
            self.pool.advance(now)
            link = self.pool.member_for_send(now).link
            assert isinstance(link, BlockingLink)
            start = link.position
            link.one_way = True
        try:
            link.connection.send(message, timeout)
        except FourTupleError as error:
            # After a deadline, octets that wait in the outbox may still leave.
            perhaps = link.taken > start or isinstance(error, DeadlinePassed)
            raise told(error, Fate.PERHAPS_SENT if perhaps else Fate.NOT_SENT) from error.__cause__

    # -- pushes ---------------------------------------------------------------------------------------------

    def pushes(self) -> PushStream[In_co]:
        """Return an iterator over the messages that answer no request; iterating does the work of reading.

        It yields a :class:`~fourtuple.Gap` where some may be missing: after a reconnect, and where a full inbox dropped
        some. Raises :class:`~fourtuple.errors.OptionError` if the client was made without ``pushes=``.
        """
        inbox = self.pool.inbox
        if inbox is None or self._on_push is not None:
            raise OptionError("pushes(): make the client with pushes=Pushes(), and without on_push=")
        with self._changed:
            self._check_usable()
            self.pool.stays = True
        return PushStream(inbox, self._next_push)

    def _next_push(self, timeout: float | None) -> Any:
        inbox = self.pool.inbox
        assert inbox is not None
        until = after(timeout, self.clock)
        with self._changed:
            self._check_may_wait("pushes().receive()")
            self._work_until(lambda: len(inbox) > 0 or self.pool.closed, None, until)
            self._changed.notify_all()
            if (push := inbox.take()) is not NOTHING:
                return push
        if self.pool.closed:
            raise ConnectionEnded(f"client of {self._plan.address}: closed, no pushes will come")
        raise DeadlinePassed("receive", timeout or 0.0, str(self._plan.address), "no push came, receive again")

    def _deliver(self) -> None:
        """Call ``on_push`` with what has come. What it raises is raised by the next request."""
        inbox, thread = self.pool.inbox, threading.get_ident()
        if self._on_push is None or inbox is None or self._delivering:
            return
        self._delivering.add(thread)
        try:
            while True:
                with self._changed:
                    push = inbox.take()
                if push is NOTHING:
                    return
                try:
                    self._on_push(push)
                except Exception as error:
                    self.pool.push_failed(error)
        finally:
            self._delivering.discard(thread)

    # -- life -----------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """Replace all connections, each when it owes no reply any more. After a PermanentFailure, connect again."""
        with self._changed:
            self._check_usable()
            self.pool.expire(self.clock())
            self._changed.notify_all()

    def drain(self, timeout: float | None = None) -> None:
        """Refuse new requests, wait for those of other threads, at most ``timeout`` seconds, and close."""
        until = after(timeout, self.clock)
        with self._changed:
            self._check_may_wait("drain()")
            self.pool.drain()
            while not self.pool.drained and (until is None or self.clock() < until):
                self._changed.wait(None if until is None else until - self.clock())
        self.close()

    def close(self) -> None:
        """Close all connections. Idempotent.

        Requests that wait in other threads raise :class:`~fourtuple.errors.ConnectionEnded` with their fate. Where
        messages without a reply were sent, it lingers until the server's FIN, at most ``linger_timeout`` seconds.
        """
        if self._forked:
            return
        with self._changed:
            lingering = [link for link in map(_link, self.pool.members) if link.one_way]
            for link in lingering:
                link.lingers = True
            self.pool.close(self.clock())
            self._changed.notify_all()
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
    def state(self) -> str:
        """The state: ``new``, ``connecting``, ``greeting``, ``ready``, ``waiting(2.4 s)``, ``failed``, ``draining``,
        ``closed``.
        """
        return "forked" if self._forked else self.pool.state_text(self.clock())

    @property
    def health(self) -> Health:
        """Whether requests can be served: the state, and the error, if something is wrong."""
        with self._changed:
            return self.pool.health(self.clock())

    @property
    def statistics(self) -> ClientStatistics:
        """An immutable snapshot of the counters."""
        with self._changed:
            return self.pool.statistics(self.clock())

    def __repr__(self) -> str:
        told = self.statistics
        counts = f"{told.open} open, {told.in_use} in use, {told.waiting} waiting"
        return f"<BlockingClient {self._plan.address} {self._plan.framing}, {self.state}, {counts}>"

    # -- the machinery --------------------------------------------------------------------------------------

    def _check_usable(self) -> None:
        if self._forked:
            raise told(ConnectionEnded(why(f"client of {self._plan.address}: it")), Fate.NOT_SENT)

    def _check_may_wait(self, method: str) -> None:
        """Raise in a function of the program that the client itself has called and waits for. Called under the lock."""
        self._check_usable()
        address = self._plan.address
        if self._greeting == threading.get_ident():
            raise told(called_in_greet(address, method), Fate.NOT_SENT)
        if self.pool.advancing:  # under the lock, so it is this thread
            text = f"{method} was called in a function that the client calls (ping=, key=, observer=), and would wait"
            raise told(ConnectionBusy(f"client of {address}: {text} for itself"), Fate.NOT_SENT)

    def _work_until(self, done: Callable[[], bool], call: Call | None, until: float | None = None) -> None:
        """Do what is due, connect, read and wait, until ``done()``, or until a moment. Called under the lock.

        ``call`` is the request for whose reply this thread waits; None for a thread that waits for pushes.
        """
        while True:
            now = self.clock()
            self._catch_up(now)
            self.pool.advance(now)
            if done() or (until is not None and now >= until):
                return
            if self.pool.dial_due(now):
                self._dial(earlier(until, call.deadline if call is not None else None))
                continue
            moment = earlier(until, self.pool.next_moment())
            member = self._member_to_read(call)
            if member is not None:
                self._read(member, moment)
            elif (link := self._link_to_write(call)) is not None:
                with self._unlocked():
                    link.write_out(moment, now)
            else:
                self._changed.wait(None if moment is None else max(0.0, moment - now))

    def _catch_up(self, now: float) -> None:
        """Take replies that have come while no thread called, before a deadline ends their connection."""
        for member in self.pool.unread(now):
            _link(member).look(member, now)

    def _member_to_read(self, call: Call | None) -> Member | None:
        """Return the connection where this thread reads: that of its request, or one that is being checked."""
        if call is not None and call.attempt is not None:
            members = [call.attempt.member]
        else:
            members = [each for each in self.pool.members if call is None or each.checking]
        return next((each for each in members if not _link(each).reading), None)

    def _link_to_write(self, call: Call | None) -> BlockingLink | None:
        """Return the connection whose outbox has octets of this thread's request; another thread reads there."""
        if call is None or call.attempt is None:
            return None
        link = _link(call.attempt.member)
        return link if link.stream.outbox_size else None

    def _read(self, member: Member, until: float | None) -> None:
        """Wait for messages on a connection, for every thread that waits for one there."""
        link = _link(member)
        try:
            link.reading = True
            with self._unlocked():
                link.wait(until)
        finally:
            link.reading = False
        link.take_all(member, self.clock())
        self._changed.notify_all()

    def _dial(self, until: float | None) -> None:
        """Make one attempt to connect and to greet, not longer than until a moment."""
        now = self.clock()
        self.pool.dial_begins(now)
        chosen = self._plan.chosen
        until = earlier(until, after(chosen.timeout, self.clock))
        seconds = None if until is None else max(0.001, until - now)
        connection: BlockingConnection | None = None
        try:
            with self._unlocked():
                connection = opened(self._plan.address, self._plan.framing, chosen.replace(timeout=seconds))
            if not self.pool.closed:
                self.pool.dial_greets(self.clock())
                if self._greet is not None:
                    connection._socket.latest = until
                    with self._unlocked():
                        self._greeting = threading.get_ident()
                        try:
                            self._greet(connection)
                        finally:
                            self._greeting = None
                    connection._socket.latest = None
            if self.pool.closed:  # another thread closed it meanwhile
                connection.abort()
                return
            link = BlockingLink(connection, self.pool)
            member = link.member = self.pool.dial_done(link, self.clock())
            if self._on_push is not None:
                self.pool.stays = True
            link.take_all(member, self.clock())
        except Exception as error:
            if connection is not None:
                connection.abort()
            if not self.pool.closed:
                self.pool.dial_failed(error.with_traceback(None), self.clock())
        except BaseException:
            if connection is not None:
                connection.abort()
            self.pool.dialler.cancelled()
            raise
        finally:
            self._changed.notify_all()

    @contextmanager
    def _unlocked(self) -> Iterator[None]:
        """Release the lock for a while. It is held once: waiting calls are not made by observers."""
        self._changed.release()
        try:
            yield
        finally:
            self._changed.acquire()

    def _disown(self) -> None:
        """In a forked child: the connections are the parent's, and the client does nothing here."""
        self._forked = True
        self._changed = threading.Condition(threading.RLock())


def _link(member: Member) -> BlockingLink:
    link = member.link
    assert isinstance(link, BlockingLink)
    return link
