"""The Django app `exchanges`."""

from __future__ import annotations

from django.apps import AppConfig


class ExchangesConfig(AppConfig):
    """Names the app."""

    name = "exchanges"
