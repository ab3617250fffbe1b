"""What speaks against a bar that would raise an alert."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from candles.indicators import macdv
from candles.indicators.alerts import Bar
from candles.indicators.bars import Bars
from candles.indicators.trust import NO_CANDLE, watched
from livermore.core.candle import Candle, Quality, Reason, Timeframe

SLOT_MS = 300_000
COUNT = 260


def candles() -> list[Candle]:
    one = Decimal(1)
    return [
        Candle("toy", "A-B", Timeframe.M5, n * SLOT_MS, one, one + n % 3, one, one, one, revision=n)
        for n in range(COUNT)
    ]


def looked(of: list[Candle], since: int = COUNT - 1, **how: bool) -> list[Bar]:
    bars = Bars.from_candles(of)
    return watched(of, bars, macdv.lines(bars), since * SLOT_MS, **how)


def test_a_bar_is_told_with_its_revision_and_values() -> None:
    of = candles()
    lines = macdv.lines(Bars.from_candles(of))
    assert looked(of, COUNT - 2) == [
        Bar(n * SLOT_MS, n, lines.macdv[n], lines.hist[n], None) for n in (COUNT - 2, COUNT - 1)
    ]
    assert looked(of, COUNT + 5) == looked(of), "at least the newest"


def test_convergence_is_counted_up_to_each_bar() -> None:
    of = [replace(c, reason=Reason.NO_TRADES) if c.open_ms == 0 else c for c in candles()]
    assert [bar.blocked for bar in looked(of, 249)[:2]] == ["unconverged", None]
    assert [bar.blocked for bar in looked(of, 249, needs_converged=False)[:2]] == [None, None]


def test_what_comes_before_an_outage_is_not_spoilt_by_it() -> None:
    of = [c for c in candles() if c.open_ms != (COUNT - 2) * SLOT_MS]
    assert [(bar.revision, bar.blocked) for bar in looked(of, COUNT - 3)] == [
        (COUNT - 3, None), (NO_CANDLE, "data_gap"), (COUNT - 1, "data_gap"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        ({"quality": Quality.GAPPED}, "gapped"),
        ({"quality": Quality.PENDING}, None),
        ({"reason": Reason.NO_TRADES}, None),
        ({"reason": Reason.OUTAGE}, "data_gap"),
        (dict.fromkeys(("open", "high", "low", "close"), Decimal(0)), "bad_price"),
    ],
)
def test_the_bar_itself_may_be_doubted(change: dict, doubt: str | None) -> None:
    of = candles()
    of[-1] = replace(of[-1], **change)
    assert looked(of)[0].blocked == doubt
