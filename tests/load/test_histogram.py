"""The histogram against exact percentiles of the same values, and its text against the format's own rules."""

from __future__ import annotations

import math
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourtuple.load.histogram import (
    BUCKETS,
    MAX_VALUE,
    Histogram,
    Recorder,
    bucket_of,
    hgrm,
    lower_bound,
    upper_bound,
)

VALUES = st.lists(st.integers(0, MAX_VALUE) | st.integers(0, 5000), min_size=1, max_size=300)


@given(st.integers(0, MAX_VALUE))
def test_a_value_lies_in_its_bucket_and_the_bucket_is_narrow(value: int) -> None:
    bucket = bucket_of(value)
    low, high = lower_bound(bucket), upper_bound(bucket)
    assert low <= value <= high
    assert high - low <= value / 256
    assert 0 <= bucket < BUCKETS


def test_the_buckets_touch() -> None:
    for bucket in range(BUCKETS - 1):
        assert upper_bound(bucket) + 1 == lower_bound(bucket + 1)
    assert upper_bound(BUCKETS - 1) == MAX_VALUE


def exact(values: list[int], percent: float) -> int:
    """The nearest-rank percentile, by definition."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100 - 1e-9) - 1)]


@given(VALUES, st.sampled_from([0.0, 1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 100.0]))
def test_percentiles_are_exact_but_for_the_width_of_a_bucket(values: list[int], percent: float) -> None:
    truth = exact(values, percent)
    told = Histogram.of(values).percentile(percent)
    assert truth <= told <= truth + truth / 256


@given(VALUES)
def test_the_other_numbers(values: list[int]) -> None:
    histogram = Histogram.of(values)
    assert histogram.count == len(values)
    mean = sum(values) / len(values)
    assert histogram.mean == pytest.approx(mean, rel=1 / 256, abs=1)
    assert max(values) <= histogram.maximum <= max(values) * (1 + 1 / 256)
    assert min(values) * (1 - 1 / 256) - 1 <= histogram.minimum <= min(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    assert histogram.deviation == pytest.approx(deviation, rel=0.05, abs=mean / 128 + 1)


@given(VALUES, VALUES)
def test_merging_is_counting_all(some: list[int], others: list[int]) -> None:
    merged = Histogram.of(some)
    merged.add(Histogram.of(others))
    assert merged == Histogram.of([*some, *others])


def test_a_recorder_gives_what_came_since_the_last_time() -> None:
    recorder = Recorder()
    held = recorder.counts
    recorder.record(7)
    assert recorder.take() == Histogram({7: 1})
    recorder.record(8)
    recorder.record(-5)
    recorder.record(MAX_VALUE * 2)
    assert recorder.take() == Histogram({8: 1, 0: 1, BUCKETS - 1: 1})
    assert recorder.take().count == 0
    assert recorder.counts is held


def test_nothing_was_counted() -> None:
    empty = Histogram()
    assert (empty.count, empty.mean, empty.deviation, empty.minimum, empty.maximum) == (0, 0, 0, 0, 0)
    assert empty.percentile(99) == 0
    assert "Total count    =            0" in hgrm(empty)


LINE = re.compile(r" *(\d+\.\d{3}) (\d\.\d{12}) +(\d+)(?: +(\d+\.\d\d))?")


def test_the_text_that_plotters_read() -> None:
    values = [int(random.Random(1).lognormvariate(13, 1)) for _ in range(1)] + [
        int(each) for each in map(random.Random(2).lognormvariate, [13.0] * 20_000, [1.0] * 20_000)
    ]
    head, blank, *lines = hgrm(Histogram.of(values)).splitlines()
    assert head.split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    assert blank == ""
    rows = [LINE.fullmatch(line) for line in lines if not line.startswith("#")]
    assert all(rows)
    seen = [(float(row[1]), float(row[2]), int(row[3]), row[4]) for row in rows if row]
    assert seen == sorted(seen, key=lambda row: row[:3]), "values, percentiles and counts only rise"
    assert seen[0][1] == 0.0
    assert seen[-1][1:] == (1.0, len(values), None), "the last line is 100 %, whose inverse is infinite"
    for value, share, count, inverse in seen:
        assert value == pytest.approx(exact(values, share * 100) / 1e6, rel=1 / 256, abs=0.001)
        assert count >= share * len(values) - 1
        if inverse is not None:
            assert float(inverse) == pytest.approx(1 / (1 - share), abs=0.01)
    assert len(seen) > 40, "five lines for each halving of what is left"
    comments = [line for line in lines if line.startswith("#")]
    assert [comment.split()[0] for comment in comments] == ["#[Mean", "#[Max", "#[Buckets"]
    assert f"{len(values)}]" in comments[1]
