"""Was anybody listening? What the stream host says of an exchange, and which silent buckets close for it."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Max

from candles import ledger
from candles.ledger import Bucket
from candles.models import Candle
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.candle import BASE_TIMEFRAME, BUCKET_MS, Source
from symbols import services as symbols

MARKED_LIFE_S = 3600
_NOT_STARTED = {"", "idle", "checking_geo", "refused", "draining"}


@dataclass(frozen=True, slots=True)
class Coverage:
    """`since_ms`: every connection has streamed without interruption since then; 0 when one does not.

    `updated_ms`: the host's last word.
    """

    exchange: str
    is_started: bool
    since_ms: int
    updated_ms: int

    def covers(self, end_ms: int) -> bool:
        """Is the stream alive, and was it heard of after `end_ms`?

        What happened before `since_ms` is told by the gap ledger: every reconnect writes its gap.
        """
        return self.since_ms > 0 and not self.is_unheard(end_ms)

    def is_unheard(self, end_ms: int) -> bool:
        """The stream was alive, but has not been heard of since `end_ms`: whether it was is known later."""
        return self.since_ms > 0 and self.updated_ms < end_ms


@unavailable()
def mark_silent(exchange: str, now_ms: int) -> None:
    """Make the buckets that ended since the last call due for every streamed symbol: silent ones close too.

    Nothing for the first bucket after a pause of an hour: nobody listened while it lasted. Where Redis has
    forgotten what was marked, the newest candle of the table tells.
    """
    if not coverage(exchange).is_started:
        return
    open_ms = now_ms - now_ms % BUCKET_MS - BUCKET_MS
    stored = state_redis().get(keys.marked(exchange))
    done_ms = _recorded(exchange, open_ms) if stored is None else int(stored)
    if opens := range(done_ms + BUCKET_MS, open_ms + BUCKET_MS, BUCKET_MS):
        names = symbols.streamed_names(exchange).values()
        ledger.mark(exchange, [Bucket(name, at_ms) for at_ms in opens for name in names], now_ms=now_ms)
    # Remembered last: who dies in between leaves the marking to the next, and marking twice is harmless.
    state_redis().set(keys.marked(exchange), open_ms, ex=MARKED_LIFE_S)


def _recorded(exchange: str, open_ms: int) -> int:
    """The bucket before the newest that the stream filled within the last hour; `open_ms` where there is none."""
    followed = Candle.objects.filter(
        symbol__exchange_id=exchange, timeframe=str(BASE_TIMEFRAME), source__in=(Source.TRADES, Source.ADOPTED),
        open_ms__gte=open_ms - MARKED_LIFE_S * 1000,
    )  # fmt: skip
    newest = followed.aggregate(newest=Max("open_ms"))["newest"]
    return open_ms if newest is None else min(open_ms, newest - BUCKET_MS)


@unavailable()
def coverage(exchange: str) -> Coverage:
    """What is known now; nothing at all when no host has spoken for 30 s."""
    fields = ("state", "since_ms", "updated_ms")
    state, since, updated = state_redis().hmget(keys.stream(exchange), *fields)
    return Coverage(
        exchange,
        is_started=(state or b"").decode() not in _NOT_STARTED,
        since_ms=int(since or 0),
        updated_ms=int(updated or 0),
    )
