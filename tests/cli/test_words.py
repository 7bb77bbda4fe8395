"""What the commands say: numbers, marks, narrow terminals, and what was not looked up."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from cli.conftest import Run
from fourtuple.cli import columns
from fourtuple.cli.supervise_console import SuperviseConsole
from fourtuple.cli.tables import Table, draw
from fourtuple.inspector.reading import without_owners
from fourtuple.supervisor.events import WorkerDied
from inspector.sample import SAMPLE


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("workers", "abc"), "expected a whole number from 1 to 256, got 'abc'"),
        (("probe", "127.0.0.1:1", "--count", "x"), "expected a whole number, 1 or more, got 'x'"),
        (("ports", "0"), "0 is no port: with it the kernel chooses one"),
        (("ports", "0-3"), "0 is no port"),
    ],
)
def test_numbers(run: Run, arguments: tuple[str, ...], text: str) -> None:
    done = run(*arguments)
    assert done.code == 2
    assert text in done.err


def test_the_list_of_framings_has_no_marks_of_the_api_reference(run: Run) -> None:
    text = run("framings").text
    assert "`" not in text
    assert "another; made by duplex." in text


def test_several_probes_without_a_connection_have_no_picture(run: Run) -> None:
    lines = run("probe", "127.0.0.1:1", "--count", "2", "--interval", "0.01").text.splitlines()
    assert lines[:4] == ["   1  refused", "   2  refused", "connected 0 of 2", ""]


def test_help_on_a_narrow_terminal_breaks_no_words(run: Run) -> None:
    text = run("serve", "--help", COLUMNS="40").text
    assert "      Listen here; may be given several times." in text
    words = run("serve", "--help", COLUMNS="200").text.split()
    broken = [word for word in text.split() if word not in words]
    assert not broken


def test_programs_that_were_not_looked_up_are_not_hidden() -> None:
    held = next(each for each in SAMPLE.connections if each.owners)
    (seen,) = without_owners([replace(held, owners=())])
    assert columns.holders(seen) == "-"
    assert columns.holders(replace(held, owners=())) == "(hidden)"


def test_a_terminal_that_is_too_narrow_for_a_table_gets_lines() -> None:
    peer = "[2001:db8:85a3:8d3:1319:8a2e:370:7348]:54321"
    table = Table("1 connection", ("STATE", "PEER", "IDLE"), (False, False, True), (0, 0, 1), [["open", peer, "3 s"]],
                  fold=(0, 21, 0))  # fmt: skip
    out = StringIO()
    draw(table, Console(file=out, width=24))
    assert out.getvalue() == f"1 connection\nSTATE open\nPEER {peer}\n"


@pytest.mark.parametrize(("why", "word"), [("exit code 0", "ended"), ("exit code 1", "died")])
def test_a_worker_that_was_told_to_stop_has_not_died(capsys: pytest.CaptureFixture[str], why: str, word: str) -> None:
    SuperviseConsole(lambda *_: None)(WorkerDied(1, 42, why, 0.0))
    assert f"worker 1 has {word} (pid 42, {why}); the next one starts now" in capsys.readouterr().err
