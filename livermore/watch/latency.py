"""Latency of the same symbol across exchanges: sampled from what workers leave in Redis, summed up for page and API.

Nothing is added where trades pass: quotes hold both clocks already, workers count how long batches take, and trails
hold a price a second.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exchanges import tally
from exchanges.clock import KNOWN_FOR_MS, Estimate
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.watch import ages

FORGOTTEN_MS = 30_000
"""A quote that came longer ago than this is not looked at: it was seen, or nobody looked then."""
_ALL, _SAMPLED, _DELAYS = "all", "sampled", ""
_P50, _P95 = 0.5, 0.95


@dataclass(frozen=True, slots=True)
class Window:
    """Over which time is summed up: `slots` of `slot_s` each, the running one among them."""

    slot_s: int
    slots: int

    def key(self, exchange: str, slot: int) -> str:
        """Where the ages of one slot are."""
        return keys.latency(exchange, f"{self.slot_s}:{slot}")

    def slot(self, now_ms: int) -> int:
        """The running one."""
        return now_ms // (self.slot_s * 1000)

    def from_ms(self, now_ms: int) -> int:
        """When its first slot began."""
        return (self.slot(now_ms) - self.slots + 1) * self.slot_s * 1000


WINDOWS: Mapping[str, Window] = {"1h": Window(300, 12), "24h": Window(3600, 24)}


@dataclass(frozen=True, slots=True)
class Quote:
    """The newest of a market: the venue's time and ours (ms UTC)."""

    exchange: str
    symbol: str
    time_ms: int
    received_ms: int


@unavailable()
def quotes(base: str) -> list[Quote]:
    """Of all markets of a base that traded within the last hour."""
    return _quotes(state_redis().hgetall(keys.quotes(base)))


def _quotes(found: Mapping[bytes, bytes]) -> list[Quote]:
    told = []
    for name, text in found.items():
        exchange, _, symbol = name.decode().partition("|")
        _, time_ms, received_ms, *_ = text.split(b"|")
        told.append(Quote(exchange, symbol, int(time_ms), int(received_ms)))
    return told


@unavailable()
def clock(exchange: str, now_ms: int) -> Estimate | None:
    """What an exchange's host last measured of the venue's clock; None when too long ago, or never."""
    fields = ("clock_offset_ms", "clock_uncertainty_ms", "clock_measured_ms")
    offset, uncertainty, measured = state_redis().hmget(keys.stream(exchange), *fields)
    if not measured or now_ms - int(measured) > KNOWN_FOR_MS:
        return None
    return Estimate(float(offset), float(uncertainty), int(measured))


# ---- sampling ------------------------------------------------------------------------------------


@unavailable()
def sample(now_ms: int) -> int:
    """Add the age of every quote that came since the last call to its market's histograms; how many there were."""
    before = state_redis().set(keys.latency(_ALL, _SAMPLED), now_ms, ex=3600, get=True)
    since_ms = max(int(before or 0), now_ms - FORGOTTEN_MS)
    bases = [base.decode() for base in state_redis().zrangebyscore(keys.touched(), since_ms, "+inf")]
    pipe = state_redis().pipeline(transaction=False)
    for base in bases:
        pipe.hgetall(keys.quotes(base))
    heard: dict[str, list[Quote]] = defaultdict(list)
    for quote in (quote for found in pipe.execute() for quote in _quotes(found)):
        if quote.received_ms > now_ms - FORGOTTEN_MS:
            heard[quote.exchange].append(quote)
    delays = _delays() if heard else {}
    return sum(_add(exchange, its, delays.get(exchange, {}), now_ms) for exchange, its in heard.items())


def _add(exchange: str, heard: list[Quote], delays: Mapping[float, float], now_ms: int) -> int:
    known = clock(exchange, now_ms)
    offset_ms = known.proven_ms if known else 0.0
    counted = 0
    for window in WINDOWS.values():
        key = window.key(exchange, window.slot(now_ms))
        pipe = state_redis().pipeline(transaction=False)
        pipe.hmget(key, *(quote.symbol for quote in heard))
        pipe.hsetnx(key, _DELAYS, json.dumps(delays))
        pipe.expire(key, window.slot_s * (window.slots + 1))
        stored = pipe.execute()[0]
        fresh = {}
        for quote, text in zip(heard, stored, strict=True):
            seen_ms, _, bins = (text or b"0;").decode().partition(";")
            if quote.received_ms > int(seen_ms):
                histogram = ages.unpacked(bins)
                histogram[ages.bin_of(quote.received_ms - quote.time_ms + offset_ms)] += 1
                fresh[quote.symbol] = f"{quote.received_ms};{ages.packed(histogram)}"
        if fresh:
            state_redis().hset(key, mapping=fresh)
        counted = max(counted, len(fresh))
    return counted


def _delays() -> dict[str, dict[float, float]]:
    """By exchange: how many batches took at most so long (ms; inf: longer) from receipt until shown, ever."""
    found: dict[str, dict[float, float]] = defaultdict(dict)
    for (name, *labels), count in tally.told().items():
        if name == tally.INGEST_DELAY.name and len(labels) == 3 and labels[1] == tally.BELOW:
            found[labels[0]][float(labels[2]) * 1000] = count
    return found


# ---- summing up ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ages:
    """Of a market in a window. Ages in ms: `network` from the venue's match to our socket, its clock put right as far
    as `uncertainty_ms` allows (None: its clock is not known, and was taken as right); `processing` from the socket
    until shown, of all batches of its exchange. `samples` is how many quotes, `batches` how many batches."""

    exchange: str
    symbol: str
    samples: int
    network_p50_ms: float | None
    network_p95_ms: float | None
    uncertainty_ms: float | None
    clock_offset_ms: float | None
    processing_p50_ms: float | None
    processing_p95_ms: float | None
    batches: int
    newest_ms: int


@unavailable()
def summed(markets: Iterable[Quote], window: Window, now_ms: int) -> list[Ages]:
    """The ages of these markets over the window, in their order."""
    last, wanted = window.slot(now_ms), list(markets)
    slots = range(last - window.slots + 1, last + 1)
    pipe = state_redis().pipeline(transaction=False)
    for quote in wanted:
        for slot in slots:
            pipe.hget(window.key(quote.exchange, slot), quote.symbol)
    answers = iter(pipe.execute())
    delays = {exchange: _processing(exchange, window, slots) for exchange in {q.exchange for q in wanted}}
    clocks = {exchange: clock(exchange, now_ms) for exchange in delays}
    told = []
    for quote in wanted:
        histogram = sum((ages.unpacked((next(answers) or b"").decode().partition(";")[2]) for _ in slots), ages.NONE)
        known, processing = clocks[quote.exchange], delays[quote.exchange]
        told.append(Ages(
            quote.exchange, quote.symbol, histogram.total(),
            ages.quantile_ms(histogram, _P50), ages.quantile_ms(histogram, _P95),
            round(known.uncertainty_ms, 1) if known else None, round(known.offset_ms, 1) if known else None,
            ages.quantile_below(processing, _P50), ages.quantile_below(processing, _P95),
            round(sum(processing.values())), quote.received_ms,
        ))  # fmt: skip
    return told


def _processing(exchange: str, window: Window, slots: Iterable[int]) -> dict[float, float]:
    """What batches took since the window's first slot that was looked at."""
    pipe = state_redis().pipeline(transaction=False)
    for slot in slots:
        pipe.hget(window.key(exchange, slot), _DELAYS)
    first = next((json.loads(text) for text in pipe.execute() if text is not None), {})
    before = {float(bound): float(count) for bound, count in first.items()}
    now = _delays().get(exchange, {})
    if any(now.get(bound, 0) < count for bound, count in before.items()):
        before = {}  # the count began anew
    return {bound: count - before.get(bound, 0.0) for bound, count in now.items()}
