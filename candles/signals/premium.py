"""PREMIUM: what an asset costs more in dollars than in tethers, with the tether's own price taken out (§4.3.5)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache, partial
from math import log

from candles.signals import doubts
from candles.signals.evaluation import (
    WAYS,
    Direction,
    Evaluation,
    Kind,
    Rules,
    Thresholds,
    ended,
    identity,
    told_onset_ms,
)
from candles.signals.guards import Suppression
from candles.signals.onset import STAY_SHARE, pair_began_ms
from candles.signals.pair import Pair, pair, view
from candles.signals.reference import USD, USDT, move_bps, usd_rates
from candles.signals.section import CrossSection, Market
from candles.signals.standing import LEAST_MAD_BPS, Standing

ENTER_BPS, ENTER_Z, EXIT_Z = 10.0, 3.0, 1.5
HOLD_MS = 30_000
COOL_DOWN_MS = 900_000
LIFETIME_MS = 24 * 3_600_000
UNKNOWN = Standing(0.0, LEAST_MAD_BPS, 0)


@dataclass(frozen=True, slots=True)
class Premium:
    """Three lines in bps (log): the bare quotient, what of it is the tether's price, and the rest."""

    raw_bps: float
    basis_bps: float

    @property
    def adjusted_bps(self) -> float:
        """The premium proper."""
        return self.raw_bps - self.basis_bps


def premium(dollars: float, tethers: float, tether_usd: float) -> Premium:
    """Of a price in dollars over one in tethers."""
    return Premium(move_bps(dollars, tethers), 1e4 * log(tether_usd))


def evaluate(section: CrossSection, watched: Collection[str] = ()) -> list[Evaluation]:
    """The most traded dollar market against the most traded tether market, both ways."""
    dollars, tethers = (_most_traded(section, unit) for unit in (USD, USDT))
    if dollars is None or tethers is None:
        return []
    rates = cache(lambda seconds_ago: usd_rates(section.rate_markets, section.now_ms - 1_000 * seconds_ago))
    views = view(dollars, section.now_ms, ()), view(tethers, section.now_ms, ())
    of = pair(*views, None, rates)
    names = dollars.leg.key, tethers.leg.key
    known = section.standings.get(names)
    found = [_evaluation(section, of, direction, known) for direction in WAYS]
    is_watched = {d: identity(Kind.PREMIUM, section.base, names, d, 0) in watched for d in WAYS}
    return [of for of in found if of.holds or of.suppressed or of.stays or is_watched[of.direction]]


def _most_traded(section: CrossSection, unit: str) -> Market | None:
    markets = [market for market in section.markets if market.leg.unit == unit]
    return max(markets, key=lambda m: (m.turnover_usd, -m.rank, m.leg.key), default=None)


def _evaluation(section: CrossSection, of: Pair, direction: Direction, known: Standing | None) -> Evaluation:
    usual, factor = known or UNKNOWN, doubts.depeg_factor(of)
    rate = of.rates[1]
    lines = None if rate is None else premium(of.leader.price, of.follower.price, rate.value)
    adjusted = None if lines is None else lines.adjusted_bps
    z = None if adjusted is None else usual.z(adjusted)
    size = None if adjusted is None else direction.sign * adjusted
    share = _share(direction, usual, factor, adjusted)
    is_candidate, broken = share is not None and share >= 1, doubts.broken(of)
    suppressed = (broken or _against(of, known)) if is_candidate else None
    return Evaluation(
        kind=Kind.PREMIUM,
        base=section.base,
        leader=of.leader.market,
        follower=of.follower.market,
        direction=direction,
        window_s=0,
        now_ms=section.now_ms,
        quoted=(of.leader.quoted, of.follower.quoted),
        now=of.now,
        before=None,
        sigma_bps=None,
        rates=of.rates,
        thresholds=Thresholds(named={"z": ENTER_Z, "enter_bps": factor * ENTER_BPS, "samples": usual.samples}),
        holds=is_candidate and suppressed is None,
        suppressed=suppressed,
        broken=broken,
        size_bps=size,
        measures={
            "remaining_bps": size, "raw_bps": lines.raw_bps if lines else None,
            "basis_bps": lines.basis_bps if lines else None,
            "adjusted_bps": adjusted, "usual_bps": usual.median_bps, "z": z,
        },
        is_over=z is not None and direction.sign * z <= EXIT_Z,
        stays=broken is None and share is not None and share >= STAY_SHARE,
        onset=partial(_onset_ms, section, of, direction, usual, factor),
    )  # fmt: skip


def _share(direction: Direction, usual: Standing, factor: float, adjusted_bps: float | None) -> float | None:
    """How much of both thresholds is reached: 1 is all of both."""
    if adjusted_bps is None:
        return None
    sign = direction.sign
    return min(sign * usual.z(adjusted_bps) / ENTER_Z, sign * adjusted_bps / (factor * ENTER_BPS))


def _against(of: Pair, known: Standing | None) -> Suppression | None:
    doubt = doubts.of_markets(of) or doubts.of_gap(of) or doubts.of_basis(of)
    return doubt or (Suppression.NOT_CONVERGED if known is None else None)


def _onset_ms(section: CrossSection, of: Pair, direction: Direction, usual: Standing, factor: float) -> int:
    tether_usd = of.rates[1].value if of.rates[1] else 1.0

    def share(dollars: float, tethers: float) -> float:
        return _share(direction, usual, factor, premium(dollars, tethers, tether_usd).adjusted_bps) or 0.0

    return pair_began_ms(of, section.now_ms, share, 1.0)


RULES = Rules(
    Kind.PREMIUM, evaluate, told_onset_ms, ended(LIFETIME_MS),
    cool_down_ms=lambda window_s: COOL_DOWN_MS, confirmation_ms=HOLD_MS,
)  # fmt: skip
