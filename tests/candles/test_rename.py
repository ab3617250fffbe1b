"""D24: a simulated venue renames A to B and halts C; B shows A's history, and nothing else is taken for a rename."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from decimal import Decimal

import pytest
import redis
from django.contrib.auth import get_user_model
from django.core.management import call_command

from candles import tasks, window
from candles.fold import widen
from candles.models import Candle as CandleRow
from candles.models import Mismatch
from candles.services import reconcile, rename
from candles.services.history import fill
from candles.services.record import Closed, record
from exchanges.models import Exchange
from exchanges.services import rest
from exchanges.simulation.market import kline
from exchanges.simulation.stage import Options
from livermore.core import keys
from livermore.core.candle import Candle, Quality, Source, Timeframe
from livermore.core.symbol import Symbol
from symbols import services as symbols
from symbols.models import ExchangeSymbol, UserSymbolSubscription
from tests.candles.streaming import now_ms, past
from tests.support.builders import ListedRest
from tests.support.simulation import simulated
from tests.support.trades import BUCKET_MS

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # python-binance's imports
]
VENUES = {"binance": ("SOLUSDT", "SOXUSDT", "LTCUSDT"), "coinbase": ("SOL-USD", "SOX-USD", "LTC-USD")}
"""A, B and C."""
FIVE, HOUR = Timeframe.M5, Timeframe.H1
RENAMED_AFTER_MS = 4 * BUCKET_MS + 130_000
SUMS = ("open", "high", "low", "close", "volume", "trades")


@pytest.fixture(scope="module")
def market():
    """An hour and more until now, in whose first half both venues rename SOL and halt LTC; AVX never trades."""
    open_ms = past(13, aligned_ms=HOUR.ms)
    still = {"start_ms": open_ms, "is_paused": True, "has_episodes": False, "options": Options(weight_limit=1_000_000)}
    with simulated(*VENUES, pace=0.1, **still) as running:
        running.open_ms, running.joint_ms = open_ms, open_ms + 4 * BUCKET_MS
        running.call(running.simulation.advance, RENAMED_AFTER_MS / 1000)
        for slug in VENUES:
            running.call(running.simulation.rename, slug, "SOL", "SOX")
            running.call(running.simulation.halt, slug, "LTC")
        running.call(running.simulation.rename, "binance", "AVAX", "AVX")
        running.call(running.simulation.market.silence, "binance", "AVX", 1e9)
        running.call(running.simulation.advance, (now_ms() - open_ms - RENAMED_AFTER_MS) / 1000)
        yield running


@pytest.fixture
def two_timeframes(db):
    """Fewer candles where they do not matter."""
    Exchange.objects.update(timeframes=[str(FIVE), str(HOUR)])


@pytest.fixture
def broker(market, redis_state, settings):
    settings.EXCHANGE_ENDPOINTS = market.endpoints
    Exchange.objects.update(rest_weight=1_000_000)
    with redis.Redis.from_url(settings.CELERY_BROKER_URL) as client:
        yield client


def listed_before(slug: str) -> None:
    """The table as it was before the rename."""
    old, new, halted = VENUES[slug]
    before = [
        replace(i, native=old, symbol=Symbol("SOL", i.symbol.quote)) if i.native == new
        else replace(i, is_trading=True) if i.native == halted
        else i
        for i in rest(slug).instruments()
    ]  # fmt: skip
    symbols.sync(slug, ListedRest(before))


def streamed(market, slug: str, native: str, factor: int = 1) -> ExchangeSymbol:
    """The candles of a symbol until the rename, with those that were running then: old ones fetched, the rest ours."""
    ExchangeSymbol.objects.filter(exchange_id=slug, native=native).update(tier=1)
    row = ExchangeSymbol.objects.get(exchange_id=slug, native=native)
    tape, until_ms = market.simulation.market.tape(slug, native), market.open_ms + RENAMED_AFTER_MS
    for timeframe in map(Timeframe, row.exchange.timeframes):
        first_ms = market.open_ms - 320 * timeframe.ms
        bars = market.call(lambda t=timeframe, f=first_ms: list(tape.bars(t.ms, f, until_ms, until_ms)))
        fetched = fill(slug, row.name, timeframe, [kline(tape.listing, b) for b in bars], now_ms(), omits=False)
        if timeframe is FIVE:
            own = [replace(c, source=Source.TRADES, quality=Quality.CLEAN) for c in fetched[-5:]]
            own = [replace(c, **{n: getattr(c, n) * factor for n in ("open", "high", "low", "close")}) for c in own]
            record([Closed(c, c.trades or 0) for c in own], tell=False)
            fetched = fetched[:-5]
        record([Closed(c, 0) for c in fetched], tell=False)
    return row


def work(broker: redis.Redis, slug: str) -> None:
    """What the workers io and candles do with what waits for them."""
    for queue, task in ((f"backfill.{slug}", tasks.hand_over), ("candles", tasks.compute_indicators)):
        while (message := broker.rpop(queue)) is not None:
            args, named, _ = json.loads(base64.b64decode(json.loads(message)["body"]))
            task(*args, **named)


def series(slug: str, name: str, timeframe: Timeframe = FIVE) -> list[Candle]:
    return window.newest(slug, name, timeframe, 1_000)


def numbers(candle: object) -> list[object]:
    return [getattr(candle, name) for name in SUMS]


@pytest.mark.parametrize("slug", VENUES)
def test_b_shows_the_history_of_a_joined_with_its_own(slug, market, broker, redis_state, client, capsys):
    listed_before(slug)
    old, new, halted = VENUES[slug]
    a = streamed(market, slug, old)
    ExchangeSymbol.objects.filter(pk=a.pk).update(tier=1, rank=3)
    follower = get_user_model().objects.create(username="ann")
    symbols.follow(follower, a)

    call_command("sync_symbols", slug)
    assert f"perhaps renamed: {old} to {new}" in capsys.readouterr().out
    work(broker, slug)

    b, c = (ExchangeSymbol.objects.get(exchange_id=slug, native=native) for native in (new, halted))
    assert (b.rename_of, b.tier, b.rank, c.is_trading) == (a, 1, 3, False)
    assert UserSymbolSubscription.objects.get(user=follower).symbol == b
    assert symbols.streamed_names(slug)[new] == b.name
    assert not {old, halted} & symbols.streamed_names(slug).keys()
    for timeframe in Timeframe:
        check_series(market, slug, a, b, timeframe)
        assert json.loads(redis_state.get(keys.indicator(slug, b.name, timeframe, "macdv")))["ready"]

    client.force_login(follower)
    answer = client.get(f"/api/v1/candles/{slug}/{b.name}", {"timeframe": "5m", "limit": 300}).json()
    assert [one["open_time"] for one in answer["candles"]] == [one.open_ms for one in series(slug, b.name)[-300:]]
    assert answer["candles"][0]["open_time"] < market.open_ms


def check_series(market, slug: str, a: ExchangeSymbol, b: ExchangeSymbol, timeframe: Timeframe) -> None:
    """A's until the rename, B's from it on, no hole between; around the rename the fold of both."""
    found = series(slug, b.name, timeframe)
    opens = [one.open_ms for one in found]
    assert opens == list(range(opens[0], opens[-1] + 1, timeframe.ms))
    assert opens[-1] + 2 * timeframe.ms > now_ms() - 15_000
    assert len(found) > 300
    stored = CandleRow.objects.filter(symbol=b, timeframe=str(timeframe))
    assert {row.open_ms: row.value(slug, b.name) for row in stored} == {one.open_ms: one for one in found}
    ofa = {one.open_ms: one for one in series(slug, a.name, timeframe)}
    five = {one.open_ms: one for one in series(slug, b.name)}
    for one in found:
        end_ms = one.open_ms + timeframe.ms
        if end_ms <= market.joint_ms:
            assert one == replace(ofa[one.open_ms], symbol=b.name)
        elif timeframe is FIVE:
            truth = market.call(market.simulation.truth, slug, b.native, one.open_ms)
            assert [getattr(one, n) for n in SUMS[:5]] == [getattr(truth, n) for n in SUMS[:5]]
        elif one.open_ms >= market.open_ms:
            whole = widen([five[ms] for ms in range(one.open_ms, end_ms, BUCKET_MS)], timeframe)
            assert [getattr(one, n) for n in SUMS[:5]] == [getattr(whole, n) for n in SUMS[:5]]


@pytest.mark.parametrize("slug", VENUES)
def test_the_history_of_a_is_not_compared_with_the_klines_of_b(slug, market, broker, two_timeframes):
    listed_before(slug)
    old, new, _ = VENUES[slug]
    streamed(market, slug, old)
    symbols.sync(slug, rest(slug))
    tasks.hand_over(slug, old, new)
    b = ExchangeSymbol.objects.get(exchange_id=slug, native=new)
    before = series(slug, b.name)
    assert any(one.source is Source.TRADES for one in before)
    CandleRow.objects.filter(symbol__native=old).update(checked_ms=now_ms())
    assert reconcile.wanted(slug) == []
    assert reconcile.reconcile(slug, b.name, (market.open_ms, now_ms())).checked == 0
    assert series(slug, b.name) == before
    assert not Mismatch.objects.exists()


def test_handing_over_again_changes_nothing(market, broker, two_timeframes):
    listed_before("binance")
    old, new, _ = VENUES["binance"]
    streamed(market, "binance", old)
    symbols.sync("binance", rest("binance"))
    first, before = rename.hand_over("binance", old, new), series("binance", "SOX-USDT")
    again = rename.hand_over("binance", old, new)
    assert (first.refusal, again.refusal, again.copied) == ("", "", 0)
    assert first.copied > 300 * 2
    assert series("binance", "SOX-USDT") == before


# ---- what is no rename ---------------------------------------------------------------------------


def test_a_price_that_is_off_proves_nothing_until_an_operator_says_so(market, broker, two_timeframes):
    listed_before("binance")
    old, new, _ = VENUES["binance"]
    streamed(market, "binance", old, factor=2)
    symbols.sync("binance", rest("binance"))
    tasks.hand_over("binance", old, new)
    b = ExchangeSymbol.objects.get(exchange_id="binance", native=new)
    assert b.rename_of is None
    assert not CandleRow.objects.filter(symbol=b).exists()
    tasks.hand_over("binance", old, new, is_certain=True)
    b.refresh_from_db()
    assert b.rename_of.native == old
    assert series("binance", b.name)[0].open_ms < market.open_ms


def test_who_traded_before_is_not_the_successor(market, broker, two_timeframes):
    listed_before("binance")
    old, _, _ = VENUES["binance"]
    streamed(market, "binance", old)
    assert "before the old one ended" in rename.hand_over("binance", old, "ETHUSDT").refusal


def test_without_a_candle_there_is_no_proof_but_an_operators_word_links(market, broker, two_timeframes):
    listed_before("binance")
    old, new, _ = VENUES["binance"]
    symbols.sync("binance", rest("binance"))
    assert "no candle" in rename.hand_over("binance", old, new).refusal
    assert rename.hand_over("binance", old, new, is_certain=True).copied == 0
    assert ExchangeSymbol.objects.get(exchange_id="binance", native=new).rename_of.native == old


def test_who_has_not_traded_yet_is_asked_again_for_an_hour(market, broker, two_timeframes):
    symbols.sync("binance", rest("binance"))
    ExchangeSymbol.objects.create(exchange_id="binance", native="AVAXUSDT", base="AVAX", quote="USDT", is_trading=False)
    streamed(market, "binance", "AVAXUSDT")
    tasks.hand_over("binance", "AVAXUSDT", "AVXUSDT")
    (message,) = (json.loads(m) for m in broker.lrange("backfill.binance", 0, -1))
    assert json.loads(base64.b64decode(message["body"]))[0] == ["binance", "AVAXUSDT", "AVXUSDT", False, 1]
    assert message["headers"]["eta"]
    broker.flushdb()
    tasks.hand_over("binance", "AVAXUSDT", "AVXUSDT", waits=rename.WAITS)
    assert not broker.exists("backfill.binance")
    assert ExchangeSymbol.objects.get(native="AVXUSDT").rename_of is None


def test_a_last_candle_that_is_not_closed_yet_is_waited_for(market, broker, two_timeframes):
    """The rename was just before a bucket's end, and the sync just after it."""
    listed_before("binance")
    old, new, _ = VENUES["binance"]
    a = streamed(market, "binance", old)
    CandleRow.objects.filter(symbol=a, open_ms__gte=market.joint_ms - BUCKET_MS).delete()
    assert rename._still_closes(a, market.joint_ms) is False, "it is long past"
    assert rename._still_closes(a, now_ms() - 60_000) is True
    symbols.sync("binance", rest("binance"))
    assert rename.hand_over("binance", old, new).refusal == ""
    flat = window.between("binance", "SOX-USDT", FIVE, market.joint_ms - BUCKET_MS, market.joint_ms)
    assert [(c.volume, c.quality) for c in flat] == [(Decimal(0), Quality.EMPTY)]
