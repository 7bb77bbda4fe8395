"""Which of the optional C pieces run; every one of them has a Python twin that does the same (see ``setup.py``).

The environment variable ``FOURTUPLE_C`` decides here as it does in a build: ``auto`` takes what is there,
``require`` fails where a piece is missing or stale, ``off`` runs Python alone.
"""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType

#: The pieces, by what they do.
PIECES = {
    "splitting": "fourtuple.framing._split",
    "turn": "fourtuple._turn",
    "signals": "fourtuple.signals._signals",
}
CHOICES = ("auto", "require", "off")
#: What this process asked for, and why Python does it; an empty text for what C does.
ASKED: dict[str, str] = {}


def chosen() -> str:
    """What ``FOURTUPLE_C`` says; ``auto`` unless set. Raises ImportError for a value that means nothing."""
    choice = os.environ.get("FOURTUPLE_C") or "auto"
    if choice not in CHOICES:
        raise ImportError(f"FOURTUPLE_C is {choice!r}, expected one of: {', '.join(CHOICES)}")
    return choice


def compiled(what: str, stamp: int) -> ModuleType | None:
    """The C module for ``what``; ``None`` where Python is to do its work.

    ``stamp`` numbers the interface between the two. A build of another number is stale (an editable installation
    whose C was not built again) and is refused: what it believes of our objects may be wrong.

    Raises ImportError where ``FOURTUPLE_C=require`` and the piece is missing or stale, and for another value of it.
    """
    choice = chosen()
    found, why_not = _find(what, stamp, choice)
    ASKED[what] = why_not
    if found is None and choice == "require":
        raise ImportError(f"FOURTUPLE_C=require, and the C for {what} {why_not}; install fourtuple again to build it")
    return found


def _find(what: str, stamp: int, choice: str) -> tuple[ModuleType | None, str]:
    if choice == "off":
        return None, "is switched off by FOURTUPLE_C=off"
    try:
        module = import_module(PIECES[what])
    except ImportError as error:
        return None, f"is not there ({error})"
    if not hasattr(module, "STAMP") and hasattr(module, "__path__"):
        return None, "is not there (it was not built)"  # the folder of its source was found in its place
    if getattr(module, "STAMP", None) != stamp:
        return None, f"is stale (interface {getattr(module, 'STAMP', None)}, this is {stamp})"
    return module, ""
