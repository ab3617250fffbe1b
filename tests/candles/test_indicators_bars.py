"""From candles to bars: floats, reasons, and holes that are never silently skipped."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from candles.indicators.bars import LONGEST_HOLE, Bars
from livermore.core.candle import Candle, Reason, Timeframe
from livermore.core.errors import InvalidInput

FIRST = Candle(
    exchange="sixth",
    symbol="BTC-USDT",
    timeframe=Timeframe.M5,
    open_ms=0,
    open=Decimal("1"),
    high=Decimal("3"),
    low=Decimal("0.5"),
    close=Decimal("2"),
    volume=Decimal("7"),
)


def at(slot: int, **changes: object) -> Candle:
    return replace(FIRST, open_ms=slot * 300_000, **changes)  # type: ignore[arg-type]


def test_candles_become_floats_with_the_newest_revision() -> None:
    bars = Bars.from_candles([at(0), at(1, revision=3, reason=Reason.NO_TRADES)])
    assert bars.open_ms == (0, 300_000)
    assert (bars.open[0], bars.high[0], bars.low[0], bars.close[0], bars.volume[0]) == (1.0, 3.0, 0.5, 2.0, 7.0)
    assert bars.reasons == (None, Reason.NO_TRADES)
    assert bars.revision == 3


def test_a_missing_slot_is_an_outage_at_the_last_close() -> None:
    bars = Bars.from_candles([at(0), at(3)])
    assert bars.open_ms == (0, 300_000, 600_000, 900_000)
    assert bars.reasons == (None, Reason.OUTAGE, Reason.OUTAGE, None)
    assert bars.high[1] == bars.low[2] == 2.0
    assert bars.volume[1] == 0


def test_nothing_before_a_hole_longer_than_the_window_remains() -> None:
    assert len(Bars.from_candles([at(0), at(LONGEST_HOLE + 2)])) == 1
    assert len(Bars.from_candles([at(0), at(LONGEST_HOLE + 1)])) == LONGEST_HOLE + 2


@pytest.mark.parametrize("slots", [(1, 0), (1, 1)])
def test_candles_that_do_not_ascend_are_refused(slots: tuple[int, int]) -> None:
    with pytest.raises(InvalidInput, match="ascend"):
        Bars.from_candles([at(s) for s in slots])


def test_no_candles_are_no_bars() -> None:
    assert len(Bars.from_candles([])) == 0
