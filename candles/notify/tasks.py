"""Celery tasks of the outbox; beat runs the first, which asks for the others."""

from __future__ import annotations

import logging
import secrets

from django.conf import settings

from candles.notify import outbox, webhook
from exchanges.state import delete_if, state_redis
from livermore.celery import app
from livermore.core import keys
from livermore.logs import event

log = logging.getLogger(__name__)

LOCK_MS = 120_000
"""Longer than a channel's messages take; a sender that died is succeeded after that."""


@app.task(name="notify.collect", expires=5)
def collect() -> None:
    """Owe what new signals and alerts ask for, and have every channel served to which something is due."""
    for channel in outbox.collect():
        deliver.apply_async((channel,), argsrepr=f"channel {channel}")


@app.task(name="notify.heartbeat", expires=20)
def heartbeat() -> None:
    """Tell the outside that beat, broker and workers live; who listens there is told by its silence."""
    if not settings.HEARTBEAT_URL:
        return
    try:
        webhook.ping(settings.HEARTBEAT_URL)
    except webhook.NotSent as error:
        event(log, "notify.heartbeat_failed", logging.WARNING, why=error)


@app.task(name="notify.deliver", expires=60)
def deliver(channel: int) -> None:
    """Send what is due to one channel, unless that is under way."""
    key, token = keys.channel_lock(channel), secrets.token_hex(8)
    if not state_redis().set(key, token, nx=True, px=LOCK_MS):
        return
    try:
        outbox.deliver(channel)
    finally:
        delete_if(key, token)
