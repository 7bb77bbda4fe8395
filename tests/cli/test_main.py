"""The command itself."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import venv
from pathlib import Path

import click
import pytest

import fourtuple
from cli.conftest import ENVIRONMENT, FOURTUPLE, Run
from fourtuple import __version__
from fourtuple.cli.main import _SUBCOMMANDS, cli
from fourtuple.cli.speed import loop


def test_version_tells_python_loop_and_readiness(run: Run) -> None:
    done = run("--version")
    assert done.code == 0
    assert done.text.startswith(
        f"fourtuple {__version__}, Python {platform.python_version()}, loop {loop()}, readiness nested (epoll), "
    )


MISSING = """
import sys
from fourtuple import compiled
compiled.PIECES["turn"] = ("fourtuple._not_built", 0)
from fourtuple.cli.entry import main
sys.argv = ["fourtuple", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize(
    "arguments", [("serve", "echo", "--host", "192.0.2.1"), ("bench", "127.0.0.1:1", "-f", "line")]
)
@pytest.mark.parametrize(("choice", "lines"), [("auto", 1), ("off", 0)])
def test_missing_c_is_reported_once(arguments: tuple[str, ...], choice: str, lines: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MISSING, *arguments],
        env=ENVIRONMENT | {"FOURTUPLE_C": choice},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr  # there is nothing at these addresses
    told = [line for line in done.stderr.splitlines() if "without C for" in line]
    assert len(told) == lines
    assert all("without C for turn" in line and "FOURTUPLE_C=require pip install" in line for line in told)


@pytest.mark.parametrize("arguments", [("--version",), ("serve", "echo", "--port", "0"), ("connect", "127.0.0.1:1")])
def test_required_c_that_is_missing_is_one_line(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MISSING, *arguments],
        env=ENVIRONMENT | {"FOURTUPLE_C": "require"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    missing = "is not there (No module named 'fourtuple._not_built'); install fourtuple again to build it"
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"fourtuple: FOURTUPLE_C=require, and the C for turn {missing}\n"


def test_every_command_has_help(run: Run) -> None:
    for arguments in (
        (),
        ("serve",),
        ("connect",),
        ("framings",),
        ("sockets",),
        ("ports",),
        ("probe",),
        ("top",),
        ("care",),
    ):
        done = run(*arguments, "--help")
        assert done.code == 0
        assert done.text.startswith("Usage: fourtuple")


def test_the_list_of_commands(run: Run) -> None:
    listed = re.findall(r"^  ([a-z]+)  +[A-Z]", run("--help").text, re.MULTILINE)
    assert listed == list(_SUBCOMMANDS)
    for name in listed:
        assert isinstance(cli.get_command(click.Context(cli), name), click.Command)


def test_framings_lists_the_text_forms(run: Run) -> None:
    lines = run("framings").text.splitlines()
    assert any(line.startswith("fixed:SIZE ") for line in lines)
    assert any(line.startswith("raw ") for line in lines)
    assert "u32" in lines[-1]


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (("serve", "echo", "-framing", "line"), "framing"),
        (("serve", "echo", "-workers=2"), "workers"),
        (("connect", ":1", "-framing", "line"), "framing"),
    ],
)
def test_a_flag_with_one_dash(run: Run, arguments: tuple[str, ...], flag: str) -> None:
    """It is read as a letter's flag and its value: the error would name neither the flag nor the mistake."""
    done = run(*arguments)
    assert done.code == 2
    assert done.err.endswith(f". Did you mean --{flag}, with two dashes?\n")


def test_a_flag_with_two_dashes_gets_no_such_hint(run: Run) -> None:
    done = run("serve", "echo", "--framing", "raming")
    assert done.code == 2
    assert "dashes" not in done.err


def test_an_unknown_command(run: Run) -> None:
    done = run("sevre")
    assert done.code == 2
    assert "No such command 'sevre'; did you mean serve?\n" in done.err


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


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("serve", "upper", "--tls-certificate", "/nowhere"), "fourtuple: --tls-certificate: cannot read /nowhere: "),
        (("serve", "sixteen", "--refusal", "short"), "fourtuple: --refusal: fixed:16 takes messages of 16 octets, "),
        (("connect", "127.0.0.1:9", "--tls-ca", "/nowhere"), "fourtuple: --tls-ca: cannot read /nowhere: "),
        (("bench", "127.0.0.1:9", "--template", "{x}"), "fourtuple: template '{x}': {x} is not one of n, "),
        (("bench", "127.0.0.1:9", "--template", "{n}", "--send", "x"), "Give either --template or --send, "),
        (("bench", "127.0.0.1:9", "--json", "same", "--hdr", "./same"), "two of them name the same one"),
    ],
)
def test_a_usage_error_names_the_flag(run: Run, arguments: tuple[str, ...], text: str) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (2, b"")
    assert text in done.err


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("FOURTUPLE_C", "maybe", "FOURTUPLE_C is 'maybe', expected one of: auto, require, off"),
        ("FOURTUPLE_PORT", "5", "FOURTUPLE_PORT: there is no such option; give the address with --bind, "),
    ],
)
def test_a_variable_that_means_nothing_is_refused(variable: str, value: str, text: str) -> None:
    done = subprocess.run(
        [*FOURTUPLE, "serve", "upper", "--bind", "127.0.0.1:0"], capture_output=True, text=True,
        env=ENVIRONMENT | {variable: value}, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith(f"fourtuple: {text}")


def test_a_directory_in_the_place_of_the_configuration(run: Run, tmp_path: Path) -> None:
    (tmp_path / "fourtuple.toml").mkdir()
    done = run("serve", "upper", "--bind", "127.0.0.1:0")
    assert (done.code, done.err) == (2, "fourtuple: fourtuple.toml: expected a regular file, got a directory\n")
