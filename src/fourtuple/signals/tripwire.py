"""A timer that interrupts the loop's thread while a call keeps the interpreter's lock: it needs the C.

A thread of Python cannot tell of such a call, since it gets no turn itself. ``faulthandler.dump_traceback_later()``
could, but a process has only one of these, and a program may use it for itself. So the kernel's timer sends a
real-time signal that nobody else uses to the loop's thread, and ``faulthandler.register()`` has made what it does.
"""

from __future__ import annotations

import faulthandler

from fourtuple.signals.native import native


class Tripwire:
    """Fires where :meth:`put_off` was not called for so many seconds, and half of them again.

    Then one line and the stack of each thread go to a descriptor, by write(2). The first half of the time more is for
    a process that was stopped (SIGSTOP) and has just gone on.
    """

    def __init__(self, wire: int) -> None:
        self._wire = wire

    @classmethod
    def stretched(cls, seconds: float, file: int) -> Tripwire | None:
        """A tripwire for the calling thread; None without the C, without such timers or such a descriptor."""
        if native is None:
            return None
        number = native.free_signal()
        if not number:
            return None
        try:
            faulthandler.register(number, file=file, all_threads=True, chain=False)
            native.adopt(number, file)
        except (OSError, ValueError, RuntimeError):
            return None
        wire = native.string(seconds)
        return cls(wire) if wire >= 0 else None

    def put_off(self) -> None:
        """Python runs: begin the time anew."""
        native.put_off(self._wire)  # type: ignore[union-attr]

    def cut(self) -> None:
        """It is not needed any more."""
        native.cut(self._wire)  # type: ignore[union-attr]
