"""Ends the process when a call blocks the loop, so that nothing drains and nothing aborts.

A second signal has no effect then either, because only the loop could act on it. So a thread measures the time from the
first signal. It needs the interpreter's lock (the GIL): if the call keeps it, only a third signal or SIGKILL ends the
process.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from fourtuple.serving.pulse import Pulse
from fourtuple.signals import NUMBERS, StopSignals

#: A loop that has run no callback for this many seconds is held, once the time for the stop has passed. Only one that
#: is not held runs the abort at the end of this time, and the tear-down.
HELD_SECONDS = 2.0
#: Seconds between two checks.
_LOOK_SECONDS = 0.1
#: The most seconds that the end of the block waits for the thread.
_JOIN_SECONDS = 1.0


class HeldStop:
    """A thread that ends the process if a call holds the loop when the time for the stop has passed.

    Parameters
    ----------
    loop
        The loop, which runs in any thread.
    signals
        Its first signal begins the stop; its :meth:`~fourtuple.signals.StopSignals.end` ends the process.
    seconds
        Returns how long the stop may last from now on, or None for no bound. It is called at the first signal, and
        again later: a loop that has begun to stop needs time for the tear-down, too.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, signals: StopSignals, seconds: Callable[[], float | None]
    ) -> None:
        self._pulse = Pulse(lambda: loop)
        self._signals = signals
        self._seconds = seconds
        # A signal handler may interrupt any code, and set() of an Event that it interrupts in set() would wait forever.
        # To release a lock is one step (the handler may do it twice: see wake()).
        self._heard = threading.Lock()
        self._heard.acquire()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="fourtuple-held-stop", daemon=True)

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Watch while the block runs."""
        self._thread.start()
        try:
            with self._signals.heard_by(self.wake):
                if self._signals.first is not None:
                    self.wake()
                yield
        finally:
            self._ended.set()
            self.wake()
            self._thread.join(_JOIN_SECONDS)

    def wake(self) -> None:
        """Begin to measure. Called in a signal handler."""
        with suppress(RuntimeError):  # released already, by an earlier signal
            self._heard.release()

    # -- in the thread ------------------------------------------------------------------------------------

    def _watch(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)  # they are for the main thread, whose wait they interrupt
        self._heard.acquire()
        began = time.monotonic()
        self._pulse.begin(began)
        while not self._ended.wait(_LOOK_SECONDS):
            now, seconds = time.monotonic(), self._seconds()
            held = self._pulse.silent(now)
            if seconds is not None and now - began >= seconds and held >= HELD_SECONDS:
                self._signals.end(f"{now - began:.1f} s ago, and a call has held the loop for {held:.1f} s")
