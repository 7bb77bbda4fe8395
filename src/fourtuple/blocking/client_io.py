"""The I/O of a blocking client, done by the threads that call it.

One thread connects. On each connection, one of the threads that wait for a reply reads, for all of them. The others
wait for a change. An attempt to connect gets a thread of its own, until it ends, in two cases: the caller has too
little time for all of it, or there is another connection, on which a reply may come meanwhile.

Decisions are made under the lock, and waiting is done without it. A signal handler that raises may run anywhere, so a
thread records each reservation in its :class:`ThreadWork` before it makes it, and its ``finally`` releases what is
recorded.
"""

from __future__ import annotations

import contextvars
import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from fourtuple.blocking.changes import Changes
from fourtuple.blocking.connection import BlockingConnection
from fourtuple.blocking.dialling import Attempt
from fourtuple.blocking.interrupts import raised_by_handler
from fourtuple.blocking.link import BlockingLink
from fourtuple.blocking.polling import clock, earlier
from fourtuple.blocking.thread_work import ThreadWork
from fourtuple.errors import ConnectionBusy, ConnectionEnded, Fate
from fourtuple.forking import holds, why
from fourtuple.pool import Call, ConnectionPool, Member
from fourtuple.pool.calls import told
from fourtuple.pool.functions import no_error
from fourtuple.pool.plan import Plan, called_in_greet

#: Seconds before a thread looks again whether anything is unread: what was read may have been no message.
_PAUSE = 0.01


class ClientIO:
    """The lock of a client, and the work under it: connecting, reading, writing, waiting."""

    def __init__(
        self,
        plan: Plan,
        greet: Callable[[BlockingConnection[Any, Any]], object] | None,
        on_push: Callable[[Any], object] | None,
    ) -> None:
        self._plan = plan
        self._greet = greet
        self._on_push = on_push
        self.clock: Callable[[], float] = clock
        self.pool: ConnectionPool = self._plan.make_pool(random.random, time.time, self._passes)
        # Reentrant: an observer, which is called under it, may look at the client.
        self._lock = threading.RLock()
        self._changes = Changes()
        #: The threads that work for a call of theirs now: another call there, of a signal handler, cannot wait.
        self._working: set[int] = set()
        #: The attempt to connect that is under way.
        self._attempt: Attempt | None = None
        #: The threads of their own that attempts have: no signal handler runs there, and no caller is below.
        self._alone: set[int] = set()
        #: The threads that call ``on_push`` now: a request made there does not call it again.
        self._delivering: set[int] = set()
        #: Whether a drain() was interrupted: the thread with the last request closes the client.
        self._drain_left = False
        holds(self)

    def _check_usable(self) -> None:
        if self.pool.disowned is not None:
            raise told(self.pool.disowned, Fate.NOT_SENT)

    def _is_inside(self) -> bool:
        """Return whether this thread holds the lock, as in an observer: others could not work while it waits."""
        return bool(self._lock._is_owned())  # type: ignore[attr-defined]  # as threading.Condition asks it

    def _check_may_wait(self, method: str, *, inside: bool) -> None:
        """Raise in a function of the program that the client, or this very thread, waits for. Called under the lock.

        ``inside`` is what :meth:`_is_inside` returned before the lock was taken.
        """
        self._check_usable()
        self._check_free(method)
        if inside or threading.get_ident() in self._working:
            text = "was called in a signal handler, or by an observer, while its thread is in another call"
            raise told(self._busy(f"{method} {text}"), Fate.NOT_SENT)

    def _check_free(self, method: str) -> None:
        """Raise in ``greet``, and in a function that is called while the pool decides. Called under the lock."""
        if self._attempt is not None and self._attempt.greeting == threading.get_ident():
            raise told(called_in_greet(self._plan.address, method), Fate.NOT_SENT)
        if self.pool.advancing:  # under the lock, so it is this thread
            text = "was called in a function that the client calls (ping=, key=, observer=)"
            raise told(self._busy(f"{method} {text}"), Fate.NOT_SENT)

    def _busy(self, what: str) -> ConnectionBusy:
        return ConnectionBusy(f"client of {self._plan.address}: {what}, and would wait for itself")

    def _passes(self, error: BaseException) -> bool:
        """Whether what a function of the program raised is an interrupt: it is raised to the caller of this thread."""
        return no_error(error) and threading.get_ident() not in self._alone

    def _work(self, work: ThreadWork) -> None:
        """Do what is due, connect, read and wait, until ``work.done()``, or until a moment."""
        while (step := self._next(work)) is not None:
            step()

    def _next(self, work: ThreadWork) -> Callable[[], None] | None:
        """Decide what this thread does next, which waits without the lock; None if its work is done."""
        call = work.call
        with self._lock:
            now = self.clock()
            self._forget_dial()
            self._catch_up(now)
            if call is not None:
                self.pool.recover(call, now)
            self.pool.advance(now)
            if work.done() or (work.until is not None and now >= work.until):
                return None
            if self.pool.dial_due(now):
                return lambda: self._dial(work)
            moment = earlier(work.until, self.pool.next_moment())
            if call is not None and call.attempt is None and any(map(self.pool.readable_before, self.pool.members)):
                moment = earlier(moment, now + _PAUSE)
            member = self._member_to_read(call)
            if member is not None:
                link = work.link = link_of(member)
                link.reader = work.thread
                return lambda: self._read(work, member, link, moment)
            writing = self._link_to_write(call)
            if writing is not None:
                return lambda: writing.write_out(moment, now)
            place = self._changes.place()
            return lambda: self._changes.wait(place, moment, self.clock)

    def _catch_up(self, now: float) -> None:
        """Take replies that have come while no thread called, before a deadline ends their connection."""
        for member in self.pool.to_catch_up(now):
            link_of(member).look(member, now)

    def _member_to_read(self, call: Call | None) -> Member | None:
        """Return the connection where this thread reads: that of its request, or one that its request waits for.

        It waits for the reply to a ping, or until the pushes before it are read.
        """
        members: list[Member] = list(self.pool.members)
        if call is not None and call.attempt is not None:
            members = [call.attempt.member]
        elif call is not None:
            members = [each for each in members if each.checking or self.pool.readable_before(each)]
        return next((each for each in members if not link_of(each).reading), None)

    def _link_to_write(self, call: Call | None) -> BlockingLink | None:
        """Return the connection whose outbox has octets of this thread's request; another thread reads there."""
        if call is None or call.attempt is None:
            return None
        link = link_of(call.attempt.member)
        return link if link.stream.outbox_size else None

    def _read(self, work: ThreadWork, member: Member, link: BlockingLink, until: float | None) -> None:
        """Wait for messages on a connection, for every thread that waits for one there."""
        taken = link.wait(until)
        with self._lock:
            link.reader = None
            now = self.clock()
            if taken is not None:
                self.pool.ended(member, taken, now)
            link.take_all(member, now)
            self._changes.wake()

    # -- connecting -----------------------------------------------------------------------------------------

    def _dial(self, work: ThreadWork) -> None:
        """Make one attempt to connect, in this thread or in a thread of its own.

        This thread makes it if it can do nothing else meanwhile, and has time for all of it. An attempt that ended with
        the deadline of one caller would be missing for the others, and a reply may come on another connection.
        """
        attempt = Attempt(self._plan, self.clock)
        handed = False
        try:
            with self._lock:
                now = self.clock()
                if not self.pool.dial_due(now):
                    return
                here = not len(self.pool.members) and work.has_time(self._plan.chosen.timeout, now)
                self._attempt = attempt
                self.pool.dial_begins(now)
            if not here:
                context = contextvars.copy_context()
                thread = threading.Thread(
                    target=lambda: context.run(self._make_alone, attempt), daemon=True, name="fourtuple connect"
                )
                with suppress(RuntimeError):  # no thread can be started now
                    thread.start()
                    handed = True
            if not handed:
                self._make(attempt, alone=False)
        finally:
            if not handed:
                attempt.over = True
                self._changes.wake()

    def _make_alone(self, attempt: Attempt) -> None:
        thread = threading.get_ident()
        self._alone.add(thread)
        try:
            self._make(attempt, alone=True)
        finally:
            self._alone.discard(thread)

    def _make(self, attempt: Attempt, *, alone: bool) -> None:
        """Make an attempt to connect and to greet. ``alone``: it has a thread of its own, which nothing interrupts."""
        joins = joined = False
        try:
            attempt.connect()
            with self._lock:
                if self._attempt is not attempt:
                    return  # the client was closed meanwhile
                self.pool.dial_greets(self.clock())
            if self._greet is not None:
                attempt.greet(self._greet)
            with self._lock:
                if self._attempt is attempt:
                    joins = True
                    self._join(attempt)
                    joined = True
        except BaseException as error:
            if joins or not (alone or isinstance(error, Exception)) or raised_by_handler(error):
                raise  # an interrupt: it says nothing about the server
            attempt.drop()
            with self._lock:
                if self._attempt is attempt:
                    self.pool.dial_failed(attempt.failed(error), self.clock())
                    self._attempt = None
        finally:
            attempt.over = True
            if not joined:
                attempt.drop()
            attempt.close()
            with self._lock:
                self._forget_dial()
            self._changes.wake()

    def _join(self, attempt: Attempt) -> None:
        """Give the connection, which has greeted, to the pool."""
        assert attempt.connection is not None
        link = BlockingLink(attempt.connection, self.pool)
        member = link.member = self.pool.dial_done(link, self.clock())
        self._attempt = None  # not before: until then, an interrupt leaves an attempt that is given up
        if self._on_push is not None:
            self.pool.stays = True
        link.take_all(member, self.clock())

    def _forget_dial(self) -> None:
        """Note that an attempt was given up, if an interrupt has kept its thread from that. Called under the lock."""
        if self._attempt is not None and self._attempt.over:
            self._attempt = None
            self.pool.dialler.cancelled()

    def _disown(self) -> None:
        """In a forked child: the connections are the parent's, and the client does nothing here."""
        self.pool.disown(ConnectionEnded(why(f"client of {self._plan.address}: it")))
        self._lock = threading.RLock()
        self._changes = Changes()


def link_of(member: Member) -> BlockingLink:
    """Return the blocking connection of a member."""
    link = member.link
    assert isinstance(link, BlockingLink)
    return link
