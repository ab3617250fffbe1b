"""Binance's REST adapter against a local server that answers in the documented shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from exchanges.binance.rest import BinanceRest
from exchanges.registry import venue
from exchanges.venue import Endpoint
from livermore.core.candle import Timeframe
from livermore.core.errors import (
    GeoBlocked,
    InvalidInput,
    LivermoreError,
    RateLimited,
    RemoteProtocolError,
    VenueUnavailable,
)
from livermore.core.trade import Trade
from tests.support.budgets import OpenBudget
from tests.support.http_server import Answer, Asked, HttpServer, http_server

BEGIN = 1_790_000_100_000  # aligned to five minutes
M5 = Timeframe.M5.ms

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # python-binance's imports


@contextmanager
def served(answer: Callable[[Asked], Answer], **rest: Any) -> Iterator[tuple[BinanceRest, HttpServer]]:
    with http_server(answer) as server:
        yield BinanceRest(Endpoint(server.url, "wss://stream.example:9443"), OpenBudget(), **rest), server


def paths(table: dict[str, Any]) -> Callable[[Asked], Answer]:
    return lambda asked: Answer(table[asked.path]) if asked.path in table else Answer({"msg": "?"}, 404)


def market(native: str, base: str, quote: str, **more: Any) -> dict[str, Any]:
    return {
        "symbol": native,
        "status": "TRADING",
        "baseAsset": base,
        "quoteAsset": quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 6,
        "isSpotTradingAllowed": True,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01", "maxPrice": "9", "tickSize": "0.01000000"},
            {"filterType": "LOT_SIZE", "minQty": "1", "maxQty": "9", "stepSize": "0.00010000"},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
    } | more


def kline(open_ms: int) -> list[Any]:
    prices = ["64000.10", "64100.00", "63990.00", "64050.00"]
    return [open_ms, *prices, "12.34560", open_ms + M5 - 1, "790123.456", 1523, "6.10000", "390000.1", "0"]


def aggregate(number: int, at_ms: int) -> dict[str, Any]:
    """Each bundles two executions: ids 2n and 2n+1."""
    first = number * 2
    is_maker_buyer = number % 2 == 0
    return {
        "a": number,
        "p": "13.80480000",
        "q": "2.1",
        "f": first,
        "l": first + 1,
        "T": at_ms,
        "m": is_maker_buyer,
        "M": True,
    }


def trade(number: int, at_ms: int) -> Trade:
    return Trade("OMG-BUSD", at_ms * 1_000_000, number * 2, 2, "13.80480000", "2.1", number % 2 == 1)


def test_nothing_is_contacted_before_the_first_call() -> None:
    rest = BinanceRest(Endpoint("http://127.0.0.1:1", "ws://127.0.0.1:2"), OpenBudget())
    assert rest.socket_url(["BTCUSDT"]) == "ws://127.0.0.1:2/stream"


def test_instruments_take_names_and_steps_from_their_fields() -> None:
    rows = [
        market("1000SATSUSDT", "1000SATS", "USDT"),
        market("USDCUSDT", "USDC", "USDT", quoteAssetPrecision=None),
        market("BTCUSD", "BTC", "USD", status="BREAK"),
        market("币安人生USDT", "币安人生", "USDT", filters=[]),
        market("BTCUPUSDT", "BTCUP", "USDT", isSpotTradingAllowed=False),
        market("ODD", "A-B", "USDT"),
    ]
    with served(paths({"/api/v3/exchangeInfo": {"symbols": rows}})) as (rest, _):
        found = {i.native: i for i in rest.instruments()}
    assert {n: str(i.symbol) for n, i in found.items()} == {
        "1000SATSUSDT": "1000SATS-USDT",
        "USDCUSDT": "USDC-USDT",
        "BTCUSD": "BTC-USD",
        "币安人生USDT": "币安人生-USDT",
        "BTCUPUSDT": "BTCUP-USDT",
    }
    assert [n for n, i in found.items() if i.is_trading] == ["1000SATSUSDT", "USDCUSDT", "币安人生USDT"]
    one = found["1000SATSUSDT"]
    assert (one.tick, one.lot, one.status, one.quote_precision) == (Decimal("0.01"), Decimal("0.0001"), "TRADING", 6)
    assert found["USDCUSDT"].quote_precision == 8
    assert found["币安人生USDT"].tick == 0


def test_volumes_are_turnover_in_the_quote() -> None:
    rows = [{"symbol": "BTCUSD", "volume": "5.1", "quoteVolume": "326400.00000001", "count": 501}]
    with served(paths({"/api/v3/ticker/24hr": rows})) as (rest, _):
        assert rest.volumes() == {"BTCUSD": Decimal("326400.00000001")}


def test_the_clock_is_in_milliseconds() -> None:
    with served(paths({"/api/v3/time": {"serverTime": 1499827319559}})) as (rest, _):
        assert rest.time_ms() == 1499827319559


def test_klines_are_exact_and_complete_over_pages() -> None:
    opens = [BEGIN + n * M5 for n in range(2400)]

    def answer(asked: Asked) -> Answer:
        low, high = int(asked.query["startTime"]), int(asked.query["endTime"])
        return Answer([kline(o) for o in opens if low <= o <= high][: int(asked.query["limit"])])

    with served(answer) as (rest, server):
        found = rest.klines("币安人生USDT", Timeframe.M5, BEGIN + 1, BEGIN + 2300 * M5)
    assert [k.open_ms for k in found] == opens[1:2300]
    assert len(server.asked) == 3
    assert server.asked[0].path == "/api/v3/klines"
    assert server.asked[0].query["symbol"] == "币安人生USDT"
    assert server.asked[0].query["interval"] == "5m"
    assert server.asked[0].headers["User-Agent"].startswith("livermore/")
    first = found[0]
    assert (first.open, first.high, first.low, first.close) == tuple(
        map(Decimal, ("64000.10", "64100.00", "63990.00", "64050.00"))
    )
    assert (first.volume, first.turnover) == (Decimal("12.3456"), Decimal("790123.456"))
    assert (first.trades, first.taker_buy_volume) == (1523, Decimal("6.1"))


def test_rows_outside_the_interval_are_not_returned() -> None:
    rows = [kline(BEGIN - M5), kline(BEGIN), kline(BEGIN + M5)]
    with served(lambda _: Answer(rows)) as (rest, _):
        assert [k.open_ms for k in rest.klines("X", Timeframe.M5, BEGIN, BEGIN + M5)] == [BEGIN]


def agg_trades(rows: Sequence[dict[str, Any]]) -> Callable[[Asked], Answer]:
    def answer(asked: Asked) -> Answer:
        query = asked.query
        if "fromId" in query:
            page = [r for r in rows if r["a"] >= int(query["fromId"])]
        else:
            page = [r for r in rows if r["T"] >= int(query["startTime"])]
        return Answer(page[: int(query["limit"])])

    return answer


def test_trades_are_found_by_time_and_followed_by_id() -> None:
    # 2,500 in one millisecond: paging by time alone would stay there for ever.
    times = [BEGIN - 1, BEGIN] + [BEGIN + 5] * 2500 + [BEGIN + 6, BEGIN + 1000, BEGIN + 1001]
    rows = [aggregate(n, at) for n, at in enumerate(times, start=100)]
    with served(agg_trades(rows)) as (rest, server):
        found = rest.trades("OMGBUSD", "OMG-BUSD", BEGIN, BEGIN + 1000)
    assert found == [trade(n, at) for n, at in enumerate(times, start=100) if BEGIN <= at < BEGIN + 1000]
    assert [("startTime" in a.query, "fromId" in a.query) for a in server.asked] == [
        (True, False),
        (False, True),
        (False, True),
    ]


@pytest.mark.parametrize("interval", [(BEGIN, BEGIN), (BEGIN, BEGIN - 1), (BEGIN + 50, BEGIN + 60)])
def test_an_interval_without_trades_is_empty(interval: tuple[int, int]) -> None:
    rows = [aggregate(1, BEGIN - 10), aggregate(2, BEGIN + 100)]
    with served(agg_trades(rows)) as (rest, _):
        assert rest.trades("OMGBUSD", "OMG-BUSD", *interval) == []


def test_pages_that_lead_nowhere_are_an_error() -> None:
    same_page = [aggregate(n, BEGIN) for n in range(1000)]
    with served(lambda _: Answer(same_page)) as (rest, _), pytest.raises(RemoteProtocolError):
        rest.trades("X", "X-Y", BEGIN, BEGIN + 1000)


@pytest.mark.parametrize(
    "row",
    [
        {"a": 1, "p": 1.5, "q": "1", "f": 1, "l": 1, "T": BEGIN, "m": True},
        {"a": 1, "p": "1", "q": "1", "f": 2, "l": 1, "T": BEGIN, "m": True},
        {"a": 1, "p": "1", "q": "1", "f": 1, "l": 1, "m": True},
        ["1"],
    ],
)
def test_rows_of_another_shape_are_a_protocol_error(row: Any) -> None:
    with served(lambda _: Answer([row])) as (rest, _), pytest.raises(RemoteProtocolError):
        rest.trades("X", "X-Y", BEGIN, BEGIN + 1000)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer({"code": -1121, "msg": "Invalid symbol."}, 400), InvalidInput),
        (Answer({"code": -1003, "msg": "banned until 1790000000000"}, 418, {"Retry-After": "120"}), RateLimited),
        (Answer({"code": -1003, "msg": "too many"}, 429, {"Retry-After": "3"}), RateLimited),
        (Answer({"code": 0, "msg": "restricted location"}, 451), GeoBlocked),
        (Answer(text="<html>", status=503, content_type="text/html"), VenueUnavailable),
        (Answer(text="<html>", content_type="text/html"), VenueUnavailable),
        (Answer([], delay_s=30), VenueUnavailable),
    ],
)
def test_failures_come_out_as_our_errors_not_as_the_sdks(answer: Answer, kind: type[LivermoreError]) -> None:
    with served(lambda _: answer, timeout_s=0.3) as (rest, _):
        with pytest.raises(kind):
            rest.klines("X", Timeframe.H1, BEGIN, BEGIN + 1)
        with pytest.raises(kind):
            rest.instruments()


@pytest.mark.parametrize(("slug", "weights"), [("binance", [20, 2, 4, 80, 1]), ("binance_us", [10, 1, 1, 40, 1])])
def test_every_call_takes_the_weight_its_page_states_and_the_minute_is_fed_back(slug: str, weights: list[int]) -> None:
    counted = iter(["20", "22", "", "106x", "107"])
    budget = OpenBudget()

    def answer(asked: Asked) -> Answer:
        body = {"exchangeInfo": {"symbols": []}, "time": {"serverTime": 1}}.get(asked.path.rpartition("/")[2], [])
        return Answer(body, headers={"X-MBX-USED-WEIGHT-1M": next(counted)})

    with http_server(answer) as server:
        rest = venue(slug).rest(Endpoint(server.url, ""), budget)
        rest.instruments()
        rest.klines("X", Timeframe.M5, BEGIN, BEGIN + M5)
        rest.trades("X", "X-Y", BEGIN, BEGIN + M5)
        rest.volumes()
        rest.time_ms()
    assert budget.spent == weights
    assert budget.heard == [20, 22, 107]
