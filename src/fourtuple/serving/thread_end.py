"""The end of a server that runs in a thread: the wait for it is bounded, even when a call holds its loop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from types import CodeType

from fourtuple import events
from fourtuple.errors import DeadlinePassed
from fourtuple.serving.pulse import Pulse
from fourtuple.serving.watchdog import call_of, held_event, inside_loop

#: A loop that has run no callback for this many seconds is held, once the time for the stop has passed.
HELD_SECONDS = 5.0
#: Seconds between two checks of whether the loop has run a callback.
_LOOK_SECONDS = 0.1


class ServerThread:
    """The thread of one server, for the caller that waits for its end.

    Parameters
    ----------
    thread
        The thread, started.
    loop
        Returns its loop; None while it has none.
    base
        The code of the function that runs the loop. Frames outside of it are left out of stacks.
    whom
        Returns the server's name for error texts.
    observer
        Called with the :class:`~fourtuple.events.LoopHeld` that names the call holding the loop.
    """

    def __init__(
        self,
        thread: threading.Thread,
        loop: Callable[[], asyncio.AbstractEventLoop | None],
        base: CodeType,
        whom: Callable[[], str],
        observer: events.Observer,
    ) -> None:
        self._thread = thread
        self._pulse = Pulse(loop)
        self._base = base
        self._whom = whom
        self._observer = observer

    def join(self, seconds: float | None, *, set_up: float | None = None) -> None:
        """Wait until the thread has ended.

        While the loop runs callbacks, the wait goes on: the tear-down of the service may take long. The wait ends when
        ``seconds`` (the time for the stop; None for no bound) have passed and the loop has run no callback for
        HELD_SECONDS. Then the thread is left running, and :class:`~fourtuple.errors.DeadlinePassed` names the call
        that holds the loop. With ``set_up``, a set-up was cancelled, and the wait also ends after so many seconds.
        """
        began = time.monotonic()
        self._pulse.begin(began)
        while True:
            self._thread.join(_LOOK_SECONDS)
            if not self._thread.is_alive():
                return
            now = time.monotonic()
            silent = self._pulse.silent(now)
            if seconds is not None and now - began >= seconds and silent >= HELD_SECONDS:
                raise self._held(seconds, silent)
            if set_up is not None and now - began >= set_up and silent < HELD_SECONDS:
                detail = "it ignores its cancellation; its thread is abandoned"
                raise DeadlinePassed("tear_down_timeout", set_up, "the service's set-up", detail)

    def _held(self, seconds: float, silent: float) -> DeadlinePassed:
        inside = inside_loop(self._thread.ident or 0, lambda frame: frame.f_code is self._base)
        call = call_of(inside)
        name = "its thread does not end"
        if call is not None:
            held = held_event(inside, call, silent)
            self._observer(held)
            name = f"{held.handler} holds the loop"
        whom = self._whom()
        return DeadlinePassed("drain_timeout", seconds, whom, f"{name}; its thread and its connections are abandoned")
