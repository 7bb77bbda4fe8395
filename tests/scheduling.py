"""Which worker runs which tests: a few neighbours of one file at a time."""

from __future__ import annotations

from itertools import groupby
from math import ceil
from typing import Any

from xdist.scheduler import LoadGroupScheduling

#: What a worker gets at once. A few tests of seconds must not be what the others wait for at the end.
MOST = 8


class NeighboursScheduling(LoadGroupScheduling):  # type: ignore[misc]
    """Groups as ``--dist=loadgroup`` has them, and the other tests in runs of neighbours, in their order.

    Most files then make what their tests share once, and not once for each worker. And a worker's finished tests are
    forgotten: ``--dist=loadgroup`` counts all of them again behind each test, which for ten thousand tests takes longer
    than most folders.
    """

    def __init__(self, config: Any, log: Any = None) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False
        self._runs: dict[str, str] = {}

    def schedule(self) -> None:
        if self.collection is None:
            self._runs = runs(next(iter(self.registered_collections.values())))
        super().schedule()

    def _split_scope(self, nodeid: str) -> str:
        group: str = super()._split_scope(nodeid)
        return self._runs[nodeid] if group == nodeid else group

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        super().mark_test_complete(node, item_index, duration)
        scope = self._split_scope(self.registered_collections[node][item_index])
        if all(self.assigned_work[node][scope].values()):
            del self.assigned_work[node][scope]


def runs(tests: list[str]) -> dict[str, str]:
    """The run to which each test belongs. The runs of a file have about the same length."""
    found = {}
    for file, together in groupby(tests, lambda test: test.partition("::")[0]):
        here = list(together)
        parts = ceil(len(here) / MOST)
        for number, test in enumerate(here):
            found[test] = f"{file} {number * parts // len(here)}"
    return found
