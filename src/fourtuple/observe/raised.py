"""What an exception of the user's code tells: the user's frames, without those of fourtuple around them.

The default observer and the commands print exceptions by it. This module does no I/O.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from itertools import dropwhile
from types import TracebackType

from fourtuple.errors.base import FourTupleError
from fourtuple.errors.framing import EncodeError
from fourtuple.printable import class_of, ends_of, lines_of_ends, traceback_of

_OURS = os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
#: Modules of Python whose frames come between ours and the user's code: an import, a task, a lifespan.
_PYTHON = os.path.dirname(os.__file__)
_ON_THE_WAY = tuple(f"{_PYTHON}/{name}" for name in ("asyncio", "importlib", "contextlib"))


def outcome(error: BaseException) -> str:
    """Return what happened to a handler, to follow its name: that it raised, or that its message cannot be sent.

    The latter if fourtuple refused the message that it returned: then nothing in the handler has raised.
    """
    unsent = isinstance(error, EncodeError) and not place_of(error)
    return ": its message cannot be sent" if unsent else f" raised {class_of(error)}"


def tells_all(error: BaseException) -> bool:
    """Return whether an exception's text is enough: it is fourtuple's own, and no line of the user's code raised."""
    return isinstance(error, FourTupleError) and not is_users(error)


def is_users(error: BaseException) -> bool:
    """Return whether a line of the user's code is in the traceback of an exception or of its cause."""
    return bool(place_of(error) or place_of(error.__cause__))


def trimmed(error: BaseException) -> list[str]:
    """Return the traceback of an exception of the user's code, from the user's first frame to the user's last, escaped.

    So are those of the exceptions before it in its chain; one without a frame of the user's code is left out.
    """
    return traceback_of(error, _trimmed_frames, _tells)


def place_of(error: BaseException | None) -> str:
    """Return the file and line of the innermost frame of the user's code, and its function; "" if there is none."""
    found = None
    for each in _places(error.__traceback__ if error is not None else None):
        if not _is_installed(each.tb_frame.f_code.co_filename):
            found = each
    if found is None:
        return ""
    code = found.tb_frame.f_code
    return f"{code.co_filename}:{found.tb_lineno}, in {code.co_name}"


def _places(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _tells(error: BaseException) -> bool:
    """Return whether an exception before another one in its chain is told: it was not raised and caught by ours."""
    return error.__traceback__ is None or bool(place_of(error))


def _is_installed(filename: str) -> bool:
    """Return whether a file is ours or Python's: the user's code is neither."""
    return filename.startswith(("<", _OURS)) or (filename.startswith(_PYTHON) and "site-packages" not in filename)


def _trimmed_frames(trace: TracebackType) -> list[str]:
    first, left_out, last = ends_of(trace)
    first = list(dropwhile(_is_machinery, first))
    ending = last if left_out else first
    while ending and ending[-1].filename.startswith(_OURS):
        ending.pop()
    return lines_of_ends(first, left_out, last)


def _is_machinery(frame: traceback.FrameSummary) -> bool:
    """Return whether a frame is ours, or one of Python's before the user's code."""
    return frame.filename.startswith((_OURS, "<frozen ", "uvloop/", *_ON_THE_WAY))
