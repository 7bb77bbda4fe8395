"""The protocol examples, served by the real command."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

PROTOCOLS = Path(__file__).parents[2] / "examples" / "protocols"


class Served:
    """A `fourtuple serve` of an example, which prints only the output of the service."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(self.line().split()[2].rpartition(":")[2])  # Listening at 127.0.0.1:40000 (backlog ...)

    def line(self) -> str:
        """The next line of its output."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"it has ended: {self._process.stderr.read() if self._process.stderr else ''}"
        return line.rstrip("\n")


@contextmanager
def _served(target: str, *options: str) -> Iterator[Served]:
    name, _, attribute = target.partition(":")
    place = f"{PROTOCOLS / name}.py:{attribute or 'service'}"
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "fourtuple",
        "serve",
        "--quiet",
        place,
        "--bind",
        "127.0.0.1:0",
        *options,
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Served(process)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=30)
            # On a busy machine, any handler may be slow at times.
            errors = [line for line in said.splitlines() if "held the loop for" not in line]
            assert (process.returncode, errors) == (0, []), "no handler raised, and it stopped well"
        finally:
            process.kill()


@pytest.fixture
def protocol() -> Iterator[Callable[..., Served]]:
    """`protocol("dns_server")` serves examples/protocols/dns_server.py on a free port until the test ends.

    Further arguments are options of `fourtuple serve`.
    """
    with ExitStack() as stack:
        yield lambda target, *options: stack.enter_context(_served(target, *options))
