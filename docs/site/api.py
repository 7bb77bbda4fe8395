"""The pages of the API reference: one for each public module, whose names autodoc documents."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

INDEX = """\
API reference
=============

Every public name, from the signatures and docstrings of the code. The same texts are shown by ``help()`` and by your
editor. For one line about each name see :doc:`/reference/names`.

.. toctree::

{entries}
"""


def write_pages(folder: Path, modules: tuple[str, ...]) -> None:
    """Write the index, and a page for each module."""
    folder.mkdir(parents=True)
    (folder / "index.rst").write_text(INDEX.format(entries="\n".join(f"   {name}" for name in modules)))
    homes = homes_of(modules)
    for name in modules:
        (folder / f"{name}.rst").write_text(module_page(name, homes))


def homes_of(modules: tuple[str, ...]) -> dict[int, str]:
    """The module that documents each object: the first that has it, and ``fourtuple`` is the first of all."""
    homes: dict[int, str] = {}
    for name in modules:
        module = importlib.import_module(name)
        for each in module.__all__:
            if not is_constant(module, each):
                homes.setdefault(id(getattr(module, each)), name)
    return homes


def is_constant(module: object, name: str) -> bool:
    """Whether a name stands for a value, which has no docstring of its own."""
    value = getattr(module, name)
    return not (inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value))


def module_page(name: str, homes: dict[int, str]) -> str:
    """One module: its docstring, then each name."""
    module = importlib.import_module(name)
    parts = [f"{name}\n{'=' * len(name)}\n", f".. automodule:: {name}\n   :no-members:\n"]
    for each in sorted(module.__all__, key=str.lower):
        value = getattr(module, each)
        home = homes.get(id(value), name)
        if home != name:
            parts.append(f"``{name}.{each}`` is :class:`{home}.{each}`.\n")
        elif inspect.isclass(value):
            kind = "exception" if issubclass(value, BaseException) else "class"
            bases = "   :show-inheritance:\n" if tells_bases(value) else ""
            parts.append(f".. auto{kind}:: {name}.{each}\n{bases}{inherited(value, homes)}")
        elif inspect.isroutine(value):
            parts.append(f".. autofunction:: {name}.{each}\n")
        elif inspect.ismodule(value):
            parts.append(f":mod:`{name}.{each}`: a module.\n")
        else:
            parts.append(f".. autodata:: {name}.{each}\n")
    return "\n".join(parts)


def inherited(kind: type, homes: dict[int, str]) -> str:
    """The option that documents what a class has from bases of ours without a page of their own."""
    bases = kind.__mro__[1:]
    parts = [base for base in bases if is_a_part(base) and id(base) not in homes]
    others = ", ".join(base.__name__ for base in bases if base not in parts)
    return f"   :inherited-members: {others}\n" if parts else ""


def is_a_part(base: type) -> bool:
    """Whether a base is code of this package, and more than the brackets of a generic class."""
    return base.__module__.startswith("fourtuple.") and base.__name__ != "Generic"


def tells_bases(kind: type) -> bool:
    """Whether a class has bases that a reader wants to know."""
    return any(base is not object and base.__name__ != "Generic" for base in kind.__bases__)
