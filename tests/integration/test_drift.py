"""A venue renames a field of one symbol's frames: within a minute an alert names both, and all else goes on."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from livermore.core import keys
from tests.integration.deployment import told
from tests.support.simulation import simulated
from tests.support.stack import Stack, stack

# What is renamed, and what only frames of the symbol have in them.
RENAMED = {"binance": ("p", "ETHUSDT"), "coinbase": ("price", '"ETH-USD"'), "kucoin": ("price", "ETH-USDT")}
WITHIN_S = 60.0
TOLD = {"binance": "BTC-USDT", "coinbase": "BTC-USD", "kucoin": "BTC-USDT"}


def alerts(running: Stack) -> dict[str, dict[str, Any]]:
    """The newest alert of each exchange."""
    found = [json.loads(fields[b"event"]) for _, fields in running.state.xrange(keys.alerts_stream())]
    return {alert["exchange"]: alert for alert in found}


def traded_ms(running: Stack, slug: str) -> int:
    return int(running.state.hget(keys.ticker(slug, TOLD[slug]), "time_ms") or 0)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_renamed_field_is_told_within_a_minute_and_the_other_symbols_go_on(tmp_path):
    with simulated(*RENAMED, seed=5, has_episodes=False) as simulation, stack(tmp_path) as running:
        running.environment["EXCHANGE_ENDPOINTS"] = json.dumps(simulation.endpoints)
        running.worker("ticks", [f"ticks.{slug}.0" for slug in RENAMED])
        running.worker("rest", ["candles", "signals", "default", *(f"backfill.{slug}" for slug in RENAMED)])
        running.start("host", "manage.py", "stream_host", "--autostart", ",".join(RENAMED))
        running.wait("trades everywhere", lambda: all(traded_ms(running, slug) for slug in RENAMED))
        assert alerts(running) == {}
        began = time.monotonic()
        for slug, (field, about) in RENAMED.items():
            simulation.fault(slug, "drift", field=field, to=f"{field}_new", about=about)
        running.wait("an alert of each", lambda: alerts(running).keys() == RENAMED.keys(), WITHIN_S)
        took_s = time.monotonic() - began
        print(f"alerts of {len(RENAMED)} exchanges after {took_s:.1f} s")
        for slug, alert in alerts(running).items():
            assert alert["field"] == RENAMED[slug][0]
            assert slug in alert["message"]
        before = {slug: traded_ms(running, slug) for slug in RENAMED}
        running.wait("others go on", lambda: all(traded_ms(running, s) > before[s] for s in RENAMED), 30)
        for slug in RENAMED:
            (shown,) = told(running, "exchange_status", slug)
            assert shown["state"] == "streaming"
            assert f"`{RENAMED[slug][0]}`" in shown["drift"]["rejected"][0]["what"]
