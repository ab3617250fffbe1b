"""The Django app of rules and messages."""

from __future__ import annotations

from django.apps import AppConfig


class NotifyConfig(AppConfig):
    """Names the app."""

    name = "candles.notify"
    label = "notify"
