"""The engine: one per event loop; it serves ready sockets turn by turn.

A turn::

    the loop calls --> what was left over from the last turn, else one look into the epoll set,
                          |     and behind it whoever asked to be revisited
                          v
                   serve watcher after watcher, each guarded    (until 256 events or 5 ms: the rest is kept)
                          |
                          v
                   let tasks go on that had had their share     (each once, and at least one, within the same 5 ms)
                          |
                          v
                   flush outboxes that were filled from elsewhere
                          |
                          v
                   close the descriptors of what ended          (not before: their numbers must not be reused)

Nothing that a handler raises leaves a turn; KeyboardInterrupt and SystemExit do, after it is complete.

Letting go (of a socket, of a place) may fail, too, where there is no memory. What was not done is found by the sweep,
which does it again until it succeeds: a channel leaves the engine last.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Set
from contextlib import suppress
from typing import Literal, Protocol, TypeAlias, get_args

from fourtuple import fast_path
from fourtuple.engine.fields import EngineFields
from fourtuple.engine.readiness import Nested, Portable, Readiness, Ready, Swept, Watcher
from fourtuple.engine.share import Share
from fourtuple.errors import UnsupportedLoop, WrongThread
from fourtuple.forking import holds
from fourtuple.options import check_callable, check_choice, check_kind, check_range, check_type, check_whole

ReadinessChoice = Literal["auto", "nested", "portable"]

#: A turn ends after this many events or seconds, so that the loop's other work is never starved.
TURN_EVENTS = 256
TURN_SECONDS = 0.005
#: And after so many messages that one handler sends and receives without waiting: as many take about half a
#: millisecond where they cost least, so that there the clock decides, and going behind costs them little.
SHARE_MESSAGES = 4096
#: One handler that holds the loop longer than this is named in an event.
SLOW_SECONDS = 0.1
#: Deadlines are looked at this often: coarse on purpose, no timer per message.
SWEEP_SECONDS = 0.25


class Wakeable(Protocol):
    """What a task waits for that goes behind the others."""

    def wake(self, *, at_once: bool = False) -> None:
        """Let the task go on."""


#: Tasks that go behind the others, by the watcher they are at work for.
Behind: TypeAlias = dict[Watcher, list[Wakeable]]


class Engine(EngineFields):
    """Serves the sockets of one event loop.

    Make it where the loop runs. ``readiness`` is ``"nested"`` (an epoll set of our own), ``"portable"`` (the
    loop's add_reader) or ``"auto"``: nested where there is epoll. ``clock`` is what all deadlines are measured
    with. Raises :class:`~fourtuple.errors.UnsupportedLoop` for a loop without add_reader.
    """

    #: Slots, for the C to find them: they are looked at for every message.
    __slots__ = ("__dict__", "__weakref__")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        readiness: ReadinessChoice = "auto",
        clock: Callable[[], float] = time.monotonic,
        turn_events: int = TURN_EVENTS,
        turn_seconds: float = TURN_SECONDS,
        slow_seconds: float = SLOW_SECONDS,
        sweep_seconds: float = SWEEP_SECONDS,
    ) -> None:
        check_type("loop", loop, asyncio.AbstractEventLoop)
        check_choice("readiness", readiness, get_args(ReadinessChoice))
        check_callable("clock", clock, optional=False)
        check_whole("turn_events", turn_events, 1)
        for name, seconds in (("turn", turn_seconds), ("slow", slow_seconds), ("sweep", sweep_seconds)):
            check_kind(f"{name}_seconds", seconds, "float", "seconds")
            check_range(f"{name}_seconds", seconds, "seconds", 0, None)
        self.loop = loop or asyncio.get_running_loop()
        #: The thread that the loop runs in: the only one that may call what is on this engine.
        self.thread = threading.get_ident()
        self.clock = clock
        #: The time of the current turn; outside of turns use :meth:`time`.
        self.now = clock()
        #: Channels that have not left yet: the keys. A set of thousands takes three times the memory of such a dict.
        self._channels: dict[Swept, None] = {}
        #: Called with the time at each sweep, behind the deadlines.
        self.on_sweep: list[Callable[[float], None]] = []
        self.closed = False
        self.inert = False
        #: Something could not be done, which is to be tried again: the sweep goes on, even without channels.
        self.unwell = False
        #: In a sweep: whether it comes to try again.
        self.recovering = False
        self._turn_events = turn_events
        #: What is left of the loop for whoever is at work now; ``share.seconds`` is the length of a turn, too.
        self.share = (
            Share(turn_seconds, SHARE_MESSAGES)
            if clock is time.monotonic
            else Share(turn_seconds, SHARE_MESSAGES, clock)
        )
        self.share.begin(self.now)
        #: Whose tasks had had it, in order, and what these wait for: a turn that lets them go on.
        self._behind: Behind = {}
        self._slow_seconds = slow_seconds
        self._sweep_seconds = sweep_seconds
        self._remainder: Ready = []
        #: Whoever asked to be served again, once each.
        self._revisits: dict[Watcher, None] = {}
        self._dirty: list[Swept] = []
        #: Sockets, or the descriptors of those that never became an object. The same list for ever: C adds to it.
        self._to_close: list[socket.socket | int] = []
        #: Whether a turn is under way: then :attr:`now` is the time.
        self.in_turn = False
        self._scheduled = False
        #: Whether that turn is for what the last one has left over.
        self._goes_on = False
        self._interrupt: BaseException | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        #: The usual events in C, which has a clock of its own: not for those who inject another.
        self._serve_fast_path = (
            fast_path.turn.serve_many if fast_path.turn is not None and clock is time.monotonic else None
        )
        self.readiness = self._choose(readiness)
        holds(self)

    def _choose(self, choice: ReadinessChoice) -> Readiness:
        if choice == "nested" or (choice == "auto" and hasattr(select, "epoll")):
            return Nested(self.loop, self._woken)
        if type(self.loop).add_reader is asyncio.AbstractEventLoop.add_reader:
            raise UnsupportedLoop(f"{type(self.loop).__name__} has no add_reader, which fourtuple needs")
        return Portable(self.loop, self._serve_alone)

    @property
    def places(self) -> tuple[dict[Swept, None], list[socket.socket | int]]:
        """Where living channels are entered, and what is closed at the end of the turn: for the turn in C."""
        return self._channels, self._to_close

    @property
    def fast_path(self) -> bool:
        """Whether usual events are served in C."""
        return self._serve_fast_path is not None

    @property
    def channels(self) -> Set[Swept]:
        """The live channels."""
        return self._channels.keys()

    # -- threads ------------------------------------------------------------------------------------------

    def check_thread(self, whom: str, call: str, instead: str) -> None:
        """Raise WrongThread unless this is the loop's thread; asked where :attr:`thread` is another one.

        ``instead`` is how other threads do it. A loop that runs in another thread than before has taken its engine
        along; while it does not run, nobody is disturbed.
        """
        if asyncio._get_running_loop() is self.loop:
            self.thread = threading.get_ident()
            return
        if self.inert or not self.loop.is_running():
            return
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        owner = names.get(self.thread, "another one")
        raise WrongThread(
            f"{whom}: {call}() was called in thread {threading.current_thread().name!r}, its loop runs in {owner!r}",
            instead,
        )

    # -- turns --------------------------------------------------------------------------------------------

    def _woken(self) -> None:
        """The loop found the set readable.

        What is left over has a turn of its own coming, which looks into the set, too: with this one before it, a
        connection would have a share in each.
        """
        if not (self._goes_on or self.inert or self.closed):
            self._serve(self._ready())

    def _turn(self) -> None:
        if not (self.inert or self.closed):
            self._serve(self._ready())

    def _ready(self) -> Ready:
        """Who is to be served: what is left of the last turn, else those that are ready now."""
        try:
            ready = self._remainder or self.readiness.poll()
            if self._revisits and ready is not self._remainder:
                # Behind a new look: one who asks for it in every turn starves nobody.
                ready += [(watcher, 0) for watcher in self._revisits]
                self._revisits.clear()
        except MemoryError as error:
            self._told("a look at the sockets", error)
            return self._remainder
        return ready

    def _serve_alone(self, watcher: Watcher, events: int) -> None:
        """A turn of one event, as the portable readiness brings them."""
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
        """There was no memory for the turn itself: all of them come once more, which those who were served may, too.

        They are looked at for what they may have read; what their sockets have to say is said again.
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
        end, most = now + share.seconds, min(len(ready), self._turn_events)
        self._remainder = keep or []
        served = 0
        while served < most and now <= end:
            if serve_fast_path is not None:
                served = serve_fast_path(self, ready, served, most, end, slow)
                self.now = now = clock()
                if served == most or (served and now > end):  # one is served in each turn, however late it is
                    break
            watcher, events = ready[served]
            served += 1
            if not events and watcher in self._revisits:
                continue  # its event had its share in this turn, and it has asked for the next
            if watcher.mask or not events:
                share.begin(now)
                try:
                    watcher.on_ready(events)
                except BaseException as error:
                    self._failed(watcher, error)
                before, self.now = now, clock()
                now = self.now
                if now - before > slow:
                    self._slow(watcher, now - before)
        if served < len(ready):
            # Kept and served first in the next turn: dropping them for a new look would serve the same first 256
            # again and starve the others for ever.
            self._remainder = ready[served:] + self._remainder
        if behind:
            self._let_go_on(behind, end)
        share.begin(self.now)  # for the tasks of the loop, until the next turn

    def _let_go_on(self, behind: Behind, end: float) -> None:
        """Let those go on who had had their share: a share for each watcher, for one at least, while the turn lasts."""
        watchers = list(behind)
        for number, watcher in enumerate(watchers):
            if number and self.now > end:
                self._stay_behind({each: behind[each] for each in watchers[number:]})
                return
            began, share, waiters = self.now, self.share, behind[watcher]
            share.begin(began)
            woken = 0
            while woken < len(waiters) and not (woken and share.late()):
                woken += 1
                try:
                    waiters[woken - 1].wake(at_once=True)
                except BaseException as error:
                    self._told(f"a task of {watcher!r} failed", error)
            if waiters[woken:]:
                # Behind those who have come meanwhile, and before its own that have.
                self._behind[watcher] = waiters[woken:] + self._behind.pop(watcher, [])
            self.now = self.clock()
            if self.now - began > self._slow_seconds:
                self._slow(watcher, self.now - began)

    def _stay_behind(self, behind: Behind) -> None:
        """The turn is over: these come first in the next."""
        for watcher, waiters in self._behind.items():
            behind[watcher] = behind.get(watcher, []) + waiters
        self._behind = behind

    def _end_turn(self) -> None:
        try:
            if self._dirty:
                self._flush()
            if fast_path.turn is not None and self._to_close:
                fast_path.turn.close_last(self._to_close)
            self._close_last()
        except BaseException as error:
            self._told("the end of a turn", error)
        self.in_turn = False
        try:
            if self._has_left_over:
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
        """Whether something is left for another turn."""
        return bool(self._remainder or self._revisits or self._behind or self._dirty or self._to_close)

    def _close_last(self) -> None:
        """Close what ended; what cannot be closed now stays, for another turn. No number is closed twice."""
        to_close = self._to_close
        while to_close:
            sock = to_close[-1]
            try:
                if isinstance(sock, int):
                    to_close[-1] = -1
                    os.close(sock)
                else:
                    sock.close()
            except OSError:  # the descriptor is free all the same (close(2), for Linux)
                pass
            except BaseException:
                to_close[-1] = sock
                raise
            to_close.pop()

    def _flush(self) -> None:
        """Write what was sent from elsewhere; where that takes longer than a turn, the rest comes first in the next."""
        dirty, self._dirty = self._dirty, []
        end = self.now + self.share.seconds
        for number, channel in enumerate(dirty):
            if number % 16 == 15 and self.clock() > end:
                self._dirty[:0] = dirty[number:]
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

    def guard(self, watcher: Watcher, work: Callable[..., object], *arguments: object) -> None:
        """Call what belongs to a connection outside of its turn: should it raise, that costs this connection alone."""
        try:
            work(*arguments)
        except BaseException as error:
            self._failed(watcher, error)

    def _failed(self, watcher: Watcher, error: BaseException) -> None:
        """A watcher's turn raised. It costs that connection, nothing else.

        Ctrl-C and sys.exit() are kept for the end of the turn; anything else is a defect of ours, and is told.
        """
        self._told("serving", error, watcher)
        try:
            watcher.on_failure(error)
        except BaseException as second:
            self._told("ending", second, watcher)
        try:
            self.sweep_on()
        except MemoryError:
            return  # a turn lets it come

    def _told(self, what: str, error: BaseException, watcher: Watcher | None = None) -> None:
        """Tell the loop of a defect, or of a lack of memory, that was survived. Raises nothing."""
        try:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                self.interrupt(error)
                return
            whom = "" if watcher is None else f" {watcher!r}"
            self.loop.call_exception_handler({"message": f"fourtuple: {what}{whom} failed", "exception": error})
        except MemoryError:
            return  # and none to tell of it either
        except (
            BaseException
        ) as interrupt:  # a handler of the loop's may end the program; whatever else it raises is told
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
        """The clock, read now; inside a turn the time of the turn, which costs nothing."""
        return self.now if self.in_turn else self.clock()

    def flush_soon(self, channel: Swept) -> None:
        """See to the channel's outbox at the end of this turn, or in the loop's next one."""
        self._dirty.append(channel)
        if not self.in_turn:
            self._schedule()

    def revisit(self, watcher: Watcher) -> None:
        """Serve the watcher again in the next turn, after the others that are ready."""
        self._revisits[watcher] = None
        if not self.in_turn:
            self._schedule()

    def go_behind(self, watcher: Watcher, waiter: Wakeable) -> None:
        """Let the others have their turn before the watcher's task, which has had its share, goes on."""
        self._behind.setdefault(watcher, []).append(waiter)
        if not self.in_turn:
            self._schedule()

    def _let_all_go_on(self) -> None:
        """There are no turns any more: nobody is before them."""
        behind, self._behind = self._behind, {}
        if not self.loop.is_closed():
            for waiters in behind.values():
                for waiter in waiters:
                    waiter.wake()

    def serve(self, watcher: Watcher, events: int) -> None:
        """Serve the watcher now, in a turn of its own. Not for code that a turn calls: see :meth:`revisit`."""
        self._serve_alone(watcher, events)

    def serve_later(self, seconds: float, watcher: Watcher, events: int) -> asyncio.TimerHandle:
        """Serve the watcher after so many seconds, with events that no socket has."""
        return self.loop.call_later(max(0.0, seconds), self._serve_alone, watcher, events)

    def interrupt(self, error: BaseException) -> None:
        """Ctrl-C or sys.exit() left a handler whose connection was seen to: raise it when the turn is complete."""
        self._interrupt = error
        if not self.in_turn:
            self._schedule()

    def close_later(self, sock: socket.socket | int) -> None:
        """Close a descriptor at the end of the turn: until then its number must mean nobody else."""
        self._to_close.append(sock)
        if self.closed:
            self._serve([])  # a lent socket that comes back late: there are no turns any more
        elif not self.in_turn:
            self._schedule()

    def add(self, channel: Swept) -> None:
        """Look after a channel's deadlines."""
        self._channels[channel] = None
        if self._sweeper is None:
            with suppress(MemoryError):  # else the next turn lets it come
                self._keep_sweeping()

    def sweep_on(self) -> None:
        """Something could not be done: let the sweep come, and again, until nothing is left to be tried again."""
        self.unwell = True
        if self._sweeper is None:
            self._keep_sweeping()

    def _keep_sweeping(self) -> None:
        if (self._channels or self.unwell) and not (self.closed or self.inert):
            self._sweeper = self.loop.call_later(self._sweep_seconds, self._sweep_again)

    def knows(self, channel: Swept) -> bool:
        """Whether the channel is looked after: from :meth:`add` to :meth:`discard`."""
        return channel in self._channels

    def discard(self, channel: Swept) -> None:
        """The channel has ended."""
        self._channels.pop(channel, None)

    # -- deadlines ----------------------------------------------------------------------------------------

    def _sweep_again(self) -> None:
        self._sweeper = None
        if self.inert or self.closed:
            return
        try:
            self.sweep()
        finally:
            if self._sweeper is None:
                self._keep_sweeping()

    def sweep(self) -> None:
        """Look at the deadlines of all channels once. The loop's timer calls it; a test with its own clock may."""
        self.recovering, self.unwell = self.unwell, False  # until somebody finds that it is still so
        try:
            quiet = self.readiness.look()
            if quiet:
                self._serve(quiet, self._remainder)
            elif self._has_left_over and not self._scheduled and not self.in_turn:
                self._scheduled_turn()
            self._look_at_deadlines()
        except Exception as error:
            self._told("a sweep", error)
        for look in self.on_sweep:
            try:
                look(self.now)
            except Exception as error:
                self.unwell = True
                self._told("a sweep", error)

    def _look_at_deadlines(self) -> None:
        self.now = now = self.clock()
        for channel in [channel for channel in self._channels if channel.due <= now]:
            try:
                channel.on_due(now)
            except BaseException as error:
                self._failed(channel, error)

    # -- the end ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let go of the loop; what is left open is aborted. Idempotent."""
        if self.closed or self.inert:
            return
        for channel in list(self._channels):
            self.guard(channel, channel.abort)
        try:
            self._serve([])
        finally:
            self.closed = True
            if self._sweeper is not None:
                self._sweeper.cancel()
                self._sweeper = None
            self.readiness.close()
            self._let_all_go_on()

    def disown(self) -> None:
        """Become inert: this process is a child, and the sockets and the epoll set belong to the parent."""
        self.inert = True
        self.readiness.disown()
        for channel in list(self._channels):
            with suppress(OSError):
                channel.disown()
        self._close_last()
        self._remainder, self._revisits, self._dirty = [], {}, []

    def __del__(self) -> None:
        # Sockets close themselves when nobody has them any more; those that never became an object do not.
        for channel in getattr(self, "_channels", ()):
            fd = channel.forget()
            if fd is not None:
                if not self.inert:
                    warnings.warn(f"unclosed {channel!r}", ResourceWarning, source=channel, stacklevel=1)
                with suppress(OSError):
                    os.close(fd)
        for sock in getattr(self, "_to_close", ()):  # its loop ended before the turn that would have closed them
            if isinstance(sock, int):
                with suppress(OSError):
                    os.close(sock)

    def __repr__(self) -> str:
        state = "inert" if self.inert else "closed" if self.closed else "open"
        return f"<Engine {type(self.readiness).__name__.lower()}, {state}, {len(self._channels)} channels>"


_by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Engine, int]] = weakref.WeakKeyDictionary()


def shared_engine() -> Engine:
    """The running loop's common engine, for clients; give it back by :func:`release_engine`."""
    loop = asyncio.get_running_loop()
    engine, users = _by_loop.get(loop, (None, 0))
    if engine is None or engine.closed or engine.inert:
        engine, users = Engine(loop), 0
    _by_loop[loop] = (engine, users + 1)
    return engine


def release_engine(engine: Engine) -> None:
    """Give the common engine back; the last user closes it."""
    shared, users = _by_loop.get(engine.loop, (None, 0))
    if shared is not engine:
        return
    if users > 1:
        _by_loop[engine.loop] = (engine, users - 1)
    else:
        del _by_loop[engine.loop]
        engine.close()
