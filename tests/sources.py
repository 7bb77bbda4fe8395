"""The package's modules as syntax trees: parsed once, though several test files read all of them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import fourtuple

#: The folder of the package's folder. Tests of a wheel have no ``src`` beside them: they read what is installed.
SOURCE = Path(__file__).parents[1] / "src"
if not SOURCE.is_dir():
    SOURCE = Path(fourtuple.__file__).parents[1]

#: For a test that reads all trees: one worker runs all of these, and so parses the package for all of them.
READS_ALL = pytest.mark.xdist_group("source")


def paths() -> list[Path]:
    return sorted(SOURCE.glob("fourtuple/**/*.py"))


@cache
def tree(path: Path) -> ast.Module:
    """The tree of a module of the package, which is not to be changed."""
    return ast.parse(path.read_bytes())
