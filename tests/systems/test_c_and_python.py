"""Server and client in C and in Python, all four pairings. The C programs are plain socket calls (examples/c)."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from systems.programs import EXAMPLES, Program, running, serving

pytestmark = [pytest.mark.peers, pytest.mark.xdist_group("c")]


@pytest.fixture
def in_c(require_program: Callable[[str], str], compiled: Callable[[str, str], Path]) -> Callable[[str], Path]:
    return lambda name: compiled(require_program("cc"), name)


def server(language: str, in_c: Callable[[str], Path]) -> AbstractContextManager[Program]:
    return running(in_c("sixteen_server"), 0) if language == "c" else serving("sixteen")


def client(language: str, in_c: Callable[[str], Path], peer: Program) -> list[str]:
    command: list[object] = (
        [in_c("sixteen_client"), "127.0.0.1", peer.port]
        if language == "c"
        else [sys.executable, "-W", "error", EXAMPLES / "sixteen_client.py", peer.address]
    )
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("client_language", ["c", "python"])
@pytest.mark.parametrize("server_language", ["c", "python"])
def test_all_four_pairings(server_language: str, client_language: str, in_c: Callable[[str], Path]) -> None:
    with server(server_language, in_c) as peer:
        for _ in range(2):  # the second one is served as well as the first
            local, remote, reply = client(client_language, in_c, peer)
            assert remote.split() == ["remote", peer.address]
            assert reply == "Farewell, client"
            if server_language == "c":
                assert peer.line() == f"connected by {local.split()[1]}"


def test_a_peer_in_c_gets_as_many_replies_as_it_asked_for(in_c: Callable[[str], Path]) -> None:
    """Octet by octet and in one piece are the same to a server in C, too: our client against it."""
    from fourtuple.blocking import connect

    with running(in_c("sixteen_server"), 0) as peer, connect(peer.address, "fixed:16") as connection:
        assert connection.request_many([b"Hi there, server"] * 500, timeout=100) == [b"Farewell, client"] * 500
