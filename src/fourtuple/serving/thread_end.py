"""The end of a server that runs in a thread: waited for in bounded time, even when a call holds its loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import CodeType

from fourtuple import events
from fourtuple.errors import DeadlinePassed
from fourtuple.serving.watchdog import call_of, held_event, inside_loop

#: A loop that gives no sign of life for so long, once its time to stop is over, is held.
HELD_SECONDS = 5.0
#: How often the loop is asked for a sign of life.
_LOOK_SECONDS = 0.1


class ServerThread:
    """The thread of one server, as whoever waits for its end sees it.

    Parameters
    ----------
    thread
        The thread, started.
    loop
        Returns its loop; None while it has none.
    base
        The code of the function that runs the loop: what a stack shows outside of it is of no interest.
    whom
        The server, for texts.
    observer
        Told of the call that holds the loop (:class:`~fourtuple.events.LoopHeld`).
    """

    def __init__(
        self,
        thread: threading.Thread,
        loop: Callable[[], asyncio.AbstractEventLoop | None],
        base: CodeType,
        whom: Callable[[], str],
        observer: Callable[[events.Event], None],
    ) -> None:
        self._thread = thread
        self._loop = loop
        self._base = base
        self._whom = whom
        self._observer = observer
        self._sign = threading.Event()

    def join(self, seconds: float | None) -> None:
        """Wait until the thread has ended.

        A loop that comes round is waited for, as the tear-down of the service may take its time. One that has not come
        round for HELD_SECONDS is not, once ``seconds`` (the time that stopping has; None for no bound) are over: then
        the thread is left behind, and :class:`~fourtuple.errors.DeadlinePassed` names the call that holds the loop.
        """
        began = alive = time.monotonic()
        self._ask()
        while True:
            self._thread.join(_LOOK_SECONDS)
            if not self._thread.is_alive():
                return
            now = time.monotonic()
            if self._sign.is_set():
                alive = now
                self._ask()
            elif seconds is not None and now - began >= seconds and now - alive >= HELD_SECONDS:
                raise self._held(seconds, now - alive)

    def _ask(self) -> None:
        self._sign.clear()
        loop = self._loop()
        if loop is not None:
            with suppress(RuntimeError):  # it is closed: its thread ends next
                loop.call_soon_threadsafe(self._sign.set)

    def _held(self, seconds: float, silent: float) -> DeadlinePassed:
        inside = inside_loop(self._thread.ident or 0, lambda frame: frame.f_code is self._base)
        call = call_of(inside)
        name = "its thread does not end"
        if call is not None:
            held = held_event(inside, call, silent)
            self._observer(held)
            name = f"{held.handler} holds the loop"
        whom = self._whom()
        return DeadlinePassed("drain_timeout", seconds, whom, f"{name}; its thread and its connections are left behind")
