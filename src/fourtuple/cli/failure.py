"""How a command fails: one clear line on standard error, an exit code that a script can tell apart, no traceback."""

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
from fourtuple.errors import OptionError
from fourtuple.printable import ends_of, frame_lines, last_lines, printable, text_of, told_of

_OURS = os.path.dirname(os.path.dirname(__file__))
#: What Python itself puts between us and the user's code: an import, a task, a lifespan.
_ON_THE_WAY = tuple(f"{os.path.dirname(os.__file__)}/{name}" for name in ("asyncio", "importlib", "contextlib"))


#: Where the text of an error about an option begins with its name: a command names the flag.
_OPTION = re.compile(r"\A[a-z][a-z_]*(?=: )")


class Exit(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    FAILED = 1  #: the peer or its protocol; a stop that cut conversations or handlers
    USAGE = 2  #: what was typed cannot mean anything
    NO_START = 3  #: cannot listen, cannot connect
    TIMED_OUT = 4
    INTERRUPTED = 130  #: by Ctrl-C: 128 and the number of SIGINT, as shells have it


class Failure(Exception):
    """A command cannot go on: one line, with what explains it below where there is more to say."""

    def __init__(self, message: object, code: int, explanation: str = "") -> None:
        text = text_of(message)
        if isinstance(message, OptionError):
            text = _OPTION.sub(lambda found: "--" + found[0].replace("_", "-"), text)
        super().__init__(text)
        self.code = code
        self.explanation = explanation

    def show(self) -> None:
        """Print it; what came from a peer or the user is escaped."""
        paint = painter(sys.stderr)
        below = f"\n{self.explanation}" if self.explanation else ""
        tell_last(f"{paint('bold red', 'fourtuple:')} {printable(str(self))}{below}")


class Interrupted(Exception):
    """Ctrl-C at a prompt, which reads it as a key: the command ends as by SIGINT."""


def trimmed(error: BaseException) -> str:
    """The traceback of an exception of the user's code: from the user's first frame, without ours behind the last.

    Its lines are escaped.
    """
    return "\n".join(told_of(error, lambda: [*_trimmed_frames(error.__traceback__), *last_lines(error)]))


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
    """Whether a frame is ours, or Python's own on the way to the user's code."""
    return frame.filename.startswith((_OURS, "<frozen ", *_ON_THE_WAY))
