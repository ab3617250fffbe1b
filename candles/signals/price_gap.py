"""PRICE_GAP: one venue is dearer than another by more than it usually is (signals.md §4.3.2)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import permutations

from candles.signals import doubts
from candles.signals.evaluation import (
    Direction,
    Evaluation,
    Kind,
    Number,
    Outcome,
    Rules,
    Thresholds,
    ended,
    identity,
    told_onset_ms,
)
from candles.signals.guards import Suppression
from candles.signals.onset import STAY_SHARE, pair_began_ms
from candles.signals.pair import Pair, pair, view
from candles.signals.reference import gap_bps, move_bps, usd_rates
from candles.signals.section import CrossSection, Market, primary_markets
from candles.signals.standing import LEAST_MAD_BPS, SIGMA_PER_MAD, Standing

ENTER_BPS, ENTER_Z = 25.0, 4.0
EXIT_BPS, EXIT_Z = 10.0, 1.5
HOLD_MS, EXIT_HOLD_MS = 5_000, 10_000
COOL_DOWN_MS = 300_000
LIFETIME_MS = 3_600_000
UNKNOWN = Standing(0.0, LEAST_MAD_BPS, 0)


@dataclass(frozen=True, slots=True)
class Bounds:
    """At which excess an event opens and closes, in bps: floors of the kind, the pair's own quantile, its spread."""

    enter_bps: float
    exit_bps: float


def bounds(of: Standing, factor: float = 1.0) -> Bounds:
    """`factor` doubles the entry while a quote is off its peg."""
    sigma = SIGMA_PER_MAD * max(of.mad_bps, LEAST_MAD_BPS)
    enter = factor * max(ENTER_BPS, of.p99_bps or 0.0)
    return Bounds(max(enter, ENTER_Z * sigma), max(EXIT_BPS, EXIT_Z * sigma))


def sides(market: Market) -> tuple[float, float]:
    """Best bid and ask; where the book is unknown, the last price less and plus half the spread."""
    leg = market.leg
    half = (market.spread_bps or 0.0) / 2e4
    bid = float(leg.price) * (1 - half) if leg.bid is None else float(leg.bid)
    ask = float(leg.price) * (1 + half) if leg.ask is None else float(leg.ask)
    return bid, ask


def exec_gap_bps(of: Pair) -> float | None:
    """What selling on the dear side and buying on the cheap one brings before fees."""
    rich, poor = of.rates
    if of.is_mixed and (rich is None or poor is None):
        return None
    bid, ask = sides(of.leader.market)[0], sides(of.follower.market)[1]
    return gap_bps(bid * rich.value, ask * poor.value) if of.is_mixed and rich and poor else gap_bps(bid, ask)


def evaluate(section: CrossSection, watched: Collection[str] = ()) -> list[Evaluation]:
    """Every pair that stands apart, and every watched identity."""
    views = [view(market, section.now_ms, ()) for market in primary_markets(section.markets)]
    rates = cache(lambda seconds_ago: usd_rates(section.rate_markets, section.now_ms - 1_000 * seconds_ago))
    pairs = (pair(rich, poor, None, rates) for rich, poor in permutations(views, 2))
    return [found for of in pairs for found in _evaluations(section, of, watched)]


def _evaluations(section: CrossSection, of: Pair, watched: Collection[str]) -> Iterator[Evaluation]:
    rich, poor = of.leader.market, of.follower.market
    names = rich.leg.key, poor.leg.key
    known = section.standings.get(names)
    usual = known or UNKNOWN
    limits = bounds(usual, doubts.depeg_factor(of))
    gap = move_bps(of.now.leader, of.now.follower) if of.now else None
    excess = None if gap is None else usual.excess_bps(gap)
    is_large = excess is not None and excess >= STAY_SHARE * limits.enter_bps
    if not is_large and identity(Kind.PRICE_GAP, section.base, names, Direction.UP, 0) not in watched:
        return
    broken = doubts.broken(of)
    is_candidate = excess is not None and excess >= limits.enter_bps
    suppressed = (broken or _against(section, of, known)) if is_candidate else None
    yield Evaluation(
        kind=Kind.PRICE_GAP,
        base=section.base,
        leader=rich,
        follower=poor,
        direction=Direction.UP,
        window_s=0,
        now_ms=section.now_ms,
        quoted=(of.leader.quoted, of.follower.quoted),
        now=of.now,
        before=None,
        sigma_bps=None,
        rates=of.rates,
        thresholds=_thresholds(limits, usual),
        holds=is_candidate and suppressed is None,
        suppressed=suppressed,
        broken=broken,
        size_bps=excess,
        measures=_measures(of, usual, gap, excess),
        is_over=excess is not None and excess <= limits.exit_bps,
        stays=is_large and broken is None,
        gross_bps=exec_gap_bps(of),
        onset=partial(_onset_ms, section, of, usual, limits),
    )


def _against(section: CrossSection, of: Pair, known: Standing | None) -> Suppression | None:
    doubt = doubts.of_markets(of) or doubts.of_gap(of) or doubts.of_peg(of, section.off_peg) or doubts.of_basis(of)
    return doubt or (Suppression.NOT_CONVERGED if known is None else None)


def _measures(of: Pair, usual: Standing, gap: float | None, excess: float | None) -> dict[str, Number]:
    return {
        "remaining_bps": excess,
        "exec_gap_bps": exec_gap_bps(of),
        "gap_bps_normalised": gap_bps(of.now.leader, of.now.follower) if of.now else None,
        "gap_bps_raw": gap_bps(of.leader.price, of.follower.price),
        "gap_usual_bps": usual.median_bps,
        "gap_excess_bps": excess,
        "z": None if gap is None else usual.z(gap),
    }


def _thresholds(limits: Bounds, usual: Standing) -> Thresholds:
    named: dict[str, Number] = {
        "z": ENTER_Z, "enter_bps": round(limits.enter_bps, 2), "exit_bps": round(limits.exit_bps, 2),
        "p99_bps": None if usual.p99_bps is None else round(usual.p99_bps, 2), "samples": usual.samples,
        "p99_samples": usual.p99_samples,
    }  # fmt: skip
    return Thresholds(named=named)


def _onset_ms(section: CrossSection, of: Pair, usual: Standing, limits: Bounds) -> int:
    rich, poor = (1.0 if rate is None or not of.is_mixed else rate.value for rate in of.rates)

    def excess(dear: float, cheap: float) -> float:
        return usual.excess_bps(move_bps(dear * rich, cheap * poor))

    return pair_began_ms(of, section.now_ms, excess, limits.enter_bps)


RULES = Rules(
    Kind.PRICE_GAP,
    evaluate,
    told_onset_ms,
    ended(LIFETIME_MS),
    cool_down_ms=lambda window_s: COOL_DOWN_MS,
    confirmation_ms=HOLD_MS,
    closing_ms={Outcome.CONVERGED: EXIT_HOLD_MS},
)
