"""The Django app `exchanges`."""

from __future__ import annotations

from django.apps import AppConfig


class ExchangesConfig(AppConfig):
    """Names the app and registers its checks."""

    name = "exchanges"

    def ready(self) -> None:
        """Registers the system checks."""
        from exchanges import checks  # noqa: F401  # importing registers; models are loaded only now
