"""The Django app `candles`."""

from __future__ import annotations

from django.apps import AppConfig


class CandlesConfig(AppConfig):
    """Names the app."""

    name = "candles"
