"""Match rates, gaps and mismatches over the API say what the tables hold, and nothing to strangers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from candles import compare
from candles.models import Candle, Gap, Mismatch
from livermore.core.candle import BUCKET_MS
from symbols.models import ExchangeSymbol
from tests.candles.streaming import past


@pytest.fixture
def candles(db: None, redis_state: Any) -> ExchangeSymbol:
    """Nine of ten buckets: one never compared, six equal, two that differed, one of them to this day."""
    symbol = ExchangeSymbol.objects.create(exchange_id="kucoin", native="BTC-USDT", base="BTC", quote="USDT")
    wrong = compare.mask({"close": ("1", "2"), "volume": ("3", "4")})
    masks = [(None, None), *[(0, 0)] * 4, (wrong, 0), (wrong, wrong), (0, 0), (0, 0)]
    one = Decimal(1)
    for at, (differed, differs) in enumerate(masks):
        Candle.objects.create(
            symbol=symbol, timeframe="5m", open_ms=past(12) + (at + (at > 3)) * BUCKET_MS, open=one, high=one,
            low=one, close=one, volume=one, source="adopted" if differed and not differs else "trades",
            quality="proven", differed=differed, differs=differs, revision=int(bool(differed)),
        )  # fmt: skip
    Mismatch.objects.create(
        symbol=symbol, timeframe="5m", open_ms=past(3), fields={"close": ["1", "2"], "volume": ["3", "4"]}
    )
    return symbol


def read(browser: Client, path: str) -> dict[str, Any]:
    answer = browser.get(f"/api/v1/{path}")
    assert answer.status_code == 200, answer.content
    return answer.json()


@pytest.mark.parametrize("path", ["quality", "quality/mismatches", "gaps"])
def test_a_stranger_learns_nothing(client: Client, db: None, path: str) -> None:
    assert client.get(f"/api/v1/{path}").status_code == 401


def test_before_anything_was_compared_there_is_no_rate(browser: Client) -> None:
    assert read(browser, "quality")["scores"] == []


@pytest.mark.parametrize("by", ["exchange", "symbol"])
def test_a_score_counts_what_was_compared_and_what_differed(browser: Client, candles: Any, by: str) -> None:
    (score,) = read(browser, f"quality?by={by}")["scores"]
    assert score["symbol"] == ("BTC-USDT" if by == "symbol" else "")
    assert (score["compared"], score["equal"], score["unlike"]) == (8, 6, 1)
    assert (score["match_rate"], score["standing_rate"]) == (0.75, 0.875)
    assert score["differing"] == {"close": 2, "volume": 2}
    assert (score["present"], score["expected"], score["adopted"], score["revised"]) == (9, 10, 1, 2)
    assert score["verdicts"]["proven"] == 9


def test_mismatches_show_both_values(browser: Client, candles: Any) -> None:
    (case,) = read(browser, "quality/mismatches?is_open=true")["mismatches"]
    assert case["fields"]["close"] == {"ours": "1", "venue": "2"}
    assert (case["exchange"], case["symbol"], case["mended_ms"]) == ("kucoin", "BTC-USDT", None)
    assert read(browser, "quality/mismatches?is_open=false")["mismatches"] == []


def test_gaps_are_listed_newest_first_and_paged(browser: Client, candles: Any) -> None:
    start_ns = past(2) * 1_000_000
    for number in range(3):
        Gap.objects.create(
            exchange_id="kucoin", symbol="BTC-USDT", from_ns=start_ns + number, to_ns=start_ns + 5_000_000_000,
            cause="disconnect", closed_at=timezone.now() if number else None, method="kline" if number else "",
        )  # fmt: skip
    first = read(browser, "gaps?limit=2")["gaps"]
    assert [gap["from_ns"] - start_ns for gap in first] == [2, 1]
    (last,) = read(browser, f"gaps?before={first[-1]['id']}")["gaps"]
    assert (last["closed_ms"], last["method"], last["from_ns"]) == (None, None, start_ns)
    assert [gap["id"] for gap in read(browser, "gaps?is_open=true")["gaps"]] == [last["id"]]
    (score,) = read(browser, "quality")["scores"]
    assert (score["gaps"], score["open_gaps"], score["gap_s"]) == (3, 1, 15.0)


def test_a_candle_says_what_stands_behind_it_when_asked(browser: Client, candles: Any) -> None:
    Candle.objects.filter(differs__gt=0).update(first_id=5, last_id=9, evidence=5, confirmed=4, checked_ms=7)
    path = "candles/kucoin/BTC-USDT?limit=100"
    assert all("provenance" not in candle for candle in read(browser, path)["candles"])
    found = {c["open_time"]: c["provenance"] for c in read(browser, f"{path}&include=provenance")["candles"]}
    assert len(found) == 9
    (unlike,) = [one for one in found.values() if one["differs"]]
    assert (unlike["first_id"], unlike["last_id"], unlike["executions"], unlike["confirmed"]) == (5, 9, 5, 4)
    assert (unlike["differs"], unlike["differed"], unlike["compared_ms"]) == (["close", "volume"],) * 2 + (7,)
    assert found[past(12)]["differed"] is None
    assert browser.get(f"/api/v1/{path}&include=everything").status_code in (400, 422)


def test_an_unknown_exchange_is_named_with_the_nearest(browser: Client) -> None:
    answer = browser.get("/api/v1/gaps?exchange=kukoin")
    assert answer.status_code == 404
    assert "kucoin" in str(answer.json())


def test_the_page_shows_rates_and_both_values(browser: Client, candles: Any) -> None:
    page = browser.get("/quality/").content.decode()
    assert "75.000 %" in page
    assert "87.500 %" in page
    assert "close 2, volume 2" in page
    assert "1 → 2" in page
    assert "1 not mended yet" in page


def test_the_empty_page_says_what_to_type(browser: Client) -> None:
    page = browser.get("/quality/").content.decode()
    assert "python manage.py start_exchange kucoin" in page
    assert "whatever was compared was equal" in page
