"""Binance's REST answers about the simulated market, with weights, error codes and bans."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from exchanges.binance.simulator_account import AccountAnswers
from exchanges.binance.simulator_rows import (
    aggregate,
    book_row,
    executions,
    kline_row,
    price_text,
    symbol_row,
    ticker_row,
)
from exchanges.simulation.account import Denied
from exchanges.simulation.stage import Stage
from exchanges.simulation.tape import Tape

PREFIX = "/api/v3/"
INTERVALS_MS = {
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": 86_400_000,
}
MAX_ROWS = 1000
NEVER_MS = 1 << 50
BAN_S = 120


@dataclass(frozen=True, slots=True)
class RestDialect:
    """Where the REST APIs of this family differ; weights as documented."""

    weights: Mapping[str, int]
    weight_limit: int
    raw_limit: int
    all_tickers_weight: int
    history_needs_key: bool
    has_flat_permissions: bool
    tells_rights: bool


class ApiError(Exception):
    """An answer that is an error in Binance's own numbering."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(slots=True)
class Budget:
    """The weight spent in the running minute; over the limit 429, insisting 418."""

    limit: int
    minute: int = 0
    used: int = 0
    refusals: int = 0
    banned_until_s: float = 0.0

    def spend(self, weight: int) -> None:
        """Raises `ApiError` when the limit is broken."""
        now_s = time.time()
        if now_s < self.banned_until_s:
            until_ms = int(self.banned_until_s * 1000)
            raise ApiError(418, -1003, f"Way too much request weight used; IP banned until {until_ms}.")
        if int(now_s // 60) != self.minute:
            self.minute, self.used, self.refusals = int(now_s // 60), 0, 0
        self.used += weight
        if self.used > self.limit:
            self.refusals += 1
            if self.refusals > 10:
                self.banned_until_s = now_s + BAN_S
            raise ApiError(429, -1003, f"Too much request weight used; current limit is {self.limit} per 1 MINUTE.")

    @property
    def retry_after_s(self) -> int:
        """Seconds until asking makes sense again."""
        now_s = time.time()
        return int(self.banned_until_s - now_s) + 1 if now_s < self.banned_until_s else 60 - int(now_s) % 60


class RestAnswers:
    """Answers every GET of the market-data API, and those of an account."""

    def __init__(self, stage: Stage, dialect: RestDialect) -> None:
        self._stage = stage
        self._dialect = dialect
        self._signed = AccountAnswers(stage, tells_rights=dialect.tells_rights).calls
        self._budget = Budget(dialect.weight_limit)
        self._calls: dict[str, Callable[[Mapping[str, str]], Any]] = {
            "ping": lambda query: {},
            "time": lambda query: {"serverTime": self._now_ms},
            "exchangeInfo": self._exchange_info,
            "trades": self._trades,
            "historicalTrades": self._trades,
            "aggTrades": self._aggregates,
            "klines": self._klines,
            "uiKlines": self._klines,
            "ticker/24hr": self._tickers,
            "ticker/price": self._prices,
            "ticker/bookTicker": self._books,
        }

    @property
    def _now_ms(self) -> int:
        return self._stage.now_us() // 1000

    def answer(self, request: web.Request) -> web.Response:
        """The response, with the weight it used in its header."""
        self._budget.limit = self._stage.options.weight_limit or self._dialect.weight_limit
        name = request.path.removeprefix(PREFIX)
        query = dict(request.query)
        try:
            signed = self._signed.get(request.path)
            if signed is not None and request.method == "GET":
                self._budget.spend(self._dialect.weights.get(name, 0))
                return self._reply(200, signed(request))
            call = self._calls.get(name)
            if call is None or not request.path.startswith(PREFIX):
                return _page(404, "404 Not found")
            self._budget.spend(self._weight(name, query))
            if name == "historicalTrades" and self._dialect.history_needs_key and "X-MBX-APIKEY" not in request.headers:
                raise ApiError(401, -2014, "API-key format invalid.")
            return self._reply(200, call(query))
        except (ApiError, Denied) as error:
            return self._reply(error.status, {"code": error.code, "msg": error.message})

    def refusal(self, status: int) -> web.Response:
        """What Binance sends with an error status that no request caused."""
        if status == 451:
            message = (
                "Service unavailable from a restricted location according to 'b. Eligibility' in "
                "https://www.binance.com/en/terms. Please contact customer service if you believe you "
                "received this message in error."
            )
            return self._reply(451, {"code": 0, "msg": message})
        if status in (418, 429):
            return self._reply(status, {"code": -1003, "msg": "Too many requests; current limit is reached."})
        if status == 403:
            return _page(403, "Request blocked")
        return self._reply(status, {"code": -1000, "msg": "An unknown error occurred while processing the request."})

    def _reply(self, status: int, body: Any) -> web.Response:
        headers = {"X-MBX-USED-WEIGHT": str(self._budget.used), "X-MBX-USED-WEIGHT-1M": str(self._budget.used)}
        if status in (418, 429):
            headers["Retry-After"] = str(self._budget.retry_after_s)
        text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
        return web.Response(status=status, text=text, content_type="application/json", headers=headers)

    def _weight(self, name: str, query: Mapping[str, str]) -> int:
        if name.startswith("ticker/") and "symbol" not in query:
            return self._dialect.all_tickers_weight if name == "ticker/24hr" else 2 * self._dialect.weights[name]
        return self._dialect.weights[name]

    # ---- the calls ---------------------------------------------------------------------------

    def _tape(self, query: Mapping[str, str]) -> Tape:
        native = query.get("symbol")
        if not native:
            raise ApiError(400, -1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        tape = self._stage.tape(native)
        if tape is None:
            raise ApiError(400, -1121, "Invalid symbol.")
        return tape

    def _several(self, query: Mapping[str, str]) -> list[Tape]:
        if "symbol" in query:
            return [self._tape(query)]
        if "symbols" in query:
            try:
                names = json.loads(query["symbols"])
            except ValueError:
                raise ApiError(400, -1100, "Illegal characters found in parameter 'symbols'.") from None
            return [self._tape({"symbol": str(name)}) for name in names]
        return [t for x in self._stage.listings if (t := self._stage.tape(x.native)) is not None]

    def _exchange_info(self, query: Mapping[str, str]) -> Any:
        d = self._dialect
        limits = [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": self._budget.limit},
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": d.raw_limit},
        ]
        rows = [
            symbol_row(
                t.listing,
                is_halted=t.listing.native in self._stage.halted,
                has_flat_permissions=d.has_flat_permissions,
            )
            for t in self._several(query)
        ]
        head = {"timezone": "UTC", "serverTime": self._now_ms, "rateLimits": limits, "exchangeFilters": []}
        return head | {"symbols": rows}

    def _trades(self, query: Mapping[str, str]) -> Any:
        tape, limit = self._tape(query), _limit(query)
        if "fromId" in query:
            first = _whole(query, "fromId", 0)
            prints = tape.prints[tape.at_trade(first) :][:limit]
            return [r for r in executions(tape.listing, prints) if r["id"] >= first][:limit]
        return executions(tape.listing, tape.prints[-limit:])[-limit:]

    def _aggregates(self, query: Mapping[str, str]) -> Any:
        tape, limit = self._tape(query), _limit(query)
        if "fromId" in query:
            found = tape.prints[tape.at_print(_whole(query, "fromId", 0)) :][:limit]
        elif "startTime" in query or "endTime" in query:
            first = tape.at_time(_whole(query, "startTime", 0) * 1000)
            found = tape.prints[first : tape.at_time((_whole(query, "endTime", NEVER_MS) + 1) * 1000)]
            found = found[:limit] if "startTime" in query else found[-limit:]
        else:
            found = tape.prints[-limit:]
        return [aggregate(tape.listing, p) for p in found]

    def _klines(self, query: Mapping[str, str]) -> Any:
        tape, limit = self._tape(query), _limit(query)
        length_ms = INTERVALS_MS.get(query.get("interval", ""))
        if length_ms is None:
            raise ApiError(400, -1120, "Invalid interval.")
        now_ms = self._now_ms
        last_ms = min(now_ms, _whole(query, "endTime", now_ms))
        first_ms = _whole(query, "startTime", last_ms - last_ms % length_ms - (limit - 1) * length_ms)
        last_ms = min(last_ms, first_ms + limit * length_ms)
        rows = list(tape.bars(length_ms, first_ms, last_ms, now_ms))[:limit]
        return [kline_row(tape.listing, b, length_ms) for b in rows]

    def _tickers(self, query: Mapping[str, str]) -> Any:
        rows = [ticker_row(t, self._now_ms) for t in self._several(query)]
        return rows[0] if "symbol" in query else rows

    def _prices(self, query: Mapping[str, str]) -> Any:
        tapes = self._several(query)
        rows = [{"symbol": t.listing.native, "price": price_text(t.listing, t.last_price)} for t in tapes]
        return rows[0] if "symbol" in query else rows

    def _books(self, query: Mapping[str, str]) -> Any:
        rows = [book_row(t.listing, t.last_price) for t in self._several(query)]
        return rows[0] if "symbol" in query else rows


def _page(status: int, title: str) -> web.Response:
    return web.Response(status=status, text=f"<html><h2>{title}</h2></html>", content_type="text/html")


def _limit(query: Mapping[str, str]) -> int:
    return max(1, min(MAX_ROWS, _whole(query, "limit", 500)))


def _whole(query: Mapping[str, str], name: str, usual: int) -> int:
    try:
        return int(query.get(name, usual))
    except ValueError:
        raise ApiError(400, -1100, f"Illegal characters found in parameter '{name}'.") from None
