"""Subscriptions that a venue acknowledges and forgets, at the venues that `test_vigil` leaves out."""

from __future__ import annotations

import pytest

from livermore.core.gap import Cause
from tests.support.simulation import simulated
from tests.support.streaming import streamed
from tests.support.waiting import until

PATIENCE_S = 3.0
"""A fifth of the default; with it the row's minute is twelve seconds."""
WITHIN_S = 60 / 15 * PATIENCE_S


@pytest.mark.parametrize(("slug", "pace"), [("coinbase", 5.0), ("binance_us", 60.0)])
def test_a_forgotten_subscription_is_healed_within_a_minute(slug: str, pace: float) -> None:
    """S7: one of five, which is more than the row's 5 %."""
    with simulated(slug, pace=pace) as sim:
        listings = [x for x in sim.simulation.market.listings if x.venue == slug]
        names = [x.native for x in sorted(listings, key=lambda x: -x.trades_per_s)[:5]]
        sim.fault(slug, "lose", count=1)
        with streamed(sim, slug, names, patience_s=PATIENCE_S) as run:
            until(lambda: run.stream.snapshot().receiving == 4)
            assert run.stream.snapshot().acked == 5, "acknowledged, and yet nothing comes"
            until(lambda: run.stream.snapshot().receiving == 5, within_s=WITHIN_S)
            assert len(run.numbers()) == 1, "subscribing again was enough"
            assert run.stream.snapshot().errors == 0
            [lost] = {s for g in run.gaps_of(Cause.DISCONNECT) for s in g.symbols}
            assert lost in run.all_names.values()
