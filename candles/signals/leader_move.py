"""LEADER_MOVE: an asset is moving on one venue and has not yet on another (signals.md §4.3.1)."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from itertools import permutations
from math import sqrt

from candles.signals import doubts, guards
from candles.signals.evaluation import (
    WAYS,
    Direction,
    Evaluation,
    Figures,
    Kind,
    Outcome,
    Rules,
    Thresholds,
    figures,
    identity,
)
from candles.signals.guards import Suppression
from candles.signals.pair import Pair, View, excess_bps, pair, view
from candles.signals.reference import move_bps, price_at, usd_rates
from candles.signals.section import CrossSection, primary_markets

MIN_MOVE_BPS = {15: 10.0, 60: 20.0, 300: 40.0}
WINDOWS_S = tuple(MIN_MOVE_BPS)
MIN_Z = 2.0
MIN_REMAINING_BPS = 10.0
MAX_CATCH_UP = 0.5
CONVERGED_CATCH_UP = 0.8
KEPT_SHARE = 0.5
LIFETIME_WINDOWS = 3
SHORTEST_COOL_DOWN_MS = 60_000
AHEAD_SHARE = 1 / 3
ATR_WINDOW_S = 300
VERSION = 1


def evaluate(section: CrossSection, watched: Collection[str] = ()) -> list[Evaluation]:
    """Every pair whose leader has moved, and every watched identity."""
    views = [view(market, section.now_ms, WINDOWS_S) for market in primary_markets(section.markets)]
    rates = cache(lambda seconds_ago: usd_rates(section.rate_markets, section.now_ms - 1_000 * seconds_ago))
    return [
        _evaluation(section, pair(leader, follower, window_s, rates), direction, window_s)
        for leader, follower in permutations(views, 2)
        for window_s in WINDOWS_S
        for direction in _directions(section.base, leader, follower, window_s, watched)
    ]


def _directions(
    base: str, leader: View, follower: View, window_s: int, watched: Collection[str]
) -> Iterator[Direction]:
    # Half the threshold, in the leader's own quote: what that quote did meanwhile is asked for only then.
    # A move that is mostly the quote's is not the asset's.
    move = leader.move_bps(window_s) or 0.0
    names = leader.market.leg.key, follower.market.leg.key
    for direction in WAYS:
        has_moved = direction.sign * move >= MIN_MOVE_BPS[window_s] / 2
        if has_moved or (watched and identity(Kind.LEADER_MOVE, base, names, direction, window_s) in watched):
            yield direction


def _evaluation(section: CrossSection, of: Pair, direction: Direction, window_s: int) -> Evaluation:
    atr = of.leader.market.atr_bps
    sigma_bps = atr * sqrt(window_s / ATR_WINDOW_S) if atr else None
    thresholds = _thresholds(of, window_s)
    broken = doubts.broken(of)
    is_candidate = _is_candidate(of, direction, window_s, sigma_bps, thresholds)
    suppressed = (broken or _against(of, window_s)) if is_candidate else None
    return Evaluation(
        kind=Kind.LEADER_MOVE,
        base=section.base,
        leader=of.leader.market,
        follower=of.follower.market,
        direction=direction,
        window_s=window_s,
        now_ms=section.now_ms,
        quoted=(of.leader.quoted, of.follower.quoted),
        now=of.now,
        before=of.before,
        sigma_bps=sigma_bps,
        rates=of.rates,
        thresholds=thresholds,
        holds=is_candidate and suppressed is None,
        suppressed=suppressed,
        broken=broken,
    )


def _thresholds(of: Pair, window_s: int) -> Thresholds:
    """Doubled in bps while a quote of a mixed pair is off its peg."""
    factor = doubts.depeg_factor(of)
    return Thresholds(MIN_Z, MIN_MOVE_BPS[window_s] * factor, MIN_REMAINING_BPS * factor, VERSION)


def _is_candidate(
    of: Pair, direction: Direction, window_s: int, sigma_bps: float | None, thresholds: Thresholds
) -> bool:
    """Every opening condition that can be judged is met; what cannot be judged is left to the guards."""
    since = figures(of.now, of.before, direction) if of.now and of.before else None
    move = since.leader_bps if since else of.leader.move_bps(window_s)
    if move is None or direction.sign * move < thresholds.min_move_bps:
        return False
    if sigma_bps is not None and direction.sign * move / sigma_bps < thresholds.z:
        return False
    if since is None:
        return True
    is_behind = since.catch_up is not None and since.catch_up <= MAX_CATCH_UP
    return (
        is_behind and since.remaining_bps >= thresholds.min_remaining_bps and _is_ahead(of, direction, since)
    )


def _is_ahead(of: Pair, direction: Direction, since: Figures) -> bool:
    """The leader stands away from where the pair usually stands.

    Without this a venue that only catches up, or a leader that falls back from a spike, would look like a new
    leader in every window that begins after the first move.
    """
    return direction.sign * excess_bps(of.leader, of.follower) >= AHEAD_SHARE * since.remaining_bps


def _against(of: Pair, window_s: int) -> Suppression | None:
    """What speaks against a candidate that can be measured now."""
    leader = of.leader.market
    doubt = doubts.of_markets(of)
    if doubt is not None:
        return doubt
    if of.before is None or of.now is None:
        is_known = of.follower.before[window_s] is not None
        return Suppression.BASIS_STALE if is_known else Suppression.STALE_FOLLOWER
    if not leader.atr_bps or not leader.is_atr_converged:
        return Suppression.NOT_CONVERGED
    doubt = doubts.of_basis(of) or doubts.of_gap(of)
    if doubt is not None:
        return doubt
    since_ms = of.leader.at_ms - 1_000 * window_s
    return Suppression.ONE_TRADE if guards.is_one_trade(leader, since_ms) else None


def onset_ms(of: Evaluation) -> int:
    """The second (venue time) in which the leader's move first reached the threshold and stayed there.

    It depends on the leader's prices only, so a second evaluator that looks at other instants finds the same.
    """
    leader, window_ms = of.leader, 1_000 * of.window_s
    at_ms = of.now_ms + leader.clock.offset_ms
    onset = leader.leg.event_ms
    for event_ms, price in reversed(leader.trail):
        if not at_ms - window_ms < event_ms <= at_ms:
            continue
        before = price_at(leader.trail, event_ms - window_ms, window_ms)
        if before is None or of.direction.sign * move_bps(price, before) < of.thresholds.min_move_bps:
            break
        onset = event_ms
    return onset // 1_000 * 1_000


def outcome(since: Figures | None, peak_bps: float, age_ms: int, of: Evaluation) -> Outcome | None:
    """Whether an event is over; a leader that fell back is reversed even where it fell onto the follower."""
    if of.broken is not None or since is None:
        return Outcome.INVALIDATED
    if of.direction.sign * since.leader_bps < KEPT_SHARE * peak_bps:
        return Outcome.REVERSED
    if since.catch_up is not None and since.catch_up >= CONVERGED_CATCH_UP:
        return Outcome.CONVERGED
    return Outcome.EXPIRED if age_ms > 1_000 * LIFETIME_WINDOWS * of.window_s else None


def cool_down_ms(window_s: int) -> int:
    """The pause after an event of this window."""
    return max(1_000 * window_s, SHORTEST_COOL_DOWN_MS)


RULES = Rules(Kind.LEADER_MOVE, evaluate, onset_ms, outcome, cool_down_ms)
