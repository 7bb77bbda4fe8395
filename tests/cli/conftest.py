"""The command as users run it: a separate process, port 0, and its output.

`run` and `serve` fork it from a process that has done its imports (:mod:`prefork`). Tests of its start and of its
standard files start a new process instead.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest

from certificates import Files
from prefork import Prefork, Process

FOURTUPLE = [sys.executable, "-m", "fourtuple"]
_LISTENING = re.compile(r"(?:[\w-]+: )?Listening at (\S+) \((.*)\)")

# The user's variables must not affect the tests. Without buffering, a missing flush at the end would go unnoticed.
ENVIRONMENT = {
    name: value for name, value in os.environ.items() if not name.startswith(("FOURTUPLE_", "PYTHONUNBUFFERED"))
}


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def told(self) -> list[str]:
        """The lines on standard error, without those of calls that a busy machine made slow."""
        return [line for line in self.err.splitlines() if " held the loop for " not in line]


@dataclass
class Served:
    """A `fourtuple serve` that listens."""

    process: Any  # a Process or a subprocess.Popen
    addresses: list[str] = field(default_factory=list)
    backlogs: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return self.addresses[0]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def line(self) -> str:
        line = self.process.stdout.readline()
        assert line, f"standard output has ended; exit code {self.process.wait()}"
        return line.rstrip("\n")

    def line_with(self, text: str) -> str:
        """The next line that contains ``text``."""
        while text not in (line := self.line()):
            pass
        return line

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port))

    def ask(self, octets: bytes) -> bytes:
        """Send, half-close, and return all octets of the reply."""
        with self.connect() as sock:
            sock.sendall(octets)
            sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(65536), b""))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> Done:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> Done:
        out, err = self.process.communicate()
        return Done(self.process.wait(), out.encode(), err)


class Run(Protocol):
    def __call__(self, *arguments: str, input: bytes | None = b"", **environment: str) -> Done: ...


class Serve(Protocol):
    def __call__(self, *arguments: str, listeners: int = 1, **environment: str) -> Served: ...


@pytest.fixture(scope="session", autouse=True)
def prefork() -> Iterator[Prefork]:
    server = Prefork(ENVIRONMENT)
    yield server
    server.close()


def start(
    prefork: Prefork, arguments: list[str], cwd: Path, environment: dict[str, str], *, text: bool = False
) -> Process | subprocess.Popen[Any]:
    """Start the command. If it has variables that Python or fourtuple reads at start, start a new process."""
    environ = ENVIRONMENT | environment
    if not any(name == "FOURTUPLE_C" or name.startswith("PYTHON") for name in environment):
        return prefork.start(arguments, cwd, environ, text=text)
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*FOURTUPLE, *arguments], stdin=pipe, stdout=pipe, stderr=pipe, text=text, cwd=cwd, env=environ
    )


@pytest.fixture
def run(prefork: Prefork, tmp_path: Path) -> Run:
    """`run("connect", "...", input=b"...")` runs the command to its end."""

    def run(*arguments: str, input: bytes | None = b"", **environment: str) -> Done:
        with start(prefork, [*arguments], tmp_path, environment) as process:
            out, err = process.communicate(input)
        return Done(process.wait(), out, err.decode())

    return run


@pytest.fixture
def serve(prefork: Prefork, tmp_path: Path) -> Iterator[Serve]:
    """`serve("echo", "--framing", "line")` serves at a port that the kernel chose, until the test ends."""
    with ExitStack() as stack:

        def serve(*arguments: str, listeners: int = 1, **environment: str) -> Served:
            where = [] if "--bind" in arguments or "--port" in arguments else ["--port", "0"]
            command = ["serve", *arguments, *where]
            process = start(prefork, command, tmp_path, environment, text=True)
            return stack.enter_context(_serving(process, listeners))

        yield serve


@pytest.fixture
def serve_file(prefork: Prefork, tmp_path: Path) -> Iterator[Serve]:
    """`serve_file("--only", "mail", listeners=2)` serves the services of `fourtuple.toml` until the test ends."""
    with ExitStack() as stack:

        def serve_file(*arguments: str, listeners: int = 1, **environment: str) -> Served:
            process = start(prefork, ["serve", *arguments], tmp_path, environment, text=True)
            return stack.enter_context(_serving(process, listeners))

        yield serve_file


@pytest.fixture
def relay(prefork: Prefork, tmp_path: Path) -> Iterator[Serve]:
    """`relay("127.0.0.1:0", target, "--framing", "line")` relays until the test ends."""
    with ExitStack() as stack:

        def relay(*arguments: str, listeners: int = 1, **environment: str) -> Served:
            process = start(prefork, ["relay", *arguments], tmp_path, environment, text=True)
            return stack.enter_context(_serving(process, listeners))

        yield relay


@contextmanager
def _serving(process: Any, listeners: int) -> Iterator[Served]:
    served = Served(process)
    with process:
        try:
            for _ in range(listeners):
                found = _LISTENING.fullmatch(process.stdout.readline().rstrip("\n"))
                if found is None:
                    process.kill()
                    pytest.fail(f"no Listening line: {process.communicate()[1]}")
                served.addresses.append(found[1])
                served.backlogs.append(found[2])
            yield served
        finally:
            if process.poll() is None:
                # Two signals: a drain would wait for conversations that a failed test has left open.
                process.send_signal(signal.SIGTERM)
                process.send_signal(signal.SIGINT)
                process.communicate()


@contextmanager
def peer(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """A third-party server: it accepts one connection, and talks to it."""
    with socket.create_server(("127.0.0.1", 0)) as passive:
        passive.settimeout(20)  # without a client the test has failed, and must not hang

        def serve() -> None:
            sock, _ = passive.accept()
            with sock:
                sock.settimeout(20)
                talk(sock)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{passive.getsockname()[1]}"
        finally:
            thread.join()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """The files of a certificate."""
    return Files(tmp_path)
