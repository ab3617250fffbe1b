"""Latency of the same symbol across exchanges: sampled from what workers leave in Redis, summed up for page and API.

Nothing is added where trades pass: quotes hold the venue's clock, ours and when they were shown, and trails a price
a second.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from exchanges.clock import KNOWN_FOR_MS, Estimate
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.watch import ages

FORGOTTEN_MS = 30_000
"""A quote that came longer ago than this is not looked at: it was seen, or nobody looked then."""
_ALL, _SAMPLED = "all", "sampled"
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
    """The newest of a market: the venue's time, when its frame came, and when it was shown, None where that is not told
    (ms UTC)."""

    exchange: str
    symbol: str
    time_ms: int
    received_ms: int
    shown_ms: int | None = None


@unavailable()
def quotes(base: str) -> list[Quote]:
    """Of all markets of a base that traded within the last hour."""
    return _quotes(state_redis().hgetall(keys.quotes(base)))


def _quotes(found: Mapping[bytes, bytes]) -> list[Quote]:
    told = []
    for name, text in found.items():
        exchange, _, symbol = name.decode().partition("|")
        _, time_ms, received_ms, _, _, *origin = text.split(b"|")
        shown_ms = int(origin[1]) if len(origin) > 1 else None
        told.append(Quote(exchange, symbol, int(time_ms), int(received_ms), shown_ms))
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
    return sum(_add(exchange, its, now_ms) for exchange, its in heard.items())


def _add(exchange: str, heard: list[Quote], now_ms: int) -> int:
    known = clock(exchange, now_ms)
    offset_ms = known.proven_ms if known else 0.0
    counted = 0
    for window in WINDOWS.values():
        key = window.key(exchange, window.slot(now_ms))
        stored = state_redis().hmget(key, *(quote.symbol for quote in heard))
        fresh = {}
        for quote, text in zip(heard, stored, strict=True):
            seen_ms, network, processing = _kept(text)
            if quote.received_ms > seen_ms:
                network[ages.bin_of(quote.received_ms - quote.time_ms + offset_ms)] += 1
                if quote.shown_ms is not None:
                    processing[ages.bin_of(quote.shown_ms - quote.received_ms)] += 1
                fresh[quote.symbol] = f"{quote.received_ms};{ages.packed(network)};{ages.packed(processing)}"
        if fresh:
            pipe = state_redis().pipeline(transaction=False)
            pipe.hset(key, mapping=fresh).expire(key, window.slot_s * (window.slots + 1))
            pipe.execute()
        counted = max(counted, len(fresh))
    return counted


def _kept(text: bytes | None) -> tuple[int, Counter[int], Counter[int]]:
    """Of a market in a slot: when the newest quote came that is in, network ages, processing ages."""
    seen_ms, network, processing = (text or b"0;;").decode().split(";")
    return int(seen_ms), ages.unpacked(network), ages.unpacked(processing)


# ---- summing up ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ages:
    """Of a market in a window. Ages in ms: `network` from the venue's match to our socket, its clock put right as far
    as `uncertainty_ms` allows (None: its clock is not known, and was taken as right); `processing` from the socket
    until shown. `samples` is how many quotes were looked at."""

    exchange: str
    symbol: str
    samples: int
    network_p50_ms: float | None
    network_p95_ms: float | None
    uncertainty_ms: float | None
    clock_offset_ms: float | None
    processing_p50_ms: float | None
    processing_p95_ms: float | None
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
    clocks = {exchange: clock(exchange, now_ms) for exchange in {quote.exchange for quote in wanted}}
    told = []
    for quote in wanted:
        network, processing = Counter[int](), Counter[int]()
        for _ in slots:
            _, more_network, more_processing = _kept(next(answers))
            network.update(more_network)
            processing.update(more_processing)
        known = clocks[quote.exchange]
        told.append(Ages(
            quote.exchange, quote.symbol, network.total(),
            ages.quantile_ms(network, _P50), ages.quantile_ms(network, _P95),
            round(known.uncertainty_ms, 1) if known else None, round(known.offset_ms, 1) if known else None,
            ages.quantile_ms(processing, _P50), ages.quantile_ms(processing, _P95), quote.received_ms,
        ))  # fmt: skip
    return told
