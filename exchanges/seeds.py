"""The first rows of the table `exchanges`: what is known of each at delivery; afterwards the row wins.

Limits and geography come from the venues' own pages as of `limits_verified_at` and `geo_verified_at`;
where a page states nothing, the comment says what was assumed. Fees are base tiers without discounts,
in basis points. A row is created only where none exists.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any

_BINANCE_DOCS = "https://developers.binance.com/docs/binance-spot-api-docs"
_BINANCE_US_DOCS = "https://docs.binance.us/"
_COINBASE_DOCS = "https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis"
_KUCOIN_DOCS = "https://www.kucoin.com/docs-new"
_MEXC_DOCS = "https://www.mexc.com/api-docs/spot-v3"

COINBASE: Mapping[str, Any] = {
    "title": "Coinbase Advanced",
    "rest_url": "https://api.coinbase.com",
    "ws_url": "wss://advanced-trade-ws.coinbase.com",
    "docs_url": f"{_COINBASE_DOCS}/overview",
    "terms_url": "https://www.coinbase.com/legal/user_agreement",
    "home_url": "https://www.coinbase.com/advanced-trade/spot/{base}-{quote}",
    "topics_per_connection": 100,  # no limit is stated; one subscribe frame stays well below a refusal
    "messages_per_second": Decimal(4),  # 8 per address, shared by all connections
    "connects_per_5min": 2400,  # 8 per second
    "connection_lifetime_s": None,
    "silence_s": 10,  # heartbeats come every second
    "rest_weight": 10,
    "rest_window_s": 1,
    "limits_verified_at": date(2026, 9, 7),
    "limits_source_url": f"{_COINBASE_DOCS}/websocket/websocket-rate-limits",
    "taker_fee_bps": Decimal(120),
    "maker_fee_bps": Decimal(60),
    "merges_usd_usdc": True,  # BTC-USDC is an alias: its frames are labelled BTC-USD
    "geo_rules": {},  # public market data is not known to be refused anywhere
    "geo_verified_at": date(2026, 9, 7),
    "geo_source_url": "https://www.coinbase.com/legal/user_agreement",
}

BINANCE: Mapping[str, Any] = {
    "title": "Binance",
    # The market-data hosts: the same streams and candles without any account surface.
    "rest_url": "https://data-api.binance.vision",
    "ws_url": "wss://data-stream.binance.vision",
    "docs_url": f"{_BINANCE_DOCS}/web-socket-streams",
    "terms_url": "https://www.binance.com/en/terms",
    "home_url": "https://www.binance.com/en/trade/{base}_{quote}",
    "topics_per_connection": 1024,
    "messages_per_second": Decimal(4),  # 5, which count our pongs too
    "connects_per_5min": 300,
    "connection_lifetime_s": 86_400,
    "silence_s": 60,
    "rest_weight": 6000,
    "rest_window_s": 60,
    "limits_verified_at": date(2026, 7, 1),
    "limits_source_url": f"{_BINANCE_DOCS}/rest-api/limits",
    "taker_fee_bps": Decimal(10),
    "maker_fee_bps": Decimal(10),
    # 451 is reported from the first four; the others are on the sanctions lists its terms refer to.
    "geo_rules": {"countries": ["CA", "MY", "NL", "US", "CU", "IR", "KP", "SY"]},
    "geo_verified_at": date(2026, 7, 1),
    "geo_source_url": "https://www.binance.com/en/terms",
}

BINANCE_US: Mapping[str, Any] = {
    "title": "Binance.US",
    "rest_url": "https://api.binance.us",
    "ws_url": "wss://stream.binance.us:9443",
    "docs_url": _BINANCE_US_DOCS,
    "terms_url": "https://www.binance.us/terms-of-use",
    "home_url": "https://www.binance.us/spot-trade/{base}_{quote}",
    "topics_per_connection": 1024,
    "messages_per_second": Decimal(4),
    "connects_per_5min": 300,  # not stated; the figure of the same protocol's other house
    "connection_lifetime_s": 86_400,
    "silence_s": 240,  # quiet markets; the server pings every three minutes
    "rest_weight": 1200,
    "rest_window_s": 60,
    "limits_verified_at": date(2024, 6, 1),
    "limits_source_url": _BINANCE_US_DOCS,
    "taker_fee_bps": Decimal(10),  # not stated in its API; an operator should enter the tier in force
    "maker_fee_bps": Decimal(10),
    "tier1_size": 50,
    # Residents of the United States only. States as listed in April 2023; the list changes and is an
    # operator's to keep.
    "geo_rules": {"only_countries": ["US"], "subdivisions": ["US-HI", "US-NY", "US-TX", "US-VT"]},
    "geo_verified_at": date(2023, 4, 1),
    "geo_source_url": "https://github.com/mindsdb/mindshub/issues/5622",
}

KUCOIN: Mapping[str, Any] = {
    "title": "KuCoin",
    "rest_url": "https://api.kucoin.com",
    "ws_url": "",  # told by its token reply
    "docs_url": f"{_KUCOIN_DOCS}/introduction",
    "terms_url": "https://www.kucoin.com/legal/terms-of-use",
    "home_url": "https://www.kucoin.com/trade/{base}-{quote}",
    "topics_per_connection": 300,  # 400 are allowed today, 300 were long
    "messages_per_second": Decimal(10),
    "connects_per_5min": 150,
    "connection_lifetime_s": 86_400,
    "silence_s": 30,  # ping interval 18 s and its time-out 10 s
    "rest_weight": 2000,
    "rest_window_s": 30,
    "limits_verified_at": date(2026, 7, 1),
    "limits_source_url": f"{_KUCOIN_DOCS}/rate-limit",
    "taker_fee_bps": Decimal(10),  # takerFeeRate of its public tickers
    "maker_fee_bps": Decimal(10),
    "geo_rules": {"countries": ["US"]},  # the one area its refusal 400302 is reported with
    "geo_verified_at": date(2026, 7, 1),
    "geo_source_url": "https://www.kucoin.com/legal/terms-of-use",
}

MEXC: Mapping[str, Any] = {
    "title": "MEXC",
    "rest_url": "https://api.mexc.com",
    "ws_url": "wss://wbs-api.mexc.com/ws",
    "docs_url": f"{_MEXC_DOCS}/introduction",
    "terms_url": "https://www.mexc.com/terms",
    "home_url": "https://www.mexc.com/exchange/{base}_{quote}",
    "topics_per_connection": 30,  # the surplus is dropped without a word
    "messages_per_second": Decimal(10),  # 100 are allowed; nothing here needs more
    "connects_per_5min": 300,  # not stated; at most five a second is advised, this is one
    "connection_lifetime_s": 86_400,
    "silence_s": 60,
    "rest_weight": 500,
    "rest_window_s": 10,
    "limits_verified_at": date(2026, 9, 20),
    "limits_source_url": f"{_MEXC_DOCS}/websocket-market-streams",
    "taker_fee_bps": Decimal(5),  # takerCommission of its instrument list
    "maker_fee_bps": Decimal(0),
    "geo_rules": {"countries": ["US", "GB", "CA", "CN", "HK", "SG", "IR", "CU", "KP", "SD", "SY"]},
    "geo_verified_at": date(2026, 1, 1),
    "geo_source_url": "https://github.com/cardano-foundation/cardano-org/issues/388",
}

EXCHANGES: Mapping[str, Mapping[str, Any]] = {
    "coinbase": COINBASE,
    "binance_us": BINANCE_US,
    "binance": BINANCE,
    "mexc": MEXC,
    "kucoin": KUCOIN,
}

GEO_ALTERNATIVES: Mapping[str, str] = {"binance": "binance_us"}


def create_missing(model: Any) -> list[str]:
    """Create the rows that do not exist yet and return their slugs; existing rows stay as they are.

    `model` is the table's model of any migration state: seed fields it does not have are left out.
    """
    known = {f.name for f in model._meta.get_fields()}
    created = []
    for slug, seed in EXCHANGES.items():
        fields = {name: value for name, value in seed.items() if name in known}
        row, is_new = model.objects.get_or_create(slug=slug, defaults=fields)
        alternative = GEO_ALTERNATIVES.get(slug)
        if is_new and alternative and model.objects.filter(pk=alternative).exists():
            row.geo_alternative_id = alternative
            row.save(update_fields=["geo_alternative"])
        created += [slug] * is_new
    return created
