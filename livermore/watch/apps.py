"""The Django app of what is looked at from outside."""

from __future__ import annotations

from django.apps import AppConfig


class WatchConfig(AppConfig):
    """Names the app."""

    name = "livermore.watch"
    label = "watch"
