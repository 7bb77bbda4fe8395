"""The page that the benchmarks write."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benchmarks.__main__ import added, arguments, chosen, main, rounds_text
from benchmarks.model import Bar, Load, Measure, Row, Subject
from benchmarks.render import judge, number, page
from benchmarks.rounds import Result
from benchmarks.rows import ROWS

from benchmarks import pictures

ROW = Row(
    "small",
    "small messages",
    Measure.CPU,
    Load(),
    (Subject("C, echo", "c:echo"), Subject("fourtuple, uvloop", "fourtuple_server")),
    (Bar("C, echo", 1.5), Bar("C, echo", 2.5), Bar("uvloop Protocol", 1.0)),
)
OTHER = Row("other", "another row", Measure.OCTETS, Load(), ())
RESULT = Result(
    {"C, echo": [1.0, 2.0, 3.0], "fourtuple, asyncio": [3.0, 6.0, 9.0], "fourtuple, uvloop": [2.0, 4.0, 6.0]},
    {"uvloop Protocol": "No module named 'uvloop'"},
)


def test_a_bar_is_judged_by_the_best_of_ours() -> None:
    near, far, missing = (judge(bar, RESULT) for bar in ROW.bars)
    assert near.who == far.who == "fourtuple, uvloop"
    assert near.ratio is not None
    assert near.ratio.median == 2.0
    assert (near.word, far.word, missing.word) == ("**not reached**", "reached", "not measured")


def test_a_bar_between_the_median_and_the_better_quartile_is_within_the_noise() -> None:
    result = Result({"C, echo": [1.0, 1.0, 1.0, 1.0], "fourtuple, uvloop": [1.0, 2.0, 3.0, 4.0]})
    words = [judge(Bar("C, echo", limit), result).word for limit in (1.7, 2.0, 2.5)]
    assert words == ["**not reached**", "within the noise", "reached"]
    more = [judge(Bar("C, echo", limit, at_least=True), result).word for limit in (3.5, 3.0, 2.5)]
    assert more == ["**not reached**", "within the noise", "reached"]


def test_the_best_is_the_most_where_more_is_better() -> None:
    verdict = judge(Bar("C, echo", 2.5, at_least=True), RESULT)
    assert (verdict.who, verdict.word) == ("fourtuple, asyncio", "reached")


def test_a_bar_against_ourselves_otherwise() -> None:
    result = Result({"fourtuple, uvloop": [10.0, 20.0], "fourtuple, uvloop beside": [5.0, 10.0]})
    bar = Bar(" beside", 0.35, ours=("fourtuple, uvloop beside",), at_least=True, ourselves=True)
    verdict = judge(bar, result)
    assert verdict.ratio is not None
    assert verdict.ratio.median == 0.5
    assert str(bar) == "≥ 0.35 x its own without"


def test_a_bar_may_judge_the_lower_quartile() -> None:
    result = Result({"C, echo": [1.0, 1.0, 1.0, 1.0], "fourtuple, uvloop": [1.0, 1.2, 3.0, 9.0]})
    bar = Bar("C, echo", 1.5, lower_quartile=True)
    assert str(bar) == "≤ 1.5 x C, echo, lower quartile"
    assert judge(bar, result).word == "reached"
    assert judge(replace(bar, lower_quartile=False), result).word == "within the noise"


def test_a_measurement_of_several_values_has_each_by_its_own_base() -> None:
    row = replace(ROW, parts=("p50", "p99"), bars=(Bar("C, echo, p99", 1.5, ours=("fourtuple, uvloop, p99",)),))
    samples: dict[str, list[float | None]] = {
        "C, echo, p50": [1.0, 1.0], "C, echo, p99": [10.0, None],
        "fourtuple, uvloop, p50": [2.0, 2.0], "fourtuple, uvloop, p99": [30.0, 40.0],
    }  # fmt: skip
    text = page({}, [row], {"small": Result(samples)}, {})
    assert "| **fourtuple, uvloop, p50** | 2 (2 to 2) | 2 (2 to 2) |" in text
    assert "| **fourtuple, uvloop, p99** | 35 (32.5 to 37.5) | 3 (3 to 3) |" in text
    assert "| small messages | ≤ 1.5 x C, echo, p99 | 3 (3 to 3) | fourtuple, uvloop, p99 | **not reached** |" in text
    assert "Rounds dropped, because the client itself was late: C, echo 1." in text


def test_a_bar_of_an_open_loop_whose_client_was_always_late_says_so() -> None:
    row = replace(ROW, parts=("p50",), bars=(Bar("C, echo, p50", 1.5, ours=("fourtuple, uvloop, p50",)),))
    result = Result({"C, echo, p50": [None, None], "fourtuple, uvloop, p50": [None, None]})
    assert "| not measured: the client itself was late in every round |" in page({}, [row], {"small": result}, {})


def test_an_absolute_bar() -> None:
    verdict = judge(Bar(None, 5.0), RESULT)
    assert verdict.ratio is not None
    assert (verdict.ratio.median, verdict.word) == (4.0, "reached")


def test_the_page_says_what_was_measured_and_what_was_not() -> None:
    text = page({"Commit": "abc"}, [ROW, OTHER], {"small": RESULT}, {"small": "pictures/small.svg"})
    assert "- Commit: abc" in text
    assert "| small messages | ≤ 1.5 x C, echo | 2 (2 to 2) | fourtuple, uvloop | **not reached** |" in text
    assert "| **fourtuple, uvloop** | 4 (3 to 5) | 2 (2 to 2) |" in text
    assert "not measured: No module named 'uvloop'" in text
    assert "![small messages](pictures/small.svg)" in text
    assert text.rstrip().endswith("Not asked for in this run: `other`.")


def test_what_was_tried_stands_behind_its_row_alone() -> None:
    told = {"small": "- sendmsg: nothing\n", "other": "- never measured"}
    text = page({}, [ROW, OTHER], {"small": RESULT}, {}, told)
    assert "### What was tried\n\n- sendmsg: nothing\n\nNot asked for" in text
    assert "never measured" not in text


def test_the_results_of_a_run_can_be_rendered_again(tmp_path: Path) -> None:
    rows = {"fixed-1": {"samples": {"C, echo": [1.0, 2.0]}, "skipped": {}, "why_not": None}}
    (tmp_path / "results.json").write_text(json.dumps({"facts": {"Commit": "abc"}, "rows": rows}))
    # In a process of its own: the library that draws keeps its fonts open.
    again = [sys.executable, "-m", "benchmarks", "--render", "--output", str(tmp_path)]
    subprocess.run(again, cwd=Path(__file__).parents[2], check=True, timeout=60)
    assert "- Commit: abc" in (tmp_path / "RESULTS.md").read_text()


def test_results_that_are_not_there_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--render", "--output", str(tmp_path)]) == 1
    assert "results.json" in capsys.readouterr().err


def test_rows_measured_again_take_the_place_of_the_old_and_say_so() -> None:
    before = ({"Date": "monday", "Machine": "small"}, {"small": Result({"C, echo": [7.0]}), "other": RESULT})
    facts, results = added(before, ({"Date": "tuesday", "Machine": "small"}, {"small": RESULT}))
    assert facts == before[0]
    assert results["other"] is RESULT
    text = page(facts, [ROW, OTHER], results, {})
    assert "- Date: monday" in text
    assert "`small`: " in text
    assert "Measured again, later than the other rows (Date: tuesday)." in text
    assert text.count("Measured again") == 1
    assert "| C, echo | 2 (1.5 to 2.5) |" in text


def test_rows_cannot_be_added_to_results_that_are_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--again", "--rows", "fixed-1", "--output", str(tmp_path)]) == 1
    assert "results.json" in capsys.readouterr().err


def test_a_skipped_row_is_named_with_its_reason() -> None:
    text = page({}, [ROW], {"small": Result(why_not="redis-benchmark is not installed")}, {})
    assert "| small messages | | | | skipped: redis-benchmark is not installed |" in text
    assert "Skipped: redis-benchmark is not installed." in text


@pytest.mark.parametrize(
    ("value", "text"), [(12345.6, "12,346"), (8.914, "8.91"), (0.0512, "0.0512"), (0.0, "0.00000")]
)
def test_numbers_have_three_digits_or_more(value: float, text: str) -> None:
    assert number(value) == text


def test_rows_with_fewer_rounds_are_named() -> None:
    short, long = replace(ROW, max_rounds=3), replace(OTHER, name="long", min_rounds=15)
    assert rounds_text(arguments([]), [short, long, OTHER]).startswith("11 of 1 s (small 3, long 15), server")
    assert rounds_text(arguments(["--rounds", "3", "--seconds", "0.5"]), [short, long, OTHER]).startswith(
        "3 of 0.5 s, server"
    )


def test_rows_are_chosen_by_name_or_prefix_and_have_names_of_their_own() -> None:
    assert [row.name for row in chosen(["fixed", "idle"])] == ["fixed-1", "fixed-32", "idle"]
    assert chosen([]) == list(ROWS)
    assert len({row.name for row in ROWS}) == len(ROWS)
    with pytest.raises(LookupError, match="no row 'nothing'"):
        chosen(["nothing"])


def test_every_bar_names_a_server_of_its_row() -> None:
    for row in ROWS:
        parts = [f", {part}" for part in row.parts] or [""]
        names = {subject.name + part for subject in row.subjects for part in parts}
        for bar in row.bars:
            assert set(bar.ours) <= names
            assert bar.ourselves or bar.against is None or bar.against in names


@pytest.fixture(scope="module")
def fonts(tmp_path_factory: pytest.TempPathFactory, require_package: Any) -> None:
    """matplotlib keeps the fonts open that it has once used: before the leak check counts descriptors."""
    require_package("matplotlib")
    pictures.draw([ROW], {"small": RESULT}, tmp_path_factory.mktemp("fonts") / "pictures")


@pytest.mark.usefixtures("fonts")
def test_pictures_are_the_same_for_the_same_results(tmp_path: Path) -> None:
    drawn = pictures.draw([ROW], {"small": RESULT}, tmp_path / "pictures")
    assert drawn == {"small": "pictures/small.svg", "bars": "pictures/bars.svg"}
    first = (tmp_path / "pictures/small.svg").read_bytes()
    pictures.draw([ROW], {"small": RESULT}, tmp_path / "pictures")
    assert (tmp_path / "pictures/small.svg").read_bytes() == first


def test_the_page_of_sockets_says_whether_its_bar_is_kept() -> None:
    from benchmarks.sockets import BOUND, rendered

    page = rendered(10_001, [("the library", BOUND - 0.1, 0.2), ("ss", 0.1, 0.1)])
    assert "| the library | 0.400 s | 0.200 s |" in page
    assert page.endswith("in the library: kept.\n")
    assert "NOT kept" in rendered(10_001, [("the library", BOUND, 0.2)])
    assert rendered(10_001, [("the library", 0.1, 0.1)], 0.051).endswith(
        "takes 5.1% of a core; the bar is 20%: kept.\n"
    )
