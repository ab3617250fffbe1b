"""Does a rule want an event? Pure: the rule, the event and the time are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

Event = Mapping[str, Any]

@dataclass(frozen=True, slots=True)
class Wish:
    """What a rule asks for; an empty sequence means any. Fees and nets are bps; minutes count from midnight.

    `home` is the exchange where its owner buys. With `fee_bps` the net is reckoned with his own taker fee instead of
    the exchange's. `quiet` is from when to when, by the clock of `zone`, nobody is to be woken: what comes then waits.
    """

    kinds: Sequence[str] = ()
    bases: Sequence[str] = ()
    home: str = ""
    leaders: Sequence[str] = ()
    direction: str = ""
    min_net_bps: Decimal | None = None
    min_z: Decimal | None = None
    fee_bps: Decimal | None = None
    requires_regime: bool = False
    excluded: Sequence[str] = ()
    quiet: tuple[int, int] | None = None
    zone: str = "UTC"


def refusal(wish: Wish, event: Event) -> str:
    """Why an event that opens is not wanted, as one word; "" when it is.

    An alert is of one exchange, which is home and leader in one, and is only wanted by who names its kind: there are
    many, and rules that take any kind mean signals.
    """
    place = {"exchange": event["exchange"]} if is_alert(event) else {}
    leader, follower = event.get("leader") or place, event.get("follower") or place
    checks = (
        ("kind", bool(wish.kinds or place) and event.get("kind") not in wish.kinds),
        ("base", bool(wish.bases) and event.get("base") not in wish.bases),
        ("excluded", event.get("base") in wish.excluded),
        ("home", bool(wish.home) and bool(follower) and follower.get("exchange") != wish.home),
        ("leader", bool(wish.leaders) and leader.get("exchange") not in wish.leaders),
        ("direction", bool(wish.direction) and event.get("direction") != wish.direction),
        ("z", _is_below(_number(event, "metrics", "z"), wish.min_z, is_absolute=True)),
        ("below_cost", _is_below(net_bps(wish, event), wish.min_net_bps)),
        ("regime", wish.requires_regime and not _is_led(event)),
    )
    return next((why for why, is_so in checks if is_so), "")


def is_alert(event: Event) -> bool:
    """An alert of an indicator, which has one place, and no leader."""
    return event.get("schema") == "alert.v1"


def is_taken_back(event: Event) -> bool:
    """An alert whose bar was revised so that it would not be raised now."""
    return is_alert(event) and event.get("phase") == "revised" and not event["revised"]["stands"]


def net_bps(wish: Wish, event: Event) -> Decimal | None:
    """What is left after costs, with the rule's own taker fee where it has one; None where the event has no cost."""
    net = _number(event, "costs", "net_entry_bps")
    fee = _number(event, "costs", "local_taker_bps")
    if net is None or fee is None or wish.fee_bps is None:
        return net
    return net + fee - wish.fee_bps


def quiet_until(wish: Wish, at: datetime) -> datetime | None:
    """When the quiet hours end in which this moment lies; None when it lies in none. Both aware."""
    if wish.quiet is None or wish.quiet[0] == wish.quiet[1]:
        return None
    local = at.astimezone(ZoneInfo(wish.zone))
    minute, (first, end) = local.hour * 60 + local.minute, wish.quiet
    is_quiet = first <= minute < end if first < end else (minute >= first or minute < end)
    if not is_quiet:
        return None
    ends_on = local.date() + timedelta(days=1 if first > end and minute >= first else 0)
    return datetime.combine(ends_on, clock_time(end // 60 % 24, end % 60), tzinfo=local.tzinfo)


def _number(event: Event, part: str, name: str) -> Decimal | None:
    said = (event.get(part) or {}).get(name)
    return None if said is None else Decimal(str(said))


def _is_below(value: Decimal | None, least: Decimal | None, *, is_absolute: bool = False) -> bool:
    if least is None:
        return False
    return value is None or (abs(value) if is_absolute else value) < least


def _is_led(event: Event) -> bool:
    regime = (event.get("quality") or {}).get("regime") or {}
    return bool(regime.get("leader_leads"))
