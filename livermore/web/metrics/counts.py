"""What workers and web processes have counted (`exchanges/tally.py`), as counters and histograms."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric

from exchanges import tally
from livermore.web.metrics.family import PREFIX


def gathered() -> list[Metric]:
    """Every kind, also those that nobody has counted yet. Raises `StoreUnavailable`."""
    tally.flush()  # what this very process has counted
    told = tally.told()
    return [_counter(kind, told) if isinstance(kind, tally.Counter) else _histogram(kind, told) for kind in tally.KINDS]


def _counter(kind: tally.Counter, told: Mapping[tally.Field, float]) -> Metric:
    made = CounterMetricFamily(PREFIX + kind.name, kind.means, labels=kind.labels)
    for (name, *labels), count in sorted(told.items()):
        if name == kind.name and len(labels) == len(kind.labels):
            made.add_metric(labels, count)
    return made


def _histogram(kind: tally.Histogram, told: Mapping[tally.Field, float]) -> Metric:
    made = HistogramMetricFamily(PREFIX + kind.name, kind.means, labels=kind.labels)
    width = len(kind.labels)
    parts: dict[tuple[str, ...], dict[tuple[str, ...], float]] = {}
    for (name, *rest), count in told.items():
        if name == kind.name and len(rest) > width:
            parts.setdefault(tuple(rest[:width]), {})[tuple(rest[width:])] = count
    for labels, counted in sorted(parts.items()):
        buckets, below = [], 0.0
        for bound in (*map(str, kind.bounds), "+Inf"):
            below += counted.get((tally.BELOW, bound), 0.0)
            buckets.append((bound, below))
        made.add_metric(labels, buckets, counted.get((tally.SUM,), 0.0))
    return made
