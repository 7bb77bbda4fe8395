"""SIGINT and SIGTERM, counted together: the first drains, the second aborts, the third ends the process.

::

    the kernel --> _signals/module.c on_signal(): counts; at the third, one line and _exit(2)   (also under the lock)
                       |
                       v
                   Python's own handler in C, which only sets a flag
                       |
                       v
                   StopSignals._heard(): counts if there is no C, and wakes the loop            (between two bytecodes)
                       |
                       v
                   the server drains or aborts                                                  (in a turn of the loop)

The loop's own handlers (``loop.add_signal_handler``) would suffice for the first two signals, but not while one call
blocks the loop. A handler of ``signal.signal`` does not run while a call holds the interpreter's lock; C's does.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from fourtuple.errors import ServiceError
from fourtuple.signals.groups import TABLE, kill_groups
from fourtuple.signals.native import native

#: The signals that ask a process to stop: Ctrl-C sends SIGINT, a supervisor sends SIGTERM.
NUMBERS = (signal.SIGINT, signal.SIGTERM)
#: This many signals end the process.
LAST = 3
_STDERR = 2


def ignored(number: signal.Signals) -> bool:
    """Return whether this process ignores a signal. Its parent process may want that, and then it stays so.

    A shell ignores SIGINT for its background jobs, and nohup SIGHUP for its command.
    """
    return signal.getsignal(number) is signal.SIG_IGN


class StopSignals:
    """The signals that came since :func:`stop_signals` began."""

    def __init__(self) -> None:
        self._numbers: list[signal.Signals] = []
        self._before: dict[signal.Signals, Any] = {}
        self._listeners: list[Callable[[], object]] = []
        self._ending = b""
        self._living: dict[Any, Any] | None = None
        #: Whether a SystemExit or KeyboardInterrupt of the program has left the loop. It closes now, and cancels what
        #: still runs; the program has not done that.
        self.loop_left: bool = False
        #: Whether the program has called ``loop.stop()``. The task that serves is cancelled then, to end in order.
        self.loop_stopped: bool = False

    @property
    def count(self) -> int:
        """The number of signals received."""
        return native.came() if native is not None else len(self._numbers)

    @property
    def first(self) -> signal.Signals | None:
        """The first signal received; None if there was none."""
        return self._numbers[0] if self._numbers else None

    def say(self, ending: str, living: dict[Any, Any] | None = None) -> None:
        """Set the text of the third signal's line: the number of ``living`` connections that it cut, and ``ending``."""
        self._ending, self._living = ending.encode(), living
        if native is not None:
            native.say(self._ending, living)

    @contextmanager
    def heard_by(self, wake: Callable[[], object]) -> Iterator[None]:
        """Call ``wake`` at each signal, between two bytecodes of any code: it must do no more than wake the loop."""
        self._listeners.append(wake)
        try:
            yield
        finally:
            self._listeners.remove(wake)

    # -- the handlers -------------------------------------------------------------------------------------

    def _install(self) -> None:
        for number in NUMBERS:
            if not ignored(number):
                self._before[number] = signal.signal(number, self._heard)
                if native is not None:
                    native.count(number, TABLE)

    def _restore(self) -> None:
        if native is not None:
            native.stop()
        for number, before in self._before.items():
            if signal.getsignal(number) == self._heard:  # else the application has installed another handler since
                signal.signal(number, signal.SIG_DFL if before is None else before)

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        # No exception may leave this handler: it would be raised in whatever code is running now.
        self._numbers.append(signal.Signals(number))
        if native is None and len(self._numbers) >= LAST:
            self._end(number, f"third signal ({signal.Signals(number).name})")
        for wake in self._listeners:
            with suppress(Exception):
                wake()

    def end(self, why: str) -> None:
        """End the process now, as the third signal does, with the first signal's number; print what it cut.

        ``why`` goes on after "SIGTERM came". Any thread may call it.
        """
        number = self.first or signal.SIGTERM
        self._end(number, f"{number.name} came {why}")

    def _end(self, number: int, why: str) -> None:
        try:
            # First: after os._exit() no one would end the programs of handlers.
            kill_groups()
            # Not to wait: standard error may be a pipe that no process reads, and the process has to end.
            if select.select([], [_STDERR], [], 0)[1]:
                os.write(_STDERR, last_line(why, self._living, self._ending))
        finally:
            # Not sys.exit(): the interrupted code could catch it, and atexit handlers could hang.
            os._exit(128 + number)


def last_line(why: str, living: Sized | None, ending: bytes) -> bytes:
    """Return the line that a process prints which does not end by itself."""
    line = b"fourtuple: %s: ended at once" % why.encode()
    if living is not None:
        line += b", %d connection%s cut" % (len(living), b"" if len(living) == 1 else b"s")
    return line + ending + b"\n"


_current: StopSignals | None = None


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Count SIGINT and SIGTERM while the block runs. At its end, the earlier handlers are restored.

    The third signal ends the process with exit code 128 plus its number, and writes to standard error what it cut.
    With the C this works at any time; without it, only between two bytecodes. An ignored signal stays ignored. A
    nested block shares the count.

    Raises :class:`~fourtuple.errors.ServiceError` outside the main thread: only that thread handles signals.
    """
    global _current
    if _current is not None:
        yield _current
        return
    if threading.current_thread() is not threading.main_thread():
        raise ServiceError(
            f"signals are delivered to the main thread, this is {threading.current_thread().name!r}; "
            "serve_in_thread() works without signals"
        )
    _current = StopSignals()
    try:
        _current._install()
        yield _current
    finally:
        if _current is not None:  # else this is a forked child
            current, _current = _current, None
            current._restore()


def _in_child() -> None:
    """Restore the earlier handlers in a forked child, which is not a server."""
    global _current
    if _current is not None:
        current, _current = _current, None
        with suppress(ValueError):  # forked in a thread or interpreter that cannot set handlers
            current._restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
