"""When a drain half-closes idle connections: at once, or spread over its time. PURE, with thousands of them."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

from fourtuple import Deadlines
from fourtuple.serving.farewells import Farewells


def idle(id: int) -> Any:
    stream = SimpleNamespace(closing=False, octets_in=1, last_activity=0.0, reason=None)
    runner = SimpleNamespace(
        stream=stream, channel=SimpleNamespace(id=id), at_rest=True, has_spoken=True, may_half_close=True
    )

    def half_close() -> None:
        stream.closing = True

    runner.half_close = half_close
    return runner


def closed_by_second(connections: list[Any], deadlines: Deadlines, patience: float | None) -> Counter[int]:
    """Drain; return how many connections are half-closed in each second: their clients connect again then."""
    farewells = Farewells(100.0, deadlines, patience)
    closed: Counter[int] = Counter()
    step = 0
    while closed.total() < len(connections):
        step += 1
        for say in farewells.due(connections, 100.0 + step * 0.25):
            say()
            closed[step // 4] += 1
    return closed


def test_without_a_spread_all_idle_connections_end_in_one_second() -> None:
    closed = closed_by_second([idle(number) for number in range(5000)], Deadlines(), 6.0)
    assert closed == {1: 5000}


def test_a_spread_bounds_the_reconnects_per_second() -> None:
    deadlines = Deadlines(drain_timeout=60.0, drain_spread=50.0)
    # Ids of one worker, of which other connections have ended meanwhile.
    closed = closed_by_second([idle(7 * number) for number in range(5000)], deadlines, 58.0)
    assert closed.total() == 5000
    assert len(closed) >= 50
    assert max(closed.values()) <= 1.1 * 5000 / 50
    assert max(closed) <= 51


def test_a_spread_ends_before_the_last_call() -> None:
    deadlines = Deadlines(drain_timeout=8.0, drain_spread=3600.0)
    closed = closed_by_second([idle(number) for number in range(5000)], deadlines, 6.0)
    assert closed.total() == 5000
    assert max(closed.values()) <= 1.2 * 5000 / 3
    assert max(closed) <= 4  # linger_timeout before the rest is aborted


def test_those_who_are_not_idle_when_their_turn_comes_end_when_they_are() -> None:
    deadlines = Deadlines(drain_timeout=60.0, drain_spread=10.0)
    connections = [idle(number) for number in range(100)]
    farewells = Farewells(100.0, deadlines, 58.0)
    for runner in connections:
        runner.at_rest = False
    assert not list(farewells.due(connections, 119.9))
    assert not list(farewells.due(connections, 120.0))
    for runner in connections:
        runner.at_rest = True
    assert not list(farewells.due(connections, 120.9))
    assert len(list(farewells.due(connections, 121.1))) == 100
