"""PURE: the numbers of one moment, as the dashboard and ``fourtuple top`` show them."""

from __future__ import annotations

import math
from typing import Any

from fourtuple.observe.snapshot import Distribution, Snapshot, quantile
from fourtuple.operations.subject import Status

#: What is shown as a rate: counters, of which two moments are compared.
RATES = {
    "received": "fourtuple_messages_received_total",
    "sent": "fourtuple_messages_sent_total",
    "octets_in": "fourtuple_octets_received_total",
    "octets_out": "fourtuple_octets_sent_total",
    "accepted": "fourtuple_connections_accepted_total",
    "errors": "fourtuple_handler_errors_total",
}


def frame(status: Status, snapshot: Snapshot, now: float) -> dict[str, Any]:
    """Return the status with counters, refusals and the handler's times; ``now`` is in seconds of a monotonic clock."""
    return {
        "now": now,
        "status": status,
        "totals": {name: snapshot.total(metric) for name, metric in RATES.items()},
        "refused": _by_last(snapshot, "fourtuple_connections_refused_total"),
        "closed": _by_last(snapshot, "fourtuple_connections_closed_total"),
        "handler": _histogram(_sum_of(snapshot, "fourtuple_handler_seconds")),
        "lag": _histogram(_sum_of(snapshot, "fourtuple_loop_lag_seconds")),
        "longest_hold": snapshot.value("fourtuple_loop_longest_hold_seconds"),
        "buffered": snapshot.total("fourtuple_buffered_octets"),
    }


def _by_last(snapshot: Snapshot, name: str) -> dict[str, float]:
    """The values of a metric by its last label, summed over the others."""
    found: dict[str, float] = {}
    for metric, series in snapshot:
        if metric.name == name:
            for labels, value in series.items():
                if not isinstance(value, Distribution):
                    found[labels[-1]] = found.get(labels[-1], 0) + value
    return found


def _sum_of(snapshot: Snapshot, name: str) -> Distribution | None:
    """A histogram over all its labels; None without observations."""
    whole: Distribution | None = None
    for metric, series in snapshot:
        if metric.name == name:
            for value in series.values():
                if isinstance(value, Distribution):
                    if whole is None:
                        whole = value.copy()
                    else:
                        whole.add(value)
    return whole if whole is not None and whole.count else None


def _histogram(distribution: Distribution | None) -> dict[str, Any] | None:
    if distribution is None:
        return None
    return {
        "bounds": list(distribution.bounds),
        "counts": list(distribution.counts),
        "mean": distribution.sum / distribution.count,
        "p50": _finite(quantile(distribution, 0.5)),
        "p99": _finite(quantile(distribution, 0.99)),
    }


def _finite(value: float | None) -> float | None:
    """JSON has no infinity: None says that it is above all bounds."""
    return None if value is None or math.isinf(value) else value
