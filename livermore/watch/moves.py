"""Moves that several exchanges made, found every minute in the trails and kept for a day."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from candles.preview import TRAIL_SECONDS
from exchanges.clock import Estimate
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.symbol import Symbol
from livermore.watch import first
from livermore.watch.first import Move, Point
from livermore.watch.latency import WINDOWS, Quote, clock, quotes, summed

KEPT_MS = 25 * 3_600_000
MOST = 1_000
"""Moves of a base that are kept."""
_DOLLARS = frozenset({"USD", "USDT", "USDC"})
_SETTLED_AFTER_MS = first.FOLLOWED_WITHIN_MS + 10_000
_AGAIN_MS = 180_000
"""Each look goes back so far: what a late trade or a missed look left out is found then."""
_BEFORE_MS = first.MOVE_WITHIN_MS + first.QUIET_MS
_MINUTE_MS = 60_000

Clocks = dict[str, Estimate | None]


@unavailable()
def note(now_ms: int) -> int:
    """Find and keep the moves of the last minutes; how many there are. Doing it twice changes nothing."""
    until_ms = (now_ms - _SETTLED_AFTER_MS) // _MINUTE_MS * _MINUTE_MS
    since_ms = until_ms - _AGAIN_MS
    bases = [base.decode() for base in state_redis().zrangebyscore(keys.touched(), since_ms, "+inf")]
    known: Clocks = {}
    return sum(_note(base, since_ms, until_ms, now_ms, known) for base in bases)


def _note(base: str, since_ms: int, until_ms: int, now_ms: int, known: Clocks) -> int:
    tracks, markets = _tracks(base, since_ms - _BEFORE_MS, until_ms + first.FOLLOWED_WITHIN_MS, now_ms, known)
    found = first.moves(tracks, since_ms, until_ms) if len(tracks) > 1 else []
    key = keys.latency(base, "moves")
    pipe = state_redis().pipeline(transaction=False)
    pipe.zremrangebyscore(key, since_ms, f"({until_ms}")
    if found:
        usual = {its.exchange: its for its in summed(markets, WINDOWS["1h"], now_ms)}
        whole = [
            replace(
                move,
                age_ms={exchange: usual[exchange].network_p50_ms for exchange in move.reached},
                uncertainty_ms={exchange: usual[exchange].uncertainty_ms for exchange in move.reached},
            )
            for move in found
        ]
        pipe.zadd(key, {json.dumps(m.public(), separators=(",", ":")): m.at_ms for m in whole})
    pipe.zremrangebyscore(key, 0, now_ms - KEPT_MS)
    pipe.zremrangebyrank(key, 0, -MOST - 1)
    pipe.pexpire(key, KEPT_MS)
    pipe.execute()
    return len(found)


@unavailable()
def of(base: str, since_ms: int) -> list[Move]:
    """The moves of a base since then, oldest first."""
    found = state_redis().zrangebyscore(keys.latency(base, "moves"), since_ms, "+inf")
    return [Move.of(json.loads(text)) for text in found]


def one_each(markets: Iterable[Quote]) -> list[Quote]:
    """Of each exchange the market in dollars (or a coin that stands for them) that traded last, by exchange."""
    chosen: dict[str, Quote] = {}
    for quote in sorted(markets, key=lambda q: (q.exchange, q.received_ms)):
        if Symbol.parse(quote.symbol).quote in _DOLLARS:
            chosen[quote.exchange] = quote
    return list(chosen.values())


def _tracks(
    base: str, from_ms: int, to_ms: int, now_ms: int, known: Clocks
) -> tuple[dict[str, list[Point]], list[Quote]]:
    """Each exchange's prices by our clock, of its market with the most of them; and these markets."""
    markets = [q for q in quotes(base) if Symbol.parse(q.symbol).quote in _DOLLARS]
    if len({quote.exchange for quote in markets}) < 2:
        return {}, []
    for exchange in {quote.exchange for quote in markets} - known.keys():
        known[exchange] = clock(exchange, now_ms)
    ahead = {exchange: round(its.proven_ms) if its else 0 for exchange, its in known.items()}
    pipe, seconds = state_redis().pipeline(transaction=False), []
    for quote in markets:
        ahead_ms = ahead[quote.exchange]
        seconds.append(range((from_ms + ahead_ms) // 1000, (to_ms + ahead_ms) // 1000))
        pipe.hmget(keys.trail(quote.exchange, quote.symbol), [second % TRAIL_SECONDS for second in seconds[-1]])
    best: dict[str, list[Point]] = defaultdict(list)
    used: dict[str, Quote] = {}
    for quote, its, values in zip(markets, seconds, pipe.execute(), strict=True):
        points = _points(its, values, ahead[quote.exchange])
        if len(points) > len(best[quote.exchange]):
            best[quote.exchange], used[quote.exchange] = points, quote
    return {exchange: points for exchange, points in best.items() if points}, list(used.values())


def _points(seconds: Iterable[int], values: Iterable[bytes | None], ahead_ms: int) -> list[Point]:
    """By our clock. The ring may still hold what was traded a round ago."""
    points: list[Point] = []
    for second, value in zip(seconds, values, strict=True):
        at, _, price = (value or b"0|").partition(b"|")
        if int(at) // 1000 == second:
            begin_ms = second * 1000 - ahead_ms
            from_ms = max(begin_ms, points[-1].at_ms) if points else begin_ms
            points.append(Point(from_ms, int(at) - ahead_ms, float(price)))
    return points
