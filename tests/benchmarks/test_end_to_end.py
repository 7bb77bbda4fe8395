"""The command itself, with one row."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from benchmarks.__main__ import main
from benchmarks.model import Load, Measure, Row, Subject
from benchmarks.rounds import MOST_LAG, Bench, run, why_not

from benchmarks import build

#: The first run on a machine compiles the peers.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.peers,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("benchmarks"),
]


@pytest.fixture(autouse=True)
def sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """The servers are started where the sources are."""
    if shutil.which("cc") is None:
        pytest.skip("needs cc")
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    monkeypatch.setenv("PYTHONPATH", str(root / "src"))


def test_one_row_from_the_compiler_to_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The pictures have a test of their own: matplotlib keeps its fonts open.
    monkeypatch.setattr("benchmarks.pictures.draw", lambda *_: {})
    options = ["--rows", "fixed-1", "--rounds", "2", "--seconds", "0.1", "--output", str(tmp_path)]
    assert main(options) == 0
    samples = json.loads((tmp_path / "results.json").read_text())["rows"]["fixed-1"]["samples"]
    for name in ("C, echo", "C, splits", "fourtuple, asyncio", "asyncio Protocol", "asyncio streams"):
        assert len(samples[name]) == 2
        assert all(value > 0 for value in samples[name])
    text = (tmp_path / "RESULTS.md").read_text()
    assert "## The bars" in text
    assert "16 octets, fixed, 64 connections, 1 in flight" in text


def measured(told: str, name: str) -> bool:
    """Whether the summary has a value in each line about a row of this title."""
    lines = [line for line in told.splitlines() if name in line and "Go " not in line and "Rust " not in line]
    return bool(lines) and not any("not measured" in line for line in lines)


def test_two_workers_beside_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--rounds", "1", "--seconds", "0.1", "--rows", "workers-1"]) == 0
    assert measured(capsys.readouterr().out, "one worker and two")


def test_an_open_loop_has_percentiles_and_its_clients_lag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.pictures.draw", lambda *_: {})
    options = ["--rounds", "1", "--seconds", "0.5", "--rows", "tail", "--output", str(tmp_path)]
    assert main(options) == 0
    samples = json.loads((tmp_path / "results.json").read_text())["rows"]["tail"]["samples"]
    (lag,) = samples["fourtuple, asyncio, lag"]
    assert lag > 0
    values = [samples[f"fourtuple, asyncio, {part}"][0] for part in ("p50", "p99", "p99.9")]
    assert values == ([None] * 3 if lag > MOST_LAG else sorted(values))


@pytest.mark.parametrize("row", ["start", "import"])
def test_rows_whose_servers_are_started_anew(row: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.pictures.draw", lambda *_: {})
    assert main(["--rounds", "1", "--rows", row, "--output", str(tmp_path)]) == 0
    samples = json.loads((tmp_path / "results.json").read_text())["rows"][row]["samples"]
    ours = [values for name, values in samples.items() if name.startswith("fourtuple")]
    assert ours
    assert all(value > 0 for values in ours for value in values)


@pytest.mark.parametrize(("tool", "program"), [("go", "go"), ("cargo", "rust")])
@pytest.mark.parametrize("load", [Load(), Load(framing="line"), Load(framing="u32", tls=True)])
def test_peers_that_are_not_python(tool: str, program: str, load: Load, programs: Bench) -> None:
    if shutil.which(tool) is None or (program == "rust" and build.crate_version("tokio") is None):
        pytest.skip(f"needs {tool} and its packages")
    options = ("--tls", "CERTIFICATE") if load.tls else ()
    subject = Subject("peer", program, ("fixed:16" if load.framing == "fixed" else load.framing, *options))
    row = Row("peer", "a peer", Measure.CPU, load, (subject,))
    if (reason := why_not(row, programs, (programs.programs / "load-tls").exists())) is not None:
        pytest.skip(reason)
    result = run(row, programs)
    assert result.skipped == {}
    assert all(value is not None and value > 0 for value in result.samples["peer"])


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The compiled load, and whatever peers are compiled with it."""
    if shutil.which("cc") is None:
        pytest.skip("needs cc")
    folder = tmp_path_factory.mktemp("programs")
    build.build(folder)
    return Bench(folder, build.certificate(folder), 0.1, 1, lambda _: None)


@pytest.mark.parametrize("row", ["churn-rst", "broadcast", "u32-32", "line-32", "growth"])
def test_the_other_loads(row: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--rounds", "1", "--seconds", "0.1", "--rows", row]) == 0
    assert "not measured" not in [
        line.split("|")[-2].strip() for line in capsys.readouterr().out.splitlines() if "x C" in line
    ]


def test_what_another_client_waits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--quick", "--rounds", "1", "--seconds", "0.1", "--rows", "bystander"]) == 0
    told = capsys.readouterr().out
    assert "fourtuple, conversation sends |" in told
    assert "not measured" not in told


def test_a_row_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--rows", "nothing"]) == 1
    assert "no row 'nothing'" in capsys.readouterr().err
