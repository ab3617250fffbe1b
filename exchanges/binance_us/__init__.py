"""Binance.US spot: an older branch of Binance.com's protocol at other hosts, with its own books and ids."""

from __future__ import annotations

from dataclasses import replace

from exchanges.binance import VENUE as BINANCE

VENUE = replace(BINANCE, slug="binance_us", docs="https://docs.binance.us")
