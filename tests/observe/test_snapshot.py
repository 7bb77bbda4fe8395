"""Snapshots: JSON and back, sums over workers, what stays of a dead one, and labels that cannot grow."""

from __future__ import annotations

import json
import math

import pytest

from fourtuple.observe.declared import METRICS
from fourtuple.observe.snapshot import MOST_VALUES, Distribution, Snapshot, ended, merge, quantile

ACCEPTED = "fourtuple_connections_accepted_total"
OPEN = "fourtuple_connections_open"
CLOSED = "fourtuple_connections_closed_total"
HOLD = "fourtuple_loop_longest_hold_seconds"
SECONDS = "fourtuple_handler_seconds"


def worker(accepted: int, active: int, hold: float, *took: float) -> Snapshot:
    made = Snapshot()
    made.put(ACCEPTED, accepted, "echo")
    made.put(OPEN, active, "echo")
    made.put(HOLD, hold)
    handler = Distribution.empty(METRICS[SECONDS].bounds)
    for seconds in took:
        handler.observe(seconds)
    made.put(SECONDS, handler, "echo")
    return made


def test_sums_and_the_largest() -> None:
    whole = merge([worker(3, 1, 0.5, 0.2), worker(4, 2, 0.25, 0.2, 20.0)])
    assert whole.value(ACCEPTED, "echo") == 7
    assert whole.value(OPEN, "echo") == 3
    assert whole.value(HOLD) == 0.5
    assert whole.distribution(SECONDS, "echo").count == 3
    assert whole.distribution(SECONDS, "echo").sum == pytest.approx(20.4)


def test_merge_changes_no_snapshot() -> None:
    one, two = worker(3, 1, 0.5, 0.2), worker(4, 2, 0.25, 0.2)
    merge([one, two])
    assert one.value(ACCEPTED, "echo") == 3
    assert one.distribution(SECONDS, "echo").count == 1


def test_counters_of_the_dead_stay_and_gauges_go() -> None:
    dead = merge([Snapshot(), ended(worker(3, 1, 0.5, 0.2))])
    whole = merge([dead, worker(4, 2, 0.25)])
    assert whole.value(ACCEPTED, "echo") == 7
    assert whole.value(OPEN, "echo") == 2
    assert whole.value(HOLD) == 0.25
    assert whole.distribution(SECONDS, "echo").count == 1


def test_through_json_and_back() -> None:
    made = worker(3, 1, 0.5, 0.2, 9e9)
    again = Snapshot.from_json(json.loads(json.dumps(made.as_json())))
    assert again.as_json() == made.as_json()


@pytest.mark.parametrize("value", [[], None, {ACCEPTED: 3}, {ACCEPTED: [3]}, {ACCEPTED: None}])
def test_what_is_no_snapshot(value: object) -> None:
    with pytest.raises(ValueError, match="a snapshot"):
        Snapshot.from_json(value)


@pytest.mark.parametrize(
    "value",
    [
        {"fourtuple_of_another_version": [[[], 1]]},
        {ACCEPTED: [[["echo", "too", "many"], 1]]},
        {ACCEPTED: [[["echo"], math.inf]]},
        {ACCEPTED: [[["echo"], True]]},
        {SECONDS: [[["echo"], {"counts": [1, 2], "sum": 1.0}]]},
        {SECONDS: [[["echo"], {"counts": "many", "sum": 1.0}]]},
        {SECONDS: [[["echo"], 3]]},
    ],
)
def test_what_another_version_says_otherwise_is_left_out(value: object) -> None:
    assert Snapshot.from_json(value).as_json() in ({}, {ACCEPTED: []}, {SECONDS: []})


def test_a_label_has_a_bounded_number_of_values() -> None:
    made = Snapshot()
    for number in range(10_000):
        made.put(CLOSED, 1, "echo", f"reason {number}")
    ((_, series),) = list(made)
    assert len(series) == MOST_VALUES
    assert series["echo", "other"] == 10_000 - (MOST_VALUES - 1)
    assert made.total(CLOSED) == 10_000


def test_each_service_has_its_own_values() -> None:
    made = Snapshot()
    for service in range(3):
        for number in range(40):
            made.put(CLOSED, 1, f"service {service}", f"reason {number}")
    ((_, series),) = list(made)
    assert len(series) == 120


def test_the_wrong_labels_and_the_wrong_name() -> None:
    with pytest.raises(KeyError):
        Snapshot().put("fourtuple_unknown", 1)
    with pytest.raises(ValueError, match="has the labels"):
        Snapshot().put(ACCEPTED, 1)
    with pytest.raises(ValueError, match="is a histogram"):
        worker(1, 1, 1).value(SECONDS, "echo")


def test_buckets_include_their_bound() -> None:
    seconds = Distribution.empty((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        seconds.observe(value)
    assert seconds.counts == [2, 2, 1]


def test_quantiles_are_the_bounds_of_their_bucket() -> None:
    seconds = Distribution.empty((1.0, 2.0))
    assert quantile(seconds, 0.5) is None
    for value in (0.5, 1.5, 1.6, 9.0):
        seconds.observe(value)
    assert [quantile(seconds, share) for share in (0.25, 0.5, 0.99)] == [1.0, 2.0, math.inf]
