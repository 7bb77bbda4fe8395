"""What TARGET of ``fourtuple serve`` means: a built-in name, ``module:attribute`` or ``file.py:attribute``."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os.path
import pkgutil
import shlex
import shutil
import socketserver
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import fourtuple.services
from fourtuple.cli.failure import Exit, Failure
from fourtuple.cli.user_code import broken, found_in, module_of_file
from fourtuple.errors import FourTupleError
from fourtuple.options import nearest
from fourtuple.service import Service

ATTRIBUTE = "service"
_WANTED = "a fourtuple.Service"


def builtin_names() -> list[str]:
    """Return the names of the built-in services."""
    return [found.name for found in pkgutil.iter_modules(fourtuple.services.__path__)]


def load(target: str) -> Service:
    """Import what ``target`` names and return its service.

    Raises :class:`Failure` with the code of a usage error: it does not exist, is not a service, or cannot be
    imported.
    """
    place, _, attribute = target.partition(":")
    if place.endswith(".py"):
        module = module_of_file(Path(place))
    else:
        if place in builtin_names():
            place = f"{fourtuple.services.__name__}.{place}"
        module = _from_name(place)
    found = found_in(module, place, attribute or ATTRIBUTE, _is_served if attribute else _is_service, _WANTED)
    return found if isinstance(found, Service) else _adapted(found, attribute)


def program(command: str) -> Service:
    """Return the service that gives each connection to a program: ``fourtuple serve --exec``."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise Failure(f"--exec {command!r}: {error}", Exit.USAGE) from error
    if not words:
        raise Failure("--exec: a command is needed", Exit.USAGE)
    if shutil.which(words[0]) is None:
        raise Failure(f"--exec: there is no program {words[0]!r} that may be run", Exit.USAGE)
    service = Service("raw", name=words[0])
    service.program(*words)
    return service


def _from_name(name: str) -> ModuleType:
    if not all(map(str.isidentifier, name.split("."))):
        raise Failure(f"{name!r} is neither the name of a module nor a file (which ends in .py)", Exit.USAGE)
    sys.path.insert(0, str(Path.cwd()))  # like `python -m`
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise Failure(_missing(name), Exit.USAGE) from error
        raise broken(name, error) from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise broken(name, error) from error


def _missing(name: str) -> str:
    names = builtin_names()
    if os.path.isfile(f"{name}.py"):
        return f"there is no built-in service and no module {name!r}; did you mean the file {name}.py?"
    return f"there is no built-in service and no module {name!r}{nearest(name, names)} (built in: {', '.join(names)})"


def _adapted(found: Any, attribute: str) -> Service:
    """Return the service of existing code: a protocol, a handler of socketserver, a streams callback."""
    from fourtuple import adapters  # imported here: most targets are services

    kind: Any = found
    try:
        if not isinstance(found, type):
            return adapters.streams(found, name=attribute)
        if issubclass(found, asyncio.BaseProtocol):
            return adapters.protocol(kind, name=attribute)
        return adapters.socketserver(kind, name=attribute)
    except FourTupleError as error:
        raise Failure(f"{attribute}: {error}", Exit.USAGE) from error


def _is_served(value: Any) -> bool:
    """Return whether a value is a service, or existing code that an adapter can make one of."""
    if isinstance(value, type):
        return issubclass(value, asyncio.BaseProtocol | socketserver.BaseRequestHandler)
    return _is_service(value) or inspect.iscoroutinefunction(value)


def _is_service(value: Any) -> bool:
    return isinstance(value, Service)
