"""`fourtuple serve` under socket activation: a shell passes descriptor 3 as sd_listen_fds(3) says."""

from __future__ import annotations

import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.conftest import ENVIRONMENT, FOURTUPLE


@pytest.fixture
def passive() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def activated(passive: socket.socket, *arguments: str, variables: str = "LISTEN_FDS=1") -> subprocess.Popen[str]:
    command = shlex.join([*FOURTUPLE, "serve", "echo", *arguments])
    return subprocess.Popen(
        ["bash", "-c", f"exec 3<&{passive.fileno()}; LISTEN_PID=$$ {variables} exec {command}"],
        pass_fds=[passive.fileno()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    return process.returncode, err


@pytest.mark.parametrize("arguments", [[], ["--bind", "fd:3"]])
def test_it_listens_at_the_socket_that_was_handed_over(passive: socket.socket, arguments: list[str]) -> None:
    address = "{}:{}".format(*passive.getsockname())
    with activated(passive, *arguments) as process:
        assert process.stdout is not None
        assert address in process.stdout.readline()
        with socket.create_connection(passive.getsockname()) as sock:
            sock.sendall(b"hello")
            assert sock.recv(5) == b"hello"
        assert finished(process) == (0, "")


@pytest.mark.parametrize("workers", [[], ["--workers", "1"]])
def test_a_socket_by_its_name(passive: socket.socket, workers: list[str]) -> None:
    variables = "LISTEN_FDS=1 LISTEN_FDNAMES=app.socket"
    with activated(passive, "--bind", "fd:app.socket", *workers, variables=variables) as process:
        assert process.stdout is not None
        while "Listening at {}:{} ".format(*passive.getsockname()) not in (line := process.stdout.readline()):
            assert line
        with socket.create_connection(passive.getsockname()) as sock:
            sock.sendall(b"hello")
            assert sock.recv(5) == b"hello"
        assert finished(process) == (0, "")
    for other, told in (
        ("fd:web", "fd:web: socket activation has handed over no descriptor with this name"),
        ("fd:3", "descriptor 3 given twice, as fd:3 and as fd:app.socket"),
    ):
        binds = ["--bind", other, "--bind", "fd:app.socket"]
        with activated(passive, *binds, *workers, variables=variables) as process:
            _, err = process.communicate()
            assert process.returncode == 2
            assert told in err.replace("\n", " ")


@pytest.mark.parametrize("arguments", [["--bind", "127.0.0.1:0"], ["--port", "0"]])
def test_an_address_that_is_given_counts_and_the_socket_is_named(passive: socket.socket, arguments: list[str]) -> None:
    with activated(passive, *arguments) as process:
        assert process.stdout is not None
        assert f":{passive.getsockname()[1]}" not in process.stdout.readline()
        code, err = finished(process)
        assert code == 0
        assert "fourtuple: not listening at fd:3 of socket activation: --" in err


@pytest.mark.parametrize("workers", [[], ["--workers", "1"]])
def test_a_name_that_is_not_there_is_one_error(passive: socket.socket, workers: list[str]) -> None:
    with activated(passive, "--bind", "fd:other", *workers) as process:
        _, err = process.communicate()
    assert process.returncode == 2
    assert err.startswith("fourtuple: fd:other: socket activation has handed over no descriptor with this name")


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ("LISTEN_FDS=many", "LISTEN_FDS: expected a number (sd_listen_fds(3)), got 'many'"),
        ("LISTEN_FDS=900", "is not open"),
        ("LISTEN_FDS=1 LISTEN_FDNAMES=a:b", "2 names for 1 descriptors"),
    ],
)
def test_variables_that_make_no_sense_end_it(passive: socket.socket, variables: str, told: str) -> None:
    with activated(passive, variables=variables) as process:
        _, err = process.communicate()
        assert process.returncode == 2
        assert told in err
        assert "Traceback" not in err


@pytest.mark.parametrize("workers", [[], ["--workers", "2"]], ids=["one process", "workers"])
def test_one_socket_for_two_services(passive: socket.socket, tmp_path: Path, workers: list[str]) -> None:
    service = "[services.{}]\ntarget = 'echo'\nlisten = ['fd:{}']\n"
    (tmp_path / "fourtuple.toml").write_text(service.format("mail", 3) + service.format("news", 4))
    command = shlex.join([*FOURTUPLE, "serve", *workers])
    done = subprocess.run(
        ["bash", "-c", f"exec 3<&{passive.fileno()} 4<&3; exec {command}"],
        pass_fds=[passive.fileno()], capture_output=True, text=True, env=ENVIRONMENT, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "fourtuple: descriptors 3 and 4 are one socket, which is given twice, as fd:3 and as fd:4\n"


def test_a_descriptor_that_cannot_listen(passive: socket.socket) -> None:
    with activated(passive, "--bind", "fd:0") as process:
        _, err = process.communicate()
        assert process.returncode == 3
        assert "fd:0" in err
        assert "Traceback" not in err
