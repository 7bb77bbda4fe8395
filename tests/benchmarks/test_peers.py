"""The peers that are compiled: left out by name where their packages are missing."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.model import Load, Measure, Row, Subject
from benchmarks.rounds import Bench, Result, run

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
