"""Indicators: which there are, and their rows over the closed candles of a market, computed when asked for."""

from __future__ import annotations

from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Query, Router

from candles.indicators.indicator import Choice, Indicator, Number
from candles.indicators.registry import indicator, indicators
from candles.services.indicators import KEPT
from livermore.core.errors import InvalidInput
from livermore.web import markets, portfolio, series
from livermore.web.observed import now_ms
from symbols.models import ExchangeSymbol

router = Router(tags=["indicators"])


@router.get("")
def list_indicators(request: HttpRequest) -> dict[str, Any]:
    """What there is, with its parameters. `is_kept`: kept up to date in Redis for every series."""
    return {"indicators": [_described(of) for of in indicators().values()]}


@router.get("/portfolio")
def list_portfolio(
    request: HttpRequest,
    exchange: str = "",
    base: str = "",
    tier: int = 1,
    compat: Annotated[str, Query(pattern="^(contrarian)?$")] = "",
) -> dict[str, Any]:
    """MACD-V and stage of every timeframe, weighted bias and label of each market of a tier, side by side.

    `lists` names by exchange those worth a look. `compat=contrarian` reads extremes the other way round.
    """
    rows = ExchangeSymbol.objects.trading().filter(tier=tier).order_by("exchange", "rank", "name")
    if exchange:
        rows = rows.filter(exchange=markets.exchange(exchange))
    if base:
        rows = rows.filter(base=base.upper())
    now = now_ms()
    return {"now_ms": now, **portfolio.table(list(rows), now, is_contrarian=bool(compat))}


@router.get("/{exchange}/{symbol}")
def list_indicator(
    request: HttpRequest,
    exchange: str,
    symbol: str,
    timeframe: str = "5m",
    kind: Annotated[str, Query(alias="type")] = KEPT,
    params: str = "",
    limit: Annotated[int, Query(ge=1, le=series.MOST)] = series.DEFAULT_LIMIT,
) -> dict[str, Any]:
    """An indicator over the newest closed candles: rows for a chart, and its latest value in full.

    `params` changes parameters, `length:50` or `length:20,width:2.5`; `/indicators` tells which there are.
    """
    frame = markets.timeframe(timeframe)
    market = markets.market(exchange, symbol)
    said = _said(params)
    chosen = indicator(kind).with_parameters(said)
    rows, latest = series.indicator_rows(market, frame, chosen, limit, request.user.pk)
    now = now_ms()
    ended = None if latest is None else latest["candle_open_time"] + frame.ms
    return {
        "exchange": exchange,
        "symbol": market.name,
        "timeframe": frame,
        "type": kind,
        "params": chosen.chosen(said),
        "warm_up_bars": chosen.warm_up_bars,
        "now_ms": now,
        "age_ms": None if ended is None else max(0, now - ended),
        "rows": rows,
        "latest": latest,
    }


def _said(text: str) -> dict[str, str]:
    found = {}
    for part in filter(None, text.split(",")):
        name, colon, value = part.partition(":")
        if not colon:
            raise InvalidInput(f"params must be name:value pairs such as length:50,width:2; one is {part!r}")
        found[name.strip()] = value.strip()
    return found


def _described(of: Indicator) -> dict[str, Any]:
    return {
        "type": of.name,
        "title": of.title,
        "columns": list(of.columns),
        "params": {name: _parameter(parameter) for name, parameter in of.parameters.items()},
        "warm_up_bars": of.warm_up_bars,
        "load_bars": of.load_bars,
        "is_kept": of.name == KEPT,
    }


def _parameter(of: Number | Choice) -> dict[str, Any]:
    if isinstance(of, Choice):
        return {"default": of.default, "accepted": list(of.accepted)}
    return {"default": of.default, "least": of.least, "most": of.most}
