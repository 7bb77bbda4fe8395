"""Loads on other people's programs, which know nothing of us."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import RunAsync
from load.conftest import bench, load

pytestmark = pytest.mark.peers


def listening(path: Path) -> bool:
    """Whether somebody accepts there: the path is there before that."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("socat", ("UNIX-LISTEN:{path},fork,backlog=16", "EXEC:cat")),
        ("ncat", ("--listen", "--keep-open", "--unixsock", "--exec", "/bin/cat", "{path}")),
    ],
)
@pytest.mark.parametrize("options", [{"depth": 8}, {"churn": 3}, {"rate": 500.0}])
def test_a_third_party_echo(
    run_async: RunAsync,
    require_program: Callable[[str], str],
    tmp_path: Path,
    program: str,
    arguments: tuple[str, ...],
    options: dict[str, Any],
) -> None:
    path = tmp_path / "socket"
    command = [require_program(program), *(argument.format(path=path) for argument in arguments)]

    async def main() -> None:
        # A group of its own: each of its connections is a child, which is to end with it.
        process = await asyncio.create_subprocess_exec(*command, start_new_session=True)
        try:
            while not listening(path):
                assert process.returncode is None
                await asyncio.sleep(0.01)
            result = await bench(f"unix:{path}", "line", load(connections=2, requests=30, expect="same", **options))
            total = result.total
            assert (total.replies, total.mismatches, total.unanswered, total.timeouts) == (30, 0, 0, 0), total
            assert not total.failures
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            await process.wait()

    run_async(main())
