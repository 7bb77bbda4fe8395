"""What the command prints at its end, to a pipe that nobody reads: it ends nevertheless."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

#: Far longer than the half second for the last lines: only a command that hangs takes so long.
SOON = 20.0

FAILS = """
from fourtuple import Service

service = Service("line")
service.reply(lambda message: message)

@service.lifespan
async def life():
    yield
    raise RuntimeError("the tear-down fails")
"""


@pytest.fixture
def full_pipe() -> Iterator[int]:
    """The writing end of a pipe that is full."""
    unread, end = os.pipe()
    fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(end, False)
    with suppress(BlockingIOError):
        while True:
            os.write(end, b"x" * 4096)
    os.set_blocking(end, True)
    yield end
    os.close(unread)
    os.close(end)


def fourtuple(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "fourtuple", *arguments]


def test_a_server_that_fails_at_its_end(full_pipe: int, tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text(FAILS)
    command = fourtuple("serve", str(tmp_path / "fails.py"), "--port", "0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=full_pipe) as server:
        assert server.stdout is not None
        server.stdout.readline()
        server.send_signal(signal.SIGTERM)
        assert server.wait(SOON) == 1


def test_a_server_that_cannot_start(full_pipe: int, tmp_path: Path) -> None:
    command = fourtuple("serve", str(tmp_path / "missing.py"), "--port", "0")
    assert subprocess.run(command, stderr=full_pipe, timeout=SOON, check=False).returncode == 2


def test_a_client_that_fails(full_pipe: int) -> None:
    command = fourtuple("connect", "127.0.0.1:1", "--send", "x")
    assert subprocess.run(command, stderr=full_pipe, timeout=SOON, check=False).returncode == 3
