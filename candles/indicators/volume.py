"""What the volume says: its z-score, on-balance volume, accumulation and distribution, money flow."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum

from candles.indicators.bars import Bars
from candles.indicators.bollinger import deviations
from candles.indicators.primitives import Line
from candles.indicators.study import Study, length
from livermore.core.candle import Reason


def z_scores(bars: Bars, length: int) -> Line:
    """How many standard deviations a bar's volume lies from the mean of the `length` bars before it and its own.

    A bar without trades had volume 0; one that an outage hides had none that we know and is left out. None where
    the volume never changed.
    """
    known = [i for i, reason in enumerate(bars.reasons) if reason is not Reason.OUTAGE]
    volumes = [bars.volume[i] for i in known]
    line: Line = [None] * len(bars)
    for i, volume, mean, sigma in zip(known, volumes, *deviations(volumes, length), strict=True):
        line[i] = None if mean is None or not sigma else (volume - mean) / sigma
    return line


def on_balance(bars: Bars) -> Line:
    """Running total of volume, with the sign of the close's move."""
    line: Line = []
    total, before = 0.0, None
    for close, volume in zip(bars.close, bars.volume, strict=True):
        if before is None or close > before:
            total += volume
        elif close < before:
            total -= volume
        line.append(total)
        before = close
    return line


def accumulation(bars: Bars) -> Line:
    """Running total of volume, weighed by where in its range the bar closes (−1 to 1)."""
    line: Line = []
    total = 0.0
    for high, low, close, volume in zip(bars.high, bars.low, bars.close, bars.volume, strict=True):
        if high > low:
            total += ((close - low) - (high - close)) / (high - low) * volume
        line.append(total)
    return line


def money_flow(bars: Bars, length: int) -> Line:
    """Share (0–100) of the money that came with rising typical prices in the last `length` moves."""
    typical = [(h + low + c) / 3 for h, low, c in zip(bars.high, bars.low, bars.close, strict=True)]
    up, down = [0.0], [0.0]
    for i in range(1, len(typical)):
        flow = typical[i] * bars.volume[i]
        up.append(flow if typical[i] > typical[i - 1] else 0.0)
        down.append(flow if typical[i] < typical[i - 1] else 0.0)
    line: Line = [None] * min(length, len(bars))
    for end in range(length + 1, len(typical) + 1):
        risen, fallen = fsum(up[end - length : end]), fsum(down[end - length : end])
        line.append(100 * risen / (risen + fallen) if risen + fallen else None)
    return line


def _z(bars: Bars, length: int) -> Sequence[Line]:
    return (z_scores(bars, length),)


def _mfi(bars: Bars, length: int) -> Sequence[Line]:
    return (money_flow(bars, length),)


INDICATORS = (
    Study(
        name="volume-z",
        title="Volume in standard deviations from its mean",
        columns=("volume_z",),
        lines=_z,
        warm_up=lambda length: length,
        parameters={"length": length(20, 2)},
    ).indicator(),
    Study(
        name="obv",
        title="On-balance volume since the window began",
        columns=("obv",),
        lines=lambda bars: (on_balance(bars),),
        warm_up=lambda: 1,
        parameters={},
        fades=None,
    ).indicator(),
    Study(
        name="ad",
        title="Accumulation and distribution since the window began",
        columns=("ad",),
        lines=lambda bars: (accumulation(bars),),
        warm_up=lambda: 1,
        parameters={},
        fades=None,
    ).indicator(),
    Study(
        name="mfi",
        title="Money flow index",
        columns=("mfi",),
        lines=_mfi,
        warm_up=lambda length: length + 1,
        parameters={"length": length(14)},
    ).indicator(),
)
