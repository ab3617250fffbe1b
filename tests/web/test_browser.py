"""The pages in a real Chromium: they move, they grey out, they come back, they fit a telephone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from livermore.core import keys
from tests.web import market_data
from tests.web.chromium import Chromium
from tests.web.site import Site

pytestmark = pytest.mark.services

BYTES = "[...performance.getEntries()].reduce((sum, e) => sum + (e.encodedBodySize || 0), 0)"
PRICE = "document.querySelector('figure[data-exchange=kucoin] [data-c=price]').textContent"
FOREIGN = "performance.getEntriesByType('resource').filter(e => !e.name.startsWith(location.origin)).length"


@pytest.fixture(scope="session")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """One browser for all of these."""
    chromium = Chromium(tmp_path_factory.mktemp("chromium"))
    yield chromium
    chromium.close()


@pytest.fixture
def overview(tab: Chromium, site: Site, redis_state: redis.Redis, db: None) -> Chromium:
    """The overview of four streaming exchanges with charts, freshly loaded."""
    for slug in ("coinbase", "binance", "kucoin", "mexc"):
        market_data.set_stream(redis_state, slug)
        market_data.fill_window(slug, "BTC-USD" if slug == "coinbase" else "BTC-USDT", 300)
    tab.log.clear()
    tab.log_in(site)
    tab.size(1280)
    tab.open(f"http://127.0.0.1:{site.port}/?base=BTC")
    tab.wait_for(f"{PRICE} !== '–'")
    return tab


def test_the_first_load_is_small_and_all_ours(overview: Chromium) -> None:
    assert overview.ask("document.querySelectorAll('figure.chart').length") == 5
    assert overview.ask(BYTES) <= 150_000
    assert overview.ask(FOREIGN) == 0
    assert overview.log == []


@pytest.mark.parametrize("path", ["/", "/signals/", "/quality/", "/symbols/BTC/", "/exchanges/kucoin/", "/login/"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_a_telephone(overview: Chromium, site: Site, path: str, scheme: str) -> None:
    overview.size(360, 740, scheme)
    overview.open(f"http://127.0.0.1:{site.port}{path}")
    assert overview.ask("document.documentElement.scrollWidth") <= 360
    assert overview.log == []


def test_a_forming_price_moves_within_a_second(overview: Chromium, redis_state: redis.Redis) -> None:
    said = {**market_data.set_forming(redis_state, "kucoin", "BTC-USDT", "64321.99"), "final": False}
    redis_state.publish(keys.channel_forming("kucoin", "BTC-USDT", "5m"), market_data.as_text(said))
    overview.wait_for(f"{PRICE} === '64321.99'", 1.5)


def test_a_signal_appears_without_reload_and_turns_to_its_outcome(overview: Chromium) -> None:
    overview.ask("window.isSamePage = true")
    opened = market_data.signal(1)
    market_data.publish_signal(opened)
    overview.wait_for("!!document.querySelector('.board tr.open')", 2)
    market_data.publish_signal(opened | {"phase": "closed", "outcome": "converged", "duration_ms": 7400})
    overview.wait_for("!!document.querySelector('.board .outcome.converged')", 2)
    assert overview.ask("window.isSamePage")


def test_the_numbers_of_a_card_move(overview: Chromium, redis_state: redis.Redis) -> None:
    market_data.set_stream(redis_state, "kucoin", receiving=42, frames_per_s=7.25)
    card = "document.querySelector('.card[data-exchange=kucoin]')"
    overview.wait_for(f"{card}.querySelector('[data-f=receiving]').textContent === '42'", 4)
    market_data.set_stream(redis_state, "kucoin", state="paused", reason="by operator")
    overview.wait_for(f"{card}.dataset.state === 'paused'", 4)


def test_the_arrow_keys_read_a_chart(overview: Chromium) -> None:
    figure = "document.querySelector('figure[data-exchange=kucoin]')"
    overview.ask(f"{figure}.querySelector('canvas').focus()")
    overview.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowLeft", code="ArrowLeft")
    overview.wait_for(f"{figure}.querySelector('[data-c=bar]').textContent.includes('proven')")


def test_the_page_greys_out_when_the_stream_dies_and_catches_up(overview: Chromium, site: Site) -> None:
    site.stop()
    overview.wait_for("document.body.classList.contains('stale')")
    assert overview.ask("document.querySelector('[data-stale]').hidden") is False
    market_data.publish_signal(market_data.signal(9))
    site.restart()
    overview.wait_for("!document.body.classList.contains('stale')", 10)
    overview.wait_for("!!document.querySelector('#signal-00000000-0000-0000-0000-000000000009')", 5)
