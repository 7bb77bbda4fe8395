"""Every public function, class and method has a docstring that names each of its parameters, and what it raises itself.

Public are the names in ``__all__`` of the modules in the reference, and the members of the classes among them.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import pytest

ROOT = Path(__file__).parents[2]
OURS = "fourtuple"


@dataclass(frozen=True)
class Documented:
    """A public function, class, method or property: its text, and what the text has to name."""

    name: str
    text: str
    parameters: tuple[str, ...] = ()
    raises: tuple[str, ...] = ()

    def unnamed(self) -> list[str]:
        return [each for each in (*self.parameters, *self.raises) if not re.search(rf"(?<!\w){each}(?!\w)", self.text)]


def public_names() -> Iterator[tuple[str, Any]]:
    """Each public object once, by the first of its public names."""
    seen: set[int] = set()
    for module in sys.modules["generate"].PUBLIC:
        room = importlib.import_module(module)
        for name in room.__all__:
            value = getattr(room, name)
            if id(value) not in seen and not inspect.ismodule(value):
                seen.add(id(value))
                yield f"{module}.{name}", value


def documented() -> Iterator[Documented]:
    for name, value in public_names():
        if inspect.isclass(value):
            yield of_class(name, value)
            yield from of_members(name, value)
        elif inspect.isroutine(value):
            yield of_function(name, value)


def of_function(name: str, function: Callable[..., Any]) -> Documented:
    return Documented(name, inspect.getdoc(function) or "", parameters_of(function), raised_by(function))


def of_class(name: str, kind: type[Any]) -> Documented:
    """A class, whose parameters may be named in its docstring, in that of ``__init__``, or beside its fields."""
    texts = [kind.__doc__ or "", *field_texts(kind)]
    if (init := own(kind, "__init__")) is not None and not dataclasses.is_dataclass(kind) and not is_protocol(kind):
        return Documented(name, "\n".join([*texts, init.__doc__ or ""]), parameters_of(init), raised_by(init))
    fields = [each.name for each in dataclasses.fields(kind) if each.init] if dataclasses.is_dataclass(kind) else []
    fields += getattr(kind, "_fields", ())  # a named tuple
    return Documented(name, "\n".join(texts) if kind.__doc__ else "", tuple(fields))


def is_protocol(kind: type[Any]) -> bool:
    """Whether a class is a type only: Python gives it an ``__init__`` that nobody calls."""
    return Protocol in kind.__bases__


def of_members(name: str, kind: type[Any]) -> Iterator[Documented]:
    for member in sorted({each for base in kind.__mro__ if is_ours(base) for each in vars(base)}):
        if member.startswith("_"):
            continue
        value = inspect.getattr_static(kind, member)
        function = getattr(value, "__func__", value)  # of a classmethod, a staticmethod
        if inspect.isfunction(function):
            yield of_function(f"{name}.{member}", getattr(kind, member))
        elif isinstance(value, property):
            yield Documented(f"{name}.{member}", inspect.getdoc(value) or "")


def own(kind: type[Any], name: str) -> Callable[..., Any] | None:
    """A special method that fourtuple's code defines."""
    home = next((base for base in kind.__mro__ if name in vars(base)), object)
    return vars(home)[name] if is_ours(home) and inspect.isfunction(vars(home)[name]) else None


def is_ours(kind: type[Any]) -> bool:
    return kind.__module__.split(".")[0] == OURS


def parameters_of(function: Callable[..., Any]) -> tuple[str, ...]:
    parameters = inspect.signature(function).parameters
    return tuple(each for each in parameters if each != "self" and not each.startswith("_"))


def raised_by(function: Callable[..., Any]) -> tuple[str, ...]:
    """The errors of ours that a function raises itself, by ``raise Name(...)``."""
    source = inspect.unwrap(getattr(function, "__func__", function))
    tree = ast.parse(textwrap.dedent(inspect.getsource(source)))
    calls = [each.exc for each in ast.walk(tree) if isinstance(each, ast.Raise) and isinstance(each.exc, ast.Call)]
    errors = importlib.import_module("fourtuple.errors").__all__
    return tuple({call.func.id for call in calls if isinstance(call.func, ast.Name) and call.func.id in errors})


def field_texts(kind: type[Any]) -> Iterator[str]:
    """The names of the fields that a docstring below or a comment ``#:`` above documents, as an editor shows them."""
    for base in kind.__mro__:
        source = getattr(sys.modules.get(base.__module__), "__file__", None)
        if is_ours(base) and str(source).endswith(".py"):  # not a base type in C
            yield from documented_fields(str(source)).get(base.__name__, ())


@cache
def documented_fields(path: str) -> dict[str, list[str]]:
    source = Path(path).read_text()
    lines = source.splitlines()
    found: dict[str, list[str]] = {}
    for kind in ast.walk(ast.parse(source)):
        if not isinstance(kind, ast.ClassDef):
            continue
        names = found.setdefault(kind.name, [])
        for node, following in zip(kind.body, [*kind.body[1:], None], strict=True):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                below = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
                if below or lines[node.lineno - 2].strip().startswith("#:"):
                    names.append(node.target.id)
    return found


@pytest.fixture(scope="module", autouse=True)
def generate() -> Iterator[None]:
    """The module that knows which modules are public."""
    sys.path.insert(0, str(ROOT / "docs"))
    importlib.import_module("generate")
    sys.path.remove(str(ROOT / "docs"))
    yield
    del sys.modules["generate"]


def test_everything_public_has_a_docstring() -> None:
    everything = [*documented()]
    assert len(everything) > 500
    assert not [each.name for each in everything if not each.text]


def test_a_docstring_names_each_parameter_and_each_error() -> None:
    missing = [f"{each.name}: {', '.join(each.unnamed())}" for each in documented() if each.unnamed()]
    assert not missing, "\n".join(["not named in the docstring:", *missing])


#: What says that a parameter is a duration, a moment, a rate or a share.
UNITS = re.compile(r"\bseconds?\b|\bmoment\b|\[0, 1\)|percent|``timeout``.* are those of", re.IGNORECASE)
#: What says the value of a parameter that is not given.
DEFAULTS = re.compile(r"\bdefaults?\b|\b(?:with|without|unless|whether)\b", re.IGNORECASE)
RETURNS = re.compile(
    r"\b(?:returns?|returned|yields?|whether|result|register|the block|call again)\b|otherwise like|^(?:the|one|an?) ",
    re.IGNORECASE,
)


def functions() -> Iterator[tuple[str, inspect.Signature, str]]:
    """Each public function, method and constructor with its parameters and its text."""
    for name, value in public_names():
        if inspect.isclass(value):
            if (init := own(value, "__init__")) is not None and not dataclasses.is_dataclass(value):
                yield name, inspect.signature(init), of_class(name, value).text
            for member in of_members(name, value):
                function = getattr(value, member.name.rpartition(".")[2])
                if not isinstance(function, property):
                    yield member.name, inspect.signature(function), member.text
        elif inspect.isroutine(value):
            yield name, inspect.signature(value), inspect.getdoc(value) or ""


def test_a_docstring_tells_units_and_defaults_and_what_is_returned() -> None:
    missing = []
    for name, signature, text in functions():
        parameters = signature.parameters.values()
        if any(re.match(r"float\b", str(each.annotation)) for each in parameters) and not UNITS.search(text):
            missing.append(f"{name}: the unit of a number")
        if any(each.default not in (each.empty, None) for each in parameters) and not DEFAULTS.search(text):
            missing.append(f"{name}: a default")
        if signature.return_annotation not in (signature.empty, "None") and not RETURNS.search(text):
            missing.append(f"{name}: what is returned")
    assert not missing, "\n".join(["not told in the docstring:", *missing])
