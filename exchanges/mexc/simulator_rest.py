"""MEXC's REST answers about the simulated market, and the two walls before them: its limits and its CDN."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from exchanges.mexc.simulator_account import account_row
from exchanges.mexc.simulator_rows import (
    aggregate_rows,
    book_row,
    kline_row,
    price_text,
    symbol_row,
    ticker_row,
    trade_rows,
)
from exchanges.simulation.account import Denied
from exchanges.simulation.stage import Stage
from exchanges.simulation.tape import Tape

PREFIX = "/api/v3/"
ACCOUNT = "account"
INTERVALS_MS = {
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "60m": 3_600_000,
    "4h": 14_400_000,
    "1d": 86_400_000,
}
"""The intervals served here; MEXC has 1m, 1W and 1M, too, and no others."""
MAX_KLINES = 500  # whatever limit is asked for
MAX_TRADES = 1000
HOUR_MS = 3_600_000
WEIGHT_LIMIT, WEIGHT_WINDOW_S = 500, 10.0
RETRY_S, BAN_S, INSISTENT = 10, 120, 10
CDN_REQUESTS, CDN_WINDOW_S, CDN_BLOCK_S = 50, 2.0, 90.0


class ApiError(Exception):
    """An answer that is an error in MEXC's own numbering."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(slots=True)
class Pool:
    """What one endpoint was asked in the running window; over the limit 429, insisting 418 for a while."""

    began_s: float = 0.0
    used: int = 0
    refusals: int = 0
    banned_s: float = 0.0


@dataclass(slots=True)
class Cdn:
    """The firewall before everything: too many requests in too short a time and the host is shut out."""

    asked_s: deque[float] = field(default_factory=deque)
    shut_s: float | None = None


class RestAnswers:
    """Answers every GET of the market-data API."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._pools: dict[str, Pool] = {}
        self._cdn = Cdn()
        self._calls: dict[str, Callable[[Mapping[str, str]], Any]] = {
            "ping": lambda query: {},
            "time": lambda query: {"serverTime": self._now_ms},
            "defaultSymbols": lambda query: {"code": 200, "data": [x.native for x in stage.listings], "msg": None},
            "exchangeInfo": self._exchange_info,
            "trades": self._trades,
            "aggTrades": self._aggregates,
            "klines": self._klines,
            "ticker/24hr": self._tickers,
            "ticker/price": self._prices,
            "ticker/bookTicker": self._books,
        }

    @property
    def _now_ms(self) -> int:
        return self._stage.now_us() // 1000

    def answer(self, request: web.Request) -> web.Response:
        """The response; errors are bare, and the firewall's are no JSON at all."""
        if self._is_shut_out():
            return _denied(403)
        name, query = request.path.removeprefix(PREFIX), dict(request.query)
        call = self._calls.get(name)
        if name == ACCOUNT and request.method == "GET":
            call = lambda _: account_row(self._stage, request)  # noqa: E731 - its header counts, too
        if call is None or not request.path.startswith(PREFIX):
            return _json(404, {"code": 404, "msg": "Not Found"})
        try:
            self._spend(name, query)
            return _json(200, call(query))
        except (ApiError, Denied) as error:
            return _json(error.status, {"code": error.code, "msg": error.message})

    def refusal(self, status: int) -> web.Response:
        """What comes with an error status that no request caused; regions have no body of their own."""
        if status in (403, 451):
            return _denied(status)
        if status in (418, 429):
            return _json(status, {"code": 429, "msg": "Too Many Requests"})
        return _json(status, {"code": status, "msg": "Internal error"})

    # ---- limits ------------------------------------------------------------------------------

    def _is_shut_out(self) -> bool:
        cdn, is_over = self._cdn, self._stage.is_over
        if cdn.shut_s is not None and not is_over(cdn.shut_s, CDN_BLOCK_S):
            return True
        cdn.shut_s = None
        now_s = self._stage.clock_s()
        cdn.asked_s.append(now_s)
        while now_s - cdn.asked_s[0] >= CDN_WINDOW_S:
            cdn.asked_s.popleft()
        if len(cdn.asked_s) > CDN_REQUESTS:
            cdn.shut_s = now_s
            cdn.asked_s.clear()
        return cdn.shut_s is not None

    def _spend(self, name: str, query: Mapping[str, str]) -> None:
        """Each endpoint has a pool of its own."""
        pool, is_over = self._pools.setdefault(name, Pool()), self._stage.is_over
        if pool.banned_s and not is_over(pool.banned_s, BAN_S):
            raise ApiError(418, 429, "Too Many Requests")
        if is_over(pool.began_s, WEIGHT_WINDOW_S):
            self._pools[name] = pool = Pool(self._stage.clock_s())
        pool.used += _weight(name, query)
        if pool.used > (self._stage.options.weight_limit or WEIGHT_LIMIT):
            pool.refusals += 1
            if pool.refusals > INSISTENT:
                pool.banned_s = self._stage.clock_s()
            raise ApiError(429, 429, "Too Many Requests")

    # ---- the calls ---------------------------------------------------------------------------

    def _tape(self, name: str) -> Tape:
        tape = self._stage.tape(name)
        if tape is None:
            raise ApiError(400, -1121, "Invalid symbol.")
        return tape

    def _one(self, query: Mapping[str, str]) -> Tape:
        if not query.get("symbol"):
            raise ApiError(400, 700_004, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        return self._tape(query["symbol"])

    def _several(self, query: Mapping[str, str]) -> list[Tape]:
        """One symbol, some (plain commas between them) or all."""
        named = query.get("symbol") or query.get("symbols")
        names = named.split(",") if named else [x.native for x in self._stage.listings]
        return [self._tape(name) for name in names]

    def _exchange_info(self, query: Mapping[str, str]) -> Any:
        halted = self._stage.halted
        rows = [symbol_row(t.listing, is_halted=t.listing.native in halted) for t in self._several(query)]
        return {
            "timezone": "CST",
            "serverTime": self._now_ms,
            "rateLimits": [],
            "exchangeFilters": [],
            "symbols": rows,
        }

    def _trades(self, query: Mapping[str, str]) -> Any:
        tape, limit = self._one(query), _limit(query, MAX_TRADES)
        return trade_rows(tape.listing, tape.prints[-limit:])[:limit]

    def _aggregates(self, query: Mapping[str, str]) -> Any:
        tape, limit = self._one(query), _limit(query, MAX_TRADES)
        found = tape.prints
        if "startTime" in query or "endTime" in query:
            first_ms, last_ms = _whole(query, "startTime", 0), _whole(query, "endTime", 0)
            if not first_ms or not 0 <= last_ms - first_ms <= HOUR_MS:
                raise ApiError(400, 700_003, "startTime and endTime must be sent together, at most 1h apart.")
            found = found[tape.at_time(first_ms * 1000) : tape.at_time((last_ms + 1) * 1000)]
        return aggregate_rows(tape.listing, found[-limit:])

    def _klines(self, query: Mapping[str, str]) -> Any:
        """Ascending, the open one last; whether idle intervals are there is a quirk, for nobody knows."""
        tape, limit = self._one(query), _limit(query, MAX_KLINES)
        length_ms = INTERVALS_MS.get(query.get("interval", ""))
        if length_ms is None:
            raise ApiError(400, -1120, "Invalid interval.")
        now_ms = self._now_ms
        last_ms = min(now_ms, _whole(query, "endTime", now_ms))
        first_ms = _whole(query, "startTime", last_ms - last_ms % length_ms - (limit - 1) * length_ms)
        bars = tape.bars(length_ms, first_ms, min(last_ms, first_ms + limit * length_ms), now_ms)
        kept = [b for b in bars if b.trades or not self._stage.has("omits_idle")]
        return [kline_row(tape.listing, b, length_ms) for b in kept[:limit]]

    def _tickers(self, query: Mapping[str, str]) -> Any:
        return _only([ticker_row(t, self._now_ms) for t in self._several(query)], query)

    def _prices(self, query: Mapping[str, str]) -> Any:
        tapes = self._several(query)
        rows = [{"symbol": t.listing.native, "price": price_text(t.listing, t.last_price)} for t in tapes]
        return _only(rows, query)

    def _books(self, query: Mapping[str, str]) -> Any:
        return _only([book_row(t.listing, t.last_price) for t in self._several(query)], query)


def _weight(name: str, query: Mapping[str, str]) -> int:
    if name == "ticker/24hr":
        return 1 if "symbol" in query else 40
    if name == "ticker/price":
        return 1 if "symbol" in query else 2
    return {"exchangeInfo": 10, "trades": 5, ACCOUNT: 10}.get(name, 1)


def _only(rows: list[Any], query: Mapping[str, str]) -> Any:
    return rows[0] if "symbol" in query else rows


def _limit(query: Mapping[str, str], most: int) -> int:
    return max(1, min(most, _whole(query, "limit", 500)))


def _whole(query: Mapping[str, str], name: str, usual: int) -> int:
    try:
        return int(query.get(name, usual))
    except ValueError:
        raise ApiError(400, 700_003, f"Illegal parameter '{name}'.") from None


def _denied(status: int) -> web.Response:
    page = "<HTML><HEAD><TITLE>Access Denied</TITLE></HEAD><BODY><H1>Access Denied</H1></BODY></HTML>"
    return web.Response(status=status, text=page, content_type="text/html")


def _json(status: int, body: Any) -> web.Response:
    headers = {"Retry-After": str(RETRY_S if status == 429 else BAN_S)} if status in (418, 429) else {}
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return web.Response(status=status, text=text, content_type="application/json", headers=headers)
