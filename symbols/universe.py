"""The common universe: assets by what is turned over at all exchanges together, and at how many of them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from symbols import ranking
from symbols.models import ExchangeSymbol


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset, its turnover of 24 h in dollars over all its markets, and the exchanges that have one."""

    base: str
    turnover_usd: Decimal
    exchanges: tuple[str, ...]

    @property
    def score(self) -> Decimal:
        """A market that is elsewhere, too, can lead or follow there: turnover counts once for each exchange."""
        return self.turnover_usd * len(self.exchanges)


def common(least_exchanges: int = 1) -> list[Asset]:
    """Assets with a known turnover at so many exchanges or more, the highest score first, then by name.

    What follows a currency is left out, as in Tier 1.
    """
    turnovers: dict[str, dict[str, Decimal]] = {}
    rows = ExchangeSymbol.objects.trading().exclude(turnover_usd_24h=None).order_by()
    for base, exchange, turnover in rows.values_list("base", "exchange_id", "turnover_usd_24h"):
        if base not in ranking.PEGGED:
            at = turnovers.setdefault(base, {})
            at[exchange] = at.get(exchange, Decimal(0)) + turnover
    found = [Asset(base, sum(at.values(), Decimal(0)), tuple(sorted(at))) for base, at in turnovers.items()]
    wide = [asset for asset in found if len(asset.exchanges) >= least_exchanges]
    return sorted(wide, key=lambda asset: (-asset.score, asset.base))
