"""Which of the optional C modules are used; each has a Python twin that does the same (see ``setup.py``).

The environment variable ``FOURTUPLE_C`` decides here and in a build: ``auto`` uses the modules that are installed,
``require`` fails if one is missing or stale, ``off`` uses Python only.
"""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType

#: The C modules, by what they do.
PIECES = {
    "splitting": "fourtuple.framing._split",
    "turn": "fourtuple._turn",
    "signals": "fourtuple.signals._signals",
}
CHOICES = ("auto", "require", "off")
#: The modules for which this process asked, and why Python does their work; an empty text if C does it.
ASKED: dict[str, str] = {}


def chosen() -> str:
    """Return the value of ``FOURTUPLE_C``; ``auto`` if it is not set. Raises ImportError for an invalid value."""
    choice = os.environ.get("FOURTUPLE_C") or "auto"
    if choice not in CHOICES:
        raise ImportError(f"FOURTUPLE_C is {choice!r}, expected one of: {', '.join(CHOICES)}")
    return choice


def compiled(what: str, stamp: int) -> ModuleType | None:
    """Return the C module for ``what``; ``None`` if Python does its work.

    ``stamp`` is the number of the interface between C and Python. A build with another number is stale (an editable
    installation whose C was not built again) and is not used: its assumptions about our objects may be wrong.

    Raises ImportError if ``FOURTUPLE_C=require`` and the module is missing or stale, and for an invalid value.
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
        return None, "is not there (it was not built)"  # this is the folder with its source
    if getattr(module, "STAMP", None) != stamp:
        return None, f"is stale (interface {getattr(module, 'STAMP', None)}, this is {stamp})"
    return module, ""
