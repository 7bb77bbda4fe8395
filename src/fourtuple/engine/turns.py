"""The turns of an engine: it serves ready sockets turn by turn.

A turn::

    the loop calls --> take the events left over from the last turn, else poll the epoll set
                          |     and add the watchers that asked to be revisited
                          v
                   serve one watcher after the other, each guarded    (until 256 events or 5 ms: the rest is kept)
                          |
                          v
                   resume tasks that had used up their share          (each once, within the 5 ms, or for 1 ms)
                          |
                          v
                   flush outboxes that were filled outside of their own turn
                          |
                          v
                   close the descriptors of ended connections         (not earlier: their numbers must not be reused)

No exception of a handler leaves a turn. KeyboardInterrupt and SystemExit do, when the turn is complete.

Without memory, even closing a socket or removing an entry may fail. The sweep repeats such a step until it succeeds.
Therefore a channel leaves the engine only as its last step.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from typing import Protocol, TypeAlias

from fourtuple import fast_path
from fourtuple.engine.readiness import Readiness, Ready, Swept, Watcher
from fourtuple.engine.share import Share
from fourtuple.engine.sweeping import Sweeping

#: A turn ends after this many events or seconds, so that it never starves the loop's other work.
TURN_EVENTS = 256
TURN_SECONDS = 0.005
#: A share also ends after this many messages that one handler sends and receives without waiting. Even the cheapest
#: 4096 messages take about half a millisecond, so switching to another connection then costs little.
SHARE_MESSAGES = 4096
#: The events, the tasks that had used up their share, and the tasks that the loop runs until the next turn have the
#: time of one turn together. When it is used up, the tasks still have this part of a turn.
LEAST_PART = 0.2
#: A handler that blocks the loop longer than this is named in an event.
SLOW_SECONDS = 0.1


class Wakeable(Protocol):
    """An object that a task awaits while it lets other connections go first."""

    def wake(self, *, at_once: bool = False) -> None:
        """Resume the task."""


#: Tasks that let others go first, by the watcher for which they work.
Behind: TypeAlias = dict[Watcher, list[Wakeable]]


class Turns(Sweeping):
    """Serves watchers turn by turn; takes requests for the end of a turn and for later turns."""

    __slots__ = ()

    readiness: Readiness
    now: float

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float],
        *,
        turn_events: int,
        turn_seconds: float,
        slow_seconds: float,
        sweep_seconds: float,
    ) -> None:
        super().__init__(loop, clock, sweep_seconds)
        self._turn_events = turn_events
        #: The share of the connection that is served now.
        self.share: Share = (
            Share(turn_seconds, SHARE_MESSAGES)
            if clock is time.monotonic
            else Share(turn_seconds, SHARE_MESSAGES, clock)
        )
        self._slow_seconds = slow_seconds
        self.turn_seconds = turn_seconds
        self.share.begin(self.now)
        #: Tasks that have used up their share, by watcher, in order. A later turn resumes them.
        self._behind: Behind = {}
        self._remainder: Ready = []
        #: Watchers that asked to be served again, each once.
        self._revisits: dict[Watcher, None] = {}
        self._dirty: list[Swept] = []
        #: Sockets to close, or descriptors without a socket object. Always the same list object: C appends to it.
        self._to_close: list[socket.socket | int] = []
        #: Whether a turn is running: then :attr:`now` is the time.
        self.in_turn: bool = False
        self._scheduled = False
        #: Whether the scheduled turn continues the work that the last turn left over.
        self._goes_on = False
        self._interrupt: BaseException | None = None
        #: Serves events on the fast path in C. C reads time.monotonic() itself, so an injected clock excludes it.
        self._serve_fast_path = (
            fast_path.turn.serve_many if fast_path.turn is not None and clock is time.monotonic else None
        )

    @property
    def turn_seconds(self) -> float:
        """The length of a turn, in seconds, and of the share of one connection in it."""
        return self._turn_seconds

    @turn_seconds.setter
    def turn_seconds(self, seconds: float) -> None:
        # Kept here as well: in C, each read of share.seconds makes a new object.
        self._turn_seconds = self.share.seconds = seconds
        self._least_seconds = seconds * LEAST_PART
        #: Within this time no watcher can have been slow: one comparison for each watcher of a turn instead of two.
        self._alert_seconds = min(self._slow_seconds, seconds)

    # -- a turn -------------------------------------------------------------------------------------------

    def _woken(self) -> None:
        """Run a turn: the loop found the epoll set readable.

        If a turn for left-over work is already scheduled, this does nothing: that turn polls the set as well. With two
        turns in a row, one connection would get a share in each.
        """
        if not (self._goes_on or self.inert or self.closed):
            self._serve(self._ready())

    def _turn(self) -> None:
        if not (self.inert or self.closed):
            self._serve(self._ready())

    def _ready(self) -> Ready:
        """Return the events to serve: those left over from the last turn, else those that are ready now."""
        try:
            ready = self._remainder or self.readiness.poll()
            if self._revisits and ready is not self._remainder:
                # After the new events, so that a watcher that asks in every turn does not starve the others.
                ready += [(watcher, 0) for watcher in self._revisits]
                self._revisits.clear()
        except MemoryError as error:
            self._told("a look at the sockets", error)
            return self._remainder
        return ready

    def _serve_alone(self, watcher: Watcher, events: int) -> None:
        """Run a turn for one event. The portable readiness calls this for each event."""
        if self.inert or self.closed:
            return
        self._serve([(watcher, events)], self._remainder)

    def _serve(self, ready: Ready, keep: Ready | None = None, behind: Behind | None = None) -> None:
        self.in_turn = True
        try:
            self._serve_all(ready, keep, behind)
        except BaseException as error:
            self._look_again_at(ready, keep, behind)
            self._told("a turn", error)
        self._end_turn()

    def _look_again_at(self, ready: Ready, keep: Ready | None, behind: Behind | None) -> None:
        """Keep all events of a turn for the next: the turn itself failed for lack of memory.

        A watcher may be served twice. Each is served for messages that it may have read already; its socket reports
        its events again.
        """
        try:
            self._remainder = [(watcher, 0) for watcher, _ in ready] + (keep or [])
            self._stay_behind(behind or {})
        except MemoryError:
            self._remainder = keep or ready
            self._behind = self._behind or behind or {}

    def _serve_all(self, ready: Ready, keep: Ready | None, behind: Behind | None) -> None:
        clock, slow, serve_fast_path, share = self.clock, self._slow_seconds, self._serve_fast_path, self.share
        self.now = now = clock()
        end, alert, most, served = now + self._turn_seconds, now + self._alert_seconds, len(ready), 0
        if most > self._turn_events:  # not min(): a call costs too much here
            most = self._turn_events
        self._remainder = keep or []
        while served < most and now <= end:
            if serve_fast_path is not None:
                served = serve_fast_path(self, ready, served, most, end, slow)
                self.now = now = clock()
                if served == most or (served and now > end):  # each turn serves at least one, however late it is
                    break
            watcher, events = ready[served]
            served += 1
            if events:
                if not watcher.mask:
                    # An event from before the watcher was unregistered, in this turn or since the last: its socket may
                    # be closed.
                    continue
            elif watcher in self._revisits:
                continue  # it had its share in this turn, and has asked for the next turn
            share.begin(now)
            try:
                watcher.on_ready(events)
            except BaseException as error:
                self._failed(watcher, error)
            before = now
            self.now = now = clock()
            if now > alert and now - before > slow:
                self._slow(watcher, now - before)
        if served < len(ready):
            # The rest is served first in the next turn. If these events were dropped for a new poll, the same first 256
            # sockets would be served again, and the others would starve.
            self._remainder = ready[served:] + self._remainder
        least = self._least_seconds
        if behind:
            self._let_go_on(behind, max(end, now + least))
            now = self.now
        # A new share for tasks that the loop runs until the next turn.
        rest = end - now
        share.begin(now, rest if rest > least else least)  # not max()

    def _let_go_on(self, behind: Behind, end: float) -> None:
        """Resume tasks that had used up their share, for at most a share of each watcher, until the turn's end.

        At least one task is resumed: when events have used up all turns for a while, tasks must still go on.
        """
        watchers = list(behind)
        for number, watcher in enumerate(watchers):
            if number and self.now > end:
                self._stay_behind({each: behind[each] for each in watchers[number:]})
                return
            began, share, waiters = self.now, self.share, behind[watcher]
            share.begin(began)
            woken = 0
            while woken < len(waiters) and not (woken and (share.look() or self.clock() > end)):
                woken += 1
                try:
                    waiters[woken - 1].wake(at_once=True)
                except BaseException as error:
                    self._told(f"a task of {watcher!r} failed", error)
            if waiters[woken:]:
                # After watchers that were added in the meantime, but before newer tasks of the same watcher.
                self._behind[watcher] = waiters[woken:] + self._behind.pop(watcher, [])
            self.now = self.clock()
            if self.now - began > self._slow_seconds:
                self._slow(watcher, self.now - began)

    def _stay_behind(self, behind: Behind) -> None:
        """Keep these tasks for the next turn, before any others: this turn is over."""
        for watcher, waiters in self._behind.items():
            behind[watcher] = behind.get(watcher, []) + waiters
        self._behind = behind

    # -- the end of a turn --------------------------------------------------------------------------------

    def _end_turn(self) -> None:
        try:
            if self._dirty:
                self._flush()
            if self._to_close:
                self._close_last()
        except BaseException as error:
            self._told("the end of a turn", error)
        self.in_turn = False
        try:
            if self._remainder or self._revisits or self._behind or self._dirty or self._to_close:
                self._schedule()
                self._goes_on = self._scheduled and bool(self._remainder or self._revisits or self._behind)
            if self._sweeper is None:
                self._keep_sweeping()
        except BaseException as error:
            self._told("scheduling a turn", error)
        if self._interrupt is not None:
            interrupt, self._interrupt = self._interrupt, None
            raise interrupt

    @property
    def _has_left_over(self) -> bool:
        """Whether work is left for another turn."""
        return bool(self._remainder or self._revisits or self._behind or self._dirty or self._to_close)

    def _close_last(self) -> None:
        """Close ended sockets. A socket that cannot be closed now stays for another turn; no number is closed twice."""
        to_close, close = self._to_close, os.close
        while to_close:
            sock = to_close.pop()  # first: an interrupt may come just after close(2), when the number is free again
            try:
                if type(sock) is int:
                    close(sock)
                else:
                    sock.close()  # type: ignore[union-attr]  # mypy does not narrow by type()
            except OSError:  # on Linux the descriptor is free anyway (close(2))
                pass
            except MemoryError:  # raised before the call: nothing is closed yet
                to_close.append(sock)
                raise

    def _flush(self) -> None:
        """Write outboxes filled outside of their own turn. When the time is over, the rest waits for the next turn."""
        dirty, self._dirty = self._dirty, []
        end = self.now + self._turn_seconds
        for number, channel in enumerate(dirty):
            if number % 16 == 15 and self.clock() > end:
                self._dirty[:0] = dirty[number:]  # first in the next turn
                return
            try:
                channel.on_dirty()
            except BaseException as error:
                self._failed(channel, error)

    def _schedule(self) -> None:
        if not self._scheduled and not self.loop.is_closed():
            self.loop.call_soon(self._scheduled_turn)
            self._scheduled = True

    def _scheduled_turn(self) -> None:
        self._scheduled = self._goes_on = False
        if self.inert or self.closed:
            self._let_all_go_on()
            return
        behind, self._behind = self._behind, {}
        self._serve(self._ready() if self._remainder or self._revisits or behind else [], behind=behind)

    # -- what fails ---------------------------------------------------------------------------------------

    def guard(self, watcher: Watcher, work: Callable[..., object], *arguments: object) -> None:
        """Call work of a connection outside of its turn. If it raises, only this connection ends."""
        try:
            work(*arguments)
        except BaseException as error:
            self._failed(watcher, error)

    def _failed(self, watcher: Watcher, error: BaseException) -> None:
        """End a watcher that raised. Only this connection is affected.

        Ctrl-C and sys.exit() are kept for the end of the turn. Any other exception is a defect of fourtuple, and is
        reported to the loop.
        """
        self._told("serving", error, watcher)
        try:
            watcher.on_failure(error)
        except BaseException as second:
            self._told("ending", second, watcher)
        try:
            self.sweep_on()
        except MemoryError:
            return  # the end of a turn schedules the sweep

    def _told(self, what: str, error: BaseException, watcher: Watcher | None = None) -> None:
        """Report a survived defect or lack of memory to the loop. Raises nothing."""
        try:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                self.interrupt(error)
                return
            whom = "" if watcher is None else f" {watcher!r}"
            self.loop.call_exception_handler({"message": f"fourtuple: {what}{whom} failed", "exception": error})
        except MemoryError:
            return  # there is no memory for the report either
        except BaseException as interrupt:  # the loop's exception handler raised: it may want to end the program
            self._interrupt = interrupt

    def _slow(self, watcher: Watcher, seconds: float) -> None:
        try:
            watcher.on_slow(seconds)
        except (KeyboardInterrupt, SystemExit) as interrupt:
            self._interrupt = interrupt
        except BaseException:
            return

    # -- for channels and listeners -----------------------------------------------------------------------

    def time(self) -> float:
        """Return the clock's time; within a turn, the time of the turn, which costs nothing."""
        return self.now if self.in_turn else self.clock()

    def flush_soon(self, channel: Swept) -> None:
        """Write the channel's outbox at the end of this turn, or in the loop's next iteration."""
        self._dirty.append(channel)
        if not self.in_turn:
            self._schedule()

    def revisit(self, watcher: Watcher) -> None:
        """Serve the watcher again in the next turn, after the others that are ready."""
        self._revisits[watcher] = None
        if not self.in_turn:
            self._schedule()

    def go_behind(self, watcher: Watcher, waiter: Wakeable) -> None:
        """Resume the watcher's task only after other connections were served: it has used up its share."""
        self._behind.setdefault(watcher, []).append(waiter)
        if not self.in_turn:
            self._schedule()

    def _let_all_go_on(self) -> None:
        """Resume all waiting tasks: there are no turns any more."""
        behind, self._behind = self._behind, {}
        if not self.loop.is_closed():
            for waiters in behind.values():
                for waiter in waiters:
                    waiter.wake()

    def serve(self, watcher: Watcher, events: int) -> None:
        """Serve the watcher now, in a separate turn. Code called by a turn must use :meth:`revisit` instead."""
        self._serve_alone(watcher, events)

    def serve_later(self, seconds: float, watcher: Watcher, events: int) -> asyncio.TimerHandle:
        """Serve the watcher after ``seconds``, with events that do not come from a socket."""
        return self.loop.call_later(max(0.0, seconds), self._serve_alone, watcher, events)

    def interrupt(self, error: BaseException) -> None:
        """Raise this Ctrl-C or sys.exit() of a handler when the turn is complete. Its connection is already handled."""
        self._interrupt = error
        if not self.in_turn:
            self._schedule()

    def close_later(self, sock: socket.socket | int) -> None:
        """Close a descriptor at the end of the turn. Until then its number must not be reused for another socket."""
        self._to_close.append(sock)
        if self.closed:
            self._serve([])  # a socket that a thread gives back late: no turn would come to close it
        elif not self.in_turn:
            self._schedule()
