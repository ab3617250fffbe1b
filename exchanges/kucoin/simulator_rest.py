"""KuCoin's public REST answers about the simulated market, and the tokens its sockets need."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from aiohttp import web

from exchanges.kucoin.simulator_account import PATHS, account_answer
from exchanges.kucoin.simulator_rows import candle, sequence, symbol_row, ticker_row
from exchanges.simulation.account import Denied
from exchanges.simulation.listing import Listing, Print, trimmed
from exchanges.simulation.stage import Stage
from exchanges.simulation.tape import Tape

INTERVALS_MS = {
    "5min": 300_000,
    "15min": 900_000,
    "30min": 1_800_000,
    "1hour": 3_600_000,
    "2hour": 7_200_000,
    "4hour": 14_400_000,
    "6hour": 21_600_000,
    "8hour": 28_800_000,
    "12hour": 43_200_000,
    "1day": 86_400_000,
}
"""The types served here; KuCoin has shorter and longer ones, too."""

WEIGHTS = {
    "/api/v1/bullet-public": 10,
    "/api/v1/market/allTickers": 15,
    "/api/v1/market/candles": 3,
    "/api/v1/market/histories": 3,
    "/api/v1/market/orderbook/level1": 2,
    "/api/v1/my-ip": 0,
    "/api/v1/status": 3,
    "/api/v1/timestamp": 3,
    "/api/v2/symbols": 4,
}
WEIGHT_LIMIT = 2000
WINDOW_S = 30.0
MAX_CANDLES = 1500
MAX_TRADES = 100
TICKERS_KEPT_MS = 2_000
DAY_S = 86_400.0
PING_MS, PING_TIMEOUT_MS = 18_000, 10_000


class Refused(Exception):
    """A request that KuCoin answers with one of its codes; the HTTP status is mostly 200 all the same."""

    def __init__(self, code: str, message: str, status: int = 200) -> None:
        super().__init__(message)
        self.code, self.message, self.status = code, message, status


class Tokens:
    """What admits to a socket: each token once, within its validity."""

    def __init__(self, validity_s: float, clock_s: Callable[[], float]) -> None:
        self._validity_s, self._clock_s = validity_s, clock_s
        self._issued_s: dict[str, float] = {}

    def issue(self) -> str:
        """A fresh token."""
        now_s = self._clock_s()
        self._issued_s = {t: s for t, s in self._issued_s.items() if now_s - s < self._validity_s}
        token = secrets.token_urlsafe(96)
        self._issued_s[token] = now_s
        return token

    def redeem(self, token: str) -> bool:
        """Whether it admits; it never does again."""
        issued_s = self._issued_s.pop(token, None)
        return issued_s is not None and self._clock_s() - issued_s < self._validity_s


class Budget:
    """The weight spent in a window that begins with its first request."""

    def __init__(self, limit: int, window_s: float, clock_s: Callable[[], float]) -> None:
        self.limit, self._clock_s = limit, clock_s
        self._window_s = window_s
        self._began_s = -inf
        self._used = 0

    def spend(self, weight: int) -> bool:
        """Whether it was still allowed."""
        now_s = self._clock_s()
        if now_s - self._began_s >= self._window_s:
            self._began_s, self._used = now_s, 0
        self._used += weight
        return self._used <= self.limit

    def headers(self) -> dict[str, str]:
        """`reset` is in milliseconds."""
        left_s = max(0.0, self._began_s + self._window_s - self._clock_s())
        return {
            "gw-ratelimit-limit": str(self.limit),
            "gw-ratelimit-remaining": str(max(0, self.limit - self._used)),
            "gw-ratelimit-reset": str(int(left_s * 1000)),
        }


class RestAnswers:
    """Answers the public calls."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        options, clock_s = stage.options, stage.clock_s
        self.tokens = Tokens(DAY_S * options.scale if options.lifetime_s is None else options.lifetime_s, clock_s)
        self._budget = Budget(WEIGHT_LIMIT, WINDOW_S * options.scale, clock_s)
        self._tickers: tuple[int, dict[str, Any]] = (-TICKERS_KEPT_MS, {})
        self._calls: dict[str, Callable[[Mapping[str, str]], Any]] = {
            "/api/v1/market/allTickers": lambda query: self._all_tickers(),
            "/api/v1/market/candles": self._candles,
            "/api/v1/market/histories": self._histories,
            "/api/v1/market/orderbook/level1": self._touch,
            "/api/v1/my-ip": lambda query: "127.0.0.1",
            "/api/v1/status": lambda query: {"status": "open", "msg": ""},
            "/api/v1/timestamp": lambda query: self._now_ms,
            "/api/v2/symbols": self._symbols,
        }

    @property
    def _now_ms(self) -> int:
        return self._stage.now_us() // 1000

    def answer(self, request: web.Request) -> web.Response:
        """The response; every one within the pool tells what is left of it."""
        if request.method == "GET" and request.can_read_body:
            return web.Response(status=403, text="<html><h1>403 Forbidden</h1></html>", content_type="text/html")
        if request.path in PATHS and request.method == "GET":
            return self._private(request)
        self._budget.limit = self._stage.options.weight_limit or WEIGHT_LIMIT
        is_allowed = self._budget.spend(WEIGHTS.get(request.path, 0))
        headers = self._budget.headers()
        if not is_allowed:
            return _error(429, "429000", "Too many requests in a short period. Please retry later.(UID LIMIT)", headers)
        try:
            return _json(200, {"code": "200000", "data": self._data(request)}, headers)
        except Refused as error:
            return _error(error.status, error.code, error.message, headers)

    def _private(self, request: web.Request) -> web.Response:
        """Of the management pool, which one account cannot use up here."""
        try:
            return _json(200, {"code": "200000", "data": account_answer(self._stage, request)})
        except Denied as error:
            return _error(error.status, error.code, error.message)

    def refusal(self, status: int) -> web.Response:
        """What comes with an error status that no request caused; a 429 without headers is their overload."""
        if status in (403, 451):
            message = (
                "Our services are currently unavailable in the U.S. To ensure a seamless experience, please "
                "access the platform from a non-restricted country/region using a supported IP address. For more "
                "details, please refer to our Terms of Use. (current ip: 203.0.113.7 and current area: US)"
            )
            return _error(status, "400302", message)
        if status == 429:
            return _error(429, "429000", "Too many total requests in a short period. Please retry later.(SYSTEM LIMIT)")
        return _error(status, f"{status}000", "Internal server error.")

    def _data(self, request: web.Request) -> Any:
        if request.path == "/api/v1/bullet-public" and request.method == "POST":
            return self._bullet(request.host)
        call = self._calls.get(request.path)
        if call is None or request.method != "GET":
            raise Refused("404000", "Url Not Found", 404)
        return call(request.query)

    # ---- the calls ---------------------------------------------------------------------------

    def _bullet(self, host: str) -> dict[str, Any]:
        scale = self._stage.options.scale
        server = {
            "endpoint": f"ws://{host}/",
            "encrypt": False,
            "protocol": "websocket",
            "pingInterval": int(PING_MS * scale),
            "pingTimeout": int(PING_TIMEOUT_MS * scale),
        }
        return {"token": self.tokens.issue(), "instanceServers": [server]}

    def _tape(self, query: Mapping[str, str]) -> Tape:
        if not query.get("symbol"):
            raise Refused("400100", "symbol cannot be empty")
        tape = self._stage.tape(query["symbol"])
        if tape is None:
            raise Refused("900001", "symbol not exists")
        return tape

    def _symbols(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        if query.get("market", "USDS") != "USDS":
            return []
        return [symbol_row(x, is_halted=x.native in self._stage.halted) for x in self._stage.listings]

    def _histories(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """The last hundred trades, oldest first; there is no way further back."""
        tape = self._tape(query)
        rows = [row for p in tape.prints[-MAX_TRADES:] for row in self._trades(tape.listing, p)]
        return rows[-MAX_TRADES:]

    def _trades(self, x: Listing, p: Print) -> list[dict[str, Any]]:
        price, side = trimmed(p.price, x.price_places), "buy" if p.is_buy else "sell"
        rows = []
        for i, part in enumerate(p.parts):
            number = str(sequence(p.first + i))
            row = {"sequence": number, "price": price, "size": trimmed(part, x.lot_places), "side": side}
            if self._stage.has("history_ids"):
                row["tradeId"] = number
            rows.append(row | {"time": p.time_us * 1000})
        return rows

    def _candles(self, query: Mapping[str, str]) -> list[list[str]]:
        """Newest first, from `startAt` on and before `endAt`; intervals without trades are left out."""
        tape = self._tape(query)
        length_ms = INTERVALS_MS.get(query.get("type", ""))
        if length_ms is None:
            raise Refused("400100", "Incorrect candlestick type")
        if "startAt" not in query or "endAt" not in query:
            return []
        first_ms, end_ms = _whole(query, "startAt") * 1000, _whole(query, "endAt") * 1000
        bars = tape.bars(length_ms, first_ms, end_ms - 1, self._now_ms)
        return [candle(tape.listing, bar) for bar in bars if bar.trades][::-1][:MAX_CANDLES]

    def _touch(self, query: Mapping[str, str]) -> dict[str, Any]:
        tape = self._tape(query)
        row = ticker_row(tape, self._now_ms)
        return {
            "time": tape.prints[-1].time_us // 1000 if tape.prints else None,
            "sequence": str(sequence(tape.next_id - 1)),
            "price": row["last"],
            "size": trimmed(tape.prints[-1].parts[-1], tape.listing.lot_places) if tape.prints else None,
            "bestBid": row["buy"],
            "bestBidSize": row["bestBidSize"],
            "bestAsk": row["sell"],
            "bestAskSize": row["bestAskSize"],
        }

    def _all_tickers(self) -> dict[str, Any]:
        """A snapshot, taken anew every two seconds."""
        now_ms = self._now_ms
        if now_ms - self._tickers[0] >= TICKERS_KEPT_MS:
            tapes = (self._stage.tape(x.native) for x in self._stage.listings)
            rows = [ticker_row(tape, now_ms) for tape in tapes if tape is not None]
            self._tickers = (now_ms, {"time": now_ms, "ticker": rows})
        return self._tickers[1]


def _whole(query: Mapping[str, str], name: str) -> int:
    try:
        return int(query[name])
    except ValueError:
        raise Refused("400100", f"{name} is invalid") from None


def _json(status: int, body: Any, headers: Mapping[str, str] | None = None) -> web.Response:
    text = json.dumps(body, separators=(",", ":"))
    return web.Response(status=status, text=text, content_type="application/json", headers=headers)


def _error(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return _json(status, {"code": code, "msg": message}, headers)
