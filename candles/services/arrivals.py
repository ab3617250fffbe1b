"""Batch numbers as a witness: which batches of a connection never arrived, and who may still send."""

from __future__ import annotations

import time
from typing import Any

from django.conf import settings

from candles.models import QuarantinedBatch
from exchanges.state import state_redis, unavailable
from exchanges.venue import TradeIds, Venue
from livermore.core import keys
from livermore.core.frame import FrameBatch
from livermore.core.gap import Cause, Gap

SWEEP_MS = 60_000
MARGIN_NS = 5_000_000_000
FORGET_MS = 2 * 3600_000
EPOCH_KEPT_S = 1.0

_newest: dict[str, tuple[int, int]] = {}  # connection → number, received ns
_epochs: dict[str, tuple[float, int]] = {}  # exchange → when read, epoch


def is_stale(venue: Venue, batch: FrameBatch) -> bool:
    """Does a newer holder of the lease exist, whose trades would count twice beside these?

    Where trades have ids the fold removes what two holders saw, and an old batch is welcome.
    """
    if venue.trade_ids is not TradeIds.ABSENT:
        return False
    read_at, epoch = _epochs.get(batch.exchange, (0.0, 0))
    if time.monotonic() - read_at > EPOCH_KEPT_S:
        epoch = int(state_redis().get(keys.epoch(batch.exchange)) or 0)
        _epochs[batch.exchange] = (time.monotonic(), epoch)
    return batch.epoch < epoch


def refused(batch: FrameBatch) -> Gap:
    """What a stale batch held: nobody else may have heard it.

    Whole steps of time, so that the many batches of a host that goes on for seconds are few gaps.
    """
    from_ns = (batch.arrivals[0][1] - MARGIN_NS) // MARGIN_NS * MARGIN_NS
    to_ns = -(-(batch.received_ns + MARGIN_NS) // MARGIN_NS) * MARGIN_NS
    return Gap(batch.exchange, from_ns, to_ns, Cause.BATCH, (), batch.connection)


def stage(pipe: Any, batch: FrameBatch, now_ms: int) -> None:
    """Add to `pipe` that this batch came, and which numbers before it did not (yet)."""
    known = _newest.get(batch.connection)
    if known is None:
        stored = state_redis().hget(keys.arrived(batch.exchange), batch.connection)
        known = tuple(map(int, stored.split(b"|"))) if stored else (batch.number - 1, batch.received_ns)
    number, received_ns = known
    if batch.number <= number:
        return
    _newest[batch.connection] = (batch.number, batch.received_ns)
    pipe.hset(keys.arrived(batch.exchange), batch.connection, f"{batch.number}|{batch.received_ns}")
    pipe.pexpire(keys.arrived(batch.exchange), FORGET_MS)
    missing = {
        f"{batch.connection}|{lost}|{received_ns}|{batch.received_ns}": now_ms
        for lost in range(number + 1, batch.number)
    }
    if missing:
        pipe.zadd(keys.missing(batch.exchange), missing)
        pipe.pexpire(keys.missing(batch.exchange), FORGET_MS)


@unavailable()
def lost(exchange: str, now_ms: int) -> list[Gap]:
    """Gaps of the batches that are missing for longer than a broker could still redeliver them.

    Each is told once. Also forgets connections that have not sent for hours.
    """
    client = state_redis()
    overdue = now_ms - settings.VISIBILITY_TIMEOUT_S * 1000 - SWEEP_MS
    gaps = []
    for member in client.zrangebyscore(keys.missing(exchange), "-inf", overdue):
        connection, number, from_ns, to_ns = member.decode().split("|")
        came = client.getbit(keys.batches(exchange, connection), int(number))
        if not came and not _is_quarantined(exchange, connection, int(number)):
            gaps.append(
                Gap(exchange, int(from_ns) - MARGIN_NS, int(to_ns) + MARGIN_NS, Cause.BATCH, (), connection)
            )
        client.zrem(keys.missing(exchange), member)
    for connection, stored in client.hgetall(keys.arrived(exchange)).items():
        if int(stored.split(b"|")[1]) // 1_000_000 < now_ms - FORGET_MS:
            client.hdel(keys.arrived(exchange), connection)
    return gaps


def _is_quarantined(exchange: str, connection: str, number: int) -> bool:
    """Did it come, and was it set aside? Then it is a gap already."""
    return QuarantinedBatch.objects.filter(exchange=exchange, connection=connection, number=number).exists()
