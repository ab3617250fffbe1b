"""MACD-V across timeframes and symbols: bias, label and lists (indicators.md §3.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from candles.indicators.reading import Stage
from livermore.core.candle import Timeframe

WEIGHTS = {
    Timeframe.M5: 2.0,
    Timeframe.M15: 3.0,
    Timeframe.M30: 3.5,
    Timeframe.H1: 4.0,
    Timeframe.H4: 5.0,
    Timeframe.D1: 6.0,
}
DOMINANCE = 1.5

_BULLISH = frozenset({Stage.REBOUNDING, Stage.RALLYING, Stage.OVERBOUGHT})
_BEARISH = frozenset({Stage.RETRACING, Stage.REVERSING, Stage.OVERSOLD})
_EXTREMES = frozenset({Stage.OVERBOUGHT, Stage.OVERSOLD})


class TimeframeBias(StrEnum):
    """The weighted verdict of all timeframes."""

    BULLISH = "Bullish"
    BEARISH = "Bearish"
    NEUTRAL = "Neutral"


class Label(StrEnum):
    """One symbol's standing over 1h, 4h and 1d; words of a monitor, not of an adviser."""

    STRONG_UP = "Strong up"
    STRONG_DOWN = "Strong down"
    BULLISH = "Bullish"
    BEARISH = "Bearish"
    REVERSAL_UP = "Reversal up?"
    REVERSAL_DOWN = "Reversal down?"
    MIXED = "Mixed"


class Heights(NamedTuple):
    """A symbol's MACD-V on 1h, 4h and 1d."""

    h1: float
    h4: float
    d1: float


@dataclass(frozen=True, slots=True)
class Lists:
    """Symbols worth a look, the most pronounced 1h value first."""

    bullish: tuple[str, ...]
    bearish: tuple[str, ...]
    reversal_up: tuple[str, ...]
    reversal_down: tuple[str, ...]


def timeframe_bias(stages: Mapping[Timeframe, Stage], *, is_contrarian: bool = False) -> TimeframeBias:
    """Weighted bulls against bears; ranging counts for neither.

    `is_contrarian` reads the extremes the other way round, as the predecessor's alerts did.
    """
    bull = bear = 0.0
    for timeframe, stage in stages.items():
        is_bull, is_bear = stage in _BULLISH, stage in _BEARISH
        if is_contrarian and stage in _EXTREMES:
            is_bull, is_bear = is_bear, is_bull
        bull += WEIGHTS[timeframe] * is_bull
        bear += WEIGHTS[timeframe] * is_bear
    if bull > DOMINANCE * bear:
        return TimeframeBias.BULLISH
    return TimeframeBias.BEARISH if bear > DOMINANCE * bull else TimeframeBias.NEUTRAL


def label(of: Heights) -> Label:
    """The first rule that matches."""
    h1, h4, d1 = of
    rules = (
        (h1 > 50 and h4 > 50 and d1 > 0, Label.STRONG_UP),
        (h1 < -50 and h4 < -50 and d1 < 0, Label.STRONG_DOWN),
        (min(of) > 0, Label.BULLISH),
        (max(of) < 0, Label.BEARISH),
        (h1 > 50 and h4 < 0, Label.REVERSAL_UP),
        (h1 < -50 and h4 > 0, Label.REVERSAL_DOWN),
    )
    return next((label for matches, label in rules if matches), Label.MIXED)


def lists(heights: Mapping[str, Heights]) -> Lists:
    """The four lists over symbols that have all three values."""
    falling = sorted(heights, key=lambda s: (-heights[s].h1, s))
    rising = sorted(heights, key=lambda s: (heights[s].h1, s))
    of = heights
    return Lists(
        bullish=tuple(s for s in falling if of[s].h1 > 50 and of[s].h4 > 0),
        bearish=tuple(s for s in rising if of[s].h1 < -50 and of[s].h4 < 0),
        reversal_up=tuple(s for s in falling if of[s].h1 > 30 and of[s].h4 < -20 and of[s].d1 < 0),
        reversal_down=tuple(s for s in rising if of[s].h1 < -30 and of[s].h4 > 20 and of[s].d1 > 0),
    )
