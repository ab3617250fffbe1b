"""The adapters against what the venues really sent; skipped where no recordings are at hand."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from exchanges.registry import venue
from exchanges.venue import KEEP, Endpoint, Instrument, Lost, Ready
from livermore.core.symbol import SymbolBook
from livermore.core.trade import Nanos, Trade
from tests.support.budgets import OpenBudget
from tests.support.http_server import Answer, http_server
from tests.support.recordings import recorded_frames, recorded_rows
from tests.venues.conversation import LIMITS

INSTRUMENTS = {
    "binance": "binance/rest_exchangeInfo_2021-10-12.jsonl.gz",
    "binance_us": "binance_us/rest_exchangeInfo_2021-10-12.jsonl.gz",
    "coinbase": "coinbase/rest_products_advanced_2026-08-09.jsonl.gz",
    "kucoin": "kucoin/rest_symbols_2021-04-25.jsonl.gz",
}
FRAMES = [
    ("binance", "binance/ws_spot_2021-10-12.jsonl.gz", b'"e":"aggTrade"'),
    ("binance", "binance/ws_spot_2021-08-14.jsonl.gz", b'"e":"aggTrade"'),
    ("binance_us", "binance_us/ws_spot_2021-10-12.jsonl.gz", b'"e":"aggTrade"'),
    ("binance_us", "binance_us/ws_spot_2021-08-14.jsonl.gz", b'"e":"aggTrade"'),
    ("coinbase", "coinbase/ws_advanced_2026-08-09.jsonl.gz", b'"channel":"market_trades"'),
]


def instruments(slug: str) -> list[Instrument]:
    (row,) = recorded_rows(INSTRUMENTS[slug])
    with http_server(lambda _: Answer(text=row["text"])) as server:
        return list(venue(slug).rest(Endpoint(server.url, ""), OpenBudget()).instruments())


def book(slug: str) -> SymbolBook:
    return SymbolBook(slug, {i.native: str(i.symbol) for i in instruments(slug)}, 1)


@pytest.mark.parametrize(("slug", "path", "mark"), FRAMES)
def test_every_recorded_trade_maps_and_ids_join(slug: str, path: str, mark: bytes) -> None:
    frames = recorded_frames(path)
    mapped = venue(slug).mapper(frames, book(slug))
    assert mapped.rejected == []
    assert not mapped.unknown
    wanted = sum(f.count(b'"trade_id"') if slug == "coinbase" else 1 for f in frames if mark in f[:120])
    assert len(mapped.trades) == wanted > 0
    by_symbol: dict[str, dict[int | str, Trade]] = {}
    for trade in mapped.trades:
        by_symbol.setdefault(trade.symbol, {})[trade.id] = trade
    for trades in by_symbol.values():
        in_order = sorted(trades.values(), key=lambda t: t.id)
        assert all(a.id + a.executions == b.id for a, b in pairwise(in_order))
        assert all(a.time_ns <= b.time_ns for a, b in pairwise(in_order))


@pytest.mark.parametrize(("slug", "path", "mark"), FRAMES)
def test_a_session_keeps_trades_and_nothing_else(slug: str, path: str, mark: bytes) -> None:
    session = venue(slug).session(LIMITS, ["BTC-USD", "ETH-USD"])
    session.opened(Nanos(0))
    answers = Counter[tuple[str, bool]]()
    for number, frame in enumerate(recorded_frames(path)):
        events = session.received(frame, Nanos(number))
        assert not any(isinstance(e, Lost) for e in events), frame[:200]
        answers["keep" if events is KEEP else "other", mark in frame[:120]] += 1
    assert answers["keep", False] == answers["other", True] == 0
    assert answers["keep", True] > 0


def test_a_hole_in_the_recorded_sequence_is_a_loss() -> None:
    frames = recorded_frames("coinbase/ws_advanced_2026-08-09.jsonl.gz")
    session = venue("coinbase").session(LIMITS, ["BTC-USD"])
    del frames[500]
    events = [e for n, f in enumerate(frames) for e in session.received(f, Nanos(n))]
    assert sum(isinstance(e, Lost) for e in events) == 1


def test_the_recorded_acknowledgements_make_a_session_ready_once() -> None:
    session = venue("coinbase").session(LIMITS, ["BTC-USD", "ETH-USD"])
    events = [*session.opened(Nanos(0)), *session.tick(Nanos(300_000_000))]
    for frame in recorded_frames("coinbase/ws_advanced_2026-08-09.jsonl.gz"):
        events += session.received(frame, Nanos(400_000_000))
    assert sum(isinstance(e, Ready) for e in events) == 1


@pytest.mark.parametrize("slug", sorted(INSTRUMENTS))
def test_the_recorded_list_maps_both_ways_without_a_collision(slug: str) -> None:
    found = instruments(slug)
    assert len(found) > 100
    assert len({i.native for i in found}) == len(found)
    assert len({str(i.symbol) for i in found}) == len(found)
    assert all(i.tick > 0 and i.lot > 0 for i in found)
    assert sum(i.is_trading for i in found) > len(found) // 2


@pytest.mark.parametrize(
    ("slug", "native", "symbol"),
    [
        ("binance", "USDCUSDT", "USDC-USDT"),
        ("binance", "BTCUSDT", "BTC-USDT"),
        ("binance_us", "BTCUSD", "BTC-USD"),
        ("binance_us", "BTCUSDT", "BTC-USDT"),
        ("binance_us", "OMGBUSD", "OMG-BUSD"),
        ("coinbase", "BTC-USD", "BTC-USD"),
        ("kucoin", "BCHSV-USDT", "BSV-USDT"),
    ],
)
def test_recorded_names_are_read_from_their_fields(slug: str, native: str, symbol: str) -> None:
    assert book(slug).names[native] == symbol
    assert book(slug).native(symbol) == native


def test_the_recorded_aliases_are_no_streams_of_their_own() -> None:
    names = book("coinbase").names
    assert "BTC-USDC" not in names
    assert "USDT-USDC" in names, "a book of its own"
