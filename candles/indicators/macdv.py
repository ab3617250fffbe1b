"""MACD-V (Spiroglou): MACD in units of volatility (indicators.md §3.2, §3.3, §3.6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Any

from candles.indicators import reading
from candles.indicators.bars import Bars
from candles.indicators.indicator import CONVERGED_BARS, Choice, Indicator, Row, Value
from candles.indicators.primitives import Line, Values, ema, rma, sma, true_ranges
from livermore.core.candle import Reason
from livermore.core.errors import InvalidInput

FAST, SLOW, SIGNAL, SCALE = 12, 26, 9, 100.0
LOW_ACTIVITY = "Low trading activity"
NO_MOVEMENT = "No price movement"
SPARSE_SHARE = 0.5
"""Below this share of observed bars in their span a value has low confidence."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A named way to measure in volatility; variants are never mixed on one chart.

    `seeds_first` starts averages of price and of the indicator from their first value, as Pine does;
    `scales_hist` divides the histogram by the volatility once more.
    """

    name: str
    title: str
    atr_length: int = 26
    mean: Callable[[Values, int], Line] = rma
    seeds_first: bool = False
    scales_hist: bool = False

    @property
    def warm_up_bars(self) -> int:
        """Bars until the signal line exists: 34 by default."""
        if self.seeds_first:
            return self.atr_length
        return max(SLOW, self.atr_length) + SIGNAL - 1


SPIROGLOU = Variant("macdv", "MACD-V 12/26/26/9")


class Liquidity(StrEnum):
    """How many slots of the window were traded in."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True)
class Lines:
    """Every series of the indicator, one value per bar; None where there is none."""

    ema12: Line
    ema26: Line
    atr: Line
    macd: Line
    macdv: Line
    signal: Line
    hist: Line


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The newest bar's values, what they mean, and how far they can be trusted.

    `n_eff` counts observed true ranges, `span_bars` runs from the first to the last observed slot,
    `seed_index` is the slot that completed the ATR's seed. `tainted` tells that an outage lies in the window.
    """

    candle_open_time: int
    candle_version: int
    macdv: float | None
    signal: float | None
    hist: float | None
    macd: float | None
    atr: float | None
    ema12: float | None
    ema26: float | None
    ready: bool
    converged: bool
    reason: str | None
    seeded: bool
    n_eff: int
    span_bars: int
    seed_index: int | None
    gap_ratio: float
    zero_range_ratio: float | None
    liquidity: Liquidity
    tainted: bool
    low_confidence: bool
    stage: reading.Stage | None
    zone: reading.Zone | None
    crossover: reading.Crossover
    bias: reading.Bias | None
    divergence: reading.Divergence | None

    def payload(self) -> dict[str, Any]:
        """Ready for JSON: floats keep every digit, words are plain strings."""
        return {k: str(v) if isinstance(v, StrEnum) else v for k, v in asdict(self).items()}


def lines(bars: Bars, variant: Variant = SPIROGLOU) -> Lines:
    """Every series over the whole window: the one implementation of the formula."""
    ema12 = ema(bars.close, FAST, seeds_first=variant.seeds_first)
    ema26 = ema(bars.close, SLOW, seeds_first=variant.seeds_first)
    atr = variant.mean(true_ranges(bars), variant.atr_length)
    macd = [None if f is None or s is None else f - s for f, s in zip(ema12, ema26, strict=True)]
    macdv = [None if m is None or not a else SCALE * m / a for m, a in zip(macd, atr, strict=True)]
    signal = ema(macdv, SIGNAL, seeds_first=variant.seeds_first)
    hist = [None if m is None or s is None else m - s for m, s in zip(macdv, signal, strict=True)]
    if variant.scales_hist:
        hist = [None if h is None or not a else SCALE * h / a for h, a in zip(hist, atr, strict=True)]
    return Lines(ema12, ema26, atr, macd, macdv, signal, hist)


def series(bars: Bars, variant: Variant = SPIROGLOU) -> list[Row]:
    """Chart rows `(open_ms, macdv, signal, hist)`."""
    of = lines(bars, variant)
    return list(zip(bars.open_ms, of.macdv, of.signal, of.hist, strict=True))


def snapshot(bars: Bars, variant: Variant = SPIROGLOU, *, of: Lines | None = None) -> Snapshot:
    """The newest bar's value, from `of` where the caller has its lines; `InvalidInput` when there is no bar."""
    if not len(bars):
        raise InvalidInput("an indicator needs at least one candle")
    of = lines(bars, variant) if of is None else of
    return Snapshot(
        candle_open_time=bars.open_ms[-1],
        candle_version=bars.revision,
        macdv=of.macdv[-1],
        signal=of.signal[-1],
        hist=of.hist[-1],
        macd=of.macd[-1],
        atr=of.atr[-1],
        ema12=of.ema12[-1],
        ema26=of.ema26[-1],
        ready=of.hist[-1] is not None,
        reason=_reason(of),
        **_observation(bars, variant),
        **_meaning(of),
    )


def _reason(of: Lines) -> str | None:
    if of.macdv[-1] is not None:
        return None
    return NO_MOVEMENT if of.atr[-1] == 0 and of.macd[-1] is not None else LOW_ACTIVITY


def _observation(bars: Bars, variant: Variant) -> dict[str, Any]:
    observed = [i for i, reason in enumerate(bars.reasons) if reason is None]
    n_eff = len(observed)
    span = observed[-1] - observed[0] + 1 if observed else 0
    gap_ratio = (len(bars) - n_eff) / len(bars)
    flat = sum(bars.high[i] == bars.low[i] for i in observed)
    is_seeded = n_eff >= variant.atr_length
    return {
        "converged": n_eff >= CONVERGED_BARS,
        "seeded": is_seeded,
        "n_eff": n_eff,
        "span_bars": span,
        "seed_index": observed[variant.atr_length - 1] if is_seeded else None,
        "gap_ratio": gap_ratio,
        "zero_range_ratio": flat / n_eff if n_eff else None,
        "liquidity": _liquidity(gap_ratio),
        "tainted": Reason.OUTAGE in bars.reasons,
        "low_confidence": n_eff < SPARSE_SHARE * span or not n_eff,
    }


def _liquidity(gap_ratio: float) -> Liquidity:
    if gap_ratio < 0.2:
        return Liquidity.HIGH
    return Liquidity.MEDIUM if gap_ratio < 0.5 else Liquidity.LOW


def _meaning(of: Lines) -> dict[str, Any]:
    macdv, hist = of.macdv[-1], of.hist[-1]
    zone = None if macdv is None else reading.zone(macdv)
    stage = bias = None
    if macdv is not None and zone is not None and hist is not None:
        towards = reading.direction(of.macdv, of.signal)
        stage = reading.stage(macdv, towards, is_ranging=reading.is_ranging(of.macdv))
        bias = reading.scalping_bias(zone, stage, hist)
    return {
        "stage": stage,
        "zone": zone,
        "crossover": reading.crossover(hist, of.hist[-2] if len(of.hist) > 1 else None),
        "bias": bias,
        "divergence": _divergence(of),
    }


def _divergence(of: Lines) -> reading.Divergence | None:
    if len(of.macdv) < 3:
        return None
    (v_old, v_new), (m_old, m_new) = (of.macdv[-3], of.macdv[-1]), (of.macd[-3], of.macd[-1])
    if v_old is None or v_new is None or m_old is None or m_new is None:
        return None
    return reading.divergence((v_old, v_new), (m_old, m_new))


VARIANTS = (
    SPIROGLOU,
    Variant("macdv-atr14", "MACD-V with a 14-bar ATR", atr_length=14),
    Variant("macdv-ema-atr", "MACD-V with an exponential ATR", mean=ema),
    Variant("macdv-sma-atr", "MACD-V with a simple-mean ATR", mean=sma),
    Variant("macdv-hist-atr", "MACD-V whose histogram is in units of volatility, too", scales_hist=True),
)
SEEDS = Choice(("mean", "first"))


def _indicator(variant: Variant) -> Indicator:
    def remake(given: Mapping[str, Value]) -> Indicator:
        return _indicator(replace(variant, seeds_first=given["seed"] == "first"))

    return Indicator(
        name=variant.name,
        title=variant.title,
        columns=("macdv", "signal", "hist"),
        warm_up_bars=variant.warm_up_bars,
        latest=partial(snapshot, variant=variant),
        series=partial(series, variant=variant),
        parameters={"seed": SEEDS},
        remake=remake,
    )


INDICATORS = tuple(_indicator(variant) for variant in VARIANTS)
