"""`/metrics`: one scrape of the web process shows everything; closed to strangers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from exchanges import registry
from livermore.core.errors import StoreUnavailable
from livermore.version import version
from livermore.web import access, event_stream
from livermore.web.metrics import counts, stores, streams
from livermore.web.metrics.family import Gathered, Gauge

SOURCES_UP = Gauge("source_up", "1 where a part of these metrics could be read.", ("source",))
CLIENTS = Gauge("event_stream_clients", "Listeners of the web process that answers.")
BUILD = Gauge("build_info", "Always 1; the version that answers.", ("version",))
OWN = (SOURCES_UP, CLIENTS, BUILD)


class Everything(Collector):
    """Gathers anew at every scrape; what cannot be read is left out and `source_up` says so."""

    def collect(self) -> Iterator[Metric]:
        """The families of all sources."""
        found, slugs = Gathered(), registry.slugs()
        sources: Mapping[str, Callable[[], list[Metric]]] = {
            "streams": lambda: streams.gathered(slugs),
            "counts": counts.gathered,
            "queues": lambda: stores.waiting(slugs),
            "budgets": lambda: stores.budgets(slugs),
            "gaps": stores.gaps,
            "signals": stores.signals,
        }
        for name, gather in sources.items():
            try:
                yield from gather()
            except (StoreUnavailable, DatabaseError):
                found.put(SOURCES_UP, name, value=0)
            else:
                found.put(SOURCES_UP, name, value=1)
        found.put(CLIENTS, value=event_stream.clients())
        found.put(BUILD, version(), value=1)
        yield from found.families(OWN)


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus's text, or OpenMetrics where that is asked for; 401 without login, API token or METRICS_TOKEN."""
    if not (_is_scraper(request) or access.is_known(request)):
        return access.unauthorized()
    everything = CollectorRegistry(auto_describe=False)
    everything.register(Everything())
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(everything), content_type=content_type, headers={"Cache-Control": "no-store"})


def _is_scraper(request: HttpRequest) -> bool:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    wanted = settings.METRICS_TOKEN.encode()
    return bool(wanted) and scheme.lower() == "bearer" and secrets.compare_digest(text.strip().encode(), wanted)
