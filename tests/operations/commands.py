"""``fourtuple serve`` and the commands, as separate processes."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("FOURTUPLE_")}
ENVIRONMENT |= {name: os.environ[name] for name in ("FOURTUPLE_C", "FOURTUPLE_CHECKS") if name in os.environ}
COMMAND = [sys.executable, "-m", "fourtuple"]


@dataclass
class Served:
    """A `fourtuple serve` that listens."""

    process: subprocess.Popen[str]
    address: str
    http: str
    control: str

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def http_port(self) -> int:
        return int(self.http.rpartition(":")[2])

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port))


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[Served]:
    """Serve with a control socket, until the block ends."""
    control = str(folder / "control.sock")
    command = [*COMMAND, "serve", *arguments, "--port", "0", "--control", control]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        try:
            found: dict[str, str] = {}
            while "Listening at" not in found:
                line = process.stdout.readline()
                assert line, "it did not start"
                match = re.match(r"(Listening at|Metrics at|Control socket at) (\S+)", line)
                if match:
                    found[match[1]] = match[2]
            http = found.get("Metrics at", "").removesuffix("/metrics")
            yield Served(process, found["Listening at"], http, control)
        finally:
            process.terminate()
            process.communicate()


@dataclass
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str
