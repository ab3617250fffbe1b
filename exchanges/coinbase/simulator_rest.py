"""Coinbase Advanced Trade's public REST answers about the simulated market."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from aiohttp import web

from exchanges.coinbase.simulator_account import PATHS, account_answer
from exchanges.simulation.account import Denied
from exchanges.simulation.listing import Bar, Listing, trimmed
from exchanges.simulation.stage import Stage
from exchanges.simulation.tape import Tape

PREFIX = "/api/v3/brokerage/"
GRANULARITIES_MS = {
    "FIVE_MINUTE": 300_000,
    "FIFTEEN_MINUTE": 900_000,
    "THIRTY_MINUTE": 1_800_000,
    "ONE_HOUR": 3_600_000,
    "TWO_HOUR": 7_200_000,
    "FOUR_HOUR": 14_400_000,
    "SIX_HOUR": 21_600_000,
    "ONE_DAY": 86_400_000,
}
MAX_CANDLES = 350
MAX_TRADES = 1000
REQUESTS_PER_S = 10


@cache
def aliases() -> dict[str, str]:
    """Products that share another's book: the shared one by the other's name."""
    return {"BTC-USDC": "BTC-USD"}


class NotServed(Exception):
    """A request that Coinbase refuses, with its status and its own word for it."""

    def __init__(self, status: int, word: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.word, self.detail = status, word, detail


def price_text(x: Listing, price: int) -> str:
    """Trailing zeros are trimmed."""
    return trimmed(price, x.price_places)


def size_text(x: Listing, size: int) -> str:
    """Trailing zeros are trimmed."""
    return trimmed(size, x.lot_places)


def candle_row(x: Listing, bar: Bar) -> dict[str, str]:
    """A candle as REST and channel describe it; `volume` is base."""
    return {
        "start": str(bar.open_ms // 1000),
        "low": price_text(x, bar.low),
        "high": price_text(x, bar.high),
        "open": price_text(x, bar.open),
        "close": price_text(x, bar.close),
        "volume": size_text(x, bar.volume),
    }


class RestAnswers:
    """Answers the public GETs under `/market` and `/time`."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._asked_s: deque[float] = deque()

    @property
    def _now_ms(self) -> int:
        return self._stage.now_us() // 1000

    def answer(self, request: web.Request) -> web.Response:
        """The response; ten requests a second, then 429."""
        limit = self._stage.options.weight_limit or REQUESTS_PER_S
        now_s = self._stage.clock_s()
        while self._asked_s and now_s - self._asked_s[0] >= 1.0:
            self._asked_s.popleft()
        if len(self._asked_s) >= limit:
            return self.refusal(429)
        self._asked_s.append(now_s)
        headers = {"x-ratelimit-limit": str(limit), "x-ratelimit-remaining": str(limit - len(self._asked_s))}
        try:
            body = self._body(request.path.removeprefix(PREFIX), dict(request.query), request)
        except Denied as error:
            if error.status == 401:
                return self.refusal(401)
            body = {"error": error.code, "error_details": error.message, "message": error.message}
            return _json(error.status, body, headers)
        except NotServed as error:
            body = {"error": error.word, "error_details": error.detail, "message": error.detail}
            return _json(error.status, body, headers)
        return _json(200, body, headers)

    def refusal(self, status: int) -> web.Response:
        """What Coinbase sends with an error status that no request caused."""
        if status == 429:
            errors = [{"id": "rate_limit_exceeded", "message": "Too many requests"}]
            return _json(429, {"errors": errors}, {"x-ratelimit-reset": "1"})
        if status == 401:
            return web.Response(status=401, text="Unauthorized")
        page = f"<html><head><title>{status}</title></head><body>cloudflare</body></html>"
        return web.Response(status=status, text=page, content_type="text/html")

    def _body(self, path: str, query: Mapping[str, str], request: web.Request) -> Any:
        now_ms = self._now_ms
        if path == "time":
            iso = f"{datetime.fromtimestamp(now_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
            return {"iso": iso, "epochSeconds": str(now_ms // 1000), "epochMillis": str(now_ms)}
        if path in PATHS and request.method == "GET":
            return account_answer(self._stage, path, request)
        match path.split("/"):
            case ["market", "products"]:
                return self._products(query, request.query.getall("product_ids", []))
            case ["market", "products", product]:
                return self._product(product)
            case ["market", "products", product, "candles"]:
                return self._candles(product, query)
            case ["market", "products", product, "ticker"]:
                return self._trades(product, query)
        raise NotServed(404, "NOT_FOUND", f"{path} not found")

    # ---- the calls ---------------------------------------------------------------------------

    def _tape(self, product: str) -> Tape:
        tape = self._stage.tape(aliases().get(product, product))
        if tape is None:
            raise NotServed(404, "NOT_FOUND", f"valid product_id {product} not found")
        return tape

    def _products(self, query: Mapping[str, str], named: list[str]) -> Any:
        names = [x.native for x in self._stage.listings]
        names += [a for a, target in aliases().items() if target in names]
        names = [n for n in names if not named or n in named]
        first = _whole(query, "offset", 0)
        page = names[first : first + _whole(query, "limit", len(names))]
        pagination = {"prev_cursor": "", "next_cursor": "", "has_next": False, "has_prev": False}
        return {"products": [self._product(n) for n in page], "num_products": len(page), "pagination": pagination}

    def _product(self, product: str) -> dict[str, Any]:
        tape = self._tape(product)
        x = tape.listing
        day = tape.volume_24h(self._now_ms)
        quote = product.rpartition("-")[2]
        flags = ("is_disabled", "trading_disabled", "view_only", "cancel_only", "limit_only", "post_only")
        alias = aliases().get(product, "")
        return {
            "product_id": product,
            "price": price_text(x, tape.last_price),
            "price_percentage_change_24h": "0.1",
            "volume_24h": size_text(x, day.volume),
            "volume_percentage_change_24h": "1.2",
            "base_increment": x.lot,
            "quote_increment": x.tick,
            "price_increment": x.tick,
            "base_min_size": x.lot,
            "base_max_size": "3400",
            "quote_min_size": "1",
            "quote_max_size": "150000000",
            "base_name": x.base,
            "quote_name": "US Dollar" if quote == "USD" else quote,
            "status": "online",
            **dict.fromkeys(flags, False),
            "trading_disabled": x.native in self._stage.halted,
            "auction_mode": False,
            "new": False,
            "product_type": "SPOT",
            "base_currency_id": x.base,
            "quote_currency_id": quote,
            "base_display_symbol": x.base,
            "quote_display_symbol": quote,
            "alias": alias,
            "alias_to": [a for a, target in aliases().items() if target == product],
            "approximate_quote_24h_volume": trimmed(day.turnover // 10 ** (x.quote_places - 2), 2),
            "product_venue": "CBE",
            "new_at": None,
        }

    def _candles(self, product: str, query: Mapping[str, str]) -> Any:
        tape = self._tape(product)
        length_ms = GRANULARITIES_MS.get(query.get("granularity", ""))
        if length_ms is None or "start" not in query or "end" not in query:
            raise NotServed(400, "INVALID_ARGUMENT", "start, end and a valid granularity are required")
        first_ms, last_ms = _whole(query, "start", 0) * 1000, _whole(query, "end", 0) * 1000
        limit = min(MAX_CANDLES, _whole(query, "limit", MAX_CANDLES))
        if (last_ms - first_ms) // length_ms > MAX_CANDLES:
            raise NotServed(400, "INVALID_ARGUMENT", "number of candles requested should be less than 350")
        bars = tape.bars(length_ms, first_ms, last_ms, self._now_ms)
        rows = [candle_row(tape.listing, b) for b in bars if b.trades]
        return {"candles": rows[::-1][:limit]}

    def _trades(self, product: str, query: Mapping[str, str]) -> Any:
        tape = self._tape(product)
        if "limit" not in query:
            raise NotServed(400, "INVALID_ARGUMENT", "limit is required")
        limit = min(MAX_TRADES, _whole(query, "limit", 100))
        first = tape.at_time(_whole(query, "start", 0) * 1_000_000) if "start" in query else 0
        past = tape.at_time((_whole(query, "end", 0) + 1) * 1_000_000) if "end" in query else len(tape.prints)
        x = tape.listing
        rows = [
            {
                "trade_id": str(p.first),
                "product_id": product,
                "price": price_text(x, p.price),
                "size": size_text(x, p.quantity),
                "time": _time(p.time_us),
                "side": "SELL" if p.is_buy else "BUY",
                "bid": "",
                "ask": "",
                "exchange": "coinbase",
            }
            for p in reversed(tape.prints[first:past][-limit:])
        ]
        bid, ask = (price_text(x, tape.last_price + d * x.tick_units) for d in (-1, 1))
        return {"trades": rows, "best_bid": bid, "best_ask": ask}


def _time(time_us: int) -> str:
    moment = datetime.fromtimestamp(time_us // 1_000_000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_us % 1_000_000:06d}Z"


def match_time(time_us: int) -> str:
    """RFC 3339 with up to six decimals, trailing zeros trimmed."""
    text = f"{datetime.fromtimestamp(time_us // 1_000_000, UTC):%Y-%m-%dT%H:%M:%S}"
    part = f"{time_us % 1_000_000:06d}".rstrip("0")
    return f"{text}.{part}Z" if part else f"{text}Z"


def envelope_time(time_us: int) -> str:
    """RFC 3339 with up to nine decimals, as the envelope has it."""
    nanos = time_us * 1000 + time_us % 997
    text = f"{datetime.fromtimestamp(time_us // 1_000_000, UTC):%Y-%m-%dT%H:%M:%S}"
    part = f"{nanos % 1_000_000_000:09d}".rstrip("0")
    return f"{text}.{part}Z" if part else f"{text}Z"


def _whole(query: Mapping[str, str], name: str, usual: int) -> int:
    try:
        return int(query.get(name, usual))
    except ValueError:
        raise NotServed(400, "INVALID_ARGUMENT", f"{name} is not a number") from None


def _json(status: int, body: Any, headers: Mapping[str, str]) -> web.Response:
    text = json.dumps(body, separators=(",", ":"))
    return web.Response(status=status, text=text, content_type="application/json", headers=headers)
