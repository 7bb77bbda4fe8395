"""When the next attempt may begin: growth, cap, jitter, and what resets it."""

from __future__ import annotations

import itertools

import pytest

from fourtuple.backoff import WORKED_SECONDS, Backoff


def test_the_pause_grows_to_the_cap_and_counts_from_the_beginning_of_the_attempt() -> None:
    backoff = Backoff(chance=lambda: 0.5)  # in the middle: no jitter
    pauses = [backoff.failed(1000.0) - 1000.0 for _ in range(15)]
    assert pauses[:4] == pytest.approx([0.1, 0.16, 0.256, 0.4096])
    assert all(later == pytest.approx(1.6 * earlier) for earlier, later in itertools.pairwise(pauses[:13]))
    assert pauses[13:] == pytest.approx([30.0, 30.0])


def test_the_jitter_comes_after_the_cap() -> None:
    chances = itertools.cycle([0.0, 1.0 - 2**-53])
    backoff = Backoff(chance=lambda: next(chances))
    pauses = [backoff.failed(0.0) for _ in range(40)]
    assert pauses[:2] == pytest.approx([0.08, 0.192])
    assert pauses[-2:] == pytest.approx([24.0, 36.0])


def test_after_the_loss_of_a_connection_that_worked_it_begins_again() -> None:
    backoff = Backoff(chance=lambda: 0.75)
    for _ in range(5):
        backoff.failed(0.0)
    assert backoff.ended(90.0, 90.5, 90.5 + WORKED_SECONDS) == pytest.approx(90.5 + WORKED_SECONDS + 0.75)
    assert backoff.failed(200.0) == pytest.approx(200.0 + 0.1 * 1.1)


def test_a_connection_that_is_dropped_at_once_is_a_failed_attempt() -> None:
    backoff = Backoff(chance=lambda: 0.5)
    waits = [backoff.ended(50.0, 50.25, 51.0) - 50.0 for _ in range(3)]
    assert waits == pytest.approx([0.1, 0.16, 0.256])


def test_it_is_random_without_being_told() -> None:
    assert len({Backoff().failed(0.0) for _ in range(20)}) > 1
