"""What a rule wants, by the parts of an event, and when nobody is to be woken."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from candles.notify.matching import Wish, net_bps, quiet_until, refusal
from tests.notify.events import alert, event


def test_an_empty_rule_wants_everything():
    assert refusal(Wish(), event()) == ""


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (Wish(kinds=["PREMIUM"]), "kind"),
        (Wish(bases=["ETH", "SOL"]), "base"),
        (Wish(excluded=["BTC"]), "excluded"),
        (Wish(home="kucoin"), "home"),
        (Wish(leaders=["kucoin"]), "leader"),
        (Wish(direction="down"), "direction"),
        (Wish(min_z=Decimal("2.99")), "z"),
        (Wish(min_net_bps=Decimal("27.43")), "below_cost"),
        (Wish(min_net_bps=Decimal("27.42"), fee_bps=Decimal("10.01")), "below_cost"),
        (Wish(requires_regime=True), "regime"),
    ],
)
def test_what_a_rule_refuses_it_names(wish, why):
    assert refusal(wish, event()) == why


@pytest.mark.parametrize(
    "wish",
    [
        Wish(kinds=["LEADER_MOVE"], bases=["BTC"], home="binance", leaders=["coinbase"], direction="up"),
        Wish(min_z=Decimal("2.98"), min_net_bps=Decimal("27.42")),
        Wish(min_net_bps=Decimal("32.42"), fee_bps=Decimal(5)),
    ],
)
def test_what_fits_is_wanted(wish):
    assert refusal(wish, event()) == ""


def test_who_asks_for_a_regime_gets_it():
    assert refusal(Wish(requires_regime=True), event(quality={"regime": {"leader_leads": True}})) == ""


def test_an_event_without_costs_has_no_net_and_fails_a_least_one():
    depeg = event(kind="STABLE_DEPEG", follower=None, costs=None)
    assert net_bps(Wish(), depeg) is None
    assert refusal(Wish(home="kucoin"), depeg) == "", "it concerns every home"
    assert refusal(Wish(min_net_bps=Decimal(1)), depeg) == "below_cost"


def test_ones_own_fee_replaces_the_exchanges():
    assert net_bps(Wish(fee_bps=Decimal("2.5")), event()) == Decimal("34.92")


@pytest.mark.parametrize(
    ("quiet", "zone", "at", "until"),
    [
        ((23 * 60, 8 * 60), "UTC", (3, 23, 30), (4, 8, 0)),
        ((23 * 60, 8 * 60), "UTC", (3, 7, 59), (3, 8, 0)),
        ((23 * 60, 8 * 60), "UTC", (3, 8, 0), None),
        ((9 * 60, 17 * 60), "UTC", (3, 12, 0), (3, 17, 0)),
        ((9 * 60, 17 * 60), "UTC", (3, 17, 0), None),
        ((22 * 60, 6 * 60), "Asia/Tokyo", (3, 14, 0), (3, 21, 0)),
        ((0, 0), "UTC", (3, 0, 0), None),
    ],
)
def test_quiet_hours_end_by_the_owners_clock(quiet, zone, at, until):
    found = quiet_until(Wish(quiet=quiet, zone=zone), datetime(2026, 3, *at, tzinfo=UTC))
    assert found == (None if until is None else datetime(2026, 3, *until, tzinfo=UTC))


def test_quiet_hours_over_a_change_of_the_clock_end_by_the_clock():
    wish = Wish(quiet=(23 * 60, 8 * 60), zone="Europe/Berlin")
    assert quiet_until(wish, datetime(2026, 3, 28, 23, 0, tzinfo=UTC)) == datetime(2026, 3, 29, 6, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("wish", "why"),
    [
        (Wish(), "kind"),
        (Wish(kinds=["LEADER_MOVE"]), "kind"),
        (Wish(kinds=["macdv"]), ""),
        (Wish(kinds=["macdv"], bases=["BTC"], home="kucoin", direction="down"), ""),
        (Wish(kinds=["macdv"], home="binance"), "home"),
        (Wish(kinds=["macdv"], bases=["ETH"]), "base"),
        (Wish(kinds=["macdv"], direction="up"), "direction"),
    ],
)
def test_an_alert_is_wanted_by_who_names_its_kind_at_its_exchange(wish, why):
    assert refusal(wish, alert()) == why
