"""CONFLUENCE of bars: MACD-V crosses a level the same way at most venues, on the same or adjacent bars (§4.3.7)."""

from __future__ import annotations

from collections.abc import Collection

from candles.signals.bars import BarMarket, BarSection
from candles.signals.confluence import FEW, VENUES, VENUES_OF_FEW
from candles.signals.evaluation import (
    WAYS,
    Direction,
    Evaluation,
    Figures,
    Kind,
    Outcome,
    Rules,
    Thresholds,
    told_onset_ms,
)

BARS = 2
KEPT_BARS = 3


def evaluate(section: BarSection, watched: Collection[str] = ()) -> list[Evaluation]:
    """Each direction that enough venues cross in, and every watched one."""
    listing = len(section.markets)
    if listing < FEW:
        return []
    needed = VENUES_OF_FEW if listing == FEW else VENUES
    found = []
    for direction in WAYS:
        showing = sorted(_showing(section, direction), key=lambda s: (s[0], s[1].market.leg.key))
        of = _evaluation(section, showing, direction, holds=len(showing) >= needed)
        found += [of] if of.holds or of.identity in watched else []
    return found


def _showing(section: BarSection, direction: Direction) -> list[tuple[int, BarMarket]]:
    step, found = section.timeframe_ms, []
    for of in section.markets:
        for open_ms in range(section.open_ms - (BARS - 1) * step, section.open_ms + 1, step):
            level = of.crossed(open_ms, step)
            if level is not None and direction.sign * level > 0 and of.doubt(is_leader=True, open_ms=open_ms) is None:
                found.append((open_ms, of))
                break
    return found


def _evaluation(
    section: BarSection, showing: list[tuple[int, BarMarket]], direction: Direction, *, holds: bool
) -> Evaluation:
    first = showing[0][1].market if showing else section.markets[0].market
    local = max((of.market for of in section.markets), key=lambda m: (m.turnover_usd, m.leg.key))
    return Evaluation(
        kind=Kind.CONFLUENCE,
        base=section.base,
        leader=first,
        follower=local,
        direction=direction,
        window_s=section.timeframe_ms // 1_000,
        timeframe=section.timeframe,
        now_ms=section.now_ms,
        quoted=(first.leg.price, local.leg.price),
        now=None,
        before=None,
        sigma_bps=None,
        rates=(None, None),
        thresholds=Thresholds(named={"venues": VENUES, "bars": BARS}),
        holds=holds,
        size_bps=0.0,
        measures={
            "remaining_bps": None,
            "venues": [of.market.leg.exchange for _, of in showing],
            "bar_open_ms": [str(open_ms) for open_ms, _ in showing],
        },
        subject=("venues", "venues"),
        onset=lambda: section.now_ms,
    )  # fmt: skip


def outcome(since: Figures | None, peak_bps: float, age_ms: int, of: Evaluation) -> Outcome | None:
    """It fires once; `mfe_bps` and `mae_bps` of three bars tell how it went."""
    return Outcome.EXPIRED if age_ms >= 1_000 * of.window_s * KEPT_BARS else None


RULES = Rules(
    Kind.CONFLUENCE, evaluate, told_onset_ms, outcome,
    cool_down_ms=lambda window_s: 1_000 * window_s, confirmation_ms=0, fires_once=True,
)  # fmt: skip
