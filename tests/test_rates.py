"""The pace that one connection is held to, with a clock that the test holds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourtuple.options import Limits
from fourtuple.rates import Pace


def pace(**limits: Any) -> Pace:
    return Pace(Limits(**limits), 0, 0, 0.0)


def test_a_burst_of_one_second_then_the_rate() -> None:
    held = pace(max_message_rate=10.0)
    assert not held.took(0, 10, 0.0)
    assert held.took(0, 11, 0.0)
    assert held.until == pytest.approx(0.1)
    assert not held.took(0, 11, 0.1)
    assert held.took(0, 16, 0.1)
    assert held.until == pytest.approx(0.6)


def test_octets_and_messages_the_slower_one_counts() -> None:
    held = pace(max_message_rate=10.0, max_octet_rate=100.0)
    held.took(200, 15, 0.0)
    assert held.until == pytest.approx(1.0)
    held = pace(max_message_rate=10.0, max_octet_rate=100.0)
    held.took(110, 30, 0.0)
    assert held.until == pytest.approx(2.0)


def test_above_until_a_second_of_quiet() -> None:
    held = pace(max_octet_rate=100.0)
    held.took(100, 0, 0.0)
    assert held.over_since is None
    held.took(150, 0, 0.0)
    assert held.over_since == 0.0
    held.took(200, 0, 0.6)
    held.took(250, 0, 1.2)
    assert held.over_since == 0.0, "it was never quiet"
    held.took(251, 0, 4.0)
    assert held.over_since is None


def test_messages_that_become_raw_octets_again_are_not_given_back() -> None:
    held = pace(max_message_rate=10.0)
    held.took(0, 10, 0.0)
    assert not held.took(0, 5, 0.0)
    assert held.took(0, 6, 0.0)


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 500)), max_size=40))
def test_whoever_waits_as_told_keeps_the_rate(steps: list[tuple[float, int]]) -> None:
    held, now, octets, largest = pace(max_octet_rate=100.0), 0.0, 0, 0
    for pause, size in steps:
        now = max(now + pause, held.until)
        octets += size
        largest = max(largest, size)
        held.took(octets, 0, now)
        assert octets <= 100 + 100 * now + largest + 1e-6
