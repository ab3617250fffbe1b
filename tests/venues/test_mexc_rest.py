"""MEXC's REST adapter against a local server that answers in the documented shapes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from exchanges.mexc.rest import MexcRest
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
M5, H4, D1 = Timeframe.M5.ms, Timeframe.H4.ms, Timeframe.D1.ms
ACCESS_DENIED = "<HTML><HEAD><TITLE>Access Denied</TITLE></HEAD><BODY>Reference #18.2d351ab8.1557333295</BODY></HTML>"


@contextmanager
def served(
    answer: Callable[[Asked], Answer], budget: OpenBudget | None = None, **rest: Any
) -> Iterator[tuple[MexcRest, HttpServer]]:
    with http_server(answer) as server:
        yield MexcRest(Endpoint(server.url, "wss://stream.example/ws"), budget or OpenBudget(), **rest), server


def market(native: str, base: str, quote: str, **more: Any) -> dict[str, Any]:
    return {
        "symbol": native,
        "status": "1",
        "baseAsset": base,
        "baseAssetPrecision": 8,
        "quoteAsset": quote,
        "quotePrecision": 2,
        "quoteAssetPrecision": 2,
        "isSpotTradingAllowed": True,
        "quoteAmountPrecision": "1",
        "baseSizePrecision": "0.000001",
        "filters": [],
        "fullName": "Bitcoin",
        "tradeSideType": 1,
        "st": False,
    } | more


def kline(open_ms: int, length_ms: int = M5, **more: str) -> list[Any]:
    said = {"o": "47482.36", "h": "47500", "l": "47416.57", "c": "47436.1", "v": "3.550717", "q": "168387.3"} | more
    return [open_ms, said["o"], said["h"], said["l"], said["c"], said["v"], open_ms + length_ms, said["q"]]


def paged(opens: list[int], length_ms: int) -> Callable[[Asked], Answer]:
    """Like the venue: never more than 500 rows, whatever was asked for."""

    def answer(asked: Asked) -> Answer:
        low, high = int(asked.query["startTime"]), int(asked.query["endTime"])
        return Answer([kline(o, length_ms) for o in opens if low <= o <= high][:500])

    return answer


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ("wss://wbs-api.mexc.com/ws", "wss://wbs-api.mexc.com/ws"),
        ("ws://127.0.0.1:9002", "ws://127.0.0.1:9002/ws"),
        ("ws://127.0.0.1:9002/elsewhere", "ws://127.0.0.1:9002/elsewhere"),
    ],
)
def test_nothing_is_contacted_for_the_sockets_address(address: str, url: str) -> None:
    rest = MexcRest(Endpoint("http://127.0.0.1:1", address), OpenBudget())
    assert rest.socket_url(["BTCUSDT"]) == url


def test_instruments_take_names_and_steps_from_their_fields() -> None:
    rows = [
        market("BTCUSDT", "BTC", "USDT"),
        market("BCHSVUSDT", "BSV", "USDT", baseSizePrecision="0", baseAssetPrecision=4, quotePrecision=5),
        market("龙虾USDT", "龙虾", "USDT", status="ENABLED", baseSizePrecision=""),
        market("AAPLXUSDT", "AAPLX", "USDT", isSpotTradingAllowed=False),
        market("OLDUSDT", "OLD", "USDT", status="2"),
        market("GONEUSDT", "GONE", "USDT", tradeSideType=4),
        market("ODD", "A-B", "USDT"),
    ]
    with served(lambda _: Answer({"timezone": "CST", "symbols": rows})) as (rest, server):
        found = {i.native: i for i in rest.instruments()}
    assert server.asked[0].path == "/api/v3/exchangeInfo"
    assert {n: str(i.symbol) for n, i in found.items()} == {
        "BTCUSDT": "BTC-USDT",
        "BCHSVUSDT": "BSV-USDT",
        "龙虾USDT": "龙虾-USDT",
        "AAPLXUSDT": "AAPLX-USDT",
        "OLDUSDT": "OLD-USDT",
        "GONEUSDT": "GONE-USDT",
    }
    assert [n for n, i in found.items() if i.is_trading] == ["BTCUSDT", "BCHSVUSDT", "龙虾USDT", "AAPLXUSDT"]
    bitcoin, old_name = found["BTCUSDT"], found["BCHSVUSDT"]
    assert (bitcoin.tick, bitcoin.lot, bitcoin.status) == (Decimal("0.01"), Decimal("0.000001"), "1")
    assert (old_name.tick, old_name.lot) == (Decimal("0.00001"), Decimal("0.0001"))
    assert found["龙虾USDT"].lot == Decimal("0.00000001")


def test_volumes_are_turnover_in_the_quote_and_estimated_where_it_is_missing() -> None:
    rows = [
        {"symbol": "BTCUSDT", "lastPrice": "46263.71", "volume": "2", "quoteVolume": "99000.5", "count": None},
        {"symbol": "ETHUSDT", "lastPrice": "2000.5", "volume": "3", "quoteVolume": None, "bidQty": ""},
        {"symbol": "NEWUSDT", "lastPrice": "", "volume": "", "quoteVolume": ""},
        {"symbol": "IDLEUSDT", "lastPrice": None, "volume": None, "quoteVolume": None},
    ]
    with served(lambda _: Answer(rows)) as (rest, _):
        assert rest.volumes() == {
            "BTCUSDT": Decimal("99000.5"),
            "ETHUSDT": Decimal("6001.5"),
            "NEWUSDT": Decimal(0),
            "IDLEUSDT": Decimal(0),
        }


def test_the_clock_is_in_milliseconds() -> None:
    with served(lambda _: Answer({"serverTime": 1645539742000})) as (rest, _):
        assert rest.time_ms() == 1645539742000


def test_klines_are_exact_and_complete_over_pages_of_500() -> None:
    opens = [BEGIN + n * M5 for n in range(1300) if n % 7]
    with served(paged(opens, M5)) as (rest, server):
        found = rest.klines("龙虾USDT", Timeframe.M5, BEGIN + 1, BEGIN + 1250 * M5)
    assert [k.open_ms for k in found] == [o for o in opens if BEGIN < o < BEGIN + 1250 * M5]
    assert len(server.asked) == 3
    assert server.asked[0].path == "/api/v3/klines"
    assert (server.asked[0].query["symbol"], server.asked[0].query["interval"]) == ("龙虾USDT", "5m")
    first = found[0]
    assert (first.open, first.high, first.low, first.close) == tuple(
        map(Decimal, ("47482.36", "47500", "47416.57", "47436.1"))
    )
    assert (first.volume, first.turnover) == (Decimal("3.550717"), Decimal("168387.3"))
    assert (first.trades, first.taker_buy_volume) == (None, None)


def test_rows_outside_the_interval_are_not_returned() -> None:
    rows = [kline(BEGIN - M5), kline(BEGIN), kline(BEGIN + M5)]
    with served(lambda _: Answer(rows)) as (rest, _):
        assert [k.open_ms for k in rest.klines("X", Timeframe.M5, BEGIN, BEGIN + M5)] == [BEGIN]


def test_an_hour_is_spelled_60m() -> None:
    with served(lambda _: Answer([])) as (rest, server):
        for timeframe in (Timeframe.M15, Timeframe.M30, Timeframe.H1, Timeframe.H4):
            assert rest.klines("X", timeframe, BEGIN, BEGIN + D1) == []
    assert [a.query["interval"] for a in server.asked] == ["15m", "30m", "60m", "4h"]


def test_days_are_put_together_from_four_hours_and_begin_at_midnight_utc() -> None:
    midnight = BEGIN // D1 * D1
    rows = [
        kline(midnight, H4, o="1", h="5", l="1", c="3", v="1.1", q="10"),
        kline(midnight + H4, H4, o="3", h="9.5", l="2", c="4", v="2.2", q="20"),
        kline(midnight + 5 * H4, H4, o="4", h="4", l="0.5", c="2", v="3.3", q="30.5"),
        kline(midnight + D1, H4, o="2", h="2", l="2", c="2", v="0", q="0"),
    ]
    with served(lambda _: Answer(rows)) as (rest, server):
        first, second = rest.klines("X", Timeframe.D1, midnight - 1, midnight + D1 + 1)
    assert {a.query["interval"] for a in server.asked} == {"4h"}
    assert (first.open_ms, second.open_ms) == (midnight, midnight + D1)
    assert [first.open, first.high, first.low, first.close] == list(map(Decimal, ("1", "9.5", "0.5", "2")))
    assert (first.volume, first.turnover) == (Decimal("6.6"), Decimal("60.5"))


def test_trades_are_oldest_first_without_ids_and_with_the_takers_side() -> None:
    rows = [
        {"id": None, "price": "23", "qty": "0.4", "time": BEGIN + 9, "isBuyerMaker": True, "tradeType": "ASK"},
        {"id": None, "price": "23.1", "qty": "0.5", "time": BEGIN + 5, "isBuyerMaker": False, "tradeType": "BID"},
        {"id": None, "price": "23.2", "qty": "0.6", "time": BEGIN - 1, "isBuyerMaker": False, "tradeType": "BID"},
    ]
    with served(lambda _: Answer(rows)) as (rest, server):
        assert rest.trades("XUSDT", "X-USDT", BEGIN, BEGIN + 10) == [
            Trade("X-USDT", (BEGIN + 5) * 10**6, "", 1, "23.1", "0.5", True),
            Trade("X-USDT", (BEGIN + 9) * 10**6, "", 1, "23", "0.4", False),
        ]
    assert server.asked[0].query == {"symbol": "XUSDT", "limit": "1000"}


def test_every_call_costs_what_keeps_the_firewall_quiet() -> None:
    budget = OpenBudget()
    with served(lambda a: Answer({"serverTime": 1} if a.path.endswith("time") else []), budget) as (rest, _):
        rest.time_ms()
        rest.klines("X", Timeframe.M5, BEGIN, BEGIN + M5)
        rest.trades("X", "X-Y", BEGIN, BEGIN + M5)
        rest.volumes()
    assert budget.spent == [3, 3, 5, 40]
    assert 500 / 10 / min(budget.spent) < 20, "requests a second at which the firewall bans"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer({"code": -1121, "msg": "Invalid symbol."}, 400), InvalidInput),
        (Answer({"code": 429, "msg": "too many"}, 429, {"Retry-After": "3"}), RateLimited),
        (Answer({"code": 418, "msg": "banned"}, 418), RateLimited),
        (Answer(text=ACCESS_DENIED, status=403, content_type="text/html"), RateLimited),
        (Answer({"msg": "not available in your country"}, 403), GeoBlocked),
        (Answer(text="", status=451), GeoBlocked),
        (Answer(text=ACCESS_DENIED, content_type="text/html"), VenueUnavailable),
        (Answer({"code": 10007, "msg": "bad symbol"}), RemoteProtocolError),
        (Answer([["1"]]), RemoteProtocolError),
        (Answer([], delay_s=30), VenueUnavailable),
    ],
)
def test_failures_come_out_as_our_errors(answer: Answer, kind: type[LivermoreError]) -> None:
    with served(lambda _: answer, timeout_s=0.3) as (rest, _), pytest.raises(kind) as failure:
        rest.klines("X", Timeframe.M5, BEGIN, BEGIN + 1)
    assert "<HTML>" not in str(failure.value)


def test_the_firewalls_ban_closes_the_budget_for_90_seconds() -> None:
    budget = OpenBudget()
    denied = Answer(text=ACCESS_DENIED, status=403, content_type="text/html")
    with served(lambda _: denied, budget) as (rest, _), pytest.raises(RateLimited):
        rest.time_ms()
    assert 85 < budget.closed_until_ms / 1000 - time.time() <= 90


def test_a_volume_that_is_no_number_is_a_protocol_error() -> None:
    rows = [{"symbol": "X", "lastPrice": "1", "volume": "many", "quoteVolume": None}]
    with served(lambda _: Answer(rows)) as (rest, _), pytest.raises(RemoteProtocolError):
        rest.volumes()
