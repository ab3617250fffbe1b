"""May this host contact an exchange? The rule is pure; finding out where this host is, is not."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import requests

from exchanges.venue import Endpoint

TRACE_URL = "https://www.cloudflare.com/cdn-cgi/trace"
TRACE_TIMEOUT_S = 3.0
_REGION = re.compile(r"([A-Z]{2})(?:-([A-Z0-9]{1,3}))?\Z")


class Why(StrEnum):
    """Why an exchange may not be contacted from here."""

    PAUSED = "geo_paused"
    UNKNOWN = "geo_unknown"
    COUNTRY = "geo_country"
    SUBDIVISION = "geo_subdivision"
    SUBDIVISION_UNKNOWN = "geo_subdivision_unknown"


@dataclass(frozen=True, slots=True)
class Location:
    """Where this host is: ISO 3166 country and subdivision, None where unknown; `source` tells how."""

    country: str | None
    subdivision: str | None
    source: str

    def __str__(self) -> str:
        return self.subdivision or self.country or "unknown"


@dataclass(frozen=True, slots=True)
class GeoRule:
    """What an exchange's row says: where it may not be contacted from, and what may be used instead.

    `countries` and `subdivisions` are denied. When `only_countries` is not empty, all others are denied.
    """

    slug: str
    title: str
    countries: frozenset[str] = frozenset()
    only_countries: frozenset[str] = frozenset()
    subdivisions: frozenset[str] = frozenset()
    is_paused: bool = False
    alternative: GeoRule | None = None

    @classmethod
    def of(cls, row: Any) -> GeoRule:
        """The rule of an `Exchange` row, with its alternative's (not the alternative's alternative)."""
        other = row.geo_alternative
        return cls._read(row, cls._read(other, None) if other is not None else None)

    @classmethod
    def _read(cls, row: Any, alternative: GeoRule | None) -> GeoRule:
        lists: Mapping[str, list[str]] = row.geo_rules or {}
        return cls(
            slug=row.slug,
            title=row.title,
            countries=frozenset(lists.get("countries", ())),
            only_countries=frozenset(lists.get("only_countries", ())),
            subdivisions=frozenset(lists.get("subdivisions", ())),
            is_paused=row.geo_paused,
            alternative=alternative,
        )


@dataclass(frozen=True, slots=True)
class Allowed:
    """The exchange may be contacted from here; `why` tells what that rests on."""

    why: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """It may not. `why` is one sentence for people; `alternative` the slug that may serve instead, or ""."""

    code: Why
    why: str
    alternative: str = ""


Verdict = Allowed | Blocked


def verdict(rule: GeoRule, location: Location) -> Verdict:
    """What the row's rule says of this location; whatever is unknown is refused."""
    denied = _denied(rule, location)
    if denied is None:
        return Allowed(f"{rule.title} allows {location} ({location.source})")
    code, why = denied
    advice, alternative = _advice(rule.alternative, location)
    return Blocked(code, f"{rule.title} may not be contacted from here: {why}{advice}", alternative)


def is_loopback(endpoint: Endpoint) -> bool:
    """Do all its addresses stay on this machine? (An empty one is told by the other's server.)"""
    addresses = [address for address in (endpoint.rest, endpoint.ws) if address]
    return bool(addresses) and all(_is_loopback_host(urlsplit(a).hostname or "") for a in addresses)


def location(region: str) -> Location:
    """This host's location: `region` (LIVERMORE_REGION) if set, else the country a public trace sees.

    Asks nobody when `region` is set, and nobody but the trace otherwise. Never raises: what cannot be
    found out is unknown, and `source` says why.
    """
    if region:
        return _declared(region.strip().upper())
    try:
        # No proxy from the environment: the location must be the one our own packets come from.
        with requests.Session() as session:
            session.trust_env = False
            reply = session.get(TRACE_URL, timeout=TRACE_TIMEOUT_S, allow_redirects=False)
            reply.raise_for_status()
    except requests.RequestException as error:
        return Location(None, None, f"the public trace does not answer ({type(error).__name__})")
    return parse_trace(reply.text)


def parse_trace(text: str) -> Location:
    """Read `loc=US` among the lines of a trace; it names no subdivision. XX and T1 (Tor) are unknown."""
    found = dict(line.split("=", 1) for line in text.splitlines() if "=" in line).get("loc", "")
    if not re.fullmatch(r"[A-Z]{2}", found) or found == "XX":
        return Location(None, None, "the public trace names no country")
    return Location(found, None, "public trace")


def _declared(region: str) -> Location:
    match = _REGION.match(region)
    if not match:
        return Location(None, None, f"LIVERMORE_REGION is {region!r}; write an ISO 3166 code such as DE or US-CA")
    return Location(match[1], region if match[2] else None, "LIVERMORE_REGION")


def _denied(rule: GeoRule, here: Location) -> tuple[Why, str] | None:
    if rule.is_paused:
        return Why.PAUSED, "it is paused for every location until someone has looked at its rules"
    if here.country is None:
        return Why.UNKNOWN, f"this host's location is unknown ({here.source}); set LIVERMORE_REGION"
    if here.country in rule.countries or (rule.only_countries and here.country not in rule.only_countries):
        return Why.COUNTRY, f"this host is in {here}, which its rules exclude"
    if here.subdivision in rule.subdivisions:
        return Why.SUBDIVISION, f"this host is in {here}, which its rules exclude"
    has_local_rules = any(s.startswith(f"{here.country}-") for s in rule.subdivisions)
    if has_local_rules and here.subdivision is None:
        return Why.SUBDIVISION_UNKNOWN, (
            f"geo_subdivision_unknown: its rules differ within {here.country}; "
            f"set LIVERMORE_REGION to the subdivision, such as {here.country}-XX"
        )
    return None


def _advice(other: GeoRule | None, here: Location) -> tuple[str, str]:
    """What to add to a refusal. An alternative that is excluded here too is not offered."""
    denied = _denied(other, here) if other is not None else None
    if other is None or (denied and denied[0] is not Why.SUBDIVISION_UNKNOWN):
        return "", ""
    if denied:
        return (
            f"; {other.title} ({other.slug}) may be, once LIVERMORE_REGION names the subdivision of {here.country}",
            other.slug,
        )
    return f"; use {other.title} ({other.slug}) instead", other.slug


def _is_loopback_host(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
