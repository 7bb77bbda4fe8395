"""Token buckets and what is remembered of addresses, with a clock that the test holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourtuple.rates.token_bucket import SHARED_ENTRIES, Bucket, Table


def test_a_bucket_fills_by_the_clock_and_runs_over() -> None:
    bucket = Bucket(10.0, 10.0, 0.0)
    assert (bucket.available(0.0), bucket.full(0.0)) == (10, True)
    bucket.take(0.0, 10)
    assert (bucket.available(0.0), bucket.wait(0.0)) == (0, pytest.approx(0.1, rel=1e-4))
    assert bucket.available(0.1) == 1
    assert bucket.available(0.55) == 5
    assert bucket.available(100.0) == 10


def test_a_debt_is_paid_first() -> None:
    bucket = Bucket(10.0, 10.0, 0.0)
    bucket.take(0.0, 25)
    assert bucket.available(1.0) == 0
    assert bucket.wait(1.0) == pytest.approx(0.6, rel=1e-4)
    assert bucket.available(1.6) == 1


def test_what_is_given_back_is_no_more_than_there_was_room_for() -> None:
    bucket = Bucket(10.0, 10.0, 0.0)
    bucket.take(0.0, 3)
    bucket.give_back(100)
    assert bucket.available(0.0) == 10


def test_a_rate_below_one_gives_one_at_a_time() -> None:
    bucket = Bucket(0.1, 0.1, 0.0)
    assert bucket.available(0.0) == 1
    bucket.take(0.0)
    assert bucket.available(9.0) == 0
    assert bucket.available(10.0) == 1


@given(st.floats(0.01, 1e6), st.lists(st.floats(0, 10), max_size=30))
def test_waiting_as_told_finds_a_token(rate: float, pauses: list[float]) -> None:
    bucket, now = Bucket(rate, rate, 0.0), 0.0
    for pause in pauses:
        bucket.take(now, bucket.available(now) or 1)
        now += pause
        now += bucket.wait(now)
        assert bucket.available(now) >= 1


# -- the table --------------------------------------------------------------------------------------------


def table(most: int) -> Table[Bucket]:
    return Table(lambda now: Bucket(1.0, 1.0, now), Bucket.full, most)


def test_an_entry_stays_while_it_owes() -> None:
    entries = table(2)
    first = entries.entry("a", 0.0)
    first.take(0.0, 10)
    assert entries.entry("a", 5.0) is first
    entries.entry("b", 5.0)
    assert entries.entry("c", 5.0) is not first
    assert len(entries) == 2, "b was as new, and made room"
    assert entries.entry("a", 6.0) is first


def test_a_full_table_forgets_no_address_that_owes() -> None:
    entries = table(100)
    for number in range(100):
        entries.entry(number, 0.0).take(0.0, 10)
    strangers = {id(entries.entry(f"stranger {number}", 1.0)) for number in range(10_000)}
    assert 1 < len(strangers) <= SHARED_ENTRIES, "they share, and not all the same one"
    assert len(entries) == 100
    assert all(not entries.entry(number, 1.0).full(1.0) for number in range(100))


def test_unlisted_addresses_keep_their_debt_while_the_table_is_full() -> None:
    entries = table(1)
    entries.entry("a", 0.0).take(0.0, 100)
    entries.entry("b", 0.0).take(0.0, 10)
    for now in (0.5, 1.0, 5.0):
        assert entries.entry("b", now).available(now) == 0


def test_the_table_looks_for_room_a_few_times_a_second() -> None:
    looks = []

    def as_new(_entry: object, now: float) -> bool:
        looks.append(now)
        return False

    entries = Table(lambda _: object(), as_new, 1)
    entries.entry("a", 0.0)
    for number in range(1000):
        entries.entry(f"stranger {number}", number / 1000)
    assert len({*looks}) == 4
