"""Standard input, output and error if they are closed or their reader has gone."""

from __future__ import annotations

import fcntl
import os
import sys
from contextlib import suppress

from fourtuple.observe.outlet import Outlet, unblocked

#: Seconds that the end of a command waits for the reader of its last lines.
_LAST_SECONDS = 0.5


def open_standard_files() -> None:
    """Open the null device for each closed standard file: otherwise a socket would get its number, and our output.

    Standard output is opened read-only: a command that prints to it then fails, as if the disk were full.
    """
    for number, mode in enumerate((os.O_RDWR, os.O_RDONLY, os.O_RDWR)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # open(2) uses the lowest free number: this one
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


def tell_last(text: str) -> None:
    """Print lines on standard error at the end of a command, and wait only a moment for the reader.

    A pipe without a reader fills up, and a command that stops must end anyway.
    """
    outlet = unblocked(sys.stderr, lambda _: "")
    with suppress(OSError, ValueError):
        outlet.write(f"{text}\n")
        outlet.flush()
    if isinstance(outlet, Outlet):
        outlet.finish(_LAST_SECONDS)


def do_without_output() -> None:
    """Discard output if standard output is closed: for commands that work without it."""
    if fcntl.fcntl(1, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
        abandon_output()


def abandon_output() -> None:
    """Discard what Python still buffers for standard output, so that its exit does not fail."""
    with suppress(OSError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)


def leave_output() -> None:
    """Flush at the end: lines for a reader that has gone are not a failure of the command.

    A failed flush keeps them in the buffer, and the interpreter would fail again: it prints an ignored exception, and
    exits with 120.
    """
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        abandon_output()
