"""PURE: what the workers of a supervisor have counted, those that have ended included.

Counters never become smaller: the last numbers of each worker that has ended are kept. The metrics and the totals of a
status come from the same answers, so that they are equal.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Generic, TypeVar

from fourtuple.observe.snapshot import Snapshot, ended, merge
from fourtuple.operations.subject import Serving, State

Worker = TypeVar("Worker", bound=Hashable)

#: What a service is, if its workers are in several states: the first of these.
_STATES: tuple[State, ...] = ("serving", "suspended", "starting", "draining", "stopped")


class Numbers(Generic[Worker]):
    """The last numbers of each worker, and the sums of those that have ended."""

    def __init__(self) -> None:
        self._last: dict[Worker, tuple[Snapshot, list[Serving]]] = {}
        self._dead: Snapshot = Snapshot()
        self._dead_services: list[Serving] = []
        #: The name of the service at each address, as far as a worker has told it.
        self.service_at: dict[str, str] = {}

    def take(self, worker: Worker, told: Mapping[str, Any]) -> None:
        """Keep what a worker has told; it replaces what it told before."""
        with suppress(ValueError, KeyError):
            self._last[worker] = Snapshot.from_json(told["metrics"]), told.get("services", [])
            self.service_at.update(told.get("listeners", {}))

    def ended(self, worker: Worker) -> None:
        """Keep what stays of a worker that has ended: what it has counted, but not what it had."""
        if worker in self._last:
            snapshot, services = self._last.pop(worker)
            self._dead = merge([self._dead, ended(snapshot)])
            self._dead_services = summed([*self._dead_services, *map(_of_the_dead, services)])

    def snapshot(self, own: Snapshot) -> Snapshot:
        """Return the metrics of all workers, and ``own``."""
        return merge([self._dead, *(snapshot for snapshot, _ in self._last.values()), own])

    def services(self, serving: Collection[Worker]) -> list[Serving]:
        """Return the services of all workers. Only those in ``serving`` have a state and a limit that counts."""
        told: list[Serving] = [
            each if worker in serving else {**each, "state": "draining", "max_connections": 0}
            for worker, (_, services) in self._last.items()
            for each in services
        ]
        return summed([*told, *self._dead_services])


def summed(services: Iterable[Serving]) -> list[Serving]:
    """Return what several workers have told of the same services, each once."""
    found: dict[str, Serving] = {}
    for each in services:
        sum_ = found.setdefault(
            each["name"], {**each, "connections": 0, "max_connections": 0, "totals": {}, "refused": {}}
        )
        sum_["connections"] += each["connections"]
        sum_["max_connections"] += each["max_connections"]
        for key in ("totals", "refused"):
            for name, count in each[key].items():
                sum_[key][name] = sum_[key].get(name, 0) + count
        sum_["state"] = min(sum_["state"], each["state"], key=_STATES.index)
    return list(found.values())


def _of_the_dead(service: Serving) -> Serving:
    totals = {**service["totals"], "active": 0}
    return {**service, "state": "stopped", "connections": 0, "max_connections": 0, "totals": totals}
