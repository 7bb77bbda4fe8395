"""What TARGET of ``fourtuple serve`` means: a built-in name, ``module:attribute`` or ``file.py:attribute``."""

from __future__ import annotations

import importlib
import importlib.util
import os.path
import pkgutil
import shlex
import shutil
import sys
from operator import attrgetter
from pathlib import Path
from types import ModuleType

import fourtuple.services
from fourtuple.cli.failure import Exit, Failure, trimmed
from fourtuple.options import nearest
from fourtuple.service import Service

ATTRIBUTE = "service"


def builtin_names() -> list[str]:
    """The services that come with fourtuple, to try things with."""
    return [found.name for found in pkgutil.iter_modules(fourtuple.services.__path__)]


def load(target: str) -> Service:
    """Import what ``target`` names and return its service.

    Raises :class:`Failure` with the code of a usage error: it is not there, it is no service, or it cannot be imported.
    """
    place, _, attribute = target.partition(":")
    if place.endswith(".py"):
        module = _from_file(Path(place))
    else:
        if place in builtin_names():
            place = f"{fourtuple.services.__name__}.{place}"
        module = _from_name(place)
    return _service(module, place, attribute or ATTRIBUTE)


def program(command: str) -> Service:
    """The service that hands each connection to a program: ``fourtuple serve --exec``."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise Failure(f"--exec {command!r}: {error}", Exit.USAGE) from error
    if not words:
        raise Failure("--exec: a command is needed", Exit.USAGE)
    if shutil.which(words[0]) is None:
        raise Failure(f"--exec: there is no program {words[0]!r}, or it may not be run", Exit.USAGE)
    service = Service("raw", name=words[0])
    service.program(*words)
    return service


def _from_file(path: Path) -> ModuleType:
    if not os.path.isfile(path):  # not is_file(), which raises for a name that is too long
        raise Failure(f"there is no file {path}", Exit.USAGE)
    # As `python file.py` does: what lies beside the file can be imported.
    sys.path.insert(0, str(path.parent.resolve()))
    # Under its own name, so that what it defines can be found again (dataclasses, pickle), but never in the
    # place of a module that is there already: an echo.py may import the standard library's.
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
        raise _broken(str(path), error) from error
    return module


def _from_name(name: str) -> ModuleType:
    if not all(map(str.isidentifier, name.split("."))):
        raise Failure(f"{name!r} is no name of a module, and no file (those end in .py)", Exit.USAGE)
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` does
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise Failure(_missing(name), Exit.USAGE) from error
        raise _broken(name, error) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise _broken(name, error) from error


def _missing(name: str) -> str:
    names = builtin_names()
    if os.path.isfile(f"{name}.py"):
        return f"there is no built-in service and no module {name!r}; did you mean the file {name}.py?"
    return f"there is no built-in service and no module {name!r}{nearest(name, names)} (built in: {', '.join(names)})"


def _broken(place: str, error: BaseException) -> Failure:
    what = "ended the interpreter" if isinstance(error, SystemExit) else "failed"
    return Failure(f"the import of {place} {what}", Exit.USAGE, trimmed(error))


def _service(module: ModuleType, place: str, attribute: str) -> Service:
    try:
        found = attrgetter(attribute)(module)
    except AttributeError:
        services = [name for name, value in vars(module).items() if isinstance(value, Service)]
        hint = f"; its services: {', '.join(services)}" if services else ", nor any other service"
        raise Failure(f"{place} has no {attribute!r}{hint}", Exit.USAGE) from None
    if not isinstance(found, Service):
        raise Failure(f"{place}:{attribute} is no fourtuple.Service but {_a(type(found).__name__)}", Exit.USAGE)
    return found


def _a(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiouAEIOU" else f"a {noun}"
