"""Messages to Discord, Slack, Telegram and mail, all by apprise."""

from __future__ import annotations

import logging

import apprise

from candles.notify.webhook import NotSent
from livermore.core.errors import InvalidInput

SERVICES = ("discord", "slack", "tgram", "mailto", "mailtos")
"""The services of apprise that may be used: their hosts are fixed, but for mail."""

logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it logs addresses, which hold secrets


def check(address: str) -> apprise.NotifyBase:
    """The service that an address means; raises `InvalidInput`, which quotes nothing of it."""
    service = address.partition("://")[0].lower()
    found = apprise.Apprise.instantiate(address, suppress_exceptions=True) if service in SERVICES else None
    if found is None:
        raise InvalidInput(f"this is no address of apprise; accepted: {' '.join(f'{name}://' for name in SERVICES)}")
    return found


def send(address: str, title: str, body: str) -> None:
    """Tell it; raises `NotSent`. Text first: an image that cannot be drawn holds up no message."""
    try:
        service = check(address)
    except InvalidInput as error:
        raise NotSent(str(error), is_final=True) from None
    if not service.notify(title=title, body=body):
        raise NotSent(f"{service.service_name} did not take it")
