"""What a parser of text costs, counted without a clock: lines run, and characters made or searched.

Each line of Python that runs counts one. A value that a variable gets for the first time counts its characters, octets
or items: it had to be made. So does one whose method in C is called, for each call that looks at all of it. A parser
that makes the rest of its text anew at each level, or searches it from the beginning in a loop, shows it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

TEXT = (str, bytes, bytearray)
SIZED = (*TEXT, list, tuple, dict, set)
#: Methods that cost the same however large what they belong to is.
CHEAP = frozenset({"append", "extend", "pop", "startswith", "endswith", "add", "get", "items", "values", "keys"})


def effort(function: Callable[..., Any], *arguments: Any) -> int:
    """Call ``function``, whatever it raises, and return what was done for it."""
    spent = 0
    seen: dict[int, Any] = {}  # keeps them, too: no two have one id

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal spent
        spent += 1
        for value in frame.f_locals.values():
            if isinstance(value, SIZED) and id(value) not in seen:
                seen[id(value)] = value
                spent += len(value)
        return trace

    def profile(_frame: FrameType, event: str, called: Any) -> None:
        nonlocal spent
        if event == "c_call":
            owner = getattr(called, "__self__", None)
            spent += len(owner) if isinstance(owner, TEXT) and called.__name__ not in CHEAP else 1

    tracing, profiling = sys.gettrace(), sys.getprofile()
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        function(*arguments)
    except Exception:
        pass  # what is refused costs something, too
    finally:
        sys.settrace(tracing)
        sys.setprofile(profiling)
    return spent
