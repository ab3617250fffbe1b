"""Version 1 of the API: its routers, its errors, its documentation."""

from __future__ import annotations

from django.views.decorators.gzip import gzip_page
from ninja import NinjaAPI

from livermore.web.access import AUTH, known_only
from livermore.web.api import (
    alerts,
    errors,
    exchange_health,
    exchanges,
    exports,
    indicators,
    latency,
    market,
    positions,
    quality,
    quarantine,
    rules,
    signals,
    subscriptions,
    symbols,
)
from livermore.web.throttle import throttled

api = NinjaAPI(
    title="Livermore",
    version="1.0.0",
    description=(
        "What five exchanges say, as exact candles, indicators and cross-exchange signals. "
        "Log in, or send `Authorization: Bearer <API token>`. Times are epoch milliseconds UTC. "
        "Live events: `/api/v1/stream?channels=signals:*,exchanges:*` (server-sent events)."
    ),
    auth=AUTH,
    docs_decorator=known_only,
    urls_namespace="api-v1",
)
# Series shrink to a tenth; no answer here mixes a secret with what a caller sent (BREACH).
api.add_decorator(gzip_page, mode="view")
api.add_decorator(throttled, mode="view")
api.add_router("/exchanges", exchanges.router)
api.add_router("/signals", signals.router)
api.add_router("/alerts", alerts.router)
api.add_router("/indicators", indicators.router)
api.add_router("/symbols", symbols.router)
api.add_router("/subscriptions", subscriptions.router)
api.add_router("/positions", positions.router)
api.add_router("", market.router)
api.add_router("", latency.router)
api.add_router("", exchange_health.router)
api.add_router("", quality.router)
api.add_router("/quarantine", quarantine.router)
api.add_router("", rules.router)
api.add_router("/exports", exports.router)
errors.register(api)
