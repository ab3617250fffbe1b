"""Every address the web process answers."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from livermore.web.login import ThrottledAdminLoginView

urlpatterns = [
    # Before the admin's own page of the same address, which has no pause.
    path("admin/login/", ThrottledAdminLoginView.as_view()),
    path("admin/", admin.site.urls),
    path("", include("livermore.web.urls")),
]
handler404 = "livermore.web.views.missing"
