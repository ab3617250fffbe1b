"""STABLE_DEPEG: a stable coin is not worth a dollar (signals.md §4.3.6); also the switch of §4.2."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal
from functools import partial

from candles.signals.doubts import PEG_BPS
from candles.signals.evaluation import (
    WAYS,
    Direction,
    Evaluation,
    Kind,
    Outcome,
    Rules,
    Thresholds,
    ended,
    identity,
    told_onset_ms,
)
from candles.signals.guards import Suppression
from candles.signals.onset import STAY_SHARE, began_ms
from candles.signals.reference import USD, Rate, usd_rates
from candles.signals.section import CrossSection, Market

CRITICAL_BPS, EXIT_BPS = 100.0, 20.0
HOLD_MS, EXIT_HOLD_MS = 60_000, 300_000
COOL_DOWN_MS = 1_800_000
LIFETIME_MS = 30 * 86_400_000
LOOK_BACK_S = 600
SOURCE = ("rate", "usd")
"""It is about the coin's rate, whichever markets told it."""


def evaluate(section: CrossSection, watched: Collection[str] = ()) -> list[Evaluation]:
    """The section's own asset, a stable coin: its rate, both ways."""
    dollars = [market for market in section.markets if market.leg.unit == USD]
    if not dollars:
        return []
    teller = max(dollars, key=lambda m: (m.leg.event_ms, m.leg.key))
    rate = usd_rates(section.rate_markets, section.now_ms).get(section.base)
    found = [_evaluation(section, teller, rate, direction) for direction in WAYS]
    return [of for of in found if of.holds or of.stays or of.identity in watched]


def _evaluation(section: CrossSection, teller: Market, rate: Rate | None, direction: Direction) -> Evaluation:
    off_bps = None if rate is None else _off_bps(rate, direction)
    quoted = teller.leg.price if rate is None else Decimal(repr(round(rate.value, 8)))
    is_critical = off_bps is not None and off_bps >= CRITICAL_BPS
    return Evaluation(
        kind=Kind.STABLE_DEPEG,
        base=section.base,
        leader=teller,
        follower=None,
        direction=direction,
        window_s=60,
        now_ms=section.now_ms,
        quoted=(quoted, quoted),
        now=None,
        before=None,
        sigma_bps=None,
        rates=(rate, None),
        thresholds=Thresholds(named={"notice_bps": PEG_BPS, "critical_bps": CRITICAL_BPS, "exit_bps": EXIT_BPS}),
        holds=off_bps is not None and off_bps >= PEG_BPS,
        broken=Suppression.BASIS_STALE if rate is None else None,
        size_bps=off_bps,
        measures={
            "remaining_bps": off_bps, "usd_rate": None if rate is None else repr(round(rate.value, 8)),
            "usd_rate_source": None if rate is None else rate.source,
            "severity": "critical" if is_critical else "notice",
        },
        is_over=off_bps is not None and off_bps <= EXIT_BPS,
        stays=off_bps is not None and off_bps >= STAY_SHARE * PEG_BPS,
        subject=SOURCE,
        onset=partial(_onset_ms, section, direction),
    )  # fmt: skip


def is_off(section_base: str, states: Collection[str]) -> bool:
    """Whether one of these identities with an open event is this coin's."""
    return any(identity(Kind.STABLE_DEPEG, section_base, SOURCE, way, 60) in states for way in WAYS)


def _off_bps(rate: Rate, direction: Direction) -> float:
    return direction.sign * (rate.value - 1.0) * 1e4


def _onset_ms(section: CrossSection, direction: Direction) -> int:
    """The second since which the rate has been off."""
    last_s = section.now_ms // 1_000

    def off_at(at_ms: int) -> float | None:
        rate = usd_rates(section.rate_markets, at_ms).get(section.base)
        return None if rate is None else _off_bps(rate, direction)

    moments = (1_000 * second for second in range(last_s, last_s - LOOK_BACK_S, -1))
    began = began_ms(moments, off_at, PEG_BPS)
    return section.now_ms // 1_000 * 1_000 if began is None else began


RULES = Rules(
    Kind.STABLE_DEPEG,
    evaluate,
    told_onset_ms,
    ended(LIFETIME_MS),
    cool_down_ms=lambda window_s: COOL_DOWN_MS,
    confirmation_ms=HOLD_MS,
    closing_ms={Outcome.CONVERGED: EXIT_HOLD_MS, Outcome.INVALIDATED: EXIT_HOLD_MS},
)
