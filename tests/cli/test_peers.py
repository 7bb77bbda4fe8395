"""Programs that know nothing of us talk to `serve`, and are talked to by `connect`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.conftest import Run, Serve

pytestmark = pytest.mark.peers

Require = Callable[[str], str]

# Each talks to a server: it sends its input, half-closes, and prints what comes until the end of file.
CLIENTS = {
    "nc": lambda port: ["-N", "127.0.0.1", port],
    "socat": lambda port: ["-t", "30", "-", f"TCP:127.0.0.1:{port}"],
    "ncat": lambda port: ["127.0.0.1", port],
}


@pytest.mark.parametrize("program", CLIENTS)
@pytest.mark.parametrize("lines", [1, 2000])
def test_third_party_clients_talk_to_serve(serve: Serve, require_program: Require, program: str, lines: int) -> None:
    path = require_program(program)
    server = serve("echo", "--framing", "line")
    text = "".join(f"line {number}\n" for number in range(lines))
    done = subprocess.run(
        [path, *CLIENTS[program](str(server.port))], input=text, capture_output=True, text=True, check=True
    )
    assert done.stdout == text
    assert f"in {lines} message" in server.line_with("closed")


@pytest.mark.parametrize("program", CLIENTS)
def test_third_party_clients_talk_to_a_served_program(serve: Serve, require_program: Require, program: str) -> None:
    path = require_program(program)
    server = serve("--exec", "sort")
    done = subprocess.run(
        [path, *CLIENTS[program](str(server.port))], input="b\na\n", capture_output=True, text=True, check=True
    )
    assert done.stdout == "a\nb\n"


@contextmanager
def listening(*command: str) -> Iterator[str]:
    """A program that says on standard error when it listens; yields the last word of that line."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            while "listening on" not in (line := process.stderr.readline()).lower():
                assert line, "it ended before it listened"
            yield line.split()[-1]
        finally:
            process.terminate()
            process.communicate()


def test_connect_talks_to_socat(run: Run, require_program: Require) -> None:
    with listening(require_program("socat"), "-d", "-d", "TCP-LISTEN:0,bind=127.0.0.1", "EXEC:cat") as address:
        assert run("connect", address, input=b"one\ntwo\n").out == b"one\ntwo\n"


def test_connect_talks_to_ncat(run: Run, require_program: Require, tmp_path: Path) -> None:
    # Over a path: ncat does not tell which port it got for port 0. And with --send: an end of file makes this ncat
    # forget what its program still says.
    path = str(tmp_path / "socket")
    with listening(require_program("ncat"), "-v", "-l", "-U", path, "--exec", "/bin/cat"):
        done = run("connect", f"unix:{path}", "--send", "one", "--send", "two", input=None)
    assert done.out == b"one\ntwo\n"


def test_connect_talks_to_nc(run: Run, require_program: Require, tmp_path: Path) -> None:
    # nc sends its standard input, none here, and prints what comes.
    with (
        open(tmp_path / "received", "wb") as received,
        subprocess.Popen(
            [require_program("nc"), "-v", "-l", "-N", "127.0.0.1", "0"],
            stdin=subprocess.DEVNULL,
            stdout=received,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stderr is not None
        port = process.stderr.readline().split()[-1]
        assert run("connect", f"127.0.0.1:{port}", "--send", "one", "--send", "two", input=None).code == 1  # no replies
        process.communicate()
    assert (tmp_path / "received").read_bytes() == b"one\ntwo\n"
