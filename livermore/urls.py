"""Every address the web process answers."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("admin/", admin.site.urls), path("", include("livermore.web.urls"))]
handler404 = "livermore.web.views.missing"
