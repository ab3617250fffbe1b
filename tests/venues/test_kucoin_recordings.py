"""KuCoin's own candles, rebuilt from the trades of the same capture; skipped where no recordings are at hand."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from exchanges.kucoin import VENUE
from exchanges.venue import KEEP, Endpoint, Instrument, Lost
from livermore.core.symbol import SymbolBook
from livermore.core.trade import Nanos, Trade
from tests.support.budgets import OpenBudget
from tests.support.http_server import Answer, http_server
from tests.support.recordings import recorded_frames, recorded_rows
from tests.venues.conversation import LIMITS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the SDK's imports

FRAMES = "kucoin/ws_spot_2021-04-25.jsonl.gz"
MATCH = b'"topic":"/market/match:'
MINUTE_NS = 60 * 10**9


def instruments() -> list[Instrument]:
    (row,) = recorded_rows("kucoin/rest_symbols_2021-04-25.jsonl.gz")
    with http_server(lambda _: Answer(text=row["text"])) as server:
        return list(VENUE.rest(Endpoint(server.url, ""), OpenBudget()).instruments())


def book() -> SymbolBook:
    return SymbolBook("kucoin", {i.native: str(i.symbol) for i in instruments()}, 1)


def candle_of(trades: list[Trade]) -> list[Decimal]:
    """In the venue's order: open, close, high, low, volume, turnover."""
    prices = [Decimal(t.price) for t in trades]
    amounts = [Decimal(t.quantity) for t in trades]
    turnover = sum(p * q for p, q in zip(prices, amounts, strict=True))
    return [prices[0], prices[-1], max(prices), min(prices), sum(amounts, Decimal(0)), Decimal(turnover)]


def test_every_recorded_match_maps_and_ids_rise_with_holes() -> None:
    frames = recorded_frames(FRAMES)
    mapped = VENUE.mapper(frames, book())
    assert (mapped.rejected, dict(mapped.unknown)) == ([], {})
    assert len(mapped.trades) == sum(MATCH in f for f in frames) == 18
    by_symbol: dict[str, list[Trade]] = {}
    for trade in mapped.trades:
        by_symbol.setdefault(trade.symbol, []).append(trade)
    assert set(by_symbol) == {"DAPPT-BTC", "BSV-USDT", "FET-BTC"}
    for trades in by_symbol.values():
        assert all(a.id < b.id and a.time_ns <= b.time_ns for a, b in pairwise(trades))


def test_every_candle_frame_with_trades_is_rebuilt_exactly_in_six_fields() -> None:
    """A frame tells what was traded until its own `time`."""
    frames, names = recorded_frames(FRAMES), book().names
    trades = VENUE.mapper(frames, book()).trades
    told: list[dict[str, Any]] = [json.loads(f)["data"] for f in frames if b'"topic":"/market/candles:' in f]
    exact = empty = 0
    for said in told:
        start_s, *numbers = said["candles"]
        start_ns = int(start_s) * 10**9
        inside = [
            t
            for t in trades
            if t.symbol == names[said["symbol"]] and start_ns <= t.time_ns < min(start_ns + MINUTE_NS, said["time"])
        ]
        if inside:
            exact += candle_of(sorted(inside, key=lambda t: t.id)) == [Decimal(n) for n in numbers]
        else:
            empty += Decimal(numbers[4]) == 0
    assert (exact, empty, len(told)) == (5, 1, 6)


def test_a_session_keeps_the_recorded_matches_and_nothing_else() -> None:
    session = VENUE.session(LIMITS, ["DAPPT-BTC", "BCHSV-USDT"])
    session.opened(Nanos(0))
    answers = Counter[tuple[bool, bool]]()
    for number, frame in enumerate(recorded_frames(FRAMES)):
        events = session.received(frame, Nanos(number))
        assert not any(isinstance(e, Lost) for e in events), frame[:200]
        answers[events is KEEP, MATCH in frame] += 1
    assert answers == {(True, True): 18, (False, False): 4721 - 18}


def test_the_recorded_list_maps_both_ways_under_the_names_of_today() -> None:
    found = instruments()
    assert len({i.native for i in found}) == len({str(i.symbol) for i in found}) == len(found) == 634
    assert all(i.tick > 0 and i.lot > 0 for i in found)
    assert sum(i.is_trading for i in found) == 633
    assert book().names["BCHSV-USDT"] == "BSV-USDT"
    assert book().native("WAXP-BTC") == "WAX-BTC"
