"""Shared parts of the system tests: running examples to their end, and compiling the C programs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from systems.programs import EXAMPLES


@pytest.fixture
def run_example() -> Callable[..., list[str]]:
    """`run_example("flood", 100)` runs it to its end and returns the lines that it printed."""

    def run_example(name: str, *arguments: object) -> list[str]:
        command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout
        return done.stdout.splitlines()

    return run_example


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """`compiled(compiler, "sixteen_client")` compiles a program of examples/c once and returns its path."""
    folder = tmp_path_factory.mktemp("c")

    def compiled(compiler: str, name: str) -> Path:
        program = folder / name
        if not program.exists():
            strict = ("-Wall", "-Wextra", "-Werror", "-O1")
            subprocess.run([compiler, *strict, "-o", program, EXAMPLES / "c" / f"{name}.c"], check=True)
        return program

    return compiled
