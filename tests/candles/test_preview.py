"""What screens see before a candle is closed: forming candle, ticker, quotes and trail in a real Redis."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from candles import preview
from candles.preview import TRAIL_SECONDS, Preview
from candles.slab import group, numbers
from livermore.core import keys
from livermore.core.trade import Trade

OPEN_MS = 1_770_000_000_000
BTC = "BTC-USDT"


@pytest.fixture
def shown(redis_state):
    """Stage trades (ms after the open, price, quantity, is_buy) in one batch and send it."""
    view = Preview("x")

    def stage(*trades: tuple[int, str, str, bool], symbol: str = BTC, received_ms: int = OPEN_MS + 900) -> Preview:
        made = [Trade(symbol, (OPEN_MS + ms) * 1_000_000, n, 1, p, q, buy) for n, (ms, p, q, buy) in enumerate(trades)]
        pipe = redis_state.pipeline(transaction=False)
        for (name, open_ms), columns in group(made, received_ms * 1_000_000).items():
            view.stage(pipe, name, open_ms, columns, numbers(columns.prices), numbers(columns.quantities))
        pipe.execute()
        return view

    return stage


def forming(client) -> dict[str, str]:
    return {k.decode(): v.decode() for k, v in client.hgetall(keys.forming("x", BTC, "5m")).items()}


def test_the_forming_candle_grows_with_each_batch(redis_state, shown):
    shown((0, "10", "1", True), (5, "12", "2", False))
    shown((6, "9", "0.5", True), (7, "11", "0.5", True))
    assert forming(redis_state) == {
        "open_time": str(OPEN_MS), "open": "10", "high": "12", "low": "9", "close": "11", "volume": "4",
        "turnover": "44", "trades": "4", "final": "false", "updated_ms": str(OPEN_MS + 900),
    }  # fmt: skip


def test_its_open_and_close_are_the_earliest_and_latest_of_a_batch_in_any_order(redis_state, shown):
    shown((7, "11", "1", True), (0, "10", "1", True), (5, "12", "1", True))
    assert (forming(redis_state)["open"], forming(redis_state)["close"]) == ("10", "11")


def test_an_older_trade_that_comes_late_does_not_move_the_close(redis_state, shown):
    shown((0, "10", "1", True), (50, "12", "1", True))
    shown((20, "15", "1", True))
    assert (forming(redis_state)["close"], forming(redis_state)["high"]) == ("12", "15")


def test_the_next_bucket_starts_afresh_and_the_last_one_does_not_come_back(redis_state, shown):
    shown((0, "10", "1", True))
    shown((300_000, "20", "1", True))
    shown((299_999, "99", "1", True))
    assert forming(redis_state)["open_time"] == str(OPEN_MS + 300_000)
    assert (forming(redis_state)["high"], forming(redis_state)["volume"]) == ("20", "1")
    assert redis_state.hget(keys.ticker("x", BTC), "price") == b"20"


def test_numbers_are_exact_and_plain(redis_state, shown):
    shown((0, "0.00000000123", "1e15", True), (1, "0.00000000123", "0.000000000000000001", True))
    found = forming(redis_state)
    assert (found["close"], found["volume"]) == ("0.00000000123", "1000000000000000.000000000000000001")
    assert found["turnover"] == "1230000.00000000000000000000000000123"


def test_the_ticker_tells_both_clocks(redis_state, shown):
    shown((5, "10.50", "1", True))
    ticker = redis_state.hgetall(keys.ticker("x", BTC))
    times = {b"time_ms": str(OPEN_MS + 5).encode(), b"received_ms": str(OPEN_MS + 900).encode()}
    assert ticker == {b"price": b"10.5", **times}


def test_quotes_tell_the_last_price_and_what_takers_paid_and_got(redis_state, shown):
    shown((1, "10", "1", True), (2, "9.9", "1", False))
    shown((3, "10.1", "1", True))
    shown((4, "100", "1", True), symbol="BTC-USD")
    assert redis_state.hgetall(keys.quotes("BTC")) == {
        b"x|BTC-USDT": f"10.1|{OPEN_MS + 3}|{OPEN_MS + 900}|9.9|10.1".encode(),
        b"x|BTC-USD": f"100|{OPEN_MS + 4}|{OPEN_MS + 900}||100".encode(),
    }


def test_the_trail_keeps_the_last_price_of_each_second_in_a_ring(redis_state, shown):
    shown((0, "10", "1", True))
    shown((900, "11", "1", True))
    shown((1_000, "12", "1", True))
    shown((TRAIL_SECONDS * 1_000 + 5, "13", "1", True))
    kept = sorted(redis_state.hvals(keys.trail("x", BTC)))
    assert kept == [f"{OPEN_MS + at}|{p}".encode() for at, p in ((1_000, "12"), (TRAIL_SECONDS * 1_000 + 5, "13"))]


def test_everything_shown_ends_by_itself(redis_state, shown):
    shown((0, "10", "1", True))
    assert all(redis_state.ttl(key) > 0 for key in redis_state.keys("*"))


def test_listeners_hear_the_forming_candle_and_the_ticker_but_not_every_batch(redis_state, shown, monkeypatch):
    listener = redis_state.pubsub(ignore_subscribe_messages=True)
    channels = keys.channel_forming("x", BTC, "5m"), keys.channel_ticker("x", BTC)
    listener.subscribe(*channels)
    for _ in channels:
        listener.get_message(timeout=1)
    monkeypatch.setattr(preview, "PUBLISH_EVERY_S", 60.0)
    for n in range(5):
        shown((n, str(10 + n), "1", True))
    heard = {m["channel"].decode(): json.loads(m["data"]) for _ in channels if (m := listener.get_message(timeout=2))}
    assert listener.get_message(timeout=0.05) is None
    candle, ticker = (heard[channel] for channel in channels)
    assert (candle["exchange"], candle["symbol"], candle["timeframe"], candle["final"]) == ("x", BTC, "5m", False)
    assert candle["close"] == ticker["price"] == "10"
    listener.close()


def test_the_last_price_is_known_to_whoever_judges_the_next(shown):
    assert shown((0, "10", "1", True)).last_price(BTC) == Decimal(10)
    assert shown((1, "10", "1", True)).last_price("ETH-USDT") is None
