"""KuCoin's REST adapter, and the SDK inside it, against a local server that answers in the documented shapes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from exchanges.kucoin.rest import WEIGHTS, KucoinRest
from exchanges.venue import Endpoint, SocketAddress
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

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the SDK's imports

REGION = (
    "Our services are currently unavailable in the U.S. To ensure a seamless experience, please access the platform "
    "from a non-restricted country/region using a supported IP address. For more details, please refer to our Terms "
    "of Use. (current ip: 203.0.113.7 and current area: US)"
)


@contextmanager
def served(
    answer: Callable[[Asked], Answer], budget: OpenBudget | None = None, **rest: Any
) -> Iterator[tuple[KucoinRest, HttpServer]]:
    with http_server(answer) as server:
        yield KucoinRest(Endpoint(server.url, ""), budget or OpenBudget(), **rest), server


def good(payload: Any, **headers: str) -> Answer:
    return Answer({"code": "200000", "data": payload}, headers=headers)


def always(payload: Any) -> Callable[[Asked], Answer]:
    return lambda _: good(payload)


def market(native: str, name: str, **more: Any) -> dict[str, Any]:
    base, quote = name.split("-", 1)
    return {
        "symbol": native,
        "name": name,
        "baseCurrency": base,
        "quoteCurrency": quote,
        "feeCurrency": quote,
        "market": "USDS",
        "baseMinSize": "0.00001",
        "baseIncrement": "0.00000001",
        "quoteIncrement": "0.000001",
        "priceIncrement": "0.1",
        "priceLimitRate": "0.1",
        "isMarginEnabled": True,
        "enableTrading": True,
        "st": False,
        "callauctionIsEnabled": False,
        "callauctionPriceFloor": None,
        "tradingStartTime": None,
    } | more


def bullet(token: str, endpoint: str = "ws://127.0.0.1:2/endpoint", **more: Any) -> dict[str, Any]:
    server = {
        "endpoint": endpoint,
        "encrypt": True,
        "protocol": "websocket",
        "pingInterval": 18000,
        "pingTimeout": 10000,
    }
    return {"token": token, "instanceServers": [server | more]}


def test_every_connection_gets_a_token_of_its_own_and_learns_its_ping() -> None:
    tokens = iter(["2neA&=/", "two"])
    with served(lambda _: good(bullet(next(tokens)))) as (rest, server):
        first, second = rest.socket_url(["BTC-USDT"]), rest.socket_url(["BTC-USDT"])
    assert first.url.startswith("ws://127.0.0.1:2/endpoint?token=2neA%26%3D%2F&connectId=")
    assert second.url.startswith("ws://127.0.0.1:2/endpoint?token=two&connectId=")
    assert first.url.rpartition("=")[2] != second.url.rpartition("=")[2]
    assert (first.ping_interval_s, first.ping_timeout_s) == (18, 10)
    assert [(a.method, a.path) for a in server.asked] == [("POST", "/api/v1/bullet-public")] * 2
    assert "KC-API-KEY" not in server.asked[0].headers
    assert server.asked[0].headers["User-Agent"].startswith("livermore/")


def test_the_token_is_not_shown() -> None:
    with served(always(bullet("s3cret"))) as (rest, _):
        assert "s3cret" not in repr(rest.socket_url([]))


@pytest.mark.parametrize(
    "reply",
    [
        {"token": "s3cret", "instanceServers": []},
        bullet("s3cret", protocol="socket.io"),
        bullet("s3cret", pingInterval=0),
        bullet("s3cret", endpoint="http://127.0.0.1/"),
        {"instanceServers": bullet("s3cret")["instanceServers"]},
        None,
    ],
)
def test_a_token_reply_that_leads_nowhere_is_a_protocol_error_without_the_token(reply: Any) -> None:
    with served(always(reply)) as (rest, _), pytest.raises(RemoteProtocolError) as error:
        rest.socket_url([])
    assert "s3cret" not in str(error.value)


def test_over_https_no_unsecured_stream_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    rest = KucoinRest(Endpoint("https://api.kucoin.example", ""), OpenBudget())

    class Api:
        endpoint = "ws://elsewhere.example/"

        def get_public_token(self) -> Any:
            return bullet("s3cret", endpoint=self.endpoint)

    monkeypatch.setitem(rest.__dict__, "_api", Api())
    with pytest.raises(RemoteProtocolError, match="not wss"):
        rest.socket_url([])
    Api.endpoint = "wss://ws-api-spot.kucoin.example/"
    assert isinstance(rest.socket_url([]), SocketAddress)


def test_instruments_are_named_as_they_are_called_today() -> None:
    rows = [
        market("BTC-USDT", "BTC-USDT"),
        market("BCHSV-USDT", "BSV-USDT", priceIncrement="0.001", baseIncrement="0.01"),
        market("LYXE-ETH", "LYXe-ETH", st=True),
        market("OLD-BTC", "OLD-BTC", enableTrading=False),
        market("NEW-USDT", "NEW-USDT", callauctionIsEnabled=True, tradingStartTime=1790000000000),
        market("ODD", "A-B-C"),
    ]
    del rows[0]["callauctionIsEnabled"], rows[0]["st"]
    with served(always(rows)) as (rest, server):
        found = {i.native: i for i in rest.instruments()}
    assert server.asked[0].path == "/api/v2/symbols"
    assert {n: (str(i.symbol), i.is_trading, i.status) for n, i in found.items()} == {
        "BTC-USDT": ("BTC-USDT", True, "enabled"),
        "BCHSV-USDT": ("BSV-USDT", True, "enabled"),
        "LYXE-ETH": ("LYXE-ETH", True, "special treatment"),
        "OLD-BTC": ("OLD-BTC", False, "disabled"),
        "NEW-USDT": ("NEW-USDT", True, "call auction"),
    }
    assert (found["BCHSV-USDT"].tick, found["BCHSV-USDT"].lot) == (Decimal("0.001"), Decimal("0.01"))


def test_volumes_are_turnover_in_the_quote() -> None:
    rows = [
        {"symbol": "BTC-USDT", "symbolName": "BTC-USDT", "vol": "1836.03", "volValue": "124068431.06726933"},
        {"symbol": "NEW-USDT", "symbolName": "NEW-USDT", "vol": None, "volValue": None, "last": None},
    ]
    with served(always({"time": BEGIN, "ticker": rows})) as (rest, server):
        assert rest.volumes() == {"BTC-USDT": Decimal("124068431.06726933"), "NEW-USDT": 0}
    assert server.asked[0].path == "/api/v1/market/allTickers"


def test_the_clock_is_in_milliseconds() -> None:
    with served(always(1729100692873)) as (rest, server):
        assert rest.time_ms() == 1729100692873
    assert server.asked[0].path == "/api/v1/timestamp"


def candles(opens: list[int], *, is_end_included: bool) -> Callable[[Asked], Answer]:
    """Newest first, at most 1500, start included, in the venue's order of columns."""

    def answer(asked: Asked) -> Answer:
        start, end = int(asked.query["startAt"]), int(asked.query["endAt"])
        rows = [
            [str(o // 1000), "2", "3.25", "4", "1.5", "12.5", "30.00000000001"]
            for o in opens
            if start <= o // 1000 < end + is_end_included
        ]
        return good(rows[::-1][:1500])

    return answer


@pytest.mark.parametrize("is_end_included", [True, False])
def test_klines_come_oldest_first_over_pages_with_holes_left_open(is_end_included: bool) -> None:
    opens = [BEGIN + n * M5 for n in range(-5, 4500) if n % 7]
    with served(candles(opens, is_end_included=is_end_included)) as (rest, server):
        found = rest.klines("BTC-USDT", Timeframe.M5, BEGIN + 1, BEGIN + 4000 * M5)
    assert [k.open_ms for k in found] == [o for o in opens if BEGIN < o < BEGIN + 4000 * M5]
    assert len(server.asked) == 3
    asked = server.asked[0]
    assert (asked.path, asked.query["symbol"], asked.query["type"]) == ("/api/v1/market/candles", "BTC-USDT", "5min")
    one = found[0]
    assert (one.open, one.close, one.high, one.low) == (2, Decimal("3.25"), 4, Decimal("1.5"))
    assert (one.volume, one.turnover, one.trades) == (Decimal("12.5"), Decimal("30.00000000001"), None)


@pytest.mark.parametrize(
    ("timeframe", "name"),
    list(zip(Timeframe, ["5min", "15min", "30min", "1hour", "4hour", "1day"], strict=True)),
)
def test_every_timeframe_has_its_name(timeframe: Timeframe, name: str) -> None:
    with served(always([])) as (rest, server):
        assert rest.klines("BTC-USDT", timeframe, BEGIN, BEGIN + 2 * timeframe.ms) == []
    assert server.asked[0].query["type"] == name


def test_an_interval_shorter_than_a_candle_asks_nothing() -> None:
    with served(always([])) as (rest, server):
        assert rest.klines("BTC-USDT", Timeframe.M5, BEGIN + 1, BEGIN + M5) == []
    assert server.asked == []


def history(times_ns: list[int]) -> list[dict[str, Any]]:
    return [
        {
            "sequence": str(10976028003549185 + 3 * n),
            "price": "67122",
            "size": "0.000025",
            "side": "sell" if n % 2 else "buy",
            "time": at,
        }
        for n, at in enumerate(times_ns)
    ]


def test_trades_are_what_of_the_interval_is_among_the_newest_hundred() -> None:
    times = [BEGIN * 1_000_000 + n * 10**9 for n in range(100)]
    with served(always(history(times)[::-1])) as (rest, server):
        found = rest.trades("BCHSV-USDT", "BSV-USDT", BEGIN + 10_000, BEGIN + 12_000)
    first = 10976028003549185
    assert found == [
        Trade("BSV-USDT", times[10], first + 30, 1, "67122", "0.000025", True),
        Trade("BSV-USDT", times[11], first + 33, 1, "67122", "0.000025", False),
    ]
    assert (server.asked[0].path, dict(server.asked[0].query)) == ("/api/v1/market/histories", {"symbol": "BCHSV-USDT"})


@pytest.mark.parametrize("change", [{"sequence": "x"}, {"time": 5}, {"price": 5}, {"side": "?"}, {"size": None}])
def test_rows_of_another_shape_are_a_protocol_error(change: dict[str, Any]) -> None:
    row = history([BEGIN * 1_000_000])[0] | change
    with served(always([row])) as (rest, _), pytest.raises(RemoteProtocolError):
        rest.trades("BTC-USDT", "BTC-USDT", BEGIN, BEGIN + 1000)


@pytest.mark.parametrize("row", [["x", *"111111"], ["1", "1"], {}, ["1", "a", *"11111"], [1, *"111111"]])
def test_candles_of_another_shape_are_a_protocol_error(row: Any) -> None:
    with served(always([row])) as (rest, _), pytest.raises(RemoteProtocolError):
        rest.klines("BTC-USDT", Timeframe.M5, BEGIN, BEGIN + M5)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer({"code": "400100", "msg": "Param error"}), InvalidInput),
        (Answer({"code": "900001", "msg": "symbol not exists"}, 400), InvalidInput),
        (Answer({"code": "404000", "msg": "Url not found"}, 404), InvalidInput),
        (Answer({"code": "500000", "msg": "Internal server error"}), VenueUnavailable),
        (Answer({"code": "500000", "msg": "Internal server error"}, 500), VenueUnavailable),
        (Answer({"code": "400302", "msg": REGION}), GeoBlocked),
        (Answer({"code": "400302", "msg": REGION}, 400), GeoBlocked),
        (Answer({"code": "400302", "msg": REGION}, 403), GeoBlocked),
        (Answer({"code": "429000", "msg": "Too many requests"}, 429), RateLimited),
        (Answer({"code": "429000", "msg": "Too many requests"}), RateLimited),
        (Answer(text="error code: 1015", status=429, content_type="text/plain"), RateLimited),
        (Answer({"msg": "x"}, 451), GeoBlocked),
        (Answer(text="<html>", status=502, content_type="text/html"), VenueUnavailable),
        (Answer(text="<html>", content_type="text/html"), VenueUnavailable),
        (Answer({"data": []}), RemoteProtocolError),
        (Answer([]), RemoteProtocolError),
        (Answer({"code": "200000", "data": "x"}), RemoteProtocolError),
        (Answer({"code": "200000", "data": []}, delay_s=30), VenueUnavailable),
    ],
)
def test_failures_come_out_as_our_errors_not_as_the_sdks(answer: Answer, kind: type[LivermoreError]) -> None:
    with served(lambda _: answer, timeout_s=0.3) as (rest, _):
        with pytest.raises(kind) as error:
            rest.klines("BTC-USDT", Timeframe.H1, BEGIN, BEGIN + 3_600_000)
        assert "203.0.113.7" not in str(error.value)
        with pytest.raises(kind):
            rest.socket_url([])


def test_a_refusal_of_this_place_says_where_we_seem_to_be() -> None:
    with served(lambda _: Answer({"code": "400302", "msg": REGION})) as (rest, _), pytest.raises(GeoBlocked) as error:
        rest.time_ms()
    assert "current area: US" in str(error.value)


@pytest.mark.parametrize(
    ("headers", "pause_s"), [({"gw-ratelimit-reset": "4000"}, 4.0), ({}, 2.0), ({"gw-ratelimit-reset": "soon"}, 2.0)]
)
def test_too_many_requests_close_the_budget_for_as_long_as_the_venue_says(
    headers: dict[str, str], pause_s: float
) -> None:
    budget = OpenBudget()
    refusal = Answer({"code": "429000", "msg": "Too many requests"}, 429, headers)
    before_ms = int(time.time() * 1000)
    with served(lambda _: refusal, budget) as (rest, _), pytest.raises(RateLimited) as error:
        rest.time_ms()
    assert before_ms + pause_s * 1000 <= error.value.until_ms <= time.time() * 1000 + pause_s * 1000
    assert budget.closed_until_ms == error.value.until_ms


def test_every_call_costs_what_its_page_states_and_the_venues_own_count_is_heard() -> None:
    budget = OpenBudget()
    answers = {
        "/api/v1/timestamp": 5,
        "/api/v2/symbols": [],
        "/api/v1/market/candles": [],
        "/api/v1/market/histories": [],
        "/api/v1/market/allTickers": {"ticker": []},
        "/api/v1/bullet-public": bullet("t"),
    }
    quota = {"gw-ratelimit-limit": "2000", "gw-ratelimit-remaining": "1940", "gw-ratelimit-reset": "12000"}

    def answer(asked: Asked) -> Answer:
        return good(answers[asked.path], **quota)

    with served(answer, budget) as (rest, _):
        rest.time_ms()
        rest.instruments()
        rest.klines("BTC-USDT", Timeframe.M5, BEGIN, BEGIN + M5)
        rest.trades("BTC-USDT", "BTC-USDT", BEGIN, BEGIN + M5)
        rest.volumes()
        rest.socket_url([])
    assert budget.spent == [WEIGHTS[path] for path in answers] == [3, 4, 3, 3, 15, 10]
    assert budget.heard == [60] * 6
