"""`/metrics` as Prometheus reads it: closed, well formed, bounded, and true."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from candles import tasks
from candles.models import Gap
from candles.services.record import Closed, record
from exchanges import registry, tally, wire
from exchanges.models import Exchange
from livermore.celery import app
from livermore.core import keys
from livermore.core.candle import BUCKET_MS, Candle, Quality, Timeframe
from livermore.core.frame import FrameBatch
from livermore.core.gap import Cause
from livermore.web.models import ApiToken
from symbols.models import ExchangeSymbol
from tests.support.waiting import until
from tests.web import market_data

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-that-only-the-scraper-knows"
MOST_SERIES = 5_000
UNITS = re.compile(r"(milliseconds|millis|_ms|minutes|hours|kilobytes|megabytes|percent|_kb|_mb)(_|$)")


@pytest.fixture(autouse=True)
def _nothing_counted() -> Any:
    """What other tests counted in this process is not this one's."""
    tally._counted.clear()
    yield
    tally._counted.clear()


@pytest.fixture
def scraped(client: Client, db: None, redis_state: Any, settings: Any) -> Any:
    """A function that scrapes: families by name."""
    settings.METRICS_TOKEN = TOKEN

    def scrape() -> dict[str, Metric]:
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200
        assert answer["Content-Type"].startswith("text/plain; version=")
        return {family.name: family for family in text_string_to_metric_families(answer.content.decode())}

    return scrape


def value(found: dict[str, Metric], sample: str, **labels: str) -> float:
    """Of the one sample with this name and these labels."""
    [one] = [s for family in found.values() for s in family.samples if s.name == sample and s.labels == labels]
    return float(one.value)


# ---- who may read -----------------------------------------------------------------------------------


def test_strangers_learn_nothing(client: Client, db: None, redis_state: Any, settings: Any) -> None:
    for token in ("", TOKEN):
        settings.METRICS_TOKEN = token
        for header in ({}, {"Authorization": "Bearer "}, {"Authorization": "Bearer wrong"}):
            answer = client.get("/metrics", headers=header)
            assert answer.status_code == 401
            assert b"livermore_" not in answer.content


def test_a_login_an_api_token_and_the_scrapers_token_may_read(
    client: Client, db: None, redis_state: Any, settings: Any
) -> None:
    settings.METRICS_TOKEN = TOKEN
    user = User.objects.create_user("reader")
    api_token = ApiToken.objects.issue(user, "scraper")[1]
    for token in (TOKEN, api_token):
        assert client.get("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 200
    client.force_login(user)
    assert client.get("/metrics").status_code == 200
    assert client.post("/metrics").status_code == 405


# ---- what it says -----------------------------------------------------------------------------------


def test_what_a_host_says_of_its_stream_is_there(scraped: Any, redis_state: Any) -> None:
    now_ms = market_data.now_ms()
    market_data.set_stream(
        redis_state, "kucoin", bytes=9_000_000, batches=77, losses=3, spooled=4, spooled_bytes=4096,
        spooled_from_ms=now_ms - 60_000, clock_offset_ms="-12.5", clock_uncertainty_ms="8.0",
    )  # fmt: skip
    found = scraped()
    for sample, expected in {
        "livermore_stream_frames_total": 123456,
        "livermore_stream_bytes_total": 9_000_000,
        "livermore_stream_batches_total": 77,
        "livermore_stream_disconnects_total": 3,
        "livermore_spool_batches": 4,
        "livermore_spool_bytes": 4096,
        "livermore_stream_lag_seconds": 0.048,
        "livermore_clock_offset_seconds": -0.0125,
        "livermore_lease_epoch": 7,
    }.items():
        assert value(found, sample, exchange="kucoin") == pytest.approx(expected)
    assert value(found, "livermore_stream_symbols", exchange="kucoin", stage="receiving") == 98
    assert value(found, "livermore_stream_state", exchange="kucoin", state="streaming") == 1
    assert value(found, "livermore_stream_state", exchange="kucoin", state="idle") == 0
    assert value(found, "livermore_stream_state", exchange="mexc", state="idle") == 1
    assert value(found, "livermore_spool_age_seconds", exchange="kucoin") >= 60


def test_what_the_stores_know_is_there(scraped: Any, redis_state: Any) -> None:
    app.send_task("symbols.sync", ("kucoin",), queue="backfill.kucoin")
    for symbol, closed_at in (("BTC-USDT", None), ("ETH-USDT", timezone.now())):
        Gap.objects.create(exchange_id="kucoin", symbol=symbol, from_ns=1, to_ns=2, cause="ids", closed_at=closed_at)
    redis_state.hincrby(keys.suppressed(), "stale_leader", 5)
    found = scraped()
    assert value(found, "livermore_queue_messages", queue="backfill.kucoin") == 1
    assert value(found, "livermore_queue_messages", queue="candles") == 0
    assert value(found, "livermore_queue_age_seconds", queue="backfill.kucoin") >= 0
    assert value(found, "livermore_open_gaps", exchange="kucoin", cause="ids") == 1
    assert value(found, "livermore_signals_suppressed_total", reason="stale_leader") == 5
    assert value(found, "livermore_budget_used_ratio", exchange="kucoin") == 0


def test_a_task_that_ran_is_counted_with_what_it_stored(scraped: Any, markets: Any) -> None:
    trade = {"e": "aggTrade", "E": 1, "s": "BTCUSDT", "a": 1, "p": "64000", "q": "1", "f": 1, "l": 1, "m": False}
    frames = (json.dumps({"stream": "btcusdt@aggTrade", "data": trade | {"T": market_data.now_ms()}}).encode(), b"{")
    ExchangeSymbol.objects.create(exchange_id="binance", native="BTCUSDT", base="BTC", quote="USDT", tier=1, rank=1)
    batch = FrameBatch("binance", "c1", 1, 1, frames, ((2, market_data.now_ms() * 1_000_000),))
    tasks.ingest_batch.apply((wire.pack(batch),), throw=True)
    found = scraped()
    assert value(found, "livermore_ingest_batches_total", exchange="binance") == 1
    assert value(found, "livermore_ingest_frames_total", exchange="binance") == 2
    assert value(found, "livermore_ingest_trades_total", exchange="binance") == 1
    assert value(found, "livermore_ingest_rejected_total", exchange="binance") == 1
    assert value(found, "livermore_ingest_delay_seconds_count", exchange="binance") == 1
    assert value(found, "livermore_task_duration_seconds_count", task="candles.ingest") == 1


def test_requests_are_counted_by_pattern_never_by_what_was_asked_for(scraped: Any, client: Client) -> None:
    for base in ("BTC", "ETH", "DOGE"):
        client.get(f"/symbols/{base}/")
    client.get("/nothing/of/that/name")
    found = scraped()
    assert value(found, "livermore_http_requests_total", view="symbols/<str:base>/", status="3xx") == 3
    assert value(found, "livermore_http_requests_total", view="none", status="4xx") == 1


def test_counts_of_several_processes_add_up_and_survive_an_absent_store(
    scraped: Any, settings: Any, redis_state: Any
) -> None:
    tally.add(tally.GAPS, "kucoin", "ids", by=2)
    there = settings.STATE_REDIS_URL
    settings.STATE_REDIS_URL = "redis://127.0.0.1:1/0"
    tally.flush()
    settings.STATE_REDIS_URL = there
    redis_state.hincrbyfloat(keys.tally(), "gaps|kucoin|ids", 40)  # another process
    assert value(scraped(), "livermore_gaps_total", exchange="kucoin", cause="ids") == 42


def test_a_process_that_counts_sends_by_itself(redis_state: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "EVERY_S", 0.01)
    tally.add(tally.RETRIES, "candles.close")
    tally.keep_flushing()
    until(lambda: redis_state.hget(keys.tally(), "task_retries|candles.close"))
    tally.stop_flushing()


def test_what_cannot_be_read_is_left_out_and_told(scraped: Any, settings: Any) -> None:
    settings.STATE_REDIS_URL = app.conf.broker_url = "redis://:hush@127.0.0.1:1/0"
    found = scraped()
    assert value(found, "livermore_source_up", source="streams") == 0
    assert value(found, "livermore_source_up", source="queues") == 0
    assert value(found, "livermore_source_up", source="gaps") == 1


# ---- its form ---------------------------------------------------------------------------------------


def complaints(found: dict[str, Metric]) -> list[str]:
    """What `promtool check metrics` would say."""
    said = []
    for name, family in found.items():
        if not family.documentation.strip():
            said.append(f"{name} has no help")
        if family.type not in ("counter", "gauge", "histogram"):
            said.append(f"{name} is of type {family.type}")
        if not re.fullmatch(r"livermore_[a-z0-9_]+", name):
            said.append(f"{name} is no name of ours")
        if UNITS.search(name):
            said.append(f"{name} is not in a base unit")
        if family.type != "counter" and re.search(r"_(total|count|sum|bucket)$", name):
            said.append(f"{name} ends like another type")
        if family.type == "counter":
            said += [f"{s.name} does not end in _total" for s in family.samples if not s.name.endswith("_total")]
        seen = Counter((s.name, tuple(sorted(s.labels.items()))) for s in family.samples)
        said += [f"{one} comes twice" for one, count in seen.items() if count > 1]
    return said


def test_the_exposition_passes_the_linter(scraped: Any, redis_state: Any) -> None:
    fill(redis_state)
    found = scraped()
    assert complaints(found) == []
    for family in (f for f in found.values() if f.type == "histogram"):
        for labels in {tuple(sorted((k, v) for k, v in s.labels.items() if k != "le")) for s in family.samples}:
            mine = [s for s in family.samples if set(labels) <= set(s.labels.items())]
            rising = [s.value for s in mine if s.name.endswith("_bucket")]
            assert rising == sorted(rising)
            assert [s.value for s in mine if s.labels.get("le") == "+Inf"] == [rising[-1]]
            assert [s.value for s in mine if s.name.endswith("_count")] == [rising[-1]]


def test_the_linter_can_complain() -> None:
    bad = '# HELP livermore_wait_ms x\n# TYPE livermore_wait_ms gauge\nlivermore_wait_ms 1\nother{a="1"} 1\n'
    found = {family.name: family for family in text_string_to_metric_families(bad)}
    assert len(complaints(found)) >= 4


def fill(redis_state: Any) -> None:
    """Every kind with every label it may have."""
    values: dict[str, Sequence[str]] = {
        "exchange": registry.slugs(),
        "timeframe": [str(one) for one in Timeframe],
        "quality": [str(one) for one in Quality],
        "cause": [str(one) for one in Cause],
        "task": [name for name in app.tasks if not name.startswith("celery.")],
        "view": [f"page/{number}" for number in range(60)],
        "status": ["2xx", "3xx", "4xx", "5xx"],
    }
    for slug in registry.slugs():
        clock = {"clock_offset_ms": 1, "clock_uncertainty_ms": 1}
        market_data.set_stream(redis_state, slug, bytes=1, batches=1, losses=1, spooled_bytes=0, crashes=0, **clock)
    redis_state.hincrby(keys.suppressed(), "stale_leader", 5)
    for kind in tally.KINDS:
        for labels in product(*(values[label] for label in kind.labels)):
            if isinstance(kind, tally.Counter):
                tally.add(kind, *labels)
            else:
                tally.observe(kind, *labels, value=0.2)


def test_series_stay_bounded_with_500_symbols(scraped: Any, redis_state: Any) -> None:
    fill(redis_state)
    before = scraped()["livermore_candles"].samples
    _record(5)
    few = sum(len(family.samples) for family in scraped().values())
    _record(500)
    found = scraped()
    many = sum(len(family.samples) for family in found.values())
    recorded = sum(s.value for s in found["livermore_candles"].samples) - sum(s.value for s in before)
    assert recorded == 505
    assert many == few
    assert 1_000 < many <= MOST_SERIES
    allowed = {*("exchange", "state", "stage", "source", "queue", "cause", "reason", "task"), *("view", "status")}
    allowed |= {"timeframe", "quality", "version", "le"}
    assert {label for family in found.values() for s in family.samples for label in s.labels} <= allowed


def _record(count: int) -> None:
    exchange = Exchange.objects.get(pk="binance")
    names = [f"C{count}X{n}" for n in range(count)]
    ExchangeSymbol.objects.bulk_create(
        ExchangeSymbol(exchange=exchange, native=f"{base}USDT", base=base, quote="USDT", name=f"{base}-USDT")
        for base in names
    )
    one = Decimal(1)
    record(
        [
            Closed(
                Candle(
                    "binance", f"{base}-USDT", Timeframe.M5, BUCKET_MS, *[one] * 6, taker_buy_volume=one, trades=1,
                    quality=Quality.PROVEN,
                ),
                1,
            )
            for base in names
        ]
    )  # fmt: skip


# ---- the contract -----------------------------------------------------------------------------------


def test_the_contract_names_exactly_what_is_exposed(scraped: Any, redis_state: Any) -> None:
    text = (ROOT / "DATA_CONTRACT.md").read_text()
    named = set(re.findall(r"`(livermore_[a-z0-9_]+)`", text))
    exposed = {f"{name}_total" if family.type == "counter" else name for name, family in scraped().items()}
    assert named == exposed


def test_the_dashboard_asks_for_metrics_that_exist(scraped: Any, redis_state: Any) -> None:
    fill(redis_state)
    board = json.loads((ROOT / "docs/grafana/livermore.json").read_text())
    asked = {
        name
        for panel in board["panels"]
        for target in panel.get("targets", [])
        for name in re.findall(r"livermore_[a-z0-9_]+", target["expr"])
    }
    exposed = {s.name for family in scraped().values() for s in family.samples}
    exposed |= {"livermore_open_gaps"}  # there are none
    assert len(asked) > 20
    assert asked <= exposed
