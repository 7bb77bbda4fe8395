"""Standard input, output and error, where they are closed or their reader is gone."""

from __future__ import annotations

import fcntl
import os
import sys
from contextlib import suppress

from fourtuple.observe.outlet import Outlet, unblocked

#: Seconds that the end of a command waits for the reader of its last lines.
_LAST_SECONDS = 0.5


def open_standard_files() -> None:
    """Put the null device where a standard file is closed: the next socket would be it, and take what we print.

    Standard output is opened for reading alone: a command that has something to say there fails, as at a full disk.
    """
    for number, mode in enumerate((os.O_RDWR, os.O_RDONLY, os.O_RDWR)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # the lowest number that is free (open(2)): this one
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def tell_last(text: str) -> None:
    """Print lines on standard error at the end of a command, and wait only a moment for whoever reads them.

    A pipe that nobody reads is full at some time, and a command that stops has to end nevertheless.
    """
    outlet = unblocked(sys.stderr, lambda _: "")
    with suppress(OSError, ValueError):
        outlet.write(f"{text}\n")
        outlet.flush()
    if isinstance(outlet, Outlet):
        outlet.finish(_LAST_SECONDS)


def do_without_output() -> None:
    """For a command that works without a standard output: what it says there goes nowhere where that was closed."""
    if fcntl.fcntl(1, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        abandon_output()


def abandon_output() -> None:
    """Standard output takes no more: what Python still holds for it goes nowhere, instead of failing at its exit."""
    with suppress(OSError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)


def leave_output() -> None:
    """At the end: lines that were printed for a reader who has left are no failure of the command.

    A failed flush keeps them in the buffer, and the interpreter would fail with them again: a message about an ignored
    exception, and exit code 120.
    """
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        abandon_output()
