"""What a MACD-V value means: total functions from numbers to words (indicators.md §3.4)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

RANGING_BARS = 20
RANGING_LIMIT = 50.0
DIVERGENCE_LIMIT = 0.15


class Direction(StrEnum):
    """On which side of its signal line the MACD-V is."""

    UP = "up"
    DOWN = "down"


class Stage(StrEnum):
    """Where the momentum cycle stands."""

    OVERSOLD = "oversold"
    RANGING = "ranging"
    OVERBOUGHT = "overbought"
    RALLYING = "rallying"
    REBOUNDING = "rebounding"
    REVERSING = "reversing"
    RETRACING = "retracing"


class Zone(StrEnum):
    """The height of the MACD-V alone."""

    OVERSOLD = "oversold"
    DEEP_NEGATIVE = "deep_negative"
    NEGATIVE = "negative"
    NEUTRAL = "neutral"
    POSITIVE = "positive"
    ELEVATED = "elevated"
    DEEP_POSITIVE = "deep_positive"
    OVERBOUGHT = "overbought"


class Crossover(StrEnum):
    """How the histogram stands and whether it changed its sign with this bar."""

    NONE = "none"
    FRESH_BULLISH = "fresh_bullish"
    BULLISH = "bullish"
    FRESH_BEARISH = "fresh_bearish"
    BEARISH = "bearish"


class Bias(StrEnum):
    """The scalping bias of one timeframe."""

    CAUTION = "caution"
    STRONG_LONG = "strong_long"
    LONG = "long"
    WEAK_LONG = "weak_long"
    NEUTRAL = "neutral"
    WEAK_SHORT = "weak_short"
    SHORT = "short"
    STRONG_SHORT = "strong_short"


class Divergence(StrEnum):
    """MACD-V against MACD: `diverging` means that volatility compresses."""

    DIVERGING = "diverging"
    CONVERGING = "converging"
    ALIGNED = "aligned"


def direction(macdv: Sequence[float | None], signal: Sequence[float | None]) -> Direction:
    """Of the newest bar; on equality the previous bar's, and `up` when there never was one."""
    for value, line in zip(reversed(macdv), reversed(signal), strict=True):
        if value is None or line is None:
            break
        if value != line:
            return Direction.UP if value > line else Direction.DOWN
    return Direction.UP


def is_ranging(macdv: Sequence[float | None]) -> bool:
    """All of the last 20 closed bars are within ±50."""
    last = macdv[-RANGING_BARS:]
    return len(last) == RANGING_BARS and all(m is not None and abs(m) <= RANGING_LIMIT for m in last)


def stage(macdv: float, towards: Direction, *, is_ranging: bool = False) -> Stage:
    """Exactly one stage for every value and direction, ±50 and ±150 included."""
    if macdv < -150:
        return Stage.OVERSOLD
    if is_ranging:
        return Stage.RANGING
    if towards is Direction.DOWN:
        return Stage.REVERSING if macdv <= -50 else Stage.RETRACING
    if macdv > 150:
        return Stage.OVERBOUGHT
    return Stage.RALLYING if macdv >= 50 else Stage.REBOUNDING


def zone(macdv: float, *, is_compatible: bool = False) -> Zone:
    """The zone of a value; `is_compatible` calls all of 80…120 elevated, as the predecessor did."""
    if macdv <= -120:
        return Zone.OVERSOLD
    if macdv <= -100:
        return Zone.DEEP_NEGATIVE
    if macdv < -30:
        return Zone.NEGATIVE
    if macdv <= 30:
        return Zone.NEUTRAL
    if macdv < 80:
        return Zone.POSITIVE
    if macdv >= 120:
        return Zone.OVERBOUGHT
    return Zone.ELEVATED if macdv < 100 or is_compatible else Zone.DEEP_POSITIVE


def crossover(hist: float | None, previous: float | None) -> Crossover:
    """From this bar's histogram and the previous bar's."""
    if hist is None or previous is None or hist == 0:
        return Crossover.NONE
    if hist > 0:
        return Crossover.BULLISH if previous > 0 else Crossover.FRESH_BULLISH
    return Crossover.BEARISH if previous < 0 else Crossover.FRESH_BEARISH


_LONG = {
    Zone.DEEP_NEGATIVE: Bias.STRONG_LONG,
    Zone.NEGATIVE: Bias.LONG,
    Zone.NEUTRAL: Bias.WEAK_LONG,
    Zone.POSITIVE: Bias.LONG,
    Zone.ELEVATED: Bias.WEAK_LONG,
    Zone.DEEP_POSITIVE: Bias.WEAK_LONG,
}
_SHORT = {
    Zone.DEEP_POSITIVE: Bias.STRONG_SHORT,
    Zone.POSITIVE: Bias.SHORT,
    Zone.ELEVATED: Bias.SHORT,
    Zone.NEUTRAL: Bias.WEAK_SHORT,
    Zone.NEGATIVE: Bias.SHORT,
    Zone.DEEP_NEGATIVE: Bias.WEAK_SHORT,
}


def scalping_bias(zone: Zone, stage: Stage, hist: float) -> Bias:
    """Which way a short trade would lean; `caution` at the extremes."""
    if zone in (Zone.OVERBOUGHT, Zone.OVERSOLD):
        return Bias.CAUTION
    if stage in (Stage.REBOUNDING, Stage.RALLYING) and hist > 0:
        return _LONG[zone]
    if stage in (Stage.RETRACING, Stage.REVERSING) and hist < 0:
        return _SHORT[zone]
    return Bias.NEUTRAL


def divergence(macdv: tuple[float, float], macd: tuple[float, float]) -> Divergence:
    """From (oldest, newest) of the last three closed bars."""
    if macdv[0] == 0 or macd[0] == 0:
        return Divergence.ALIGNED
    delta = (macdv[1] - macdv[0]) / abs(macdv[0]) - (macd[1] - macd[0]) / abs(macd[0])
    if delta > DIVERGENCE_LIMIT:
        return Divergence.DIVERGING
    return Divergence.CONVERGING if delta < -DIVERGENCE_LIMIT else Divergence.ALIGNED
