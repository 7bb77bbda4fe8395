"""The page of metrics: a snapshot in Prometheus' text format, or in OpenMetrics if the client asks for it.

It needs prometheus-client: ``pip install 'fourtuple[metrics]'``.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import CollectorRegistry

from fourtuple.observe.declared import Metric
from fourtuple.observe.snapshot import Distribution, Labels, Snapshot


class _Collected(CollectorRegistry):
    """What an encoder asks for its families: those of one snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self._snapshot = snapshot

    def collect(self) -> Iterator[Family]:
        return families(self._snapshot)


def exposed(snapshot: Snapshot, accept: str = "") -> tuple[bytes, str]:
    """Return the page and its content type, in a format that the value ``accept`` of the header Accept names."""
    encode, content_type = choose_encoder(accept)
    page: bytes = encode(_Collected(snapshot))
    return page, content_type


def families(snapshot: Snapshot) -> Iterator[Family]:
    """Yield each metric that has values."""
    for metric, series in snapshot:
        yield _family(metric, series)


def _family(metric: Metric, series: dict[Labels, float | Distribution]) -> Family:
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
        for labels, value in series.items():
            assert isinstance(value, Distribution)
            histogram.add_metric(list(labels), _buckets(value), value.sum)
        return histogram
    made = (CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily)(
        metric.name, metric.help, labels=metric.labels
    )
    for labels, value in series.items():
        assert not isinstance(value, Distribution)
        made.add_metric(list(labels), value)
    return made


def _buckets(distribution: Distribution) -> list[tuple[str, float]]:
    """The cumulative counts that Prometheus wants."""
    counts, found = 0, []
    for bound, count in zip((*map(str, distribution.bounds), "+Inf"), distribution.counts, strict=True):
        counts += count
        found.append((bound, float(counts)))
    return found
