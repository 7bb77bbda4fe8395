"""How a command fails: with one clear line on standard error and an exit code, without a traceback."""

from __future__ import annotations

import os
import re
import sys
import traceback
from enum import IntEnum
from itertools import dropwhile
from types import TracebackType

from fourtuple.cli.standard_files import tell_last
from fourtuple.cli.terminal import painter
from fourtuple.errors import FourTupleError, OptionError
from fourtuple.printable import CAUSE, ends_of, frame_lines, last_lines, printable, text_of, told_of

_OURS = os.path.dirname(os.path.dirname(__file__))
#: Modules of Python whose frames come between ours and the user's code: an import, a task, a lifespan.
_PYTHON = os.path.dirname(os.__file__)
_ON_THE_WAY = tuple(f"{_PYTHON}/{name}" for name in ("asyncio", "importlib", "contextlib"))


#: The option's name, with which the text of an option error begins: a command prints the flag instead.
_OPTION = re.compile(r"\A[a-z][a-z_]*(?=: )")


class Exit(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    FAILED = 1  #: the peer or its protocol; a stop that cut conversations or handlers
    USAGE = 2  #: invalid arguments
    NO_START = 3  #: cannot listen, cannot connect
    TIMED_OUT = 4
    INTERRUPTED = 130  #: by Ctrl-C: 128 plus the number of SIGINT, as in shells


class Failure(Exception):
    """A command cannot continue: it prints one line, and an explanation below it if there is one."""

    def __init__(self, message: object, code: int, explanation: str = "") -> None:
        text = text_of(message)
        if isinstance(message, OptionError):
            text = _OPTION.sub(lambda found: "--" + found[0].replace("_", "-"), text)
        super().__init__(text)
        self.code = code
        self.explanation = explanation

    def at(self, place: str) -> Failure:
        """Return the same failure, with the place at which what has failed was given."""
        return Failure(f"{place}: {self}", self.code, self.explanation)

    def show(self) -> None:
        """Print it; text from a peer or the user is escaped."""
        paint = painter(sys.stderr)
        below = f"\n{self.explanation}" if self.explanation else ""
        tell_last(f"{paint('bold red', 'fourtuple:')} {printable(str(self))}{below}")


class Interrupted(Exception):
    """Ctrl-C at a prompt, which reads it as a key: the command ends as by SIGINT."""


def trimmed(error: BaseException) -> str:
    """Return the traceback of an exception of the user's code, from the user's first frame to the user's last.

    If the error is fourtuple's own and a function of the user's is its cause, the traceback of that comes first.
    Its lines are escaped.
    """
    return "\n".join(told_of(error, lambda: [*_trimmed_cause(error), *_trimmed(error)]))


def _trimmed(error: BaseException) -> list[str]:
    return [*_trimmed_frames(error.__traceback__), *last_lines(error)]


def _trimmed_cause(error: BaseException) -> list[str]:
    cause = error.__cause__
    if cause is None or not isinstance(error, FourTupleError) or not place_of(cause):
        return []
    return [*_trimmed(cause), "", CAUSE, ""]


def place_of(error: BaseException | None) -> str:
    """Return the file and line of the innermost frame of the user's code, and its function; "" if there is none."""
    trace, found = error.__traceback__ if error is not None else None, None
    while trace is not None:
        if not _is_installed(trace.tb_frame.f_code.co_filename):
            found = trace
        trace = trace.tb_next
    if found is None:
        return ""
    code = found.tb_frame.f_code
    return f"{code.co_filename}:{found.tb_lineno}, in {code.co_name}"


def _is_installed(filename: str) -> bool:
    """Return whether a file is ours or Python's: the user's code is neither."""
    return filename.startswith(("<", _OURS)) or (filename.startswith(_PYTHON) and "site-packages" not in filename)


def _trimmed_frames(trace: TracebackType | None) -> list[str]:
    if trace is None:
        return []
    first, left_out, last = ends_of(trace)
    first = list(dropwhile(_is_machinery, first))
    ending = last if left_out else first
    while ending and ending[-1].filename.startswith(_OURS):
        ending.pop()
    lines = [*frame_lines(first), *([f"  ... ({left_out} calls)"] if left_out else ()), *frame_lines(last)]
    return ["Traceback (most recent call last):", *lines] if lines else []


def _is_machinery(frame: traceback.FrameSummary) -> bool:
    """Return whether a frame is ours, or one of Python's before the user's code."""
    return frame.filename.startswith((_OURS, "<frozen ", "uvloop/", *_ON_THE_WAY))
