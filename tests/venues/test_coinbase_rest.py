"""Coinbase's REST adapter against a local server that answers in the documented shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from exchanges.coinbase.rest import CoinbaseRest
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
MARKET = "/api/v3/brokerage/market"


@contextmanager
def served(answer: Callable[[Asked], Answer], **rest: Any) -> Iterator[tuple[CoinbaseRest, HttpServer]]:
    with http_server(answer) as server:
        yield CoinbaseRest(Endpoint(server.url, "wss://advanced.example"), OpenBudget(), **rest), server


def product(native: str, base: str, quote: str, **more: Any) -> dict[str, Any]:
    return {
        "product_id": native,
        "price": "2.5",
        "volume_24h": "100",
        "base_increment": "0.00000001",
        "quote_increment": "0.01",
        "price_increment": "0.05",
        "status": "online",
        "is_disabled": False,
        "trading_disabled": False,
        "view_only": False,
        "cancel_only": False,
        "product_type": "SPOT",
        "base_currency_id": base,
        "quote_currency_id": quote,
        "alias": "",
        "alias_to": [],
        "approximate_quote_24h_volume": "250.125",
        "new_at": None,
    } | more


def products(*rows: dict[str, Any], has_next: bool = False) -> dict[str, Any]:
    pagination = {"prev_cursor": "", "next_cursor": "", "has_next": has_next, "has_prev": False}
    return {"products": list(rows), "num_products": len(rows), "pagination": pagination}


def rfc3339(at_ns: int) -> str:
    """As the venue writes it: microseconds at most, trailing zeros cut."""
    whole = datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f"{at_ns % 10**9:09d}"[:6].rstrip("0")
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


def test_nothing_is_contacted_before_the_first_call() -> None:
    rest = CoinbaseRest(Endpoint("http://127.0.0.1:1", "ws://127.0.0.1:2"), OpenBudget())
    assert rest.socket_url(["BTC-USD"]) == "ws://127.0.0.1:2"


def test_instruments_are_spot_books_without_aliases() -> None:
    rows = [
        product("BTC-USD", "BTC", "USD", alias_to=["BTC-USDC"]),
        product("BTC-USDC", "BTC", "USDC", alias="BTC-USD"),
        product("EURC-USDC", "EURC", "USDC", price_increment=""),
        product("LONE-USDC", "LONE", "USDC", alias="LONE-USD"),
        product("BIT-28NOV25-CDE", "BIT", "USD", product_type="FUTURE"),
        product("OLD-USD", "OLD", "USD", status="delisted", trading_disabled=True),
        product("OFF-USD", "OFF", "USD", is_disabled=True),
        product("SEE-USD", "SEE", "USD", view_only=True),
        product("STOP-USD", "STOP", "USD", trading_disabled=True),
    ]
    with served(lambda _: Answer(products(*rows))) as (rest, server):
        found = {i.native: i for i in rest.instruments()}
    assert server.asked[0].path == f"{MARKET}/products"
    assert server.asked[0].query["product_type"] == "SPOT"
    assert list(found) == ["BTC-USD", "EURC-USDC", "LONE-USDC", "OLD-USD", "OFF-USD", "SEE-USD", "STOP-USD"]
    assert [n for n, i in found.items() if i.is_trading] == ["BTC-USD", "EURC-USDC", "LONE-USDC"]
    one = found["BTC-USD"]
    assert (str(one.symbol), one.tick, one.lot) == ("BTC-USD", Decimal("0.05"), Decimal("0.00000001"))
    assert found["EURC-USDC"].tick == Decimal("0.01")


def test_products_on_several_pages_are_all_read() -> None:
    first, second = product("A-USD", "A", "USD"), product("B-USD", "B", "USD")

    def answer(asked: Asked) -> Answer:
        is_second = asked.query.get("offset") == "1"
        return Answer(products(second if is_second else first, has_next=not is_second))

    with served(answer) as (rest, _):
        assert [i.native for i in rest.instruments()] == ["A-USD", "B-USD"]


def test_a_next_page_that_brings_nothing_ends_the_list() -> None:
    with served(lambda _: Answer(products(product("A-USD", "A", "USD"), has_next=True))) as (rest, server):
        assert len(rest.instruments()) == 1
    assert len(server.asked) == 2


def test_volumes_are_turnover_in_the_quote() -> None:
    rows = [
        product("BTC-USD", "BTC", "USD"),
        product("BTC-USDC", "BTC", "USDC", alias="BTC-USD"),
        product("X-USD", "X", "USD", approximate_quote_24h_volume=""),
        product("Y-USD", "Y", "USD", approximate_quote_24h_volume="", volume_24h="", price=""),
    ]
    with served(lambda _: Answer(products(*rows))) as (rest, _):
        assert rest.volumes() == {"BTC-USD": Decimal("250.125"), "X-USD": Decimal(250), "Y-USD": 0}


def test_the_clock_is_in_milliseconds() -> None:
    body = {"iso": "2026-04-07T00:28:58Z", "epochSeconds": "1775521738", "epochMillis": "1775521738123"}
    with served(lambda _: Answer(body)) as (rest, server):
        assert rest.time_ms() == 1775521738123
    assert server.asked[0].path == "/api/v3/brokerage/time"


def candles(opens: list[int]) -> Callable[[Asked], Answer]:
    """Newest first, both ends inclusive, and a range wider than 350 candles is refused."""

    def answer(asked: Asked) -> Answer:
        start, end = int(asked.query["start"]), int(asked.query["end"])
        if (end - start) // 300 >= 350:
            return Answer({"error": "INVALID_ARGUMENT", "message": "number of candles should be below 350"}, 400)
        rows = [
            {"start": str(o // 1000), "low": "1.5", "high": "4", "open": "2", "close": "3.25", "volume": "12.5"}
            for o in opens
            if start <= o // 1000 <= end
        ]
        return Answer({"candles": rows[::-1]})

    return answer


def test_klines_come_oldest_first_over_pages_with_holes_left_open() -> None:
    opens = [BEGIN + n * M5 for n in range(1000) if n % 7]
    with served(candles(opens)) as (rest, server):
        found = rest.klines("BTC-USD", Timeframe.M5, BEGIN + 1, BEGIN + 900 * M5)
    assert [k.open_ms for k in found] == [o for o in opens if o < BEGIN + 900 * M5]
    assert len(server.asked) == 3
    assert server.asked[0].path == f"{MARKET}/products/BTC-USD/candles"
    assert server.asked[0].query["granularity"] == "FIVE_MINUTE"
    one = found[0]
    assert (one.open, one.high, one.low, one.close) == (2, 4, Decimal("1.5"), Decimal("3.25"))
    assert (one.volume, one.turnover, one.trades, one.taker_buy_volume) == (Decimal("12.5"), None, None, None)


@pytest.mark.parametrize("timeframe", list(Timeframe))
def test_every_timeframe_has_its_name(timeframe: Timeframe) -> None:
    with served(lambda _: Answer({"candles": []})) as (rest, server):
        assert rest.klines("BTC-USD", timeframe, BEGIN, BEGIN + 2 * timeframe.ms) == []
    assert server.asked[0].query["granularity"].endswith(("MINUTE", "HOUR", "DAY"))


def test_an_interval_shorter_than_a_candle_asks_nothing() -> None:
    with served(candles([])) as (rest, server):
        assert rest.klines("BTC-USD", Timeframe.M5, BEGIN + 1, BEGIN + M5) == []
    assert server.asked == []


def ticker(times_ns: list[int], *, cap: int, is_end_inclusive: bool) -> Callable[[Asked], Answer]:
    """Trade n (from 1000 up) at each time; newest first, at most `cap` whatever is asked for."""

    def answer(asked: Asked) -> Answer:
        start, end = int(asked.query["start"]) * 10**9, int(asked.query["end"]) * 10**9
        rows = [
            {
                "trade_id": str(1000 + n),
                "product_id": "BTC-USD",
                "price": "68923.67",
                "size": "0.00064",
                "time": rfc3339(at),
                "side": "SELL" if n % 2 else "BUY",
                "bid": "",
                "ask": "",
                "exchange": "coinbase",
            }
            for n, at in enumerate(times_ns)
            if start <= at < end or (is_end_inclusive and at == end)
        ]
        newest = rows[::-1][: min(cap, int(asked.query["limit"]))]
        return Answer({"trades": newest, "best_bid": "", "best_ask": ""})

    return answer


@pytest.mark.parametrize("cap", [1000, 250, 100])
@pytest.mark.parametrize("is_end_inclusive", [True, False])
def test_trades_are_paged_backwards_without_loss_or_doubles(cap: int, is_end_inclusive: bool) -> None:
    begin_ns = BEGIN * 1_000_000
    times = [begin_ns + n * 21_000_000 for n in range(-100, 3000)]  # 47.6 a second
    interval = (BEGIN + 1234, BEGIN + 50_777)
    with served(ticker(times, cap=cap, is_end_inclusive=is_end_inclusive)) as (rest, server):
        found = rest.trades("BTC-USD", "BTC-USD", *interval)
    assert found == [
        Trade("BTC-USD", at, 1000 + n, 1, "68923.67", "0.00064", bool(n % 2))
        for n, at in enumerate(times)
        if interval[0] * 1_000_000 <= at < interval[1] * 1_000_000
    ]
    assert server.asked[0].path == f"{MARKET}/products/BTC-USD/ticker"


def test_a_second_fuller_than_a_page_shows_as_a_hole_in_the_ids_and_hides_nothing_older() -> None:
    begin_ns = BEGIN * 1_000_000
    times = [*(begin_ns + n * 10**9 for n in range(5)), *(begin_ns + 5 * 10**9 + n for n in range(300))]
    with served(ticker(times, cap=100, is_end_inclusive=False)) as (rest, _):
        found = [t.id for t in rest.trades("BTC-USD", "BTC-USD", BEGIN, BEGIN + M5)]
    assert found == [*range(1000, 1005), *range(1205, 1305)]


def test_quiet_stretches_end_the_paging() -> None:
    times = [BEGIN * 1_000_000 + 30 * 10**9]
    with served(ticker(times, cap=1000, is_end_inclusive=True)) as (rest, server):
        assert [t.id for t in rest.trades("BTC-USD", "BTC-USD", BEGIN, BEGIN + M5)] == [1000]
    assert len(server.asked) <= 4


def test_a_venue_that_ignores_the_interval_does_not_hold_us() -> None:
    late = ticker([BEGIN * 1_000_000 + M5 * 2_000_000], cap=1000, is_end_inclusive=True)

    def answer(asked: Asked) -> Answer:
        return late(Asked(asked.path, dict(asked.query) | {"start": "0", "end": "9999999999"}, {}))

    with served(answer) as (rest, server):
        assert rest.trades("BTC-USD", "BTC-USD", BEGIN, BEGIN + M5) == []
    assert len(server.asked) <= 4


@pytest.mark.parametrize("interval", [(BEGIN, BEGIN), (BEGIN + 1, BEGIN)])
def test_an_empty_interval_asks_nothing_or_finds_nothing(interval: tuple[int, int]) -> None:
    with served(ticker([BEGIN * 1_000_000], cap=1000, is_end_inclusive=True)) as (rest, _):
        assert rest.trades("BTC-USD", "BTC-USD", *interval) == []


@pytest.mark.parametrize("change", [{"trade_id": "x"}, {"time": "yesterday"}, {"price": 5}, {"side": "?"}])
def test_rows_of_another_shape_are_a_protocol_error(change: dict[str, Any]) -> None:
    honest = ticker([BEGIN * 1_000_000], cap=1, is_end_inclusive=True)

    def answer(asked: Asked) -> Answer:
        body = honest(asked).body
        body["trades"][0] |= change
        return Answer(body)

    with served(answer) as (rest, _), pytest.raises(RemoteProtocolError):
        rest.trades("BTC-USD", "BTC-USD", BEGIN, BEGIN + 1000)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer({"error": "NOT_FOUND", "error_details": "x", "message": "x"}, 404), InvalidInput),
        (Answer({"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]}, 429), RateLimited),
        (Answer(text="<html>denied", status=403, content_type="text/html"), GeoBlocked),
        (Answer({"msg": "x"}, 451), GeoBlocked),
        (Answer(text="<html>", status=502, content_type="text/html"), VenueUnavailable),
        (Answer(text="<html>", content_type="text/html"), VenueUnavailable),
        (Answer({"candles": []}, delay_s=30), VenueUnavailable),
    ],
)
def test_failures_come_out_as_our_errors(answer: Answer, kind: type[LivermoreError]) -> None:
    with served(lambda _: answer, timeout_s=0.3) as (rest, _), pytest.raises(kind):
        rest.klines("BTC-USD", Timeframe.H1, BEGIN, BEGIN + 3_600_000)
