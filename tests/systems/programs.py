"""Programs that serve until their block ends: examples, and others."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


class Program:
    """A program that runs until its block ends; its port is read from its first line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        ready = process.stdout.readline()
        assert ready.startswith("listening at 127.0.0.1:"), ready
        self.port = int(ready.rpartition(":")[2])
        self.address = f"127.0.0.1:{self.port}"

    def line(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")


@contextmanager
def running(*command: object) -> Iterator[Program]:
    with subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Program(process)
        finally:
            process.terminate()


@contextmanager
def serving(example: str) -> Iterator[Program]:
    """An example that serves, on a port that the kernel chose."""
    with running(sys.executable, "-W", "error", EXAMPLES / f"{example}.py", "127.0.0.1:0") as program:
        yield program
