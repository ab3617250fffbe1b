"""Channels are made and changed here: their addresses are checked, sealed, and never shown again."""

from __future__ import annotations

import secrets
from typing import Any

from django.utils import timezone

from candles.notify import chat, webhook
from candles.notify.models import Channel
from candles.notify.webhook import NotSent
from exchanges.credentials import seal, unseal
from livermore.core.errors import InvalidInput

MOST_PER_USER = 20


def create(user: Any, name: str, kind: str, address: str) -> tuple[Channel, str]:
    """A new channel, and the secret with which its webhooks are signed, shown this once.

    Raises `InvalidInput` that says what is accepted.
    """
    if Channel.objects.filter(user=user).count() >= MOST_PER_USER:
        raise InvalidInput(f"a user has {MOST_PER_USER} channels at most; delete one first")
    if Channel.objects.filter(user=user, name=name).exists():
        raise InvalidInput(f"you have a channel {name!r} already")
    check(kind, address)
    secret = secrets.token_urlsafe(32)
    channel = Channel(user=user, name=name, kind=kind, address=seal(address), secret=seal(secret))
    channel.save()
    return channel, secret


def check(kind: str, address: str) -> None:
    """Raises `InvalidInput` where the address cannot be used."""
    if kind == Channel.Kind.WEBHOOK:
        webhook.check(address)
    elif kind == Channel.Kind.CHAT:
        chat.check(address)
    else:
        raise InvalidInput(f"a channel of kind {kind!r} does not exist; accepted: {' '.join(Channel.Kind.values)}")


def test(channel: Channel) -> str:
    """Send a message that says it is a test; "" when it arrived, else why not."""
    try:
        if channel.kind == Channel.Kind.CHAT:
            chat.send(unseal(channel.address), "Livermore", "This is a test: messages arrive here.")
        else:
            body = b'{"id":"test","event_id":"test","phase":"test","event":null}'
            webhook.send(unseal(channel.address), unseal(channel.secret), "test", body)
    except (NotSent, InvalidInput) as error:
        channel.last_error = str(error)[:200]
        channel.save(update_fields=["last_error"])
        return channel.last_error
    channel.last_error, channel.last_sent_at = "", timezone.now()
    channel.save(update_fields=["last_error", "last_sent_at"])
    return ""
