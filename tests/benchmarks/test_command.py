"""The command: what it refuses, and what an interrupted run leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.__main__ import INTERRUPTED, main
from benchmarks.model import Row
from benchmarks.process import start
from benchmarks.rounds import Bench, Result

ROOT = Path(__file__).parents[2]


@pytest.fixture
def interrupted_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Rows that run are complete at once, and are empty; those with these names are interrupted."""
    names: list[str] = []

    def run(row: Row, bench: Bench) -> Result:
        if row.name in names:
            raise KeyboardInterrupt
        return Result()

    monkeypatch.setattr("benchmarks.__main__.run", run)
    monkeypatch.setattr("benchmarks.__main__.build", lambda folder: False)
    monkeypatch.setattr("benchmarks.__main__.why_not", lambda *_: None)
    monkeypatch.setattr("benchmarks.pictures.draw", lambda *_: {})  # matplotlib keeps its fonts open
    return names


@pytest.mark.parametrize(
    "options", [["--rounds", "0"], ["--rounds", "-1"], ["--seconds", "0"], ["--seconds", "-3"], ["--seconds", "nan"]]
)
def test_numbers_are_above_zero(
    interrupted_in: list[str], capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*options, "--quick"])
    assert ended.value.code == 2
    assert f"'{options[1]}'; expected a" in capsys.readouterr().err


def test_an_unknown_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rows", "latency", "sixteen", "--quick"]) == 1
    assert "no row 'sixteen'; there are fixed-1, " in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_found_before_the_run(
    interrupted_in: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted_in.append("latency")
    (tmp_path / "file").touch()
    assert main(["--rows", "latency", "--output", str(tmp_path / "file" / "results")]) == 1
    assert "cannot write results to " in capsys.readouterr().err


def test_interrupted_before_a_row_is_complete_it_writes_nothing(
    interrupted_in: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--rows", "latency", "tail", "--output", str(tmp_path)]) == 0
    before = (tmp_path / "results.json").read_text()
    interrupted_in.append("latency")
    assert main(["--rows", "latency", "tail", "--output", str(tmp_path)]) == INTERRUPTED
    assert main(["--rows", "latency", "--quick"]) == INTERRUPTED
    assert (tmp_path / "results.json").read_text() == before
    assert "interrupted before a row was complete: nothing is written" in capsys.readouterr().err


def test_interrupted_later_it_keeps_the_complete_rows(
    interrupted_in: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupted_in.append("tail")
    assert main(["--rows", "latency", "tail", "--output", str(tmp_path)]) == INTERRUPTED
    assert list(json.loads((tmp_path / "results.json").read_text())["rows"]) == ["latency"]
    assert main(["--rows", "latency", "tail", "--quick"]) == INTERRUPTED
    said = capsys.readouterr()
    assert "interrupted in tail; complete: latency" in said.err
    assert "## The bars" in said.out


def test_a_list_of_which_only_the_head_is_read() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "benchmarks", "--list"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=writing, stderr=subprocess.PIPE, timeout=60)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs cc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_files(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--rows", "latency"]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 60
        while not list(tmp_path.glob("fourtuple-benchmarks-*/echo")):  # the first program is compiled
            assert time.monotonic() < until
            assert process.poll() is None
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == INTERRUPTED, said
    assert "Traceback" not in said
    assert not list(tmp_path.glob("fourtuple-benchmarks-*"))  # a killed compiler may leave a file of its own


def test_a_measured_program_keeps_what_it_compiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the time of a start would be that of the compiler."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    code = "import os, sys; print(sys.dont_write_bytecode, os.environ['MORE'])"
    core = min(os.sched_getaffinity(0))
    process = start([sys.executable, "-c", code], core, environment={"MORE": "one"}, stdout=subprocess.PIPE)
    assert process.communicate(timeout=60)[0] == "False one\n"
