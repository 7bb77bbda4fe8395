"""The docstrings of options below their fields, which editors show: written from the declarations.

``python docs/generate.py`` calls it. An option is declared once, by ``option(...)``; its docstring says the same.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from pathlib import Path

from fourtuple.cli.flags import shown
from fourtuple.options import Declared, Options, declared

WIDTH = 120


def file_of(family: type[Options]) -> Path:
    """The file that declares a family."""
    return Path(inspect.getfile(importlib.import_module(family.__module__)))


def docstring_of(option: Declared) -> str:
    """What an editor shows of an option: what it is, its unit, its default and why."""
    unit = f", in {option.unit}" if option.unit and option.unit not in option.help else ""
    default = shown(option) or "empty"
    why = f" ({option.reason.removeprefix(f'{default}: ')})" if option.reason else ""
    text = f"{option.help[0].upper()}{option.help[1:]}{unit}. Default: {default}{why}."
    return text.replace("\\", "\\\\").replace('"', "'")


def with_docstrings(source: str, families: list[type[Options]]) -> str:
    """The source, in which each option of these families has its docstring below it."""
    lines = source.splitlines()
    classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    changes: list[tuple[int, int, list[str]]] = []
    for family in families:
        own = {each.name: each for each in declared(family)}
        body = classes[family.__name__].body
        for field, after in zip(body, [*body[1:], None], strict=True):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and field.target.id in own:
                end = after.end_lineno if after is not None and is_docstring(after) else field.end_lineno
                changes.append((field.end_lineno or 0, end or 0, quoted(docstring_of(own[field.target.id]))))
    for begin, end, new in sorted(changes, reverse=True):
        lines[begin:end] = new
    return "\n".join(lines) + "\n"


def is_docstring(node: ast.stmt) -> bool:
    """Whether a statement is a text alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def quoted(text: str) -> list[str]:
    """A docstring as lines of a class's body."""
    one = f'    """{text}"""'
    if len(one) <= WIDTH:
        return [one]
    wrapped = textwrap.wrap(text, WIDTH - 4, initial_indent='"""', break_long_words=False, break_on_hyphens=False)
    return [f"    {line}" for line in [*wrapped, '"""']]


def rewritten(families: list[type[Options]]) -> dict[Path, str]:
    """Each file that declares families, as it should be."""
    files: dict[Path, list[type[Options]]] = {}
    for family in families:
        files.setdefault(file_of(family), []).append(family)
    return {path: with_docstrings(path.read_text(), those) for path, those in files.items()}
