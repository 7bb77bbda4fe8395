"""Names in signatures and docstrings lead to the place where their object is documented.

The code names an object by the module that defines it, or by its bare name; the reference has it under its public
name. Names of the standard library are shown without a link: the build asks no other machine. Any other name that leads
nowhere is a warning, and so an error.
"""

from __future__ import annotations

import builtins
import importlib
import inspect
import pkgutil
import re
import sys
from typing import Any

from api import homes_of, is_constant
from docutils import nodes
from generate import PUBLIC
from sphinx.application import Sphinx
from sphinx.util.nodes import make_refnode

import fourtuple

for each in pkgutil.walk_packages(fourtuple.__path__, "fourtuple."):
    if not each.name.startswith(("fourtuple.cli", "fourtuple.__main__")):
        importlib.import_module(each.name)

HOMES = homes_of(PUBLIC)
#: Modules whose names the code uses bare; annotations are text there.
STANDARD = ("builtins", "typing", "collections.abc", "types", "socket", "ssl", "asyncio", "datetime", "contextlib")

#: Packages of others that appear in signatures. They need not be installed to build the site.
THIRD_PARTY = ("opentelemetry", "hypothesis")


def connect(app: Sphinx) -> None:
    """Ask Sphinx to call the functions below."""
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-process-signature", shorten)
    app.connect("autodoc-process-bases", without_object)


def public_names() -> dict[str, str]:
    """The public name for each way in which code names an object: by its module, and bare."""
    names: dict[str, str] = {}
    for module_name in PUBLIC:
        module = importlib.import_module(module_name)
        for each in module.__all__:
            value = getattr(module, each)
            home = module_name if is_constant(module, each) else HOMES[id(value)]
            public = f"{home}.{each}"
            names.setdefault(f"{module_name}.{each}", public)
            names.setdefault(each, public)
            if inspect.isclass(value) or inspect.isroutine(value):
                names.setdefault(f"{value.__module__}.{value.__qualname__}", public)
    return names


NAMES = public_names()


def resolve(app: Sphinx, env: Any, node: Any, content: nodes.Node) -> nodes.Node | None:
    """Lead to the public name; show a name of the standard library as text; None (a warning) for anything else."""
    target = node.get("reftarget", "").removeprefix("~").removeprefix(".")
    if node.get("refdomain") != "py":
        return None
    public = public_of(target) or public_of(f"{node.get('py:class')}.{target}")
    if public is not None:
        objects = env.get_domain("py").objects
        found = objects.get(public)
        if found is not None:
            return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, content, public)
        if public.rpartition(".")[0] in objects and has_member(public):
            return content  # a member without a docstring of its own
    return content if is_standard(target) or is_type(target) or is_internal(target) else None


def public_of(name: str) -> str | None:
    """The public name for a name of code; of a member by its class."""
    if name in NAMES:
        return NAMES[name]
    owner, _, member = name.rpartition(".")
    return f"{NAMES[owner]}.{member}" if owner in NAMES else None


def has_member(name: str) -> bool:
    """Whether a class has the member, documented or not."""
    value: Any = importlib.import_module("fourtuple")
    for part in name.split(".")[1:]:
        fields = getattr(value, "__dataclass_fields__", {})
        if part in fields or part in getattr(value, "__annotations__", {}):
            return True
        if not hasattr(value, part):
            try:
                importlib.import_module(f"{value.__name__}.{part}")
            except (ImportError, AttributeError):
                return False
        value = getattr(value, part)
    return True


def is_standard(name: str) -> bool:
    """Whether the standard library has this name, or a package of others that we know."""
    root, _, rest = name.partition(".")
    if rest:
        return root in THIRD_PARTY or root in sys.stdlib_module_names or hasattr(builtins, root)
    return root in sys.stdlib_module_names or any(hasattr(importlib.import_module(module), name) for module in STANDARD)


def is_type(name: str) -> bool:
    """Whether the name is a type variable, or stands for a type, in a module that is not public."""
    return "." not in name and any(
        hasattr(module, name) for path, module in [*sys.modules.items()] if path.startswith("fourtuple.")
    )


def is_internal(name: str) -> bool:
    """Whether the name is one of a module that is not public: shown as text."""
    module, _, rest = name.rpartition(".")
    return name in sys.modules or (module.startswith("fourtuple.") and hasattr(sys.modules.get(module), rest))


def process(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Make what the docstrings of the code are of what Sphinx reads."""
    if what == "attribute":  # of options, most of them: plain text, in which a star is a star
        lines[:] = [re.sub(r"(?<!`)\*(?!`)", r"\\*", line) for line in lines]
    elif what == "data" and inspect.getdoc(type(value)) == inspect.getdoc(value):
        lines[:] = []  # the docstring of its type says nothing about it
    else:
        lines[:] = with_fields(lines)


def with_fields(lines: list[str]) -> list[str]:
    """A section "Parameters", in which a name is followed by an indented text, as the fields of reStructuredText."""
    made: list[str] = []
    inside = False
    for number, line in enumerate(lines):
        following = lines[number + 1] if number + 1 < len(lines) else ""
        if line == "Parameters" and following.startswith("-----"):
            inside = True
        elif inside and following.startswith("    ") and line and not line.startswith((" ", "-")):
            names = ", ".join(f"``{each.strip()}``" for each in line.split(","))
            made += [names] if "," in line else [f"``{line}``"]
        elif inside and line.startswith("-----"):
            made += [".. rubric:: Parameters", ""]
        else:
            made.append(line)
    return made


def shorten(
    app: Sphinx, what: str, name: str, value: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None] | None:
    """An exception is made by fourtuple, not by its reader: it needs no signature."""
    return ("", None) if what == "exception" and signature else None


def without_object(app: Sphinx, name: str, value: Any, options: Any, bases: list[Any]) -> None:
    """Every class is an object: the reader is told of the other bases."""
    bases[:] = [base for base in bases if base is not object and getattr(base, "__name__", "") != "Generic"]
