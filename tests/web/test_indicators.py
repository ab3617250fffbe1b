"""Indicators over the API: all of the registry, computed on request from the candles a chart shows."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from candles.indicators.bars import Bars
from candles.indicators.registry import indicator, indicators
from candles.services.indicators import KEPT
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
