"""Real captures through our fold, compared as reconciliation compares: match rates by field, printed."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

import pytest

from candles import slab
from candles.compare import FIELDS, differences
from candles.fold import fold, widen
from livermore.core.candle import LARGER_TIMEFRAMES, Candle, Kline, Reason, Timeframe
from livermore.core.trade import Trade
from tests.support.recordings import recording


class Rate:
    """How many candles were compared, and in which fields some differed."""

    def __init__(self, what: str) -> None:
        self._what, self.compared, self.told = what, 0, Counter[str]()
        self.differing = Counter[str]()

    def add(self, candle: Candle, kline: Kline) -> None:
        self.compared += 1
        self.told.update(name for name in FIELDS if getattr(kline, name) is not None)
        self.differing.update(differences(candle, kline).keys())

    def show(self) -> None:
        each = ", ".join(f"{name} {1 - self.differing[name] / told:.4%}" for name, told in self.told.items())
        print(f"\n{self._what}: {self.compared} candles compared; {each}")


def rows(path: str) -> Iterator[dict[str, str]]:
    with gzip.open(recording(path), "rt", encoding="utf-8") as lines:
        yield from csv.DictReader(lines)


def kline(row: dict[str, str]) -> Kline:
    prices = [Decimal(row[name]) for name in ("open", "high", "low", "close", "volume")]
    return Kline(int(row["open_time_ms"]), *prices)


def test_36_hours_of_binance_trades_make_the_reference_candles() -> None:
    """Of an independent builder: the reference has no candle where nothing was traded."""
    trades = [
        Trade(
            "XRP-ETH", int(row["time_ms"]) * 1_000_000, int(row["first_trade_id"]),
            int(row["last_trade_id"]) - int(row["first_trade_id"]) + 1, row["price"], row["qty"],
            row["is_buyer_maker"] == "false",
        )
        for row in rows("binance/aggtrades_XRPETH_2019-10-11_part1.csv.gz")
    ]  # fmt: skip
    built = {open_ms: fold({"all": columns}) for (_, open_ms), columns in slab.group(trades, 0).items()}
    rate = Rate("Binance XRP-ETH 5m, 36 hours of 2019-10-11")
    for row in rows("binance/refcandles_XRPETH_5m_2019-10-11_part1.csv.gz"):
        wanted = kline(row)
        folded = built.pop(wanted.open_ms)
        assert folded is not None
        prices = (folded.open, folded.high, folded.low, folded.close, folded.volume)
        rate.add(Candle("binance", "XRP-ETH", Timeframe.M5, wanted.open_ms, *prices), wanted)
    rate.show()
    assert built == {}
    assert (rate.compared, rate.differing) == (429, Counter())


@pytest.mark.parametrize("market", ["ADABTC_2020-04-28", "BTCUSDT_2018-04-28", "POWRBTC_2018-07-22"])
def test_the_venues_small_candles_make_its_larger_ones(market: str) -> None:
    """What a joint between our candles and the venue's history rests on, tried on Binance's own."""
    small: dict[int, Candle] = {}
    wanted: dict[Timeframe, list[Kline]] = {timeframe: [] for timeframe in LARGER_TIMEFRAMES}
    for row in rows(f"binance/klines_all_intervals_{market}.csv.gz"):
        said = kline(row)
        if row["interval"] == "5m":
            fields = (said.open, said.high, said.low, said.close, said.volume)
            quiet = Reason.NO_TRADES if said.volume == 0 else None
            small[said.open_ms] = Candle("binance", "X-Y", Timeframe.M5, said.open_ms, *fields, reason=quiet)
        elif row["interval"] in list(LARGER_TIMEFRAMES):
            wanted[Timeframe(row["interval"])].append(said)
    rate = Rate(f"Binance {market}, larger candles from 5m ones")
    newest_ms = max(small)  # was still forming when it was recorded
    for timeframe, klines in wanted.items():
        for said in klines:
            opens = range(said.open_ms, said.open_ms + timeframe.ms, Timeframe.M5.ms)
            if all(open_ms in small for open_ms in opens) and opens[-1] < newest_ms:
                rate.add(widen([small[open_ms] for open_ms in opens], timeframe), said)
    rate.show()
    assert rate.compared > 200
    assert rate.differing == Counter()


def test_half_an_hour_of_coinbase_trades_folds_the_same_in_any_order() -> None:
    trades = [
        Trade("BTC-USD", ns(row["timestamp"]), number, 1, row["price"], row["amount"], row["side"] == "buy")
        for number, row in enumerate(rows("coinbase/trades_BTC-USD_2023-09-05_1600-1630.csv.gz"))
    ]
    forwards, backwards = (slab.group(order, 0) for order in (trades, trades[::-1]))
    assert [len(columns.ids) for columns in forwards.values()] == [424, 419, 469, 461, 490, 421]
    for place, columns in forwards.items():
        assert fold({"all": columns}) == fold({"all": backwards[place]})


def ns(text: str) -> int:
    """ns of an ISO time with six decimals."""
    at = datetime.fromisoformat(text)
    return int(at.timestamp()) * 1_000_000_000 + at.microsecond * 1_000
