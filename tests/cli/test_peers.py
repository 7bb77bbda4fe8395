"""Programs that know nothing of us talk to `serve`, and are talked to by `connect`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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

# Each listens at a port that it is given, and sends back what comes.
SERVERS = {
    "socat": lambda port: ["-d", "-d", f"TCP-LISTEN:{port},bind=127.0.0.1", "EXEC:cat"],
    "ncat": lambda port: ["-v", "-l", "127.0.0.1", port, "--exec", "/bin/cat"],
}


@pytest.mark.parametrize("program", CLIENTS)
@pytest.mark.parametrize("lines", [1, 2000])
def test_they_talk_to_serve(serve: Serve, require_program: Require, program: str, lines: int) -> None:
    path = require_program(program)
    server = serve("echo", "--framing", "line")
    text = "".join(f"line {number}\n" for number in range(lines))
    done = subprocess.run(
        [path, *CLIENTS[program](str(server.port))], input=text, capture_output=True, text=True, check=True
    )
    assert done.stdout == text
    assert f"in {lines} message" in server.line_with("closed")


@pytest.mark.parametrize("program", CLIENTS)
def test_they_talk_to_a_program_that_we_serve(serve: Serve, require_program: Require, program: str) -> None:
    path = require_program(program)
    server = serve("--exec", "sort")
    done = subprocess.run(
        [path, *CLIENTS[program](str(server.port))], input="b\na\n", capture_output=True, text=True, check=True
    )
    assert done.stdout == "a\nb\n"


@contextmanager
def listening(path: str, arguments: list[str], ready: str) -> Iterator[subprocess.Popen[str]]:
    """A program that says on standard error when it listens, in the words ``ready``."""
    with subprocess.Popen([path, *arguments], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            while ready not in (line := process.stderr.readline()):
                assert line, "it ended before it listened"
            yield process
        finally:
            process.terminate()
            process.communicate()


def test_connect_talks_to_socat(run: Run, require_program: Require) -> None:
    # socat alone can be asked for port 0, and says which it got.
    path = require_program("socat")
    with subprocess.Popen(
        [path, "-d", "-d", "TCP-LISTEN:0,bind=127.0.0.1", "EXEC:cat"], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            while "listening on" not in (line := process.stderr.readline()):
                assert line, "it ended before it listened"
            address = line.split()[-1]
            assert run("connect", address, input=b"one\ntwo\n").out == b"one\ntwo\n"
        finally:
            process.terminate()
            process.communicate()
