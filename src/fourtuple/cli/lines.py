"""Lines on standard output and standard error: escaped, in colours on a terminal. No call waits for their reader."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from typing import TextIO

from fourtuple.cli.terminal import painter
from fourtuple.observe.outlet import Outlet, unblocked
from fourtuple.printable import MOST, printable

#: The most characters of one line: names and numbers, and a text of the peer, which has its own bound.
_MOST = 3 * MOST


class Lines:
    """The files to which lines go; failures go to ``err``. All consoles of a process share one object."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._painters = {id(file): painter(file) for file in (self._out, self._err)}
        # A hex dump may come from a blocking conversation's thread, and a LoopHeld event from the watchdog's.
        # No call waits for the reader of the lines. If a write to a file waits anyway, only its own lock is held.
        self._locks = {id(file): threading.Lock() for file in (self._out, self._err)}
        self._outlets = {id(file): unblocked(file, _dropped) for file in (self._out, self._err)}

    def say(self, text: str, style: str = "", below: Iterable[str] = ()) -> None:
        """Print one line, and the lines ``below`` it, indented so that they cannot be mistaken for events."""
        self._write(self._out, text, below, style)

    def complain(self, text: str, below: Iterable[str] = ()) -> None:
        """Print a failure, in the same form as :meth:`say`."""
        self._write(self._err, text, below, "red")

    def _write(self, file: TextIO, text: str, below: Iterable[str], style: str) -> None:
        paint = self._painters[id(file)]
        told = [printable(text, _MOST), *(f"  {printable(line, _MOST)}" for line in below)]
        lines = "".join(f"{paint(style, line)}\n" for line in told)
        try:
            outlet = self._outlets[id(file)]
            with self._locks[id(file)]:
                outlet.write(lines)
                outlet.flush()
        except (OSError, ValueError):
            pass  # the reader of the lines has gone; the server continues

    def finish(self, seconds: float) -> None:
        """Wait at most this many seconds until all lines are written."""
        for outlet in self._outlets.values():
            if isinstance(outlet, Outlet):
                outlet.finish(seconds)


def _dropped(lines: int) -> str:
    return f"{lines} line{'s were' if lines > 1 else ' was'} dropped: the reader is slow\n"
