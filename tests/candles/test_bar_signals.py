"""Signals of closed bars and quarter hours, from candles and slabs in a real Redis to events (I1, I2 of the pack)."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from itertools import pairwise

import pytest

from candles.indicators import macdv
from candles.indicators.bars import Bars
from candles.services import bar_signals, regimes, section, standings
from candles.services.record import Closed, record
from candles.signals.bars import crossing
from exchanges.models import Exchange
from livermore.core import keys, signal_keys
from livermore.core.candle import BUCKET_MS, Candle, Timeframe
from tests.candles.market import START_MS
from tests.candles.streaming import Made, store, streamed
from tests.support import builders

pytestmark = pytest.mark.django_db

EARLY, LATE, NAME = "coinbase", "binance_us", "BTC-USD"
STEP_MS = Timeframe.M15.ms
OPEN_MS = START_MS // STEP_MS * STEP_MS
QUIET, FALL = 262, 12


@pytest.fixture(autouse=True)
def _listed(redis_state):
    section._listings.cache_clear()
    for slug in (EARLY, LATE):
        builders.symbol(Exchange.objects.get(pk=slug), NAME, native=NAME, rank=1, tier=1)
        streamed(redis_state, slug, since_ms=1)
        quote = f"64000|{START_MS}|{START_MS + 40}|63999|64001"
        redis_state.hset(keys.quotes("BTC"), f"{slug}|{NAME}", quote)
        clock = {"clock_offset_ms": "0", "clock_uncertainty_ms": "20", "clock_measured_ms": START_MS}
        redis_state.hset(keys.stream(slug), mapping=clock)


def path() -> list[float]:
    """Quiet bars, then a fall."""
    rng = random.Random(4)
    closes = [64_000 + rng.uniform(-60, 60) for _ in range(QUIET)]
    return closes + [closes[-1] - 55 * n * n for n in range(1, FALL + 1)]


def candles(exchange: str, closes: list[float], timeframe: Timeframe = Timeframe.M15) -> list[Candle]:
    made = []
    for n, close in enumerate(closes):
        first = closes[n - 1] if n else close
        row = (first, max(first, close) + 20, min(first, close) - 20, close)
        prices = [Decimal(f"{price:.2f}") for price in row]
        made.append(Candle(exchange, NAME, timeframe, OPEN_MS + n * timeframe.ms, *prices, volume=Decimal(1)))
    return made


def lists(delay: int) -> tuple[int, int]:
    """Both venues' bars are stored, one's so many later; at which bar each first crosses a level outwards."""
    closes = path()
    found = []
    for slug, of in ((EARLY, closes), (LATE, [closes[0]] * delay + closes)):
        made = candles(slug, of[: QUIET + FALL])
        record([Closed(c, 1) for c in made])
        line = macdv.lines(Bars.from_candles(made)).macdv
        pairs = enumerate(pairwise(line))
        found.append(next(n + 1 for n, (a, b) in pairs if n > 255 and a and b and crossing(a, b)))
    return found[0], found[1]


def evaluate(redis_state, bars: range) -> list[tuple[str, str, str, int]]:
    """The openings and closings as (phase or outcome, leader, follower, bar)."""
    for number in bars:
        bar_signals.evaluate(f"BTC|15m|{OPEN_MS + number * STEP_MS}", 0, START_MS)
    events = [json.loads(fields[b"event"]) for _, fields in redis_state.xrange(keys.signals_stream())]
    assert {event["kind"] for event in events} <= {"INDICATOR_LEAD"}
    return [
        (
            e.get("outcome", e["phase"]), e["leader"]["exchange"], e["follower"]["exchange"],
            (e["evaluated_ms"] - OPEN_MS) // STEP_MS - 1,
        )
        for e in events
        if e["phase"] != "updated"
    ]  # fmt: skip


def test_i1_an_indicator_lead_that_is_confirmed(redis_state) -> None:
    first, second = lists(delay=2)
    assert second == first + 2
    told = evaluate(redis_state, range(first - 3, second + 1))
    assert told == [("opened", EARLY, LATE, first), ("converged", EARLY, LATE, second)]


def test_i1_a_replay_gives_the_same_id(redis_state) -> None:
    first, second = lists(delay=2)
    ids = []
    for _ in range(2):
        redis_state.delete(keys.signals_stream(), signal_keys.bar_seen("BTC", "15m"), *redis_state.keys("sig:*"))
        evaluate(redis_state, range(first, second))
        events = [json.loads(fields[b"event"]) for _, fields in redis_state.xrange(keys.signals_stream())]
        ids.append([(e["event_id"], e["onset_ms"]) for e in events if e["phase"] == "opened"])
    assert ids[0] == ids[1]
    assert ids[0][0][1] == OPEN_MS + (first + 1) * STEP_MS


def test_i2_a_follower_that_was_first_makes_no_event(redis_state) -> None:
    _, second = lists(delay=2)
    assert evaluate(redis_state, range(second, second + 3)) == []


def test_an_older_bar_than_the_newest_evaluated_is_left_alone(redis_state) -> None:
    first, _ = lists(delay=2)
    evaluate(redis_state, range(first + 4, first + 5))
    assert evaluate(redis_state, range(first, first + 1)) == []


def test_a_bar_is_due_when_all_have_closed_it_or_ten_seconds_after_the_first(redis_state) -> None:
    (made,) = candles(EARLY, [64_000.0])
    now_ms = made.open_ms + STEP_MS + 2_000
    bar_signals.note(EARLY, [made], now_ms)
    assert bar_signals.claim(now_ms + 9_999) == []
    assert [member for member, _ in bar_signals.claim(now_ms + 10_000)] == [f"BTC|15m|{made.open_ms}"]
    redis_state.delete(keys.due("signals"))
    bar_signals.note(EARLY, [made], now_ms)
    bar_signals.note(LATE, candles(LATE, [64_000.0]), now_ms + 3_000)
    ((member, lease_ms),) = bar_signals.claim(now_ms + 3_000)
    assert bar_signals.claim(now_ms + 3_000) == []
    bar_signals.evaluate(member, lease_ms, START_MS)
    assert redis_state.zcard(keys.due("signals")) == 0


def trades(late_ms: int, seed: int) -> list[Made]:
    """One a second for twenty minutes: the same walk, seen so much later, at other moments."""
    walk, rng = random.Random(9), random.Random(seed)
    prices = [64_000.0]
    for _ in range(20 * 60 * 10 + 200):
        prices.append(prices[-1] * (1 + walk.gauss(0, 0.35e-4)))
    made = []
    for second in range(20 * 60):
        at_ms = second * 1_000 + rng.randrange(1_000)
        price = prices[(at_ms - late_ms) // 100 + 100]
        made.append(Made(NAME, second + 1, at_ms + FROM_MS, f"{price:.2f}", "1", True))
    return made


FROM_MS = OPEN_MS + 32 * STEP_MS


def test_a_regime_and_the_usual_distance_are_learnt_from_slabs_and_candles(redis_state) -> None:
    """LEAD_LAG opens with its second window, and events of the pair tell it."""
    for slug, late_ms, seed in ((EARLY, 0, 1), (LATE, 1_500, 2)):
        store(slug, NAME, trades(late_ms, seed))
        rng = random.Random(seed)
        record([Closed(c, 1) for c in candles(slug, [64_000 + rng.uniform(-6, 6) for _ in range(100)], Timeframe.M5)])
    for end_ms in (FROM_MS + 3 * BUCKET_MS, FROM_MS + 4 * BUCKET_MS):
        bar_signals.evaluate(f"BTC|5m|{end_ms - BUCKET_MS}", 0, START_MS)
    (known,) = regimes.known("BTC")
    assert (known["leader"], known["status"], known["is_regime"]) == (f"{EARLY}:{NAME}", "ok", True)
    assert float(known["lag_s"]) == pytest.approx(1.5, abs=0.5)
    assert float(known["llr"]) >= 1.6
    events = [json.loads(fields[b"event"]) for _, fields in redis_state.xrange(keys.signals_stream())]
    assert [(e["kind"], e["phase"], e["leader"]["exchange"]) for e in events] == [("LEAD_LAG", "opened", EARLY)]
    legs = ({"exchange": slug, "symbol": NAME} for slug in (EARLY, LATE))
    pair = {"base": "BTC", **dict(zip(("leader", "follower"), legs, strict=True))}
    assert regimes.of_pair(pair) == {"leader_leads": True, "lag_s": known["lag_s"], "llr": known["llr"]}
    usual = standings.known("BTC")[f"{LATE}:{NAME}", f"{EARLY}:{NAME}"]
    assert abs(usual.median_bps) < 1
    assert usual.samples == 100


def test_too_few_trades_give_no_figure(redis_state) -> None:
    for slug in (EARLY, LATE):
        store(slug, NAME, trades(0, 1)[::4])
    bar_signals.evaluate(f"BTC|5m|{FROM_MS + 2 * BUCKET_MS}", 0, START_MS)
    (known,) = regimes.known("BTC")
    assert (known["status"], known["llr"], known["lag_s"]) == ("not_enough_ticks", None, None)
