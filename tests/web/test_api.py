"""The API: closed to strangers, exact, and helpful about what cannot be."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from candles.models import Candle as StoredCandle
from exchanges.models import Exchange
from livermore.core.candle import BUCKET_MS
from livermore.web.models import ApiToken
from symbols.models import ExchangeSymbol
from tests.web import market_data

READS = ("exchanges", "exchanges/kucoin", "exchanges/kucoin/commands", "symbols", "signals")
CANDLES = "/api/v1/candles/kucoin/BTC-USDT"


@pytest.mark.parametrize("path", [*READS, "candles/kucoin/BTC-USDT", "no/such/thing", "stream"])
def test_a_stranger_gets_401_as_json(client: Client, db: None, path: str) -> None:
    answer = client.get(f"/api/v1/{path}")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"


def test_the_documentation_loads_nothing_from_elsewhere(browser: Client) -> None:
    page = browser.get("/api/v1/docs")
    assert page.status_code == 200
    assert "http://" not in page.content.decode()
    assert "https://" not in page.content.decode()
    schema = browser.get("/api/v1/openapi.json").json()
    assert "/api/v1/candles/{exchange}/{symbol}" in schema["paths"]


def test_the_documentation_is_closed_too(client: Client, db: None) -> None:
    assert client.get("/api/v1/docs", HTTP_ACCEPT="text/html").status_code == 302
    assert client.get("/api/v1/openapi.json").status_code == 401


@pytest.mark.parametrize("path", READS)
def test_a_token_reads(client: Client, trader: User, redis_state: Any, path: str) -> None:
    _, text = ApiToken.objects.issue(trader, "notebook")
    assert client.get(f"/api/v1/{path}", HTTP_AUTHORIZATION=f"Bearer {text}").status_code == 200


def test_a_token_is_kept_as_a_digest_and_dies_with_its_user(client: Client, trader: User, redis_state: Any) -> None:
    _, text = ApiToken.objects.issue(trader, "notebook")
    assert text not in str(ApiToken.objects.values().get())
    assert client.get("/api/v1/exchanges", HTTP_AUTHORIZATION="Bearer lvm_wrong").status_code == 401
    trader.is_active = False
    trader.save()
    assert client.get("/api/v1/exchanges", HTTP_AUTHORIZATION=f"Bearer {text}").status_code == 401


def test_exchanges_are_idle_until_told(browser: Client) -> None:
    found = browser.get("/api/v1/exchanges").json()["exchanges"]
    assert len(found) == Exchange.objects.count()
    assert {e["state"] for e in found} == {"idle"}
    assert found[0]["start_command"] == f"python manage.py start_exchange {found[0]['slug']}"


def test_an_exchange_tells_which_edit_of_its_row_its_stream_follows(browser: Client, redis_state: Any) -> None:
    row = Exchange.objects.get(pk="kucoin")
    address = "/api/v1/exchanges/kucoin"
    found = browser.get(address).json()
    assert (found["row_version"], found["config_version"]) == (row.config_version, None)
    market_data.set_stream(redis_state, "kucoin", config_version=row.config_version - 1)
    assert browser.get(address).json()["config_version"] == row.config_version - 1


def test_an_exchange_tells_what_does_not_fit_its_schema(browser: Client, redis_state: Any) -> None:
    assert browser.get("/api/v1/exchanges/mexc").json()["drift"] == {"unknown_fields": [], "rejected": []}
    market_data.set_drift(redis_state, "mexc")
    found = browser.get("/api/v1/exchanges/mexc").json()
    (field,), (rejected,) = found["drift"]["unknown_fields"], found["drift"]["rejected"]
    assert (field["what"], field["count"]) == ("Item.999", 12)
    assert (rejected["what"], rejected["count"]) == ("no field `p`", 5)
    assert 0 <= found["now_ms"] - rejected["newest_ms"] < 5_000


def test_an_unknown_exchange_is_404_with_the_nearest(browser: Client) -> None:
    answer = browser.get("/api/v1/exchanges/kukoin")
    assert answer.status_code == 404
    assert answer.json()["error"]["nearest"][0] == "kucoin"


def test_candles_are_exact_text_with_an_age(browser: Client, markets: list[ExchangeSymbol], redis_state: Any) -> None:
    made = market_data.fill_window("kucoin", "BTC-USDT", 5)
    market_data.set_forming(redis_state, "kucoin", "BTC-USDT", "64001.123456789012345678")
    answer = browser.get(f"{CANDLES}?timeframe=5m&limit=3").json()
    assert [c["open_time"] for c in answer["candles"]] == [c.open_ms for c in made[-3:]]
    assert answer["candles"][-1]["close"] == made[-1].public()["close"]
    assert 0 <= answer["candles"][-1]["age_ms"] < BUCKET_MS + 5_000
    assert answer["candles"][0]["age_ms"] - answer["candles"][1]["age_ms"] == BUCKET_MS
    assert answer["forming"]["close"] == "64001.123456789012345678"
    assert answer["sources"] == {"window": 3, "shared": 3, "overflow": 0, "database": 0, "legacy": 0}


def test_older_candles_come_from_the_database_and_the_higher_revision_wins(
    browser: Client, markets: list[ExchangeSymbol]
) -> None:
    made = market_data.candles("kucoin", "BTC-USDT", 6)
    for candle in made[:4]:
        prices = {name: getattr(candle, name) for name in ("open", "high", "low", "close", "volume")}
        StoredCandle.objects.create(
            symbol=markets[0], timeframe="5m", open_ms=candle.open_ms, source="trades", quality="proven",
            revision=2 if candle is made[3] else 0, **prices,
        )  # fmt: skip
    market_data.window.put(made[3:])
    answer = browser.get(f"{CANDLES}?limit=50").json()
    assert [c["open_time"] for c in answer["candles"]] == [c.open_ms for c in made]
    assert answer["candles"][3]["revision"] == 2
    assert answer["sources"] == {"window": 3, "shared": 3, "overflow": 0, "database": 3, "legacy": 0}


def test_from_and_to_are_half_open(browser: Client, markets: list[ExchangeSymbol]) -> None:
    made = market_data.fill_window("kucoin", "BTC-USDT", 6)
    answer = browser.get(f"{CANDLES}?from={made[1].open_ms}&to={made[3].open_ms}").json()
    assert [c["open_time"] for c in answer["candles"]] == [made[1].open_ms, made[2].open_ms]


@pytest.mark.parametrize(("wrong", "nearest"), [("1m", "5m"), ("2h", "1h"), ("1w", "1d"), ("", "5m")])
def test_a_timeframe_that_cannot_be_names_the_nearest(
    browser: Client, markets: list[ExchangeSymbol], wrong: str, nearest: str
) -> None:
    for address in (CANDLES, "/api/v1/indicators/kucoin/BTC-USDT"):
        answer = browser.get(f"{address}?timeframe={wrong}")
        assert answer.status_code == 422
        assert answer.json()["error"]["code"] == "unknown_timeframe"
        assert nearest in answer.json()["error"]["nearest"]
        assert "1m" not in answer.json()["error"]["nearest"]


def test_a_symbol_that_cannot_be_names_three(browser: Client, markets: list[ExchangeSymbol]) -> None:
    ExchangeSymbol.objects.create(exchange_id="kucoin", native="BTCUSDC", base="BTC", quote="USDC")
    answer = browser.get("/api/v1/candles/kucoin/BTC-USDX")
    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["code"] == "unknown_symbol"
    assert set(error["nearest"]) == {"BTC-USDT", "BTC-USDC", "ETH-USDT"}


def test_a_number_that_is_none_is_422(browser: Client, markets: list[ExchangeSymbol]) -> None:
    answer = browser.get(f"{CANDLES}?limit=many")
    assert answer.status_code == 422
    assert "limit" in answer.json()["error"]["fields"]


def test_an_indicator_has_rows_for_the_bars_and_says_whether_it_converged(
    browser: Client, markets: list[ExchangeSymbol]
) -> None:
    made = market_data.fill_window("kucoin", "BTC-USDT", 300)
    answer = browser.get("/api/v1/indicators/kucoin/BTC-USDT?timeframe=5m&type=macdv&limit=100").json()
    assert len(answer["rows"]) == 100
    assert answer["rows"][-1]["open_time"] == made[-1].open_ms == answer["latest"]["candle_open_time"]
    assert answer["rows"][-1]["macdv"] == answer["latest"]["macdv"]
    assert answer["latest"]["converged"] is True
    assert browser.get("/api/v1/indicators/kucoin/BTC-USDT?type=magic").status_code == 422


def test_an_indicator_without_candles_is_empty(browser: Client, markets: list[ExchangeSymbol]) -> None:
    answer = browser.get("/api/v1/indicators/kucoin/BTC-USDT")
    assert answer.status_code == 200
    assert answer.json()["rows"] == []
    assert answer.json()["latest"] is None


def test_symbols_are_filtered_by_base(browser: Client, markets: list[ExchangeSymbol]) -> None:
    answer = browser.get("/api/v1/symbols?base=btc").json()
    assert answer["count"] == 2
    assert {s["exchange"] for s in answer["symbols"]} == {"kucoin", "coinbase"}


def test_signals_are_the_public_event_with_an_age(browser: Client) -> None:
    market_data.publish_signal(market_data.signal(1))
    found = browser.get("/api/v1/signals").json()["signals"]
    assert found[0]["costs"]["net_entry_bps"] == "27.42"
    assert 1000 <= found[0]["age_ms"] < 60_000


def _order(client: Client, verb: str = "start", **headers: str) -> Any:
    return client.post(
        "/api/v1/exchanges/kucoin/commands", {"verb": verb}, content_type="application/json", **headers
    )


def test_commands_need_staff(browser: Client, redis_state: Any) -> None:
    answer = _order(browser)
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "forbidden"
    assert not redis_state.keys("stream:control:*")


def test_a_session_needs_the_csrf_token_to_command(operator: User, redis_state: Any) -> None:
    Exchange.objects.update(enabled=True)
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(operator)
    assert _order(strict).status_code == 403
    strict.get("/")
    token = strict.cookies["csrftoken"].value
    assert _order(strict, HTTP_X_CSRFTOKEN=token).status_code == 202


def test_staff_sends_a_durable_command_and_sees_how_it_stands(client: Client, operator: User, redis_state: Any) -> None:
    Exchange.objects.update(enabled=True)
    _, text = ApiToken.objects.issue(operator, "script", may_change=True)
    sent = _order(client, HTTP_AUTHORIZATION=f"Bearer {text}")
    assert sent.status_code == 202
    assert sent.json()["status"] == "pending"
    client.force_login(operator)
    listed = client.get("/api/v1/exchanges/kucoin/commands").json()["commands"]
    assert [c["id"] for c in listed] == [sent.json()["id"]]
    assert listed[0]["issued_by"] == "operator"


def test_a_verb_that_does_not_exist_lists_those_that_do(client: Client, operator: User, redis_state: Any) -> None:
    client.force_login(operator)
    answer = _order(client, "destroy")
    assert answer.status_code == 422
    assert "start stop pause" in answer.json()["error"]["message"]


def test_a_disabled_exchange_takes_no_command(client: Client, operator: User, redis_state: Any) -> None:
    Exchange.objects.update(enabled=False)
    client.force_login(operator)
    assert _order(client).status_code == 409


def test_an_absent_store_is_503_with_a_hint(client: Client, trader: User, settings: Any) -> None:
    settings.STATE_REDIS_URL = "redis://127.0.0.1:1/1"
    client.force_login(trader)
    answer = client.get("/api/v1/exchanges")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "store_unavailable"
