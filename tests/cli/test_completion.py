"""Completion in the shells, as `docs/how-to/install.md` switches it on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.conftest import ENVIRONMENT

RequireProgram = Callable[[str], str]


@pytest.fixture
def path(tmp_path: Path) -> dict[str, str]:
    """An environment in which `fourtuple` is this one."""
    program = tmp_path / "fourtuple"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m fourtuple "$@"\n')
    program.chmod(0o755)
    return ENVIRONMENT | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path), "TERM": "dumb"}


def said_by(*command: str, env: dict[str, str]) -> list[str]:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.split()


BASH = """
eval "$(_FOURTUPLE_COMPLETE=bash_source fourtuple)"
COMP_WORDS=(fourtuple TYPED); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_fourtuple_completion fourtuple
echo "${COMPREPLY[@]}"
"""

COMPLETED = [
    ("ser", ["serve"]),
    ("serve ec", ["echo"]),
    ("serve echo --framing octet", ["octet-counting"]),
    ("connect 127.0.0.1:9999 -f nets", ["netstring"]),
    ("bench 127.0.0.1:9999 -f mll", ["mllp"]),
    ("serve --drain-time", ["--drain-timeout"]),
    ("serve --loop as", ["asyncio"]),
]


@pytest.mark.peers
@pytest.mark.parametrize(("typed", "completed"), COMPLETED)
def test_bash_completes(
    path: dict[str, str], require_program: RequireProgram, typed: str, completed: list[str]
) -> None:
    assert said_by(require_program("bash"), "-c", BASH.replace("TYPED", typed), env=path) == completed


@pytest.mark.peers
@pytest.mark.parametrize(("typed", "completed"), COMPLETED)
def test_fish_completes(
    path: dict[str, str], require_program: RequireProgram, typed: str, completed: list[str]
) -> None:
    program = f"_FOURTUPLE_COMPLETE=fish_source fourtuple | source; complete -C 'fourtuple {typed}'"
    lines = said_by(require_program("fish"), "-c", program, env=path)
    assert lines[: len(completed)] == completed  # a description may follow


ZSH = """
autoload -Uz compinit; compinit -u -D
eval "$(_FOURTUPLE_COMPLETE=zsh_source fourtuple)"
# Instead of the line editor's own: prints what it would be given.
_describe() { print -r -- ${${(P)3}%%:*} }; compadd() { shift 4; print -r -- ${(P)1} }
words=(fourtuple TYPED); CURRENT=$#words
_fourtuple_completion fourtuple
"""


@pytest.mark.peers
@pytest.mark.parametrize(("typed", "completed"), COMPLETED)
def test_zsh_completes(path: dict[str, str], require_program: RequireProgram, typed: str, completed: list[str]) -> None:
    assert said_by(require_program("zsh"), "-f", "-c", ZSH.replace("TYPED", typed), env=path) == completed
