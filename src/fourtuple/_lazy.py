"""Names of a package that are imported when they are first used (PEP 562), so that importing the package is fast."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module


def lazily(
    package: str, names: Mapping[str, Iterable[str]], rooms: Iterable[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package.

    ``names`` maps modules to the names that the package takes from them. ``rooms`` are submodules that can be used
    without a separate import. A name that was found once is then an attribute of the package.
    """
    origins = {name: module for module, group in names.items() for name in group}
    submodules = frozenset(rooms)

    def find(name: str) -> object:
        if name in submodules:
            return import_module(f"{package}.{name}")  # this sets the attribute
        if name not in origins:
            raise AttributeError(f"module {package!r} has no attribute {name!r}", name=name, obj=sys.modules[package])
        value: object = getattr(import_module(origins[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def known() -> list[str]:
        return sorted({*vars(sys.modules[package]), *origins, *submodules})

    return find, known
