"""What the rest of the project asks about an exchange: its row, its REST, whether it streams."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import lru_cache

import msgspec
from django.conf import settings

from exchanges import geo, observed, registry
from exchanges.allowance import Allowance
from exchanges.holdings import Credentials, Holdings
from exchanges.lifecycle import IS_LIVE
from exchanges.models import Exchange
from exchanges.ratelimit import BACKGROUND_SHARE, CONNECT_WINDOW_S, PATIENCE_S, SharedBudget, Spending
from exchanges.venue import Budget, Key, Rest, Venue
from livermore.core.errors import GeoBlocked, InvalidInput

_LOCATION_KEPT_S = 300
"""A host seldom moves, and a location that could not be found out is asked for again after as long."""


def usable(slug: str) -> Exchange:
    """The row of an exchange that may be used.

    Raises `InvalidInput` for an unknown one, a disabled one, and one without an adapter.
    """
    row = Exchange.objects.select_related("geo_alternative").filter(pk=slug).first()
    if row is None:
        names = " ".join(Exchange.objects.filter(enabled=True).values_list("slug", flat=True))
        raise InvalidInput(f"exchange {slug!r} does not exist; accepted: {names or 'none is enabled'}")
    if not row.enabled:
        raise InvalidInput(f"exchange {slug!r} is disabled; enable it in the admin first")
    if slug not in registry.slugs():
        raise InvalidInput(f"exchange {slug!r} has no adapter; adapters exist for {' '.join(registry.slugs())}")
    return row


def rest(slug: str, *, share: float = BACKGROUND_SHARE, patience_s: float = PATIENCE_S) -> Rest:
    """The REST of an exchange at the addresses in use, if it may be contacted from here.

    `share` is the part of its budget that may be taken: all of it (1) where somebody waits for the answer.
    `patience_s` is how long a call waits for its turn before it raises `RateLimited`.
    Raises what `usable` raises, and `GeoBlocked` before anything of the venue is asked or looked up.
    """
    row = _contactable(slug)
    return registry.venue(slug).rest(row.endpoint(), _budget(row, share, patience_s))


def holdings(slug: str, key: Credentials) -> Holdings:
    """A user's account at an exchange, if that may be contacted from here.

    Raises what `rest` raises, `InvalidInput` where the venue has no accounts to read, and `CredentialsRejected` for a
    key that cannot be one of it.
    """
    row = _contactable(slug)
    make = registry.venue(slug).holdings
    if make is None:
        raise InvalidInput(f"the adapter of {slug} cannot read accounts; import a file of holdings instead")
    return make(row.endpoint(), _budget(row, BACKGROUND_SHARE), key)


def budget(slug: str) -> Budget:
    """The whole REST budget of an exchange, as its row says now."""
    return _budget(Exchange.objects.get(pk=slug), 1.0)


def allowance(slug: str, *, share: float = BACKGROUND_SHARE) -> Allowance:
    """What of an exchange's REST budget a user with this share may take, as its row says now."""
    return _budget(Exchange.objects.get(pk=slug), share).allowance()


def spending(row: Exchange) -> list[Spending]:
    """What is spent of an exchange's budgets in their running windows: REST weight, then attempts to connect.

    Raises `StoreUnavailable`.
    """
    return [_budget(row, 1.0).spending(), _connects(row).spending()]


def connects(slug: str) -> Budget:
    """The budget of connection attempts, as its row says now. It never waits: a stream has its own back-off."""
    return _connects(Exchange.objects.get(pk=slug))


def streamed_venue(slug: str) -> Venue:
    """The venue as its stream uses it: with the operator's key, where VENUE_KEYS holds one.

    Raises `InvalidInput`, which quotes nothing of the key, for one that cannot be used.
    """
    venue, said = registry.venue(slug), settings.VENUE_KEYS.get(slug)
    if not said:
        return venue
    if venue.keyed is None:
        raise InvalidInput(f"VENUE_KEYS: the public data of {slug} take no key")
    try:
        key = msgspec.convert(said, Key, strict=True)
    except msgspec.ValidationError:
        raise InvalidInput(f"VENUE_KEYS: {slug} needs the texts name and private_key") from None
    try:
        return replace(venue, session=venue.keyed(key))
    except InvalidInput as error:
        raise InvalidInput(f"VENUE_KEYS: {slug}: {error}") from None


def geo_verdict(row: Exchange) -> geo.Verdict:
    """May this host contact the exchange at the addresses in use? An address on this machine is no venue."""
    if geo.is_loopback(row.endpoint()):
        return geo.Allowed(f"{row.title} is served by this machine")
    return geo.verdict(geo.GeoRule.of(row), _location(settings.LIVERMORE_REGION, time.monotonic() // _LOCATION_KEPT_S))


def streaming() -> list[str]:
    """The enabled exchanges whose stream runs now; raises `StoreUnavailable`."""
    slugs = list(Exchange.objects.filter(enabled=True).values_list("slug", flat=True))
    return [slug for slug in slugs if observed.stream_state(slug).get("state") in IS_LIVE]


def _contactable(slug: str) -> Exchange:
    row = usable(slug)
    verdict = geo_verdict(row)
    if isinstance(verdict, geo.Blocked):
        raise GeoBlocked(verdict.why)
    return row


def _budget(row: Exchange, share: float, patience_s: float = PATIENCE_S) -> SharedBudget:
    return SharedBudget(row.slug, row.rest_weight, row.rest_window_s, share=share, patience_s=patience_s)


def _connects(row: Exchange) -> SharedBudget:
    return SharedBudget(row.slug, row.connects_per_5min, CONNECT_WINDOW_S, kind="connects", patience_s=0)


@lru_cache(maxsize=2)
def _location(region: str, period: float) -> geo.Location:
    """This host's location, found out once per period (which only dates the answer)."""
    return geo.location(region)
