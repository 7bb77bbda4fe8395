"""A thread beside the loop that names the call that holds it, while it does.

Twice in ``stall_timeout`` it asks the loop for a sign of life, which costs a healthy loop one callback. Where none
comes it looks at the stack of the loop's thread; the same call at two looks is what holds it. A loop that makes many
calls without coming round is busy, not held.

A call that keeps the interpreter's lock keeps it from this thread, too: that is what the tripwire is for.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType

from fourtuple import events
from fourtuple.printable import frame_lines, repr_of
from fourtuple.signals import NUMBERS, Tripwire

#: What stands between the loop and the user's code, in a stack.
_HOUSE = os.path.dirname(os.path.dirname(__file__))
_SERVICES = os.path.join(_HOUSE, "services")
_ON_THE_WAY = tuple(f"{os.path.dirname(os.__file__)}/{name}" for name in ("asyncio/", "contextlib.py", "selectors.py"))
#: Where a loop of asyncio calls what is ready: all of a stack that matters is inside of it.
_ROUND_CODE = getattr(getattr(asyncio.BaseEventLoop, "_run_once", None), "__code__", None)
#: Frames of one stack, the innermost ones: a recursion has thousands.
_MOST_FRAMES = 50
#: How long the end of the watch waits for its thread: the observer that it tells may be slow.
_END_SECONDS = 1.0


class Watchdog:
    """Watches one loop.

    Parameters
    ----------
    loop
        The loop; it may run in any thread.
    tell
        Called with each :class:`~fourtuple.events.LoopHeld`, in this watchdog's own thread: the loop's is held.
    seconds
        How long a call may hold the loop. It is named before it has done so for one and a half times as long.
    file
        The descriptor where the tripwire writes: 2, standard error, unless given.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        tell: Callable[[events.LoopHeld], object],
        seconds: float,
        file: int = 2,
    ) -> None:
        self._loop = loop
        self._tell = tell
        self._seconds = seconds
        self._file = file
        self._tripwire: Tripwire | None = None
        self._thread = threading.Thread(target=self._watch, name="fourtuple-watchdog", daemon=True)
        self._ended = threading.Event()
        self._lock = threading.Lock()  # of what both threads write: the tripwire, and where the loop is
        # Of the sign of life: when it was asked for, whether it came, in which thread and inside of what.
        self._asked = time.monotonic()
        self._came = False
        self._loop_thread = 0
        self._base: FrameType | None = None
        # What is suspected, and since when; whether that was told.
        self._suspect: FrameType | None = None
        self._since = 0.0
        self._told = False

    def start(self) -> None:
        """Begin to watch. In any thread."""
        self._ask()
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer. In any thread, once."""
        self._ended.set()
        self._thread.join(_END_SECONDS)
        self._cut()

    # -- in the watchdog's thread -------------------------------------------------------------------------

    def _watch(self) -> None:
        # They are for the main thread, whose wait for events they interrupt; the kernel might choose this one.
        signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)
        try:
            self._look_again_and_again()
        finally:
            self._ended.set()
            self._cut()

    def _look_again_and_again(self) -> None:
        pause, last = self._seconds / 2, time.monotonic()
        while not self._ended.wait(pause):
            now = time.monotonic()
            if self._tripwire is not None:
                self._tripwire.put_off()
            if now - last > 2 * pause:
                self._suspect = None  # this thread had no turn either: the process was stopped, or all of Python held
            elif not self.look(now):
                return
            last = now

    def _cut(self) -> None:
        with self._lock:
            tripwire, self._tripwire = self._tripwire, None
            self._suspect = self._base = None
        if tripwire is not None:
            tripwire.cut()

    def look(self, now: float) -> bool:
        """Look at the loop once; return False where it is closed. The thread calls it; a test with a clock may."""
        if self._came:
            self._suspect = None
            return self._ask()
        call = self._call() if self._loop.is_running() else None
        if call is None or call is not self._suspect:
            self._suspect, self._since, self._told = call, now, False
        elif not self._told:
            self._told = True
            self._name(call, now - self._asked)
        return True

    def _ask(self) -> bool:
        self._came, self._asked = False, time.monotonic()
        try:
            self._loop.call_soon_threadsafe(self._sign_of_life)
        except RuntimeError:
            return False
        return True

    def _call(self) -> FrameType | None:
        return call_of(self._inside())

    def _inside(self) -> list[FrameType]:
        return inside_loop(self._loop_thread, lambda frame: frame is self._base)

    def _name(self, call: FrameType, seconds: float) -> None:
        inside = self._inside()
        if call not in inside:
            return  # it has just returned
        try:
            self._tell(held_event(inside, call, seconds))
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        try:
            text = f"fourtuple: the observer {repr_of(self._tell)} failed at a LoopHeld"
            told = {"message": text, "exception": error}
            self._loop.call_soon_threadsafe(self._loop.call_exception_handler, told)
        except RuntimeError:
            return

    # -- in the loop's thread -----------------------------------------------------------------------------

    def _sign_of_life(self) -> None:
        with self._lock:
            if self._ended.is_set():
                return
            if not self._loop_thread:
                self._tripwire = Tripwire.stretched(self._seconds, self._file)
                if self._tripwire is not None:
                    self._tripwire.put_off()
            self._loop_thread = threading.get_ident()
            self._base = sys._getframe(1)
            self._came = True


def inside_loop(thread: int, is_base: Callable[[FrameType], bool]) -> list[FrameType]:
    """The stack of a loop's thread as far as the loop itself, or the frame ``is_base``; the innermost frame first."""
    frame = sys._current_frames().get(thread)
    inside: list[FrameType] = []
    while frame is not None and not is_base(frame) and frame.f_code is not _ROUND_CODE:
        inside.append(frame)
        frame = frame.f_back
    return inside


def call_of(inside: list[FrameType]) -> FrameType | None:
    """The call that the loop has made and waits for: the outermost frame that is the user's, or ours.

    None where the loop waits for events, or does its own work.
    """
    if all(frame.f_code.co_filename.startswith(_ON_THE_WAY) for frame in inside):
        return None
    return next((frame for frame in reversed(inside) if not _is_machinery(frame)), inside[-1])


def held_event(inside: list[FrameType], call: FrameType, seconds: float) -> events.LoopHeld:
    """The event that names this call and shows its stack."""
    stack = inside[: inside.index(call) + 1][:_MOST_FRAMES]
    summary = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in reversed(stack))
    name = f"{call.f_globals.get('__name__', '')}.{call.f_code.co_qualname}".lstrip(".")
    return events.LoopHeld(name, seconds, tuple(frame_lines(summary)))


def _is_machinery(frame: FrameType) -> bool:
    """Whether a frame is ours, or Python's own on the way to the user's code."""
    name = frame.f_code.co_filename
    return name.startswith(("<frozen ", *_ON_THE_WAY)) or (name.startswith(_HOUSE) and not name.startswith(_SERVICES))
