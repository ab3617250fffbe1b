"""The kinds of signals: one line each, by what they look at."""

from __future__ import annotations

from candles.signals import (
    confluence,
    confluence_bars,
    indicator_lead,
    lead_lag,
    leader_move,
    premium,
    price_gap,
    stable_depeg,
    venue_stale,
)
from candles.signals.bars import BarSection
from candles.signals.evaluation import Rules
from candles.signals.lead_lag import LeadSection
from candles.signals.section import CrossSection

FAST: tuple[Rules[CrossSection], ...] = (
    venue_stale.RULES,  # first: a venue that stands still is not to be believed by the others
    leader_move.RULES,
    price_gap.RULES,
    premium.RULES,
    confluence.RULES,
)
"""Evaluated whenever quotes of an asset change."""

OF_STABLE_COINS: tuple[Rules[CrossSection], ...] = (stable_depeg.RULES,)
"""Evaluated whenever quotes of a stable coin change."""

PER_BAR: tuple[Rules[BarSection], ...] = (indicator_lead.RULES, confluence_bars.RULES)
"""Evaluated when a bar of 15 minutes or more has closed."""

PER_WINDOW: tuple[Rules[LeadSection], ...] = (lead_lag.RULES,)
"""Evaluated every five minutes over the last fifteen."""

KINDS = frozenset(rules.kind for group in (FAST, OF_STABLE_COINS, PER_BAR, PER_WINDOW) for rules in group)
