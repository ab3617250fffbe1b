"""A flushed Redis gets its hot window back from the table: the same members, and no venue is asked."""

from __future__ import annotations

import io
from dataclasses import replace
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from candles import window
from candles.services.rebuild import is_lost, rebuild
from candles.services.record import Closed, record
from exchanges.models import Exchange
from livermore.core import keys
from livermore.core.candle import Candle, Quality, Reason, Source, Timeframe
from tests.support import builders

pytestmark = pytest.mark.django_db
AT = "binance"
NEWEST_MS = 1_769_990_400_000  # a whole day
KEPT = 30


@pytest.fixture
def symbols(redis_state, settings, monkeypatch):
    """Two streamed symbols and one that nobody follows, whose window would be shorter than their table."""
    monkeypatch.setattr(window, "KEPT", KEPT)
    nowhere = {"rest": "http://127.0.0.1:9", "ws": "ws://127.0.0.1:9"}
    settings.EXCHANGE_ENDPOINTS = {AT: nowhere}
    at = Exchange.objects.get(pk=AT)
    builders.symbol(at, "BTC-USDT", tier=1, rank=1)
    builders.symbol(at, "ETH-USDT", tier=1, rank=2)
    builders.symbol(at, "DOGE-USDT")
    return at


def candle(name: str, timeframe: Timeframe, n: int, **changed) -> Candle:
    price = Decimal("64000.10") + n
    made = Candle(
        AT, name, timeframe, NEWEST_MS - n * timeframe.ms, price, price + 1, price - 1, price, Decimal("0.00000001"),
        Decimal("12.5"), Decimal(0), 7,
    )  # fmt: skip
    return replace(made, **changed)


def stored(name: str, count: int = KEPT + 5) -> None:
    """Of every timeframe, with every kind of row among them."""
    made = [candle(name, timeframe, n) for timeframe in Timeframe for n in range(count)]
    made[1] = replace(made[1], turnover=None, taker_buy_volume=None, trades=None, source=Source.REST)
    made[2] = replace(made[2], source=Source.ADOPTED, quality=Quality.PROVEN)
    made[3] = replace(made[3], volume=Decimal(0), trades=0, quality=Quality.EMPTY, reason=Reason.NO_TRADES)
    record([Closed(one, 1) for one in made])
    record([Closed(replace(made[0], high=made[0].high + 5), 2)])  # revision 1


def members(client) -> dict[bytes, list]:
    return {key: client.zrange(key, 0, -1, withscores=True) for key in client.scan_iter("candles:*")}


def test_what_was_flushed_is_there_again_to_the_last_byte(symbols, redis_state):
    for name in ("BTC-USDT", "ETH-USDT"):
        stored(name)
    before = members(redis_state)
    assert len(before) == 12
    assert {len(of) for of in before.values()} == {KEPT}
    redis_state.flushall()
    heard: list[int] = []
    done = rebuild([AT], lambda so_far: heard.append(so_far.candles))
    assert members(redis_state) == before
    assert (len(done.series), done.total, done.candles, done.restored) == (12, 12, 12 * KEPT, 12 * KEPT)
    assert heard == [6 * KEPT, 12 * KEPT]


def test_only_what_is_streamed_comes_back(symbols, redis_state):
    stored("DOGE-USDT", 3)
    redis_state.flushall()
    assert rebuild().candles == 0
    assert members(redis_state) == {}


def test_what_closed_meanwhile_stays_and_the_rest_comes_beside_it(symbols, redis_state):
    stored("BTC-USDT", 5)
    before = members(redis_state)
    redis_state.flushall()
    newer, five = candle("BTC-USDT", Timeframe.M5, 2, revision=9), Timeframe.M5
    window.put([newer, candle("BTC-USDT", Timeframe.M5, -1)])
    done = rebuild([AT])
    found = window.newest(AT, "BTC-USDT", five, KEPT)
    assert [c.open_ms for c in found] == [NEWEST_MS + n * five.ms for n in range(-4, 2)]
    assert found[2] == newer
    assert done.restored == done.candles - 1
    others = {key: of for key, of in before.items() if not key.endswith(b":5m")}
    assert others.items() <= members(redis_state).items()


def test_repeating_changes_nothing_and_tells_nobody(symbols, redis_state):
    stored("BTC-USDT", 5)
    before = members(redis_state)
    with redis_state.pubsub(ignore_subscribe_messages=True) as listener:
        listener.psubscribe("channel:*")
        listener.get_message(timeout=1)
        assert rebuild([AT]).restored == 0
        redis_state.flushdb()
        assert rebuild([AT]).restored == 30
        assert listener.get_message(timeout=0.05) is None
    assert members(redis_state) == before


def test_a_loss_is_seen_even_when_new_candles_have_closed_since(symbols, redis_state):
    assert not is_lost(AT)  # nothing in the table either
    stored("BTC-USDT", 3)
    assert not is_lost(AT)
    redis_state.flushall()
    assert is_lost(AT)
    window.put([candle("BTC-USDT", Timeframe.M5, -1)])
    assert is_lost(AT)
    rebuild([AT])
    assert not is_lost(AT)


def test_one_lost_series_is_a_loss(symbols, redis_state):
    stored("BTC-USDT", 3)
    redis_state.delete(keys.candles(AT, "BTC-USDT", "4h"))
    assert is_lost(AT)


def test_by_hand(symbols, redis_state):
    stored("BTC-USDT", 3)
    redis_state.flushall()
    out = io.StringIO()
    call_command("rebuild_window", AT, stdout=out)
    assert out.getvalue().startswith("binance: 6 series of 18 candles in the table, 18 put back, in ")
    call_command("rebuild_window", stdout=out)
    assert "every exchange: 6 series of 18 candles in the table, 0 put back" in out.getvalue()
    with pytest.raises(CommandError, match="exchange 'nowhere' does not exist; accepted:"):
        call_command("rebuild_window", "nowhere")
