"""Gaps are written down, and closed by the trades that a simulated venue's REST gives again."""

from __future__ import annotations

from decimal import Decimal
from urllib.parse import urlsplit

import pytest

from candles import ledger, slab, window
from candles.ledger import Bucket
from candles.models import Gap as GapRow
from candles.services.close import close
from candles.services.record import Closed, record
from candles.services.repair import LONGEST_NS, PAGE_MS, Repair, note, repair
from exchanges import registry
from exchanges.models import Exchange
from exchanges.services import rest
from exchanges.simulation.stage import Options
from livermore.core.candle import Candle, Quality, Source, Timeframe
from livermore.core.errors import GeoBlocked, VenueUnavailable
from livermore.core.gap import Cause, Gap
from symbols import services as symbols
from symbols.models import ExchangeSymbol
from tests.candles.streaming import now_ms, past, streamed
from tests.support import builders
from tests.support.http_server import Answer, http_server
from tests.support.simulation import simulated
from tests.support.trades import BUCKET_MS

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # python-binance's imports
]
MARKETS = {"binance": ("BTCUSDT", "BTC-USDT"), "coinbase": ("BTC-USD", "BTC-USD")}
PATIENT = Options(weight_limit=1_000_000)
NS = 1_000_000
MINUTE_MS = 60_000


@pytest.fixture(scope="module")
def market():
    """Half an hour of trades that ended a few minutes ago; the clock stands still."""
    open_ms = past(8)
    with simulated(*MARKETS, start_ms=open_ms, is_paused=True, has_episodes=False, options=PATIENT) as running:
        running.call(running.simulation.advance, 7 * 300)
        running.open_ms = open_ms
        yield running


@pytest.fixture(params=MARKETS)
def venue(request, market, redis_state, settings):
    """One of the simulated venues, its symbols synced, its stream started two minutes into the first bucket."""
    settings.EXCHANGE_ENDPOINTS = market.endpoints
    Exchange.objects.update(rest_weight=1_000_000)
    slug = request.param
    symbols.sync(slug, rest(slug))
    ExchangeSymbol.objects.filter(exchange_id=slug, name=MARKETS[slug][1]).update(tier=1)
    streamed(redis_state, slug, since_ms=market.open_ms + 2 * MINUTE_MS)
    return slug


def stream(slug: str, from_ms: int, to_ms: int) -> None:
    """What the stream brought in an interval, as slabs."""
    native, name = MARKETS[slug]
    trades = rest(slug).trades(native, name, from_ms, to_ms)
    ledger.store(slug, f"c:{from_ms}", slab.group(trades, to_ms * NS), now_ms())


def said(slug: str) -> tuple[str, ...]:
    """What the venue's own klines say; some say no turnover."""
    names = ("open", "high", "low", "close", "volume", "trades", "taker_buy_volume")
    return (*names, "turnover") if registry.venue(slug).has_turnover else names


def truth(market, slug: str, open_ms: int) -> dict:
    kline = market.call(market.simulation.truth, slug, MARKETS[slug][0], open_ms)
    return {name: getattr(kline, name) for name in said(slug)}


def stands(slug: str, open_ms: int) -> Candle:
    (found,) = window.between(slug, MARKETS[slug][1], Timeframe.M5, open_ms, open_ms + 1)
    return found


def sums(candle: Candle) -> dict:
    return {name: getattr(candle, name) for name in said(candle.exchange)}


def gap(slug: str, from_ms: int, to_ms: int, cause: Cause = Cause.DISCONNECT, **fields) -> Gap:
    given = {"symbols": (MARKETS[slug][1],), "connection": "c"} | fields
    return Gap(slug, from_ms * NS, to_ms * NS, cause, **given)


def finish(wanted: Repair) -> list[Repair]:
    """All pages of a repair; what was asked for in turn."""
    asked = [wanted]
    while left := repair(asked[-1]):
        asked.append(left)
    return asked


# ---- a venue's trades mend a candle ------------------------------------------------------------


def test_a_start_inside_a_bucket_gives_the_candle_that_the_exchange_has(market, venue):
    open_ms, name = market.open_ms, MARKETS[venue][1]
    ready_ms = open_ms + 2 * MINUTE_MS
    stream(venue, ready_ms, open_ms + 2 * BUCKET_MS)
    (wanted,) = note(gap(venue, open_ms, ready_ms + 500, Cause.START))
    assert (wanted.from_ms, wanted.to_ms, wanted.ready_ms) == (open_ms, open_ms + BUCKET_MS, ready_ms + 501)
    (partial,) = close(venue, [Bucket(name, open_ms)]).candles
    assert partial.quality is Quality.GAPPED
    assert partial.trades < truth(market, venue, open_ms)["trades"]
    finish(wanted)
    mended = ledger.claim(venue, now_ms(), 10)
    assert Bucket(name, open_ms) in mended
    close(venue, mended)
    assert sums(stands(venue, open_ms)) == truth(market, venue, open_ms)
    assert stands(venue, open_ms).quality is Quality.CLEAN  # its left neighbour was never seen
    row = GapRow.objects.get()
    assert (row.method, row.closed_at is None) == ("trades", False)
    assert str(open_ms) in row.proof


def test_a_break_across_a_border_is_mended_on_both_sides(market, venue):
    open_ms, name = market.open_ms, MARKETS[venue][1]
    border_ms = open_ms + 2 * BUCKET_MS
    stream(venue, open_ms, border_ms - MINUTE_MS)
    stream(venue, border_ms + MINUTE_MS, open_ms + 5 * BUCKET_MS)
    opens = [open_ms + n * BUCKET_MS for n in range(4)]
    close(venue, [Bucket(name, o) for o in opens])
    (wanted,) = note(gap(venue, border_ms - MINUTE_MS, border_ms + MINUTE_MS))
    assert (wanted.from_ms, wanted.to_ms) == (border_ms - BUCKET_MS, border_ms + BUCKET_MS)
    finish(wanted)
    close(venue, [Bucket(name, o) for o in opens])
    assert [sums(stands(venue, o)) for o in opens] == [truth(market, venue, o) for o in opens]
    assert stands(venue, border_ms).quality is Quality.PROVEN
    assert not GapRow.objects.filter(closed_at=None).exists()


def test_repairing_twice_stores_the_same(market, venue, redis_state):
    open_ms, name = market.open_ms, MARKETS[venue][1]
    (wanted,) = note(gap(venue, open_ms, open_ms + MINUTE_MS))
    once, twice = ((finish(wanted), ledger.slabs(venue, [Bucket(name, open_ms)]))[1] for _ in range(2))
    (first,), (second,) = once, twice
    assert first.keys() == second.keys()
    assert [s.ids for s in first.values()] == [s.ids for s in second.values()]


def test_a_long_gap_is_fetched_in_pages_and_closed_with_the_last(market, venue):
    open_ms, name = market.open_ms, MARKETS[venue][1]
    end_ms = open_ms + PAGE_MS + BUCKET_MS
    (wanted,) = note(gap(venue, open_ms, end_ms))
    left = repair(wanted)
    assert left is not None
    assert left.done_ms == open_ms + PAGE_MS
    assert GapRow.objects.get().closed_at is None
    assert repair(left) is None
    assert GapRow.objects.get().closed_at is not None
    due = ledger.claim(venue, now_ms(), 100)
    assert sorted(due) == [Bucket(name, o) for o in range(open_ms, end_ms, BUCKET_MS)]
    close(venue, due)
    assert all(sums(stands(venue, b.open_ms)) == truth(market, venue, b.open_ms) for b in due)


def test_a_hole_that_the_venue_has_too_is_no_loss(market, venue):
    """Everything of the bucket came by REST: what is not there never was."""
    open_ms, name = market.open_ms + BUCKET_MS, MARKETS[venue][1]
    finish(Repair(venue, name, open_ms - BUCKET_MS, open_ms + BUCKET_MS, 0))
    field = f"rest:{open_ms - BUCKET_MS}-{open_ms + BUCKET_MS}"
    (stored,) = ledger.slabs(venue, [Bucket(name, open_ms)])
    whole = stored[field]
    fewer = slab.Slab(whole.received_ns, *(c[:3] + c[4:] for c in (
        whole.ids, whole.executions, whole.times_ns, whole.prices, whole.quantities, whole.buys
    )))  # fmt: skip
    ledger.store(venue, field, {(name, open_ms): fewer}, now_ms())
    assert close(venue, [Bucket(name, open_ms - BUCKET_MS), Bucket(name, open_ms)]).holes == []


# ---- writing gaps down -------------------------------------------------------------------------


@pytest.fixture
def toy(redis_state):
    at = builders.exchange("toy")
    for name in ("BTC-USDT", "ETH-USDT"):
        builders.symbol(at, name, tier=1)
    return "toy"


def started(open_ms: int, *names: str) -> Gap:
    return Gap("toy", open_ms * NS, (open_ms + MINUTE_MS) * NS, Cause.START, names, "c")


def recorded(name: str, open_ms: int, source: Source = Source.TRADES, quality: Quality = Quality.CLEAN) -> None:
    prices = dict.fromkeys(("open", "high", "low", "close"), Decimal(1))
    told = {"volume": Decimal(1), "source": source, "quality": quality}
    record([Closed(Candle("toy", name, Timeframe.M5, open_ms, **prices, **told), 1)])


def test_noting_twice_writes_one_row_and_asks_again_while_it_is_open(toy):
    noted = gap_of_both()
    assert note(noted) == note(noted)
    assert GapRow.objects.count() == 2
    GapRow.objects.update(closed_at="2026-01-01T00:00Z")
    assert note(noted) == []


def gap_of_both() -> Gap:
    open_ms = past(2)
    names = ("BTC-USDT", "ETH-USDT")
    return Gap("toy", (open_ms + 1) * NS, (open_ms + 2) * NS, Cause.DISCONNECT, names, "c")


def test_a_gap_without_names_is_everything_streamed(toy):
    noted = gap_of_both()
    nameless = Gap(noted.exchange, noted.from_ns, noted.to_ns, noted.cause)
    assert {r.symbol for r in note(nameless)} == {"BTC-USDT", "ETH-USDT"}


def test_a_start_reaches_back_to_each_symbols_newest_whole_candle(toy):
    open_ms = past(0)
    recorded("BTC-USDT", open_ms - 10 * BUCKET_MS)
    recorded("BTC-USDT", open_ms - 3 * BUCKET_MS, Source.REST)
    recorded("BTC-USDT", open_ms - 2 * BUCKET_MS, quality=Quality.GAPPED)  # closed while nobody streamed
    by_name = {r.symbol: r for r in note(started(open_ms, "BTC-USDT", "ETH-USDT"))}
    assert by_name["BTC-USDT"].from_ms == open_ms - 9 * BUCKET_MS
    assert by_name["ETH-USDT"].from_ms == open_ms


def test_a_start_after_a_week_begins_with_its_bucket(toy):
    open_ms = past(0)
    recorded("BTC-USDT", open_ms - 7 * 24 * 12 * BUCKET_MS)
    (wanted,) = note(started(open_ms, "BTC-USDT"))
    assert wanted.from_ms == open_ms


def test_a_symbol_that_streams_already_is_not_asked_for_twice(toy):
    open_ms = past(0)
    recorded("BTC-USDT", open_ms)  # closed while another connection was still starting
    (wanted,) = note(started(open_ms, "BTC-USDT"))
    assert wanted.from_ms == open_ms


def test_no_gap_is_longer_than_a_day(toy):
    to_ns = past(0) * NS
    (wanted,) = note(Gap("toy", to_ns - 30 * LONGEST_NS, to_ns, Cause.DISCONNECT, ("BTC-USDT",), "c"))
    assert wanted.to_ms - wanted.from_ms == LONGEST_NS // NS
    assert GapRow.objects.get().from_ns == to_ns - LONGEST_NS


# ---- what cannot be repaired -------------------------------------------------------------------


def served(settings, url: str) -> None:
    settings.EXCHANGE_ENDPOINTS = {"binance": {"rest": url, "ws": f"ws://{urlsplit(url).netloc}"}}
    ExchangeSymbol(exchange_id="binance", native="BTCUSDT", base="BTC", quote="USDT").save()


def aggregate(number: int, time_ms: int, price: str) -> dict:
    return {"a": number, "p": price, "q": "1", "f": number, "l": number, "T": time_ms, "m": True, "M": True}


def test_an_unknown_symbol_is_nothing_to_repair(redis_state):
    assert repair(Repair("binance", "NO-NE", 0, BUCKET_MS, 0)) is None


def test_nonsense_of_the_venue_is_left_out(redis_state, settings):
    open_ms = past(2)
    rows = [aggregate(1, open_ms, "100"), aggregate(2, open_ms + 1, "0"), aggregate(3, open_ms + 2, "101")]
    with http_server(lambda asked: Answer(rows)) as server:
        served(settings, server.url)
        assert repair(Repair("binance", "BTC-USDT", open_ms, open_ms + BUCKET_MS, 0)) is None
    (stored,) = ledger.slabs("binance", [Bucket("BTC-USDT", open_ms)])
    (columns,) = stored.values()
    assert columns.ids == [1, 3]


@pytest.mark.parametrize(("status", "error"), [(451, GeoBlocked), (503, VenueUnavailable)])
def test_a_venue_that_does_not_answer_leaves_the_gap_open(redis_state, settings, status, error):
    open_ms = past(2)
    with http_server(lambda asked: Answer({"msg": "no"}, status)) as server:
        served(settings, server.url)
        (wanted,) = note(gap("binance", open_ms, open_ms + 5))
        with pytest.raises(error):
            repair(wanted)
    assert GapRow.objects.get().closed_at is None


def test_only_what_was_fetched_is_closed(redis_state, settings):
    """A gap that reaches beyond the repair stays open."""
    open_ms = past(4)
    with http_server(lambda asked: Answer([])) as server:
        served(settings, server.url)
        (wanted,) = note(gap("binance", open_ms, open_ms + 5))
        note(gap("binance", open_ms, open_ms + BUCKET_MS + 1))
        repair(wanted)
    assert [row.closed_at is None for row in GapRow.objects.order_by("to_ns")] == [False, True]
