"""The public event: the worked example in the words of signals.md §4.6, and nothing invented."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from candles.signals.evaluation import Kind, figures
from candles.signals.event import Phase, event
from candles.signals.leader_move import evaluate
from candles.signals.reference import RateMarket
from candles.signals.registry import KINDS
from candles.signals.section import Clock, CrossSection
from tests.candles.market import START_MS, market


def made(*, is_rate_known: bool = True) -> dict[str, Any]:
    leader = market("alpha", "BTC-USD", {-1: 64_000.0, 0: 64_256.0}, taker_bps=120.0, clock=Clock(0, 15))
    follower = market("beta", "BTC-USDT", {-1: 63_950.0, 0: 63_962.79}, spread_bps=1.0, clock=Clock(0, 20))
    points = [(START_MS - 1_000 * s, 0.9992) for s in range(400, 1, -1)]
    rates = (RateMarket("alpha", "USDT", "USD", points),) if is_rate_known else ()
    if not is_rate_known:
        leader = replace(leader, leg=replace(leader.leg, quote="USDT", symbol="BTC-USDT"))
    section = CrossSection("BTC", START_MS + 250, (leader, follower), rates)
    of = next(e for e in evaluate(section) if e.window_s == 60)
    assert of.now
    assert of.before
    since = figures(of.now, of.before, of.direction)
    return json.loads(json.dumps(event(of, since, Phase.OPENED, "the-id", START_MS)))  # type: ignore[no-any-return]


def test_the_worked_example_as_published() -> None:
    of = made()
    assert (of["schema"], of["kind"], of["phase"], of["base"]) == ("signal.v1", "LEADER_MOVE", "opened", "BTC")
    assert (of["direction"], of["window_s"], of["event_id"]) == ("up", 60, "the-id")
    metrics = of["metrics"]
    assert (metrics["move_leader_bps"], metrics["move_follower_bps"]) == ("39.92", "2.00")
    assert (metrics["z"], metrics["catchup"], metrics["remaining_bps"]) == ("2.98", "0.05", "37.92")
    assert of["costs"] == {
        "local_taker_bps": "10",
        "local_spread_bps": "1.00",
        "net_entry_bps": "27.42",
        "net_round_bps": "16.92",
        "two_leg_bps": "-92.08",
        "transfer_note": "not needed for a local buy",
    }


def test_legs_carry_price_quote_rate_source_and_both_clocks() -> None:
    of = made()
    assert of["leader"] == {
        "exchange": "alpha", "symbol": "BTC-USD", "native": "BTC-USD", "price": "64256", "quote": "USD",
        "usd_rate": "1", "ts_exchange": START_MS, "ts_recv": START_MS + 40, "age_ms": 40,
    }  # fmt: skip
    assert of["follower"]["price"] == "63962.79"
    assert of["follower"]["usd_rate"] == "0.9992"
    assert of["follower"]["usd_rate_source"] == "median(alpha)"
    assert of["follower"]["usd_rate_age_ms"] == 2_250


def test_what_is_not_known_is_null() -> None:
    of = made(is_rate_known=False)
    assert of["history"] is None
    assert of["quality"]["regime"] is None
    assert of["quality"]["leader_match_rate_24h"] is None
    assert of["latency"] == {"recv_to_eval_ms": 210, "eval_to_publish_ms": None}
    assert of["follower"]["usd_rate"] is None
    assert of["links"]["home"] is None


def test_clock_uncertainties_add_up() -> None:
    assert made()["quality"]["clock_uncertainty_ms"] == 35


def test_every_kind_has_its_rules() -> None:
    assert set(KINDS) == set(Kind)
