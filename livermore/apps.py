"""The Django app of the project itself."""

from __future__ import annotations

from django.apps import AppConfig


class LivermoreConfig(AppConfig):
    """Names the app and has tasks counted."""

    name = "livermore"

    def ready(self) -> None:
        """Listens to Celery's signals."""
        from livermore import metering  # noqa: F401  # importing connects; models are loaded only now
