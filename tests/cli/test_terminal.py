"""The standard files of the command: a terminal, a pipe, a full disk, or not there at all."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import pytest

from cli.conftest import ENVIRONMENT, FOURTUPLE, Run, Serve
from fourtuple import events
from fourtuple.cli.console import Console
from fourtuple.cli.lines import Lines
from fourtuple.four_tuple import FourTuple
from fourtuple.stream import Reason, Statistics


class Terminal(Protocol):
    def __call__(self, *arguments: str, **environment: str) -> str: ...


@pytest.fixture
def on_terminal() -> Terminal:
    """`on_terminal("framings", TERM="xterm")`: all that the command writes to a terminal."""

    def run(*arguments: str, **environment: str) -> str:
        ours, theirs = pty.openpty()
        os.set_inheritable(theirs, False)
        with subprocess.Popen(
            [*FOURTUPLE, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            env={name: value for name, value in ENVIRONMENT.items() if name != "NO_COLOR"}
            | {"TERM": "xterm", "COLUMNS": "80"}
            | environment,
        ):
            os.close(theirs)
            pieces = []
            try:
                while octets := os.read(ours, 65536):
                    pieces.append(octets)
            except OSError:  # EIO: the last one that had it open has closed it
                pass
            os.close(ours)
        return b"".join(pieces).decode()

    return run


def with_closed(numbers: list[int], *arguments: str) -> subprocess.CompletedProcess[bytes]:
    closing = " ".join(f"{number}{'<' if number == 0 else '>'}&-" for number in numbers)
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {closing}', "sh", *FOURTUPLE, *arguments], capture_output=True, env=ENVIRONMENT
    )


@pytest.mark.parametrize("numbers", [[0], [1], [2], [0, 1], [1, 2], [0, 1, 2]])
def test_closed_standard_files(serve: Serve, numbers: list[int]) -> None:
    server = serve("echo")
    done = with_closed(numbers, "connect", server.address, "--send", "hello", "--verbose")
    assert done.returncode == (1 if 1 in numbers else 0), "output that cannot be written is a failure"
    assert done.stdout == (b"" if 1 in numbers else b"hello\n"), "and never what was said to somebody else"
    assert b"Traceback" not in done.stderr
    closed = server.line_with("closed")
    assert ", in 6 octets, out 6 octets, " in closed, "what is printed reached no socket"
    assert with_closed(numbers, "--version").returncode == (1 if 1 in numbers else 0)


def test_a_server_without_standard_output(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with subprocess.Popen(
        ["sh", "-c", 'exec "$@" >&- <&-', "sh", *FOURTUPLE, "serve", "echo", "--bind", f"unix:{path}"],
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as process:
        talk = [*FOURTUPLE, "connect", f"unix:{path}", "--send", "hello"]
        while (done := subprocess.run(talk, capture_output=True, env=ENVIRONMENT)).returncode == 3:
            pass  # it does not listen yet, and cannot say so
        process.send_signal(signal.SIGTERM)
        assert process.communicate()[1] == b""
        assert process.returncode == 0
    assert done.stdout == b"hello\n"


@pytest.mark.parametrize("arguments", [("--version",), ("framings",), ("serve", "--help"), ("connect",)])
def test_a_full_disk_behind_standard_output(serve: Serve, arguments: tuple[str, ...]) -> None:
    if arguments == ("connect",):
        arguments = ("connect", serve("echo").address, "--send", "hello")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*FOURTUPLE, *arguments], stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT, check=False
        )
    assert (done.returncode, done.stderr) == (1, b"fourtuple: No space left on device\n")


def test_framings_are_a_table_that_fits(on_terminal: Terminal, run: Run) -> None:
    shown = on_terminal("framings", TERM="dumb")
    assert max(map(len, shown.splitlines())) <= 80
    assert "\x1b" not in shown
    plain = run("framings").text
    assert max(map(len, plain.splitlines())) > 80, "in a pipe a line is a line"
    assert shown.split() == plain.split()


def test_what_went_wrong_is_red(on_terminal: Terminal) -> None:
    wrong = ("serve", "no_such_module")
    assert "\x1b[1;31mfourtuple:\x1b[0m there is no" in on_terminal(*wrong)
    assert on_terminal(*wrong, NO_COLOR="1").startswith("fourtuple: there is no")
    assert on_terminal(*wrong, TERM="dumb").startswith("fourtuple: there is no")


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_servers_lines_are_coloured_and_what_peers_send_cannot_colour_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    name = FourTuple("192.0.2.1", 9999, "192.0.2.2", 40000)
    for reason, colour in ((Reason.PEER_CLOSED, "2"), (Reason.RESET, "33")):
        screen = Screen()
        console = Console(lambda *_: None, hold=False, lines=Lines(screen, screen))
        console(events.Closed(1, name, reason, Statistics(1, 1, 1, 1, 0, 0, 0), 0.5, False))
        assert screen.getvalue().startswith(f"\x1b[{colour}m#1 closed 192.0.2.1:9999 <- 192.0.2.2:40000")
        console(events.HandlerRaised(1, name, "mine", ValueError("\x1b[32mgreen")))
        assert "ValueError: \\x1b[32mgreen\x1b[0m\n" in screen.getvalue()


def test_what_peers_send_is_escaped_and_a_pipe_gets_no_colour(on_terminal: Terminal, serve: Serve) -> None:
    server = serve("echo", "-v")
    shown = on_terminal("connect", server.address, "--send", "a\x1b[32mb", "-v")
    assert "\x1b[32m" not in shown
    assert r"a\x1b[32mb" in shown
    assert "\x1b" not in server.stop().out.decode()


@pytest.mark.parametrize("workers", [[], ["--workers", "1"]])
def test_a_log_whose_reader_has_gone_is_lost_too(tmp_path: Path, workers: list[str]) -> None:
    path = tmp_path / "socket"
    reads, writes = os.pipe()
    process = subprocess.Popen(
        [*FOURTUPLE, "serve", "echo", "--log-format", "json", "--bind", f"unix:{path}", *workers],
        stdout=writes, stderr=subprocess.PIPE, env=ENVIRONMENT,
    )  # fmt: skip
    os.close(writes)
    with process, open(reads, "rb") as log:
        begun = b'"event":"supervising"' if workers else b'"event":"listening"'
        while begun not in log.readline():
            continue
        log.close()
        talk = [*FOURTUPLE, "connect", f"unix:{path}", "--send", "hello"]
        assert subprocess.run(talk, capture_output=True, env=ENVIRONMENT).stdout == b"hello\n"
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        told = process.stderr.read().decode()
        assert process.wait() == 1
    assert "--log-format json: Broken pipe; lines of the log are lost, the server continues\n" in told
    assert told.endswith("fourtuple: --log-format json: Broken pipe; the log is not complete\n")
    assert workers or told.count("\n") == 2


@pytest.mark.parametrize("workers", [[], ["--workers", "1"]])
def test_a_log_whose_reader_has_stopped_reading_is_not_complete(tmp_path: Path, workers: list[str]) -> None:
    reads, writes = os.pipe()
    process = subprocess.Popen(
        [*FOURTUPLE, "serve", "echo", "--log-format", "json", "--bind", f"unix:{tmp_path / 'socket'}", *workers],
        stdout=writes, stderr=subprocess.PIPE, env=ENVIRONMENT,
    )  # fmt: skip
    with process, open(reads, "rb") as log, open(f"/proc/self/fd/{writes}", "wb", opener=without_waiting) as full:
        os.close(writes)
        begun = b'"event":"supervising"' if workers else b'"event":"listening"'
        while begun not in log.readline():
            continue
        for piece in (4096, 1):
            with suppress(BlockingIOError):
                while os.write(full.fileno(), b"\n" * piece):
                    continue
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        told = process.stderr.read().decode()
        assert process.wait() == 1
    assert told.endswith("fourtuple: --log-format json: its reader is too slow; the log is not complete\n")
    assert workers or told.count("\n") == 1


def without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def test_a_log_that_is_lost_is_reported_once_and_by_the_exit_code(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with open("/dev/full", "w") as full:
        process = subprocess.Popen(
            [*FOURTUPLE, "serve", "echo", "--log-format", "json", "--bind", f"unix:{path}"],
            stdout=full, stderr=subprocess.PIPE, env=ENVIRONMENT,
        )  # fmt: skip
    with process:
        assert process.stderr is not None
        why = b"--log-format json: No space left on device; "
        assert process.stderr.readline() == why + b"lines of the log are lost, the server continues\n"
        talk = [*FOURTUPLE, "connect", f"unix:{path}", "--send", "hello"]
        assert subprocess.run(talk, capture_output=True, env=ENVIRONMENT).stdout == b"hello\n"
        process.send_signal(signal.SIGTERM)
        assert process.stderr.read() == b"fourtuple: " + why + b"the log is not complete\n"
        assert process.wait() == 1
