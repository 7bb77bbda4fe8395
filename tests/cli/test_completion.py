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


def said_by(*command: str, env: dict[str, str]) -> list[list[str]]:
    """The words of each of the texts in COMPLETED: a shell prints a line of its own behind each."""
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    *found, rest = done.stdout.split("\n==\n")
    assert rest == ""
    return [each.split() for each in found]


def for_each(program: str) -> str:
    """The program of a shell, once for each text: the shell and its completion are made ready once."""
    return "\n".join(f"{program.replace('TYPED', typed)}\necho; echo '=='" for typed, _ in COMPLETED)


BASH = """
COMP_WORDS=(fourtuple TYPED); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
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
def test_bash_completes(path: dict[str, str], require_program: RequireProgram) -> None:
    program = 'eval "$(_FOURTUPLE_COMPLETE=bash_source fourtuple)"\n' + for_each(BASH)
    assert said_by(require_program("bash"), "-c", program, env=path) == [completed for _, completed in COMPLETED]


@pytest.mark.peers
def test_fish_completes(path: dict[str, str], require_program: RequireProgram) -> None:
    program = "_FOURTUPLE_COMPLETE=fish_source fourtuple | source\n" + for_each("complete -C 'fourtuple TYPED'")
    found = said_by(require_program("fish"), "-c", program, env=path)
    for words, (_, completed) in zip(found, COMPLETED, strict=True):
        assert words[: len(completed)] == completed  # a description may follow


ZSH_READY = """
autoload -Uz compinit; compinit -u -D
eval "$(_FOURTUPLE_COMPLETE=zsh_source fourtuple)"
# Instead of the line editor's own: prints what it would be given.
_describe() { print -r -- ${${(P)3}%%:*} }; compadd() { shift 4; print -r -- ${(P)1} }
"""
ZSH = """
words=(fourtuple TYPED); CURRENT=$#words
_fourtuple_completion fourtuple
"""


@pytest.mark.peers
def test_zsh_completes(path: dict[str, str], require_program: RequireProgram) -> None:
    found = said_by(require_program("zsh"), "-f", "-c", ZSH_READY + for_each(ZSH), env=path)
    assert found == [completed for _, completed in COMPLETED]
