"""The Django app `candles`."""

from __future__ import annotations

from django.apps import AppConfig


class CandlesConfig(AppConfig):
    """Names the app and registers its checks."""

    name = "candles"

    def ready(self) -> None:
        """Registers the system checks."""
        from candles import checks  # noqa: F401  # importing registers; models are loaded only now
