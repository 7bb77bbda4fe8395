"""Ctrl-C while the command ``fourtuple`` is still being imported: it ends, without a traceback.

An interpreter raises KeyboardInterrupt wherever it is just then, for some 0.3 seconds in the middle of our imports;
in a callback of a weak reference it is even lost. The package is imported before the command's first line runs, so
this stands at its very beginning. For a program that imports fourtuple nothing is changed.
"""

from __future__ import annotations

import os
import signal
import sys


def is_the_command() -> bool:
    """Whether this process is ``fourtuple ...`` or ``python -m fourtuple ...``, and at its beginning."""
    program = sys.argv[0] if sys.argv else ""
    if program != "-m":
        return os.path.basename(program) == "fourtuple"
    # What is run as a module is named behind the interpreter's own options, before its arguments.
    return sys.orig_argv[-len(sys.argv)] in ("fourtuple", "-mfourtuple")


def end_by_interrupts() -> None:
    """Let Ctrl-C have the effect that it has on programs that are not written in Python.

    Who runs a loop, puts a handler of his own in its place while it runs: :func:`fourtuple.signals.stop_signals`.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if is_the_command():
    end_by_interrupts()
