"""The command itself, with one row."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from benchmarks.__main__ import main

pytestmark = [pytest.mark.slow, pytest.mark.peers, pytest.mark.xdist_group("benchmarks")]


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
