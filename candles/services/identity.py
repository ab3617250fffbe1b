"""Tell people, once a day each, that a ticker means different assets at different exchanges."""

from __future__ import annotations

import logging

from candles import publish
from candles.signals.section import CrossSection, Market
from exchanges.state import state_redis, unavailable
from livermore.core import keys
from livermore.core.exact import plain
from livermore.logs import event

log = logging.getLogger(__name__)

AGAIN_AFTER_S = 86_400
KIND = "identity_unsure"


@unavailable()
def notice(section: CrossSection) -> int:
    """Publish an alert for each market whose identity is not sure; how many were told now."""
    unsure = sorted(
        (market for market in section.markets if not market.health.is_identity_sure), key=lambda market: market.leg.key
    )
    told = [market for market in unsure if _may_tell(market)]
    others = ", ".join(f"{market.leg.key} at {plain(market.leg.price)}" for market in section.markets)
    for market in told:
        leg = market.leg
        event(log, "symbol.identity_unsure", logging.WARNING, exchange=leg.exchange, symbol=leg.symbol, among=others)
    publish.alerts(
        {
            "v": 1,
            "kind": KIND,
            "exchange": market.leg.exchange,
            "symbol": market.leg.symbol,
            "at_ms": section.now_ms,
            "message": f"{market.leg.symbol} at {market.leg.exchange} may be another asset than elsewhere: {others}",
        }
        for market in told
    )
    return len(told)


def _may_tell(market: Market) -> bool:
    gate = keys.alarmed(market.leg.exchange, f"{KIND}:{market.leg.symbol}")
    return bool(state_redis().set(gate, 1, nx=True, ex=AGAIN_AFTER_S))
