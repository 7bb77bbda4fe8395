"""The command itself."""

from __future__ import annotations

import platform
import subprocess
import venv
from pathlib import Path

import pytest

import fourtuple
from cli.conftest import ENVIRONMENT, FOURTUPLE, Run
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


def test_an_unknown_command(run: Run) -> None:
    done = run("sevre")
    assert done.code == 2
    assert "No such command 'sevre'" in done.err


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A virtual environment that has the library, and nothing that it does not need."""
    venv.create(tmp_path, with_pip=False, symlinks=True)
    (packages,) = tmp_path.glob("lib/python*/site-packages")
    (packages / "fourtuple").symlink_to(Path(fourtuple.__file__).parent)
    return tmp_path


def in_bare(bare: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([bare / "bin" / "python", *words], capture_output=True, text=True, env=ENVIRONMENT)


def test_the_command_without_its_extra(bare: Path) -> None:
    done = in_bare(bare, "-m", "fourtuple", "serve", "echo")
    wanted = "fourtuple: the command needs click and rich: pip install 'fourtuple[cli]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", wanted)


def test_the_library_needs_nothing(bare: Path) -> None:
    program = """
from fourtuple import serve_in_thread
from fourtuple.blocking import connect
from fourtuple.services.upper import service

with serve_in_thread(service) as server, connect(server.address, "line") as connection:
    print(connection.request(b"hello"))
"""
    done = in_bare(bare, "-c", program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "b'HELLO'\n", "")


@pytest.mark.parametrize("command", ["framings", "--version"])
def test_output_that_is_closed_cannot_be_written(command: str) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *FOURTUPLE, command], stderr=subprocess.PIPE, env=ENVIRONMENT, timeout=60
    )
    assert (done.returncode, done.stderr) == (1, b"fourtuple: Bad file descriptor\n")
