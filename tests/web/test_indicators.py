"""Indicators over the API: all of the registry, computed on request from the candles a chart shows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from candles.indicators.bars import Bars
from candles.indicators.registry import indicator, indicators
from candles.services.indicators import KEPT
from livermore.core import keys
from livermore.core.candle import Timeframe
from symbols.models import ExchangeSymbol
from tests.web import market_data

AT = "/api/v1/indicators/kucoin/BTC-USDT"


def test_a_stranger_learns_nothing(client: Client, db: None) -> None:
    assert client.get("/api/v1/indicators").status_code == 401
    assert client.get(AT).status_code == 401


def test_the_list_says_what_there_is_and_what_may_be_chosen(browser: Client) -> None:
    listed = {of["type"]: of for of in browser.get("/api/v1/indicators").json()["indicators"]}
    assert list(listed) == list(indicators())
    assert listed["ema"]["params"] == {"length": {"default": 30, "least": 1, "most": 200}}
    assert listed["macd"]["params"]["seed"] == {"default": "each", "accepted": ["each", "together"]}
    assert [name for name, of in listed.items() if of["is_kept"]] == [KEPT]


@pytest.mark.parametrize("kind", indicators())
def test_each_is_computed_from_the_candles_of_the_window(
    browser: Client, markets: list[ExchangeSymbol], kind: str
) -> None:
    bars = Bars.from_candles(market_data.fill_window("kucoin", "BTC-USDT", 320))
    answer = browser.get(f"{AT}?type={kind}&limit=20").json()
    of = indicator(kind)
    assert [tuple(row.values()) for row in answer["rows"]] == of.series(bars)[-20:]
    assert answer["latest"] == of.latest(bars).payload()
    assert answer["latest"]["ready"] is True
    assert (answer["type"], answer["params"]) == (kind, of.defaults)


def test_parameters_may_be_changed(browser: Client, markets: list[ExchangeSymbol]) -> None:
    bars = Bars.from_candles(market_data.fill_window("kucoin", "BTC-USDT", 320))
    answer = browser.get(f"{AT}?type=bollinger&params=length:10,width:2.5").json()
    assert answer["params"] == {"length": 10, "width": 2.5}
    assert answer["warm_up_bars"] == 10
    wide = indicator("bollinger").with_parameters({"length": "10", "width": "2.5"})
    assert answer["latest"] == wide.latest(bars).payload()


@pytest.mark.parametrize(
    ("query", "accepted"),
    [
        ("type=magic", "accepted:"),
        ("type=ema&params=length:0", "from 1 to 200"),
        ("type=ema&params=period:5", "accepted: length"),
        ("type=ema&params=5", "name:value"),
        ("timeframe=1m", "5m"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(
    browser: Client, markets: list[ExchangeSymbol], query: str, accepted: str
) -> None:
    answer = browser.get(f"{AT}?{query}")
    assert answer.status_code == 422
    assert accepted in str(answer.json()["error"]["message"])


def test_few_candles_are_not_ready_and_say_so(browser: Client, markets: list[ExchangeSymbol]) -> None:
    market_data.fill_window("kucoin", "BTC-USDT", 10)
    answer: dict[str, Any] = browser.get(f"{AT}?type=rsi").json()
    assert (answer["latest"]["ready"], answer["latest"]["converged"], answer["latest"]["rsi"]) == (False, False, None)


def keep(redis_state: Any, exchange: str, symbol: str, timeframe: str, macdv: float | None, stage: str | None) -> None:
    """A kept value as the workers leave it."""
    said = {"macdv": macdv, "stage": stage, "converged": True, "tainted": False}
    value = {"candle_open_time": market_data.current_bucket() - Timeframe(timeframe).ms, **said}
    redis_state.set(keys.indicator(exchange, symbol, timeframe, KEPT), json.dumps(value))


def test_the_portfolio_stands_every_exchange_side_by_side(
    browser: Client, markets: list[ExchangeSymbol], redis_state: Any
) -> None:
    for timeframe, macdv, stage in (("1h", 60, "rallying"), ("4h", 70, "rallying"), ("1d", 10, "rebounding")):
        keep(redis_state, "kucoin", "BTC-USDT", timeframe, macdv, stage)
    for timeframe, macdv, stage in (("1h", -160, "oversold"), ("4h", 10, "retracing"), ("1d", None, None)):
        keep(redis_state, "coinbase", "BTC-USD", timeframe, macdv, stage)
    table = browser.get("/api/v1/indicators/portfolio").json()
    rows = {(row["exchange"], row["symbol"]): row for row in table["rows"]}
    assert set(rows) == {("kucoin", "BTC-USDT"), ("coinbase", "BTC-USD"), ("kucoin", "ETH-USDT")}
    first, second = rows["kucoin", "BTC-USDT"], rows["coinbase", "BTC-USD"]
    assert (first["bias"], first["label"], first["timeframes"]["1h"]["macdv"]) == ("Bullish", "Strong up", 60)
    assert first["timeframes"]["1h"]["age_ms"] >= 0
    assert (second["bias"], second["label"]) == ("Bearish", None)
    assert rows["kucoin", "ETH-USDT"]["bias"] is None
    assert table["lists"] == {
        "kucoin": {"bullish": ["BTC-USDT"], "bearish": [], "reversal_up": [], "reversal_down": []}
    }
    only = browser.get("/api/v1/indicators/portfolio?exchange=coinbase&compat=contrarian").json()["rows"]
    assert [(row["symbol"], row["bias"]) for row in only] == [("BTC-USD", "Neutral")]
    assert browser.get("/api/v1/indicators/portfolio?compat=x").status_code == 422
