"""The peers that are compiled: left out by name where their packages are missing."""

from __future__ import annotations

import os
import shutil
import socket
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks.model import Load, Measure, Row, Subject
from benchmarks.rounds import Bench, Result, load_of, run, serve

from benchmarks import build

ROW = Row("small", "small messages", Measure.CPU, Load(), (Subject("Go net", "go"), Subject("Rust tokio", "rust")))


def bench(folder: Path) -> Bench:
    return Bench(folder, None, 0.1, 1, lambda _: None)


def test_a_row_is_run_without_the_peers_that_cannot_be_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "CRATES", tmp_path)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/cargo" if name == "cargo" else None)
    assert run(ROW, bench(tmp_path)) == Result(
        skipped={
            "Go net": "Go is not installed (golang-go)",
            "Rust tokio": "not installed: librust-tokio-dev, librust-tokio-rustls-dev, librust-rustls-pemfile-dev",
        }
    )


def test_a_peer_is_compiled_once_for_all_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def compile_never(into: Path) -> None:
        asked.append(into)
        raise build.BuildError("go: many lines\nno memory")

    monkeypatch.setitem(build.PEERS, "go", compile_never)
    monkeypatch.setitem(build.PEERS, "rust", compile_never)
    one = bench(tmp_path)
    assert [run(ROW, one).skipped["Go net"] for _ in range(2)] == ["no memory"] * 2
    assert asked == [tmp_path] * 2  # once for each of the two peers


def test_the_newest_library_of_debian_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "CRATES", tmp_path)
    assert build.crate_version("tokio") is None
    for name in ("tokio-1.24.2", "tokio-rustls-0.23.4"):
        (tmp_path / name).mkdir()
    assert build.crate_version("tokio") == "1.24.2"


def test_a_server_may_have_a_number_of_connections_of_its_own(tmp_path: Path) -> None:
    one, two = Subject("one", "c:echo"), Subject("two", "c:echo", ("2",), connections=128)
    load, whole, quick = Load(connections=64, depth=32), bench(tmp_path), replace(bench(tmp_path), most_connections=100)
    assert [load_of(each, load, whole).connections for each in (one, two)] == [64, 128]
    assert [load_of(each, load, quick).connections for each in (one, two)] == [64, 100]
    assert load_of(one, load, whole) == load


def connections(pid: int, port: int) -> int:
    """The established connections of a process at one of its own ports: proc_pid_net(5), ``/proc/PID/net/tcp``."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    established = {f"socket:[{row[9]}]" for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "01"}
    return sum(os.readlink(fd) in established for fd in Path(f"/proc/{pid}/fd").iterdir())


@pytest.mark.peers
def test_the_floor_of_two_processes_divides_its_connections(tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("needs cc")
    build.build(tmp_path)
    with serve(Subject("C, echo, 2 processes", "c:echo", ("2",)), bench(tmp_path)) as server:
        pids = server.pids
        assert len(pids) == 2
        with ExitStack() as stack:
            for _ in range(64):  # that one process gets them all has a chance of 2 to the power of -63
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 20))
                sock.sendall(b"hello")
                assert sock.recv(5) == b"hello"
            held = {pid: connections(pid, server.port) for pid in pids}
        assert sum(held.values()) == 64
        assert min(held.values()) > 0
