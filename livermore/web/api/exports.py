"""Candles and signals as CSV or Parquet, streamed: the web process never holds them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from asgiref.sync import sync_to_async
from django.http import HttpRequest, StreamingHttpResponse
from ninja import Query, Router

from candles.services import exporting
from livermore.web import markets

router = Router(tags=["exports"])
Format = Annotated[str, Query(alias="format", pattern="^(csv|parquet)$")]
FOREVER_MS = 1 << 62


@router.get("/candles")
def export_candles(
    request: HttpRequest,
    exchange: str,
    symbol: str,
    timeframe: str = "5m",
    from_ms: Annotated[int | None, Query(alias="from", ge=0)] = None,
    to_ms: Annotated[int | None, Query(alias="to", ge=0)] = None,
    kind: Format = "csv",
) -> StreamingHttpResponse:
    """Closed candles of one series, oldest first, with their provenance."""
    market, frame = markets.market(exchange, symbol), markets.timeframe(timeframe)
    table = exporting.candles([market], [frame], from_ms or 0, FOREVER_MS if to_ms is None else to_ms)
    return _streamed(table, kind, f"{market.exchange_id}-{market.name}-{frame}")


@router.get("/signals")
def export_signals(
    request: HttpRequest,
    base: str = "",
    from_ms: Annotated[int | None, Query(alias="from", ge=0)] = None,
    to_ms: Annotated[int | None, Query(alias="to", ge=0)] = None,
    kind: Format = "csv",
) -> StreamingHttpResponse:
    """Signals that opened in the span, oldest first, with outcome and newest event."""
    table = exporting.signals(base, from_ms or 0, FOREVER_MS if to_ms is None else to_ms)
    return _streamed(table, kind, f"signals-{base.upper() or 'all'}")


def _streamed(table: exporting.Table, kind: str, name: str) -> StreamingHttpResponse:
    pieces = exporting.in_format(table, kind)
    types = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}
    answer = StreamingHttpResponse(_in_turn(pieces), content_type=types[kind])
    answer["Content-Disposition"] = f'attachment; filename="{name}.{kind}"'
    answer["Livermore-Terms"] = table.notice.encode("ascii", "replace").decode()
    return answer


async def _in_turn(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A piece at a time, so that other requests get their turn; an iterator that is not async would be held whole."""
    while (piece := await sync_to_async(next)(pieces, None)) is not None:
        yield piece
