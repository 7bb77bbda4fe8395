"""The page of metrics: a snapshot in Prometheus' text format, or in OpenMetrics if the client asks for it.

It needs prometheus-client: ``pip install 'fourtuple[metrics]'``.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector, CollectorRegistry

from fourtuple.errors import OperationError, OptionError
from fourtuple.observe.declared import METRICS, Metric
from fourtuple.observe.snapshot import Distribution, Labels, Snapshot

#: Seconds that a page of a program's own waits for the loop of the servers, whose numbers only it may read.
COLLECT_SECONDS = 5.0


@contextmanager
def registered(
    registry: CollectorRegistry, snapshot: Callable[[], Snapshot], loop: AbstractEventLoop
) -> Iterator[None]:
    """Let a registry have the numbers that ``snapshot`` returns, while the block runs. It is called on the loop only.

    Raises :class:`~fourtuple.errors.OptionError` if metrics with these names are in the registry.
    """
    collector = _Numbers(snapshot, loop)
    try:
        registry.register(collector)
    except ValueError as error:
        raise OptionError(
            f"registry: it has metrics of fourtuple already ({error}); use one operator for all"
        ) from None
    try:
        yield
    finally:
        registry.unregister(collector)


class _Numbers(Collector):
    """What a registry asks for the numbers of now, in any thread."""

    def __init__(self, snapshot: Callable[[], Snapshot], loop: AbstractEventLoop) -> None:
        self._snapshot = snapshot
        self._loop = loop

    def describe(self) -> list[Family]:
        """Return all names, so that the registry finds those that are there twice."""
        return [_family(metric, {}) for metric in METRICS.values()]

    def collect(self) -> list[Family]:
        """Return the numbers; raise :class:`~fourtuple.errors.OperationError` if a call holds the loop."""
        if asyncio._get_running_loop() is self._loop:
            return list(families(self._snapshot()))
        asked = asyncio.run_coroutine_threadsafe(self._asked(), self._loop)
        try:
            return list(families(asked.result(COLLECT_SECONDS)))
        except TimeoutError:
            asked.cancel()
            raise OperationError(
                f"metrics: a call has held the loop of the servers for {COLLECT_SECONDS:g} s"
            ) from None

    async def _asked(self) -> Snapshot:
        return self._snapshot()


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
