"""The Django app `symbols`."""

from __future__ import annotations

from django.apps import AppConfig


class SymbolsConfig(AppConfig):
    """Names the app."""

    name = "symbols"
