"""The parts of the exposition, and how a value becomes one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

PREFIX = "livermore_"


@dataclass(frozen=True, slots=True)
class Gauge:
    """A value that rises and falls; `name` without prefix."""

    name: str
    means: str
    labels: tuple[str, ...] = ()

    def family(self, values: Mapping[tuple[str, ...], float]) -> Metric:
        """With these values by labels."""
        made = GaugeMetricFamily(PREFIX + self.name, self.means, labels=self.labels)
        for labels, value in sorted(values.items()):
            made.add_metric(labels, value)
        return made


@dataclass(frozen=True, slots=True)
class Total:
    """A count that only rises, of a source that may begin anew; `name` without prefix and `_total`."""

    name: str
    means: str
    labels: tuple[str, ...] = ()

    def family(self, values: Mapping[tuple[str, ...], float]) -> Metric:
        """With these values by labels."""
        made = CounterMetricFamily(PREFIX + self.name, self.means, labels=self.labels)
        for labels, value in sorted(values.items()):
            made.add_metric(labels, value)
        return made


@dataclass(slots=True)
class Gathered:
    """Values by metric, while they are gathered."""

    values: dict[Gauge | Total, dict[tuple[str, ...], float]] = field(default_factory=dict)

    def put(self, kind: Gauge | Total, *labels: str, value: float | None) -> None:
        """Keep a value; None is nothing to tell."""
        if value is not None:
            self.values.setdefault(kind, {})[labels] = value

    def families(self, kinds: Iterable[Gauge | Total]) -> list[Metric]:
        """In this order, also those without a value."""
        return [kind.family(self.values.get(kind, {})) for kind in kinds]
