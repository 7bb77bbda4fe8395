"""Values from a user's file or module: a service, a framing, a function."""

from __future__ import annotations

import importlib
import importlib.util
import os.path
import sys
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from fourtuple.cli.failure import Exit, Failure
from fourtuple.observe.raised import trimmed

#: The modules of the files that were imported, by path.
_imported: dict[Path, ModuleType] = {}


def is_file(text: str) -> bool:
    """Return whether a text has the form ``file.py`` or ``file.py:attribute``."""
    return text.partition(":")[0].endswith(".py")


def from_file(text: str, default: str, wanted: Callable[[Any], bool], kind: str) -> Any:
    """Return what ``file.py:attribute`` names; without an attribute, ``default``.

    ``wanted`` tells whether a value is of the right kind, and ``kind`` names it in errors: ``"a fourtuple.Service"``.
    Raises :class:`Failure`, a usage error, if there is no such file or attribute, if the import fails, or if the value
    is of another kind.
    """
    place, _, attribute = text.partition(":")
    return found_in(module_of_file(Path(place)), place, attribute or default, wanted, kind)


def module_of_file(path: Path) -> ModuleType:
    """Import a file, as ``python file.py`` does: modules beside it can be imported."""
    if not os.path.isfile(path):  # not is_file(), which raises for a name that is too long
        raise Failure(f"there is no file {path}", Exit.USAGE)
    whole = path.resolve()
    if whole in _imported:  # two options name the same file
        return _imported[whole]
    sys.path.insert(0, str(whole.parent))
    # Under its own name, so that dataclasses and pickle find what it defines, but never in the place of a module that
    # is imported already: an echo.py may import another echo.
    name = path.stem if path.stem not in sys.modules else f"__fourtuple_{path.stem}__"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise broken(str(path), error) from error
    _imported[whole] = module
    return module


def broken(place: str, error: BaseException) -> Failure:
    """Return the failure for an import that raised; it shows the user's traceback."""
    what = "ended the interpreter" if isinstance(error, SystemExit) else "failed"
    return Failure(f"the import of {place} {what}", Exit.USAGE, "\n".join(trimmed(error)))


def found_in(module: ModuleType, place: str, attribute: str, wanted: Callable[[Any], bool], kind: str) -> Any:
    """Return an attribute of a module, if it is of the right kind; see :func:`from_file`."""
    noun = kind.rpartition(".")[2].rpartition(" ")[2].lower()
    try:
        found = attrgetter(attribute)(module)
    except AttributeError:
        names = [name for name, value in vars(module).items() if wanted(value) and _defined_in(module, value)]
        hint = f"; its {noun}s: {', '.join(names)}" if names else f", nor any other {noun}"
        raise Failure(f"{place} has no {attribute!r}{hint}", Exit.USAGE) from None
    if not wanted(found):
        raise Failure(f"{place}:{attribute} is not {kind} but {_a(type(found).__name__)}", Exit.USAGE)
    return found


def _defined_in(module: ModuleType, value: Any) -> bool:
    """Return whether a value was defined in this module: imported functions and classes were not."""
    origin = getattr(value, "__module__", module.__name__)
    return not callable(value) or origin == module.__name__


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiouAEIOU" else f"a {noun}"
