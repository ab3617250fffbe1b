"""The Django app of the pages and the API."""

from __future__ import annotations

from django.apps import AppConfig


class WebConfig(AppConfig):
    """Names the app."""

    name = "livermore.web"
    label = "web"
