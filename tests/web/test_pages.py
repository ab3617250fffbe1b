"""The pages: closed by default, useful when empty, honest about age and origin."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import AsyncClient, Client

from exchanges.models import Exchange
from symbols.models import ExchangeSymbol
from tests.web import market_data

PAGES = (
    "/",
    "/signals/",
    "/quality/",
    "/latency/",
    "/exchanges/",
    "/instances/",
    "/symbols/BTC/",
    "/exchanges/kucoin/",
    "/parts/cards/",
    "/parts/board/",
)


@pytest.mark.parametrize("address", PAGES)
def test_a_stranger_is_sent_to_the_login(client: Client, db: None, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 302
    assert answer.url.startswith("/login/?next=")


def test_a_fresh_overview_says_why_nothing_is_connected_and_what_to_type(browser: Client) -> None:
    Exchange.objects.update(enabled=True)
    page = browser.get("/").content.decode()
    for slug in Exchange.objects.values_list("slug", flat=True):
        assert f"python manage.py start_exchange {slug}" in page
    assert page.count("○ idle") == Exchange.objects.count()
    assert "Nothing is connected — by design" in page
    assert "No signal yet" in page
    assert "manage.py sync_symbols" in page


def test_static_files_are_served_without_blocking_the_event_loop(db: None) -> None:
    async def read() -> tuple[int, bytes]:
        answer = await AsyncClient().get("/static/web/figure.js")
        return answer.status_code, b"".join([part async for part in answer.streaming_content])

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        status, text = asyncio.run(read())
    assert status == 200
    assert b"updated_ms" in text


def test_a_disabled_exchange_is_not_offered_a_start(browser: Client) -> None:
    Exchange.objects.update(enabled=False)
    page = browser.get("/").content.decode()
    assert "start_exchange kucoin" not in page
    assert "disabled" in page


def test_a_streaming_exchange_shows_its_numbers(browser: Client, redis_state: Any) -> None:
    market_data.set_stream(redis_state, "kucoin", acked=97)
    page = browser.get("/").content.decode()
    assert "● streaming" in page
    assert '<dd data-f="frames_per_s">412.5</dd>' in page
    assert '<span data-f="acked">97</span> acked' in page
    assert "Simulated" not in page
    assert "non-default endpoint" not in page


def test_a_venues_clock_is_shown_with_its_uncertainty_and_age(browser: Client, redis_state: Any) -> None:
    market_data.set_stream(redis_state, "kucoin")
    assert "not measured" in browser.get("/").content.decode()
    at_ms = market_data.now_ms() - 30_000
    told = {"clock_offset_ms": 2998.4, "clock_uncertainty_ms": 12.6, "clock_measured_ms": at_ms}
    market_data.set_stream(redis_state, "kucoin", **told)
    page = " ".join(browser.get("/").content.decode().split())
    assert '2998</span> ± <span data-f="clock_uncertainty_ms">13</span> ms ahead of ours' in page
    assert f'data-f="clock_measured_ms" data-at="{at_ms}"' in page
    said = browser.get("/api/v1/exchanges/kucoin").json()
    assert {name: said[name] for name in told} == told


@pytest.mark.parametrize("address", ["/", "/exchanges/kucoin/", "/parts/cards/"])
def test_what_does_not_fit_the_schema_is_on_the_card(browser: Client, redis_state: Any, address: str) -> None:
    market_data.set_stream(redis_state, "kucoin")
    assert "no schema names" not in browser.get(address).content.decode()
    at_ms = market_data.set_drift(redis_state, "kucoin")
    page = browser.get(address).content.decode()
    assert 'fields no schema names: <span class="mono">Item.999</span> ×12' in page
    assert 'frames set aside: 5, newest reason <span class="mono">no field `p`</span>' in page
    assert page.count(f'<span class="age" data-at="{at_ms}"></span> ago') == 2


def test_simulated_and_overridden_feeds_are_announced(browser: Client, redis_state: Any) -> None:
    market_data.set_stream(redis_state, "kucoin", endpoint="ws://127.0.0.1:9001/ws", endpoint_overridden=1)
    page = browser.get("/").content.decode()
    assert "Simulated" in page
    assert "non-default endpoint" in page


def test_a_host_that_no_longer_reports_is_not_called_streaming(browser: Client, redis_state: Any) -> None:
    market_data.set_stream(redis_state, "kucoin", updated_ms=market_data.now_ms() - 60_000)
    page = browser.get("/").content.decode()
    assert "✕ no report" in page
    assert "● streaming" not in page


def test_the_board_tells_a_signal_in_the_followers_terms(browser: Client, redis_state: Any) -> None:
    market_data.publish_signal(market_data.signal(1))
    market_data.publish_signal(
        market_data.signal(2, phase="closed", outcome="converged", direction="down", duration_ms=7400)
    )
    page = browser.get("/signals/").content.decode()
    assert "▲" in page
    assert "▼" in page
    assert "+39.9" in page
    assert "37.9" in page
    assert "+27.4" in page
    assert "✓ converged" in page


def test_a_signal_that_closed_is_one_row_with_its_outcome(browser: Client, redis_state: Any) -> None:
    market_data.publish_signal(market_data.signal(1))
    market_data.publish_signal(market_data.signal(1) | {"phase": "closed", "outcome": "reversed"})
    page = browser.get("/signals/").content.decode()
    assert page.count('id="signal-') == 1
    assert "↩ reversed" in page


def test_a_closed_signal_tells_its_peak_and_what_came_of_it(browser: Client) -> None:
    closed = market_data.signal(
        1, phase="closed", outcome="converged", peak_remaining_bps="51.98", mfe_bps="33.31", onset_ms=1_770_000_000_000
    )
    market_data.publish_signal(closed)
    page = browser.get("/signals/").content.decode()
    assert "52.0 <" in page
    assert "+33.3 <" in page
    assert 'data-at="1770000000000"' in page
    assert "+27.4" not in page


def test_the_local_exchange_is_one_link_away_but_never_a_script(browser: Client) -> None:
    market_data.publish_signal(market_data.signal(1, links={"home": "https://www.kucoin.com/trade/BTC-USDT"}))
    market_data.publish_signal(market_data.signal(2, links={"home": "javascript:alert(1)"}))
    page = browser.get("/signals/").content.decode()
    assert 'href="https://www.kucoin.com/trade/BTC-USDT"' in page
    assert "javascript:" not in page


def test_a_signal_explains_itself_on_its_own_page(browser: Client) -> None:
    event = market_data.signal(1)
    market_data.publish_signal(event)
    page = browser.get(f"/signals/{event['event_id']}/").content.decode()
    assert "net_round_bps" in page
    assert "16.92" in page
    assert browser.get("/signals/00000000-0000-0000-0000-00000000ffff/").status_code == 404


def test_text_of_a_signal_cannot_become_markup(browser: Client, redis_state: Any) -> None:
    market_data.publish_signal(market_data.signal(1, base="<script>alert(1)</script>"))
    assert "<script>alert" not in browser.get("/").content.decode()


def test_the_chart_section_has_one_chart_per_exchange(browser: Client, markets: list[ExchangeSymbol]) -> None:
    page = browser.get("/?base=btc").content.decode()
    assert page.count('<figure class="chart"') == 2
    assert 'data-exchange="coinbase" data-symbol="BTC-USD"' in page


def test_an_unknown_asset_names_the_nearest(browser: Client, markets: list[ExchangeSymbol]) -> None:
    answer = browser.get("/symbols/BTX/")
    assert answer.status_code == 404
    assert '<a href="/?base=BTC">BTC</a>' in answer.content.decode()


def test_an_exchange_page_teaches_when_empty(browser: Client) -> None:
    page = browser.get("/exchanges/kucoin/").content.decode()
    assert "manage.py sync_symbols kucoin" in page
    assert "manage.py start_exchange kucoin" in page
    assert browser.get("/exchanges/nowhere/").status_code == 404


def test_pages_answer_while_the_state_redis_is_away(client: Client, trader: User, settings: Any) -> None:
    settings.STATE_REDIS_URL = "redis://127.0.0.1:1/1"
    client.force_login(trader)
    for address in ("/", "/signals/", "/exchanges/kucoin/"):
        answer = client.get(address)
        assert answer.status_code == 200
        assert "state Redis does not answer" in answer.content.decode()


@pytest.mark.parametrize("address", ["/", "/login/", "/api/v1/docs", "/health/live"])
def test_every_answer_carries_the_policies(browser: Client, address: str) -> None:
    headers = browser.get(address).headers
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_flower_is_for_staff(client: Client, operator: User, trader: User, settings: Any) -> None:
    settings.FLOWER_URL = "http://127.0.0.1:5555/flower/"
    assert client.get("/flower/").url.startswith("/login/")
    client.force_login(trader)
    assert client.get("/flower/").status_code == 302
    assert "5555" not in client.get("/flower/").url
    client.force_login(operator)
    assert client.get("/flower/").url == settings.FLOWER_URL


def test_the_page_for_a_missing_address_tells_nothing_of_the_others(browser: Client) -> None:
    answer = browser.get("/no/such/page")
    assert answer.status_code == 404
    assert "tried" not in answer.content.decode()
