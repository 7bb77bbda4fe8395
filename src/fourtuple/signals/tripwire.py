"""A timer that interrupts the loop's thread while a call holds the interpreter's lock. It needs the C.

A Python thread cannot report such a call, because it does not run without the lock either.
``faulthandler.dump_traceback_later()`` could report it, but a process has only one such timer, and the application may
use it. Therefore a kernel timer (timer_create(2)) sends an otherwise unused real-time signal to the loop's thread, and
the signal handler is the one that ``faulthandler.register()`` installs.
"""

from __future__ import annotations

import faulthandler

from fourtuple.signals.native import native

_LINE = b"fourtuple: a call keeps the interpreter's lock, no other thread has run for %.1f s:\n"


class Tripwire:
    """Fires if :meth:`put_off` was not called for 1.5 times its number of seconds.

    It writes one line and the stack of each thread to a descriptor, by write(2). The additional half is for a process
    that was stopped (SIGSTOP) and has just been continued.
    """

    def __init__(self, wire: int, seconds: float) -> None:
        self._wire = wire
        self._seconds = seconds

    @classmethod
    def stretched(cls, seconds: float, file: int) -> Tripwire | None:
        """Make a tripwire for the calling thread; None without the C, such timers or a usable descriptor."""
        if native is None or not hasattr(native, "string"):
            return None
        number = native.free_signal()
        if not number:
            return None
        try:
            faulthandler.register(number, file=file, all_threads=True, chain=False)
            return cls(native.string(number, file, _LINE % (1.5 * seconds)), seconds)
        except (OSError, ValueError, RuntimeError):
            return None

    def put_off(self) -> None:
        """Start the time again: Python code is running."""
        native.put_off(self._wire, self._seconds)  # type: ignore[union-attr]

    def cut(self) -> None:
        """Remove the tripwire."""
        native.put_off(self._wire, 0)  # type: ignore[union-attr]
