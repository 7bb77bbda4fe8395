"""A thread that reports the call which holds the loop, while it still runs.

Twice in ``stall_timeout`` the thread schedules a callback in the loop, which is cheap for a healthy loop. If the
callback does not run, the thread inspects the stack of the loop's thread. The same call at two checks holds the loop.
If the calls differ, the loop is busy, not held.

This thread cannot run while a call keeps the interpreter's lock (the GIL). The tripwire is for such calls.
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
from fourtuple.serving.pulse import Pulse
from fourtuple.signals import NUMBERS, Tripwire

#: Where the code between the loop and the user's code is, to tell its frames in a stack.
_HOUSE = os.path.dirname(os.path.dirname(__file__))
_SERVICES = os.path.join(_HOUSE, "services")
_ON_THE_WAY = tuple(f"{os.path.dirname(os.__file__)}/{name}" for name in ("asyncio/", "contextlib.py", "selectors.py"))
#: The code in which an asyncio loop calls its callbacks: only the frames inside of it matter.
_ROUND_CODE = getattr(getattr(asyncio.BaseEventLoop, "_run_once", None), "__code__", None)
#: The most frames of one reported stack, counted from the innermost: a recursion has thousands.
_MOST_FRAMES = 50
#: Seconds that stop() waits for the thread: the observer that the thread calls may be slow.
_END_SECONDS = 1.0


class Watchdog:
    """Watches one loop.

    Parameters
    ----------
    loop
        The loop; it may run in any thread.
    tell
        Called with each :class:`~fourtuple.events.LoopHeld`, in the watchdog's thread, because the loop's is held.
    seconds
        How long a call may hold the loop. It is reported before it has held the loop for 1.5 times as long.
    file
        The descriptor to which the tripwire writes. Default: 2, standard error.
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
        self._lock = threading.Lock()  # for what both threads write: the tripwire, and the loop's thread and frame
        self._pulse = Pulse(lambda: loop, self._beat)
        # In which thread a callback has run, and inside of which frame.
        self._loop_thread = 0
        self._base: FrameType | None = None
        # The call that may hold the loop, since when, and whether it was reported.
        self._suspect: FrameType | None = None
        self._since = 0.0
        self._told = False

    def start(self) -> None:
        """Begin to watch. You can call it in any thread."""
        self._pulse.ask()
        self._thread.start()

    def stop(self) -> None:
        """Stop watching. Call it once, in any thread."""
        self._ended.set()
        self._thread.join(_END_SECONDS)
        self._cut()

    # -- in the watchdog's thread -------------------------------------------------------------------------

    def _watch(self) -> None:
        # Signals should go to the main thread, whose wait they interrupt; the kernel might choose this thread.
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
                self._suspect = None  # this thread did not run either: the process was stopped, or the GIL was held
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
        """Check the loop once; return False if it is closed. The thread calls it; so may a test with a fake clock."""
        if self._pulse.came:
            self._suspect = None
            return self._pulse.ask()
        call = self._call() if self._loop.is_running() else None
        if call is None or call is not self._suspect:
            self._suspect, self._since, self._told = call, now, False
        elif not self._told:
            self._told = True
            self._name(call, now - self._pulse.asked)
        return True

    def _call(self) -> FrameType | None:
        return call_of(self._inside())

    def _inside(self) -> list[FrameType]:
        return inside_loop(self._loop_thread, lambda frame: frame is self._base)

    def _name(self, call: FrameType, seconds: float) -> None:
        inside = self._inside()
        if call not in inside:
            return  # the call has just returned
        try:
            self._tell(held_event(inside, call, seconds))
        except BaseException as error:  # whatever it is: it would end this thread, and no loop raises it again
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        try:
            text = f"fourtuple: the observer {repr_of(self._tell)} failed at a LoopHeld"
            told = {"message": text, "exception": error}
            self._loop.call_soon_threadsafe(self._loop.call_exception_handler, told)
        except RuntimeError:
            return

    # -- in the loop's thread -----------------------------------------------------------------------------

    def _beat(self) -> None:
        with self._lock:
            if self._ended.is_set():
                return
            if not self._loop_thread:
                self._tripwire = Tripwire.stretched(self._seconds, self._file)
                if self._tripwire is not None:
                    self._tripwire.put_off()
            self._loop_thread = threading.get_ident()
            # For loops in C (uvloop): the frame that runs the loop. That of asyncio is told by its _run_once.
            self._base = sys._getframe(2)


def inside_loop(thread: int, is_base: Callable[[FrameType], bool]) -> list[FrameType]:
    """Return the stack of a loop's thread up to the loop or the frame ``is_base``, the innermost frame first."""
    frame = sys._current_frames().get(thread)
    inside: list[FrameType] = []
    while frame is not None and not is_base(frame) and frame.f_code is not _ROUND_CODE:
        inside.append(frame)
        frame = frame.f_back
    return inside


def call_of(inside: list[FrameType]) -> FrameType | None:
    """Return the call that the loop is in: the outermost frame of the user's code, or else the outermost frame.

    Returns None if the loop waits for events, or runs only asyncio's code.
    """
    if all(frame.f_code.co_filename.startswith(_ON_THE_WAY) for frame in inside):
        return None
    return next((frame for frame in reversed(inside) if not _is_machinery(frame)), inside[-1])


def held_event(inside: list[FrameType], call: FrameType, seconds: float) -> events.LoopHeld:
    """Return the event that names this call and has its stack."""
    stack = inside[: inside.index(call) + 1][:_MOST_FRAMES]
    summary = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in reversed(stack))
    name = f"{call.f_globals.get('__name__', '')}.{call.f_code.co_qualname}".lstrip(".")
    return events.LoopHeld(name, seconds, tuple(frame_lines(summary)))


def _is_machinery(frame: FrameType) -> bool:
    """Return whether a frame belongs to fourtuple, or to the parts of Python between the loop and the user's code."""
    name = frame.f_code.co_filename
    return name.startswith(("<frozen ", *_ON_THE_WAY)) or (name.startswith(_HOUSE) and not name.startswith(_SERVICES))
