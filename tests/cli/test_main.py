"""The command itself."""

from __future__ import annotations

import platform

from cli.conftest import Run
from fourtuple import __version__


def test_version(run: Run) -> None:
    done = run("--version")
    assert done.code == 0
    assert done.text.startswith(
        f"fourtuple {__version__}, Python {platform.python_version()}, readiness nested (epoll), "
    )


def test_help(run: Run) -> None:
    for arguments in ((), ("serve",), ("connect",), ("framings",)):
        done = run(*arguments, "--help")
        assert done.code == 0
        assert done.text.startswith("Usage: fourtuple")


def test_framings(run: Run) -> None:
    lines = run("framings").text.splitlines()
    assert any(line.startswith("fixed:SIZE ") for line in lines)
    assert any(line.startswith("raw ") for line in lines)
    assert "u32" in lines[-1]


def test_a_command_that_is_none(run: Run) -> None:
    done = run("sevre")
    assert done.code == 2
    assert "No such command 'sevre'" in done.err
