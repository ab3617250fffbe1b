"""Turns the streams' observed numbers into events: one look per second for all clients together."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing

from asgiref.sync import sync_to_async
from django.db import close_old_connections

from exchanges.models import Exchange
from livermore.core import keys
from livermore.web import state
from livermore.web.hub import Event, Hub

EVERY_S = 1.0
# New rows in the table are rare; a page learns of them with its next load.
SLUGS_FOR_S = 60.0
ANY_EXCHANGE = keys.channel_exchange("")


async def pulse(hub: Hub) -> None:
    """Offer each exchange's numbers whenever they changed, while somebody listens to any exchange."""
    before: dict[str, dict[str, str]] = {}
    slugs: list[str] = []
    asked_at = -SLUGS_FOR_S
    async with aclosing(state.follower()) as connection:
        while True:
            await asyncio.sleep(EVERY_S)
            if not hub.is_wanted(ANY_EXCHANGE):
                continue
            if time.monotonic() - asked_at > SLUGS_FOR_S:
                slugs, asked_at = await sync_to_async(_slugs)(), time.monotonic()
            for slug in slugs:
                said = await connection.hgetall(keys.stream(slug))
                if said and said != before.get(slug):
                    before[slug] = said
                    hub.offer(Event("wake", keys.channel_exchange(slug), json.dumps({"kind": "numbers", **said})))


def _slugs() -> list[str]:
    close_old_connections()
    return list(Exchange.objects.values_list("slug", flat=True))
