"""LEAD_LAG: which of two venues moves first, as a regime of quarter hours (signals.md §4.3.4)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from candles.signals import guards
from candles.signals.evaluation import (
    Direction,
    Evaluation,
    Figures,
    Kind,
    Outcome,
    Rules,
    Thresholds,
    identity,
    told_onset_ms,
)
from candles.signals.guards import Suppression
from candles.signals.hayashi import Ticks, clamped, correlations, lead_ratio
from candles.signals.section import Market

WINDOW_S, EVERY_MS = 900, 300_000
STEP_MS, FARTHEST_MS = 250, 10_000
FINE_STEP_MS, FINE_FARTHEST_MS, FINE_PER_S = 50, 1_000, 5
GRID_MS = range(-FARTHEST_MS, FARTHEST_MS + 1, STEP_MS)
FINE_GRID_MS = range(-FINE_FARTHEST_MS, FINE_FARTHEST_MS + 1, FINE_STEP_MS)
DIRECTION_TICKS = 300
LAG_TICKS, LAG_TICKS_TOGETHER = 450, 1_200
MIN_RHO, ENTER_LLR, EXIT_LLR = 0.2, 1.6, 1.3
LIFETIME_MS = 7 * 86_400_000


class Verdict(StrEnum):
    """What a window may say."""

    OK = "ok"
    NOT_ENOUGH_TICKS = "not_enough_ticks"
    CLOCK_UNCERTAIN = "clock_uncertain"
    UNRELATED = "unrelated"
    WITHIN_CLOCK_ERROR = "within_clock_error"


@dataclass(frozen=True, slots=True)
class Series:
    """One market's ticks of a window, log prices by the venue's time (made ours) and by arrival, in ms.

    `delay_ms` is the median time from venue to us.
    """

    market: Market
    by_venue: Ticks
    by_arrival: Ticks
    delay_ms: float


@dataclass(frozen=True, slots=True)
class Lead:
    """Of one window: how much `leader` leads `follower`. The direction may be told when `verdict` is ok.

    `lag_ms` is by the venues' clocks and None below the gate for seconds, `arrival_lag_ms` by our own socket.
    """

    leader: Series
    follower: Series
    verdict: Verdict
    llr: float | None = None
    rho: float | None = None
    lag_ms: int | None = None
    arrival_lag_ms: int | None = None

    @property
    def is_actionable(self) -> bool | None:
        """Could one have seen the leader first, and sooner than its word travels to us?"""
        if self.lag_ms is None or self.arrival_lag_ms is None:
            return None
        return self.arrival_lag_ms > 0 and self.lag_ms > self.leader.delay_ms


@dataclass(frozen=True, slots=True)
class LeadSection:
    """Every pair of `base` in the window that ends at `now_ms`, the likelier leader first."""

    base: str
    now_ms: int
    leads: tuple[Lead, ...]


def measure(one: Series, other: Series) -> Lead:
    """The likelier leader of two, and what may be said of it."""
    counts = len(one.by_venue), len(other.by_venue)
    if min(counts) < DIRECTION_TICKS:
        return Lead(one, other, Verdict.NOT_ENOUGH_TICKS)
    rhos = correlations(one.by_venue, other.by_venue, GRID_MS)
    llr = lead_ratio(clamped(rhos))
    if min(counts) > FINE_PER_S * WINDOW_S:
        rhos |= correlations(one.by_venue, other.by_venue, FINE_GRID_MS)
    shift = max(rhos, key=lambda s: (rhos[s], -abs(s)))
    leader, follower, sign = (one, other, 1) if llr >= 1 else (other, one, -1)
    lag_ms, rho = sign * shift, rhos[shift]
    llr = llr if sign > 0 else (1 / llr if llr else float("inf"))
    verdict = _verdict(leader, follower, rho, lag_ms)
    has_lag = min(counts) >= LAG_TICKS and sum(counts) >= LAG_TICKS_TOGETHER and verdict is Verdict.OK
    arrival = _lag_ms(leader.by_arrival, follower.by_arrival) if has_lag else None
    return Lead(leader, follower, verdict, llr, min(rho, 1.0), lag_ms if has_lag else None, arrival)


def _lag_ms(leader: Ticks, follower: Ticks) -> int:
    rhos = correlations(leader, follower, GRID_MS)
    return max(rhos, key=lambda s: (rhos[s], -abs(s)))


def _verdict(leader: Series, follower: Series, rho: float, lag_ms: int) -> Verdict:
    uncertain = leader.market.clock.uncertainty_ms, follower.market.clock.uncertainty_ms
    if any(each is None or each > guards.CLOCK_LIMIT_MS for each in uncertain):
        return Verdict.CLOCK_UNCERTAIN
    if rho < MIN_RHO:
        return Verdict.UNRELATED
    return Verdict.OK if lag_ms > 2 * sum(each or 0 for each in uncertain) else Verdict.WITHIN_CLOCK_ERROR


def evaluate(section: LeadSection, watched: Collection[str] = ()) -> list[Evaluation]:
    """Each pair's likelier leader, and every watched regime."""
    return list(_evaluations(section, watched))


def _evaluations(section: LeadSection, watched: Collection[str]) -> Iterator[Evaluation]:
    for lead in section.leads:
        names = lead.leader.market.leg.key, lead.follower.market.leg.key
        yield _evaluation(section, lead, names)
        turned = names[1], names[0]
        if identity(Kind.LEAD_LAG, section.base, turned, Direction.NONE, WINDOW_S) in watched:
            yield _evaluation(section, lead, turned)


def _evaluation(section: LeadSection, lead: Lead, names: tuple[str, str]) -> Evaluation:
    leader, follower = lead.leader, lead.follower
    is_turned = names[0] != leader.market.leg.key
    llr = lead.llr if not is_turned or not lead.llr else 1 / lead.llr
    leader, follower = (follower, leader) if is_turned else (leader, follower)
    holds = not is_turned and lead.verdict is Verdict.OK and llr is not None and llr >= ENTER_LLR
    return Evaluation(
        kind=Kind.LEAD_LAG,
        base=section.base,
        leader=leader.market,
        follower=follower.market,
        direction=Direction.NONE,
        window_s=WINDOW_S,
        now_ms=section.now_ms,
        quoted=(leader.market.leg.price, follower.market.leg.price),
        now=None,
        before=None,
        sigma_bps=None,
        rates=(None, None),
        thresholds=Thresholds(named={"enter_llr": ENTER_LLR, "exit_llr": EXIT_LLR, "rho": MIN_RHO}),
        holds=holds,
        suppressed=Suppression.CLOCK_UNCERTAIN if _is_held_back(lead, is_turned) else None,
        size_bps=0.0,
        measures={
            "remaining_bps": None, "llr": llr, "rho": lead.rho, "verdict": str(lead.verdict),
            "lag_s": _seconds(lead.lag_ms, is_turned), "arrival_lag_s": _seconds(lead.arrival_lag_ms, is_turned),
            "is_actionable": lead.is_actionable, "ticks": [str(len(s.by_venue)) for s in (leader, follower)],
        },
        is_over=llr is None or llr < EXIT_LLR or lead.verdict is not Verdict.OK,
        onset=lambda: section.now_ms - WINDOW_S * 1_000,
    )  # fmt: skip


def _is_held_back(lead: Lead, is_turned: bool) -> bool:
    is_strong = lead.llr is not None and lead.llr >= ENTER_LLR
    return is_strong and not is_turned and lead.verdict is Verdict.CLOCK_UNCERTAIN


def _seconds(lag_ms: int | None, is_turned: bool) -> str | None:
    return None if lag_ms is None or is_turned else f"{lag_ms / 1_000:.2f}"


def outcome(since: Figures | None, peak_bps: float, age_ms: int, of: Evaluation) -> Outcome | None:
    """A regime that faded is `expired`; one whose pair disappears is invalidated by the lifecycle."""
    return Outcome.EXPIRED if of.is_over or age_ms > LIFETIME_MS else None


RULES = Rules(
    Kind.LEAD_LAG, evaluate, told_onset_ms, outcome,
    cool_down_ms=lambda window_s: EVERY_MS,
    confirmation_ms=EVERY_MS, closing_ms={Outcome.EXPIRED: EVERY_MS},
)  # fmt: skip
