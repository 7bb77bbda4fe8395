"""The result as HTML, as JSON, and what is said where matplotlib is missing."""

from __future__ import annotations

import json
import sys
from collections import Counter
from html.parser import HTMLParser
from typing import Any

import pytest

from fourtuple.errors import OptionError
from fourtuple.load import Histogram, Interval, Load, Phase, Result, Tally
from fourtuple.load.report import check, report

MS = 1_000_000


def rows() -> list[Interval]:
    """Three seconds with a stall in the second one, behind one of warm-up."""
    found = [Interval(0, -0.1, Phase.OPENING, 4, Tally(seconds=0.1, connects=4, connecting=Histogram.of([MS] * 4)))]
    for number, phase in enumerate([Phase.WARMUP, Phase.MEASURED, Phase.MEASURED, Phase.MEASURED, Phase.AFTER]):
        slow = 900 * MS if number == 2 else 2 * MS
        tally = Tally(seconds=1.0, requests=100, replies=100, cpu=500 * MS, octets_in=1600, octets_out=1600)
        tally.latency = Histogram.of([MS] * 90 + [slow] * 10)
        if number == 3:
            tally.failures = Counter({"PeerReset": 2})
            tally.samples = ["<script>alert('a peer said so')</script>"]
            tally.mismatches = 1
        found.append(Interval(number, float(number), phase, 4, tally))
    return found


def result(**options: object) -> Result:
    return Result.of("127.0.0.1:9999", "line", Load(connections=4, **options), rows())  # type: ignore[arg-type]


def test_rows_add_up() -> None:
    found = result()
    assert found.measured.seconds == 3.0
    assert (found.measured.replies, found.rate) == (300, 100.0)
    assert found.latency.count == 400, "measured, and the last replies behind it; no warm-up"
    assert found.latency.percentile(50) == pytest.approx(MS, rel=0.01)
    assert found.latency.maximum == pytest.approx(900 * MS, rel=0.01)
    assert (found.total.connects, found.total.failures) == (4, {"PeerReset": 2})
    assert found.cost == pytest.approx(5000.0), "microseconds of CPU for each message"
    assert found.busy == pytest.approx(0.5)
    assert not found.ok


def test_json_round_trip() -> None:
    for row in rows():
        assert Interval.from_json(json.loads(json.dumps(row.as_json()))) == row
    text = json.loads(json.dumps(result().as_json()))
    assert text["latency"]["p50"] == pytest.approx(0.001, rel=0.01)
    assert text["latency"]["max"] == pytest.approx(0.9, rel=0.01)
    assert [row["phase"] for row in text["series"]] == ["opening", "warmup", *["measured"] * 3, "after"]
    assert text["failures"] == {"PeerReset": 2}


class Page(HTMLParser):
    """What a browser would load or run, and whether every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: Counter[str] = Counter()
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        if tag != "meta":
            self.open.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def fonts(require_package: Any) -> None:
    """matplotlib keeps the fonts open that it has once used: before the leak check counts descriptors."""
    require_package("matplotlib")
    report(result())


@pytest.mark.usefixtures("fonts")
def test_the_page_stands_alone() -> None:
    page = Page()
    text = report(result(rate=100.0))
    page.feed(text)
    page.close()
    assert page.open == []
    assert page.elements["svg"] == 3, "latency over time, by percentile, replies a second"
    assert page.elements["script"] == 0
    assert all(link.startswith("#") for link in page.links), "nothing is loaded from anywhere"
    assert "<script>alert('a peer said so')</script>" in page.text, "as text"
    for words in (
        "Latency over time",
        "Latency by percentile",
        "99 %",
        "broken: PeerReset",
        "wrong replies",
        "Open loop",
    ):
        assert words in page.text
    assert len(text) < 400_000


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(OptionError, match=r"pip install 'fourtuple\[report\]'"):
        check()
