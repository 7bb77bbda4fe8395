"""When requests are due: evenly, behind a ramp, shared by processes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fourtuple.load.schedule import SECOND, Schedule, share

SCHEDULES = st.builds(
    lambda rate, ramp, processes, process: Schedule(rate, ramp, process % processes, processes),
    st.floats(0.5, 1e6),
    st.just(0.0) | st.floats(0.01, 100),
    st.integers(1, 5),
    st.integers(0, 4),
)


def test_an_even_schedule_divides_the_second() -> None:
    schedule = Schedule(4)
    assert [schedule.at(number) for number in range(5)] == [0, SECOND // 4, SECOND // 2, 3 * SECOND // 4, SECOND]
    assert schedule.before(SECOND) == 4
    assert schedule.before(SECOND + 1) == 5
    assert schedule.before(0) == 0


def test_a_ramp_has_half_of_the_requests_and_then_the_whole_rate() -> None:
    schedule = Schedule(100, ramp=2)
    assert schedule.before(2 * SECOND) == 100
    assert schedule.before(1 * SECOND) == pytest.approx(25, abs=1), (
        "the rate rises linearly: a quarter in half the time"
    )
    assert schedule.before(3 * SECOND) - schedule.before(2 * SECOND) == 100


@given(SCHEDULES, st.integers(0, 2000))
def test_the_moments_rise_and_are_counted(schedule: Schedule, number: int) -> None:
    moment = schedule.at(number)
    assert schedule.at(number + 1) >= moment
    counted = schedule.before(moment + 1)
    assert schedule.at(counted) > moment >= schedule.at(counted - 1)


@given(st.floats(1, 1e4), st.floats(0, 3), st.integers(1, 4))
def test_processes_share_one_schedule(rate: float, ramp: float, processes: int) -> None:
    whole = Schedule(rate, ramp)
    parts = [Schedule(rate, ramp, process, processes) for process in range(processes)]
    together = sorted(part.at(number) for part in parts for number in range(10))
    assert together == [whole.at(number) for number in range(10 * processes)]


@given(st.integers(0, 10_000), st.integers(1, 17))
def test_shares_add_up(total: int, processes: int) -> None:
    shares = [share(total, process, processes) for process in range(processes)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1
