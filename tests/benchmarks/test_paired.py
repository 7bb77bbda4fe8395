"""Old and new in the same rounds: what is started from which tree, and what the page says."""

from __future__ import annotations

from pathlib import Path

from benchmarks.paired import BEFORE, bar_of, of_tree, page, paired
from benchmarks.rounds import Result
from benchmarks.rows import BY_BEFORE, ROWS

import benchmarks

FIXED = next(row for row in ROWS if row.name == "fixed-1")


def test_each_of_our_servers_is_there_twice_and_no_other_is() -> None:
    row = paired(FIXED, Path("/old"))
    names = [subject.name for subject in row.subjects]
    assert names[:2] == ["fourtuple, asyncio" + BEFORE, "fourtuple, asyncio"]
    assert {subject.program for subject in row.subjects} == {"fourtuple_server"}
    assert [name for name in names if not name.endswith(BEFORE)] == [name.removesuffix(BEFORE) for name in names[::2]]


def test_the_old_one_imports_from_its_own_tree() -> None:
    subject = next(subject for subject in FIXED.subjects if subject.environment)
    old = of_tree(subject, Path("/old"))
    assert old.environment == (*subject.environment, ("PYTHONPATH", "/old/src:/old"), ("PYTHONSAFEPATH", "1"))
    assert (old.program, old.arguments[1:]) == (subject.program, subject.arguments[1:])


def test_both_serve_the_same_file() -> None:
    subject = FIXED.subjects[2]
    assert subject.arguments[0] == "sixteen"
    served = Path("/old/benchmarks/services") / f"{of_tree(subject, Path('/old')).arguments[0]}.py"
    assert served.read_text() == (Path(benchmarks.__file__).parent / "services" / "sixteen.py").read_text()


def test_the_page_shows_ratios_made_within_a_round() -> None:
    result = Result({"fourtuple, asyncio" + BEFORE: [1.0, 2.0, 4.0], "fourtuple, asyncio": [1.1, 2.2, 4.4]})
    text = page({"Old": "abc"}, [FIXED], {"fixed-1": result})
    assert (
        "| fixed-1 | fourtuple, asyncio | 2 | 2.2 | **1.100** | 1.100 to 1.100 | 3 | ≤ 1.03 | **not reached** |" in text
    )
    assert "- Old: abc" in text


def test_a_server_that_could_not_be_measured_is_named() -> None:
    result = Result({"fourtuple, asyncio": [1.0]}, skipped={"fourtuple, asyncio" + BEFORE: "it did not start"})
    text = page({}, [FIXED], {"fixed-1": result})
    assert "it did not start" in text
    assert "**" not in text.split("|---|", 1)[1]


def test_a_server_may_cost_no_more_than_before_or_has_a_bar_of_its_own() -> None:
    rows = {row.name: row for row in ROWS}
    assert str(bar_of(rows["fixed-1"], "fourtuple, uvloop")) == "≤ 1.03"
    assert str(bar_of(rows["kinds-32"], "fourtuple, threads")) == "≤ 0.06"
    assert str(bar_of(rows["large"], "fourtuple, uvloop")) == "≥ 0.97"


def test_each_bar_of_its_own_names_a_server_of_its_row() -> None:
    assert set(BY_BEFORE) <= {(row.name, subject.name) for row in ROWS for subject in row.subjects}
