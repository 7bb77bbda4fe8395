"""The engine: one per event loop. It serves ready sockets turn by turn (turns.py), and sweeps the deadlines."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, get_args

from fourtuple.engine.loop_end import LoopEnd, loop_end_by_timer
from fourtuple.engine.mailbox import Mailbox
from fourtuple.engine.readiness import Nested, Portable, Readiness, Swept
from fourtuple.engine.turns import SLOW_SECONDS, TURN_EVENTS, TURN_SECONDS, Turns
from fourtuple.errors import UnsupportedLoop, WrongThread
from fourtuple.forking import holds, why
from fourtuple.options import check_callable, check_choice, check_kind, check_range, check_type, check_whole

ReadinessChoice = Literal["auto", "nested", "portable"]

#: The interval of the sweep, which checks the deadlines. It is coarse on purpose: no timer per message is needed.
SWEEP_SECONDS = 0.25


class Engine(Turns):
    """Serves the sockets of one event loop.

    Make it in the thread of the loop. ``readiness`` is ``"nested"`` (the engine's own epoll set), ``"portable"`` (the
    loop's add_reader) or ``"auto"``: nested if the system has epoll. ``clock`` measures all deadlines. Raises
    :class:`~fourtuple.errors.UnsupportedLoop` for a loop without add_reader.
    """

    __slots__ = ()

    now: float
    recovering: bool
    unwell: bool

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
        super().__init__(
            loop or asyncio.get_running_loop(),
            clock,
            turn_events=turn_events,
            turn_seconds=turn_seconds,
            slow_seconds=slow_seconds,
            sweep_seconds=sweep_seconds,
        )
        #: The thread in which the loop runs: the only one that may call the objects of this engine.
        self.thread: int = threading.get_ident()
        #: What other threads want done on the loop.
        self.mailbox: Mailbox = Mailbox(self.loop)
        #: Whether the loop was closed before the engine. The engine is inert then, and its sockets are closed.
        self.loop_closed: bool = False
        #: Functions called when the loop was closed before the engine, in whichever thread has closed it.
        #: They close what is left, and return how to call it.
        self.on_loop_closed: list[Callable[[], list[str]]] = []
        self._loop_end: LoopEnd | None = None
        self.readiness: Readiness = self._choose(readiness)
        holds(self)

    def _choose(self, choice: ReadinessChoice) -> Readiness:
        if choice == "nested" or (choice == "auto" and hasattr(select, "epoll")):
            woken = self._woken  # only the loop keeps this bound method
            nested = Nested(self.loop, woken)
            self._loop_end = LoopEnd(self.loop, woken, self._loop_was_closed)
            return nested
        if type(self.loop).add_reader is asyncio.AbstractEventLoop.add_reader:
            raise UnsupportedLoop(f"{type(self.loop).__name__} has no add_reader, which fourtuple needs")
        portable = Portable(self.loop, self._serve_alone)
        # Its callbacks come and go with the sockets.
        self._loop_end = loop_end_by_timer(self.loop, self._loop_was_closed)
        return portable

    @property
    def places(self) -> tuple[dict[Swept, None], list[socket.socket | int]]:
        """The dict of live channels and the list of sockets to close. For the turn in C, which changes both."""
        return self._channels, self._to_close

    @property
    def fast_path(self) -> bool:
        """Whether C serves the events on the fast path."""
        return self._serve_fast_path is not None

    def check_thread(self, whom: str, call: str, instead: str) -> None:
        """Raise WrongThread unless this is the loop's thread. Called if :attr:`thread` is not the current thread.

        ``instead`` tells how other threads make this call. If the loop now runs in another thread than before, the
        engine belongs to that thread. While the loop does not run, any thread may call.
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

    # -- deadlines ----------------------------------------------------------------------------------------

    def sweep(self) -> None:
        """Check the deadlines of all channels once. The loop's timer calls it; so may a test with its own clock."""
        self.recovering, self.unwell = self.unwell, False  # a step that fails again sets it again
        try:
            quiet = self.readiness.look()
            if quiet:
                self._serve(quiet, self._remainder)
            # Scheduling a turn may have failed for lack of memory; nothing else would continue its work.
            elif self._has_left_over and not self._scheduled and not self.in_turn:
                self._scheduled_turn()
            self._look_at_deadlines()
        except Exception as error:
            self._told("a sweep", error)
        for look in tuple(self.on_sweep):  # one may remove itself, or another
            try:
                look(self.now)
            except Exception as error:
                self.unwell = True
                self._told("a sweep", error)

    def _look_at_deadlines(self) -> None:
        self.now = now = self.clock()
        # A list first: on_due() ends channels, and so changes the dict.
        for channel in [channel for channel in self._channels if channel.due <= now]:
            try:
                channel.on_due(now)
            except BaseException as error:
                self._failed(channel, error)

    # -- the end ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Abort all open channels and detach from the loop. Idempotent."""
        if self.closed or self.inert:
            return
        for channel in list(self._channels):
            self.guard(channel, channel.abort)
        try:
            # A turn without events: its end closes the sockets that the aborts have put on the list.
            self._serve([])
        finally:
            # Only now: a closed engine runs a turn of its own for each socket that it has to close (close_later).
            self.closed = True
            if self._sweeper is not None:
                self._sweeper.cancel()
                self._sweeper = None
            self._forget_loop()
            self.readiness.close()
            self._let_all_go_on()

    def _forget_loop(self) -> None:
        if self._loop_end is not None:
            self._loop_end.forget()
            self._loop_end = None

    def _disown(self) -> None:
        """Become inert: this process is a child, and the sockets and the epoll set belong to the parent."""
        self._become_inert(why)

    def _become_inert(self, reason: Callable[[str], str]) -> None:
        """Close all sockets with close(2) alone. Calls raise an error with the text that ``reason(what)`` returns."""
        self.inert = True
        self.readiness.disown()
        for channel in list(self._channels):
            with suppress(OSError):
                channel.disown(reason)
        self._close_last()
        self._remainder, self._revisits, self._dirty = [], {}, []

    def look_at_loop(self) -> bool:
        """Return whether the loop was closed before the engine; then the sockets are closed, too."""
        if self.loop.is_closed():
            self._loop_was_closed()
        return self.loop_closed

    def _loop_was_closed(self) -> None:
        """Close the sockets of a loop that was closed: peers would wait for ever, in vain.

        No task and no callback of the loop runs any more, so no handler ends, and no observer is told.
        """
        if self.closed or self.inert:
            return
        self.loop_closed = True
        self._forget_loop()
        left = [_left_behind(channel) for channel in self._channels]
        self._become_inert(_ended_with_loop)
        self._channels.clear()
        for call in tuple(self.on_loop_closed):
            left += call()
        self._close_last()
        for each in left:
            warnings.warn(f"unclosed {each}, whose event loop was closed", ResourceWarning, stacklevel=1)

    def __del__(self) -> None:
        # A socket object closes itself when it is deleted. A descriptor without an object has to be closed here.
        for channel in getattr(self, "_channels", ()):
            fd = channel.forget()
            if fd is not None:
                if not self.inert:
                    warnings.warn(f"unclosed {channel!r}", ResourceWarning, source=channel, stacklevel=1)
                with suppress(OSError):
                    os.close(fd)
        for sock in getattr(self, "_to_close", ()):  # the loop ended before the turn that would have closed these
            if isinstance(sock, int):
                with suppress(OSError):
                    os.close(sock)

    def __repr__(self) -> str:
        state = "inert" if self.inert else "closed" if self.closed else "open"
        state = "loop closed" if self.loop_closed else state
        return f"<Engine {type(self.readiness).__name__.lower()}, {state}, {len(self._channels)} channels>"


def _left_behind(watcher: object) -> str:
    """Return what a ResourceWarning calls a channel, or another watcher.

    A runner of asyncio's protocols says what asyncio would, by which test suites filter their warnings.
    """
    called: str | None = getattr(getattr(watcher, "consumer", None), "left_behind", None)
    return called or repr(watcher)


def _ended_with_loop(what: str) -> str:
    """Return an error text: what has ended with its loop."""
    return f"{what} has ended with its event loop, which was closed"
