"""Which of the optional C modules are used; each has a Python twin that does the same (see ``setup.py``).

The environment variable ``FOURTUPLE_C`` decides here and in a build: ``auto`` uses the modules that are installed,
``require`` fails if one is missing or stale, ``off`` uses Python only.

The modules take no lock of their own: they need the interpreter's (the GIL). A free-threaded interpreter that runs
without it does not load them, because it would switch its lock on for the whole program (docs/how-to/install.md).
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType

_FAST_PATH: tuple[str, int] = ("fourtuple._fast_path", 47)
#: The C modules, by what they do, and their stamps: the numbers of the interfaces between C and Python. A build with
#: another number is stale (an editable installation whose C was not built again) and is not used: its assumptions about
#: our objects may be wrong.
PIECES: dict[str, tuple[str, int]] = {
    "splitting": _FAST_PATH,
    "turn": _FAST_PATH,
    "signals": ("fourtuple.signals._signals", 4),
}
CHOICES = ("auto", "require", "off")
#: Whether the interpreter's lock is off. Looked at once, so that all modules are treated alike: an import of another
#: package may switch the lock on later.
LOCK_IS_OFF: bool = not getattr(sys, "_is_gil_enabled", lambda: True)()
#: The modules for which this process asked, and why Python does their work; an empty text if C does it.
ASKED: dict[str, str] = {}


class MissingC(ImportError):
    """``FOURTUPLE_C=require``, and a module is missing, stale, or not loaded without the interpreter's lock."""


def chosen() -> str:
    """Return the value of ``FOURTUPLE_C``; ``auto`` if it is not set. Raises ImportError for an invalid value."""
    choice = os.environ.get("FOURTUPLE_C") or "auto"
    if choice not in CHOICES:
        raise ImportError(f"FOURTUPLE_C is {choice!r}, expected one of: {', '.join(CHOICES)}")
    return choice


def compiled(what: str) -> ModuleType | None:
    """Return the C module for ``what``; ``None`` if Python does its work.

    Raises MissingC if ``FOURTUPLE_C=require`` and there is none, and ImportError for an invalid value.
    """
    choice = chosen()
    found, why_not = _find(what, choice)
    ASKED[what] = why_not
    if found is None and choice == "require":
        remedy = "switch the lock on with PYTHON_GIL=1" if LOCK_IS_OFF else "install fourtuple again to build it"
        raise MissingC(f"FOURTUPLE_C=require, and the C for {what} {why_not}; {remedy}")
    return found


def _find(what: str, choice: str) -> tuple[ModuleType | None, str]:
    if choice == "off":
        return None, "is switched off by FOURTUPLE_C=off"
    if LOCK_IS_OFF:
        return None, "is not loaded (it needs the interpreter's lock, the GIL, which is off)"
    name, stamp = PIECES[what]
    try:
        module = import_module(name)
    except ImportError as error:
        return None, f"is not there ({error})"
    if not hasattr(module, "STAMP") and hasattr(module, "__path__"):
        return None, "is not there (it was not built)"  # this is the folder with its source
    if getattr(module, "STAMP", None) != stamp:
        return None, f"is stale (interface {getattr(module, 'STAMP', None)}, this is {stamp})"
    return module, ""
