"""Names of a package that are imported when they are asked for (PEP 562): who imports the package pays for no other."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module


def lazily(
    package: str, names: Mapping[str, Iterable[str]], rooms: Iterable[str] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package.

    ``names`` says which module has which names of the package, ``rooms`` are submodules that can be asked for without
    an import of their own. What was found once is an attribute of the package from then on.
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
