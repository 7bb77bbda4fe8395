"""The timers of a connection: functions that are called later, or again and again, until it ends."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, cast

from fourtuple.connection.awaitables import Done, error_of
from fourtuple.engine import Attendant, Channel
from fourtuple.errors import TooManyTimers
from fourtuple.options import check_kind, check_range, check_runs, refuse_unrun

#: The most timers of one connection at once. Each is an entry in the loop's heap, and handlers set them for peers.
MOST_TIMERS = 64


class Timer:
    """A function that a connection calls later, or again and again: see :meth:`fourtuple.Connection.every`.

    ``timers`` are those of the connection, ``due`` is the moment of the first call on the engine's clock, in seconds,
    ``interval`` the time between two calls, None for a single one. ``function`` is called in ``context``.
    """

    __slots__ = ("_context", "_due", "_function", "_handle", "_interval", "_task", "_timers", "active")

    def __init__(
        self,
        timers: Timers,
        due: float,
        interval: float | None,
        function: Callable[[], object],
        context: contextvars.Context,
    ) -> None:
        #: When it is called next, on the engine's clock.
        self._due: float = due
        #: Whether the function will be called again, or its coroutine still runs.
        self.active: bool = True
        self._timers = timers
        self._interval = interval
        self._function = function
        self._context = context
        self._handle: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """Call the function no more; a coroutine of it that still runs is cancelled. Idempotent.

        The function may cancel its own timer; then its coroutine runs on to its end. Call it on the loop.
        """
        engine = self._timers.channel.engine
        if threading.get_ident() != engine.thread:
            engine.check_thread(repr(self), "timer.cancel", "loop.call_soon_threadsafe(timer.cancel)")
        if not self.active:
            return
        self.active = False
        self._timers.forget(self)
        if self._handle is not None:
            self._handle.cancel()
        task, self._task = self._task, None
        # A function that cancels its own timer runs on to its end.
        if task is not None and task is not asyncio.current_task(self._timers.channel.engine.loop):
            task.cancel()

    # -- for Timers ---------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """Let the loop ring when the timer is due. With another clock than the loop's, the sweep looks at it."""
        engine = self._timers.channel.engine
        if engine.clock is time.monotonic:
            self._handle = engine.loop.call_later(max(0.0, self._due - engine.clock()), self._ring)

    def _ring(self) -> None:
        """Call the function now, unless its last call is not done yet, and set the next moment."""
        timers = self._timers
        if timers.over or timers.attendant is None:
            timers.end()
            return
        if self._interval is not None:
            now = timers.channel.engine.clock()
            # From the moment that was due, so that delays do not add up; moments that were missed are left out.
            self._due = self._due + self._interval if self._due + self._interval > now else now + self._interval
            self._arm()
        if self._task is None:
            engine = timers.channel.engine
            if not engine.in_turn:
                # The loop calls this by itself: other tasks have not had a turn before it.
                engine.share.begin(engine.clock())
            engine.guard(timers.channel, self._call, timers.attendant)

    def _call(self, attendant: Attendant) -> None:
        try:
            result = self._context.run(self._function)
            if isawaitable(result) and not isinstance(result, Done):
                done = functools.partial(self._done, attendant)
                self._task = attendant.spawn(_awaited(result), self._context, done)
            else:
                refuse_unrun("later" if self._interval is None else "every", self._named, result)
        except BaseException as error:
            self._timers.end()
            attendant.caught(error, self._named)
        if self._interval is None and self._task is None:
            self.cancel()

    def _done(self, attendant: Attendant, task: asyncio.Task[None]) -> None:
        self._task = None
        if self._interval is None:
            self.cancel()
        error = error_of(task)
        if error is not None:
            self._timers.end()
            self._timers.channel.engine.guard(self._timers.channel, attendant.raised, error, self._named)

    @property
    def _named(self) -> Callable[..., object]:
        """The function as it was given, for events."""
        given: Callable[..., object] = getattr(self._function, "func", self._function)
        return given

    def __repr__(self) -> str:
        what = "later" if self._interval is None else f"every {self._interval:g} s"
        return f"<Timer {what}, {'active' if self.active else 'over'}>"


async def _awaited(result: Awaitable[object]) -> None:
    await result


class Timers:
    """The timers of one connection, made with its first one."""

    __slots__ = ("__weakref__", "_timers", "channel")

    def __init__(self, channel: Channel) -> None:
        self.channel: Channel = channel
        self._timers: dict[Timer, None] = {}
        if channel.engine.clock is not time.monotonic:
            channel.engine.on_sweep.append(self._look)

    @property
    def over(self) -> bool:
        """Whether the connection has ended on this side, or its socket is closed."""
        return self.channel.ended or self.channel.stream.closing

    @property
    def attendant(self) -> Attendant | None:
        """What runs the functions of the connection; None if it has ended."""
        return cast("Attendant | None", self.channel.consumer)

    def add(self, name: str, seconds: float, repeat: bool, function: Callable[..., object], arguments: Any) -> Timer:
        """Set a timer for the call ``name``. Raises OptionError, and TooManyTimers."""
        check_kind("seconds", seconds, "float", "seconds")
        check_range("seconds", seconds, "seconds", *((None, 0.0) if repeat else (0.0, None)))
        check_runs(name, function, awaits=True)
        if len(self._timers) >= MOST_TIMERS:
            raise TooManyTimers(str(self.channel.name), len(self._timers))
        call = functools.partial(function, *arguments) if arguments else function
        interval = float(seconds) if repeat else None
        timer = Timer(self, self.channel.engine.clock() + seconds, interval, call, contextvars.copy_context())
        if self.over:
            timer.cancel()
        else:
            timer._arm()
            self._timers[timer] = None
        return timer

    def forget(self, timer: Timer) -> None:
        """Remove a timer that is over."""
        self._timers.pop(timer, None)

    def end(self) -> None:
        """Cancel all timers: the connection ends."""
        for timer in list(self._timers):
            timer.cancel()
        if self.over and self._look in self.channel.engine.on_sweep:
            self.channel.engine.on_sweep.remove(self._look)

    def _look(self, now: float) -> None:
        for timer in list(self._timers):
            if timer.active and timer._due <= now:
                timer._ring()
