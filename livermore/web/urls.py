"""The addresses of the pages, the API and the health checks."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.http import HttpRequest, JsonResponse
from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt

from livermore.web import access, exchange_health, health, latency, views
from livermore.web.api.errors import body
from livermore.web.api.v1 import api
from livermore.web.event_stream import event_stream
from livermore.web.login import ThrottledLoginView
from livermore.web.metrics.view import metrics
from livermore.web.quality import quality


@csrf_exempt
def no_such_resource(request: HttpRequest) -> JsonResponse:
    """An address under /api/ that is none: 401 for strangers, so that they cannot map the API."""
    if not access.is_known(request):
        return access.unauthorized()
    return JsonResponse(body("not_found", "there is nothing at this address; see /api/v1/docs"), status=404)


urlpatterns = [
    path("", views.overview, name="overview"),
    path("signals/", views.signals, name="signals"),
    path("signals/<uuid:event_id>/", views.signal, name="signal"),
    path("quality/", quality, name="quality"),
    path("latency/", latency.page, name="latency"),
    path("symbols/<str:base>/", views.symbol, name="symbol"),
    path("exchanges/", exchange_health.overview, name="exchanges"),
    path("exchanges/<slug:slug>/", views.exchange, name="exchange"),
    path("exchanges/<slug:slug>/activity.csv", exchange_health.activity_csv, name="activity"),
    path("instances/", exchange_health.hosts, name="instances"),
    path("parts/<slug:name>/", views.part, name="part"),
    path("login/", ThrottledLoginView.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("flower/", views.flower, name="flower"),
    path("health/live", health.live),
    path("health/ready", health.ready),
    path("metrics", metrics, name="metrics"),
    path("api/v1/stream", event_stream, name="stream"),
    path("api/v1/", api.urls),
    re_path(r"^api/", no_such_resource),
]
