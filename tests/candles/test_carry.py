"""A flat candle follows the close before it, also when that is revised."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from candles import window
from candles.services.carry import carry
from candles.services.record import Closed, record
from livermore.core.candle import Candle, Quality, Reason, Source, Timeframe
from symbols.models import ExchangeSymbol
from tests.candles.streaming import past
from tests.support.trades import BUCKET_MS

pytestmark = pytest.mark.django_db
AT, NAME = "binance", "BTC-USDT"


def candle(open_ms: int, price: int, **fields) -> Candle:
    made = Candle(AT, NAME, Timeframe.M5, open_ms, *[Decimal(price)] * 4, Decimal(1), trades=1)
    return replace(made, **fields)


def flat(open_ms: int, price: int, **fields) -> Candle:
    given = {"volume": Decimal(0), "trades": 0, "quality": Quality.EMPTY, "reason": Reason.NO_TRADES} | fields
    return candle(open_ms, price, **given)


@pytest.fixture
def first_ms(redis_state) -> int:
    ExchangeSymbol(exchange_id=AT, native="BTCUSDT", base="BTC", quote="USDT", tier=1).save()
    return past(9)


def keep(*candles: Candle) -> list[Candle]:
    return record([Closed(one, one.trades or 0) for one in candles])


def closes(first_ms: int) -> list[int]:
    return [int(one.close) for one in window.between(AT, NAME, Timeframe.M5, first_ms, first_ms + 9 * BUCKET_MS)]


def test_a_run_of_flat_candles_follows_a_revised_close_up_to_the_next_trade(first_ms):
    opens = [first_ms + at * BUCKET_MS for at in range(5)]
    keep(candle(opens[0], 100), flat(opens[1], 100), flat(opens[2], 100), candle(opens[3], 90), flat(opens[4], 90))
    (revised,) = keep(candle(opens[0], 105, trades=2))
    standing = carry([revised])
    assert [(one.open_ms, int(one.close), one.revision) for one in standing] == [(opens[1], 105, 1), (opens[2], 105, 1)]
    assert closes(first_ms) == [105, 105, 105, 90, 90]
    assert carry([revised]) == []


@pytest.mark.parametrize("following", [{"source": Source.REST}, {"volume": Decimal(1), "reason": None, "trades": 1}])
def test_history_and_trades_are_left_alone(first_ms, following):
    keep(candle(first_ms, 100), flat(first_ms + BUCKET_MS, 100, **following))
    assert carry(keep(candle(first_ms, 105, trades=2))) == []
    assert closes(first_ms) == [105, 100]


def test_a_flat_candle_after_a_hole_is_not_of_this_close(first_ms):
    keep(candle(first_ms, 100), flat(first_ms + 2 * BUCKET_MS, 100))
    assert carry(keep(candle(first_ms, 105, trades=2))) == []
