"""SIGINT and SIGTERM, counted together: the first drains, the second aborts, the third ends the process.

::

    the kernel --> _signals/module.c on_signal(): counts; the third time, one line and _exit(2)      while the lock is
    kept
                       |
                       v
                   Python's own handler in C, which only takes a note
                       |                                                                      between two bytecodes
                       v
                   StopSignals._heard(): counts where there is no C, and wakes the loop
                       |                                                                      in a turn of the loop
                       v
                   whoever drains or aborts

The loop's own handlers (``loop.add_signal_handler``) would do for the first two, but not for a loop that one call
holds; a handler of ``signal.signal`` not for a call that keeps the interpreter's lock.
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
from fourtuple.signals.groups import kill_groups
from fourtuple.signals.native import native

#: What asks a process to stop: Ctrl-C, and whoever started it.
NUMBERS = (signal.SIGINT, signal.SIGTERM)
#: So many of them end the process.
LAST = 3
_STDERR = 2


class StopSignals:
    """The signals that came since :func:`stop_signals` began."""

    def __init__(self) -> None:
        self._numbers: list[signal.Signals] = []
        self._before: dict[signal.Signals, Any] = {}
        self._listeners: list[Callable[[], object]] = []
        self._ending = b""
        self._living: dict[Any, Any] | None = None

    @property
    def count(self) -> int:
        """How many came."""
        return native.came() if native is not None else len(self._numbers)

    @property
    def first(self) -> signal.Signals | None:
        """The first that came; None for none."""
        return self._numbers[0] if self._numbers else None

    def say(self, ending: str, living: dict[Any, Any] | None = None) -> None:
        """Set what the line of the third signal says: how many ``living`` connections it cut, and this."""
        self._ending, self._living = ending.encode(), living
        if native is not None:
            native.say(self._ending, living)

    @contextmanager
    def heard_by(self, wake: Callable[[], object]) -> Iterator[None]:
        """Call ``wake`` at each signal, between two bytecodes of whatever runs: it may only wake somebody up."""
        self._listeners.append(wake)
        try:
            yield
        finally:
            self._listeners.remove(wake)

    # -- the handlers -------------------------------------------------------------------------------------

    def _install(self) -> None:
        for number in NUMBERS:
            # Who started us may have said that it is not for us, as a shell does with Ctrl-C for its background jobs.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._heard)
        if native is not None:
            native.count(tuple(self._before))

    def _restore(self) -> None:
        if native is not None:
            native.stop()
        for number, before in self._before.items():
            if signal.getsignal(number) == self._heard:  # or somebody has put his own in its place
                signal.signal(number, signal.SIG_DFL if before is None else before)

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        # No exception may leave it: it would be raised in whatever runs just now.
        self._numbers.append(signal.Signals(number))
        if native is None and len(self._numbers) >= LAST:
            self._end(number)
        for wake in self._listeners:
            with suppress(Exception):
                wake()

    def _end(self, number: int) -> None:
        try:
            kill_groups()
            if select.select([], [_STDERR], [], 0)[1]:
                os.write(_STDERR, last_line(number, self._living, self._ending))
        finally:
            os._exit(128 + number)


def last_line(number: int, living: Sized | None, ending: bytes) -> bytes:
    """What the third signal prints."""
    line = b"fourtuple: third signal (%s): ended at once" % signal.Signals(number).name.encode()
    if living is not None:
        line += b", %d connection%s cut" % (len(living), b"" if len(living) == 1 else b"s")
    return line + ending + b"\n"


_current: StopSignals | None = None


@contextmanager
def stop_signals() -> Iterator[StopSignals]:
    """Count SIGINT and SIGTERM while the block runs; the handlers before are back at its end.

    The third one ends the process with 128 and its number, and says on standard error what that cut. With the C, that
    is so whatever Python does; without it, between two bytecodes. One that is ignored stays ignored. A block within
    the block shares the count.

    Raises :class:`~fourtuple.errors.ServiceError` in another thread than the main one, which has no signals.
    """
    global _current
    if _current is not None:
        yield _current
        return
    if threading.current_thread() is not threading.main_thread():
        raise ServiceError(
            f"signals come to the main thread, this is {threading.current_thread().name!r}; "
            "serve_in_thread() does without them"
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
    """A forked child is no server: its signals end it as they would have before."""
    global _current
    if _current is not None:
        current, _current = _current, None
        with suppress(ValueError):  # forked by another thread, of an interpreter that has no signals
            current._restore()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
