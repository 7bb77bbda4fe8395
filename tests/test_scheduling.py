"""The order in which workers run the tests: all of them, once each, and neighbours together."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

scheduling = pytest.importorskip("scheduling", reason="pytest-xdist is not installed")

TESTS = [
    *(f"tests/test_long.py::test_it[{number}]" for number in range(20)),
    "tests/test_group.py::test_one@together",
    "tests/test_short.py::test_one",
    "tests/test_short.py::test_of_an_address[a@b]",
    "tests/test_group.py::test_another@together",
]


class Worker:
    """Runs what it is given, one test after the other."""

    def __init__(self) -> None:
        self.given: list[list[int]] = []
        self.gateway = SimpleNamespace(id="gw")
        self.shutting_down = False

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given.append(indices)

    def shutdown(self) -> None:
        self.shutting_down = True


def scheduled(workers: list[Worker]) -> Any:
    config = SimpleNamespace(option=SimpleNamespace(loadscopereorder=True), getvalue=lambda name: ["popen"] * 2)
    made = scheduling.NeighboursScheduling(config)
    for worker in workers:
        made.add_node(worker)
        made.add_node_collection(worker, TESTS)
    made.schedule()
    return made


def test_runs_of_a_file_are_about_as_long_as_each_other() -> None:
    sizes = Counter(scheduling.runs(TESTS[:20]).values())
    assert sorted(sizes.values()) == [6, 7, 7]


def test_each_test_runs_once_beside_its_neighbours() -> None:
    workers = [Worker(), Worker()]
    made = scheduled(workers)
    ran: list[int] = []
    while not made.tests_finished or made.has_pending:
        for worker in workers:
            if len(worker.given) == 0:
                continue
            for index in worker.given.pop(0):
                ran.append(index)
                made.mark_test_complete(worker, index)
            assert sum(map(len, made.assigned_work[worker].values())) == sum(map(len, worker.given))  # none that ended
    assert sorted(ran) == list(range(len(TESTS)))
    assert abs(ran.index(20) - ran.index(23)) == 1
    assert all(worker.shutting_down for worker in workers)


def test_what_a_worker_that_crashes_has_not_run_is_run_by_another() -> None:
    workers = [Worker(), Worker()]
    made = scheduled(workers)
    first, *rest = workers[0].given[0]
    made.mark_test_complete(workers[0], first)
    assert made.remove_node(workers[0]) == TESTS[rest[0]]
    left = {test for unit in made.workqueue.values() for test, ended in unit.items() if not ended}
    left |= {test for unit in made.assigned_work[workers[1]].values() for test in unit}
    assert left == {*TESTS} - {TESTS[first]}
