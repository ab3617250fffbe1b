"""Every series of an independent library's recorded output, recomputed by the registry's indicators."""

from __future__ import annotations

import csv
import gzip

import pytest

from candles.indicators.bars import Bars
from candles.indicators.registry import indicator
from tests.support.recordings import recording

Line = list[float | None]

# The reference's name: ours, its column, and the parameters in which the reference differs from our defaults.
SERIES: dict[str, tuple[str, str, dict[str, str]]] = {
    **{name: (name, name, {}) for name in ("ad", "apo", "aroonosc", "bop", "cci", "cmo", "mfi", "midpoint")},
    **{name: (name, name, {}) for name in ("midprice", "mom", "obv", "ppo", "psar", "roc", "rsi", "ultosc", "willr")},
    **{name: (name, name, {}) for name in ("dema", "ema", "kama", "sma", "tema", "trima", "trix", "wma")},
    **{name: ("dmi", name, {}) for name in ("adx", "adxr", "dx", "minus_di", "plus_di")},
    "atr": ("atr", "atr", {"first_range": "left_out"}),
    "bbands_lower": ("bollinger", "lower", {}),
    "bbands_upper": ("bollinger", "upper", {}),
    "ma": ("sma", "sma", {}),
    "macd": ("macd", "macd", {"seed": "together"}),
    "macdsignal": ("macd", "signal", {"seed": "together"}),
    "stoch_slowd": ("stochastic", "slow_d", {}),
    "stoch_slowk": ("stochastic", "slow_k", {}),
}
# The reference leaves these out until the slowest line of the same call exists.
BEGIN_EARLIER = {"macd": 8, "stoch_slowk": 2}


def read(path: str) -> list[dict[str, str]]:
    with gzip.open(recording(path), "rt") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def reference() -> list[dict[str, str]]:
    return read("indicators/binance_BTCUSDT_4h_reference.csv.gz")


@pytest.fixture(scope="module")
def candles() -> Bars:
    rows = read("indicators/binance_BTCUSDT_4h_klines.csv.gz")

    def column(name: str) -> tuple[float, ...]:
        return tuple(float(row[name]) for row in rows)

    return Bars(
        open_ms=tuple(int(row["open_time_ms"]) for row in rows),
        open=column("open"),
        high=column("high"),
        low=column("low"),
        close=column("close"),
        volume=column("volume"),
        turnover=column("quote_volume"),
        reasons=(None,) * len(rows),
    )


def test_the_reference_names_nothing_that_we_do_not_know(reference: list[dict[str, str]]) -> None:
    assert {*reference[0]} == {"open_time_ms", *SERIES}
    assert len(SERIES) == 38


@pytest.mark.parametrize("name", SERIES)
def test_a_series_equals_the_reference(name: str, candles: Bars, reference: list[dict[str, str]]) -> None:
    ours, column, parameters = SERIES[name]
    of = indicator(ours).with_parameters(parameters)
    at = 1 + of.columns.index(column)
    mine = [row[at] for row in of.series(candles)]
    theirs = [float(row[name]) if row[name] not in ("", "nan") else None for row in reference]
    begins = next(i for i, value in enumerate(theirs) if value is not None)
    assert mine.index(next(value for value in mine if value is not None)) == begins - BEGIN_EARLIER.get(name, 0)
    assert len(mine) == len(theirs) == 1_340
    for i in range(begins, len(theirs)):
        assert mine[i] == pytest.approx(theirs[i], rel=1e-9, abs=0), i
