"""The geographic rule, and how this host's location is read."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exchanges.geo import Allowed, Blocked, GeoRule, Location, Why, is_loopback, location, parse_trace, verdict
from exchanges.venue import Endpoint

US_ONLY = GeoRule(
    "alpha_us", "Alpha US", only_countries=frozenset({"US"}), subdivisions=frozenset({"US-NY", "US-TX"})
)
WORLD = GeoRule("alpha", "Alpha", countries=frozenset({"US", "IR"}), alternative=US_ONLY)


def here(region: str) -> Location:
    return location(region)


@pytest.mark.parametrize(
    ("rule", "region", "why"),
    [
        (WORLD, "DE", None),
        (WORLD, "DE-BE", None),
        (WORLD, "US", Why.COUNTRY),
        (WORLD, "US-CA", Why.COUNTRY),
        (US_ONLY, "US-CA", None),
        (US_ONLY, "US-NY", Why.SUBDIVISION),
        (US_ONLY, "US-TX", Why.SUBDIVISION),
        (US_ONLY, "US", Why.SUBDIVISION_UNKNOWN),
        (US_ONLY, "DE", Why.COUNTRY),
        (US_ONLY, "Germany", Why.UNKNOWN),
        (replace(WORLD, is_paused=True), "DE", Why.PAUSED),
        (GeoRule("beta", "Beta"), "DE", None),
        (GeoRule("beta", "Beta"), "??", Why.UNKNOWN),
    ],
)
def test_the_rule_decides_and_what_is_unknown_is_refused(rule: GeoRule, region: str, why: Why | None) -> None:
    said = verdict(rule, here(region))
    assert (said.code if isinstance(said, Blocked) else None) is why


def test_a_refusal_names_the_lawful_alternative() -> None:
    said = verdict(WORLD, here("US-CA"))
    assert isinstance(said, Blocked)
    assert said.alternative == "alpha_us"
    assert said.why.endswith("this host is in US-CA, which its rules exclude; use Alpha US (alpha_us) instead")


def test_an_alternative_that_needs_the_subdivision_is_offered_with_that_condition() -> None:
    said = verdict(WORLD, here("US"))
    assert isinstance(said, Blocked)
    assert said.alternative == "alpha_us"
    assert "once LIVERMORE_REGION names the subdivision of US" in said.why


@pytest.mark.parametrize("region", ["US-NY", "IR"])
def test_an_alternative_that_is_excluded_too_is_not_offered(region: str) -> None:
    said = verdict(WORLD, here(region))
    assert isinstance(said, Blocked)
    assert said.alternative == ""
    assert "instead" not in said.why


def test_an_unknown_subdivision_is_named_by_its_code() -> None:
    said = verdict(US_ONLY, here("US"))
    assert isinstance(said, Blocked)
    assert "geo_subdivision_unknown" in said.why


def test_editing_the_rule_changes_the_answer() -> None:
    assert isinstance(verdict(US_ONLY, here("US-NY")), Blocked)
    assert isinstance(verdict(replace(US_ONLY, subdivisions=frozenset()), here("US-NY")), Allowed)


@pytest.mark.parametrize(
    ("region", "country", "subdivision"),
    [("DE", "DE", None), ("us-ca", "US", "US-CA"), ("GB-ENG", "GB", "GB-ENG"), ("EUROPE", None, None)],
)
def test_the_declared_region_is_read(region: str, country: str | None, subdivision: str | None) -> None:
    found = location(region)
    assert (found.country, found.subdivision) == (country, subdivision)


def test_a_trace_gives_the_country_and_never_a_subdivision() -> None:
    found = parse_trace("fl=1\nip=203.0.113.7\nts=1\nloc=US\ntls=on\n")
    assert (found.country, found.subdivision, found.source) == ("US", None, "public trace")


@pytest.mark.parametrize("text", ["", "loc=", "loc=XX", "loc=T1", "<html>loc=US</html>"])
def test_a_trace_that_names_no_country_is_unknown(text: str) -> None:
    assert parse_trace(text).country is None


@pytest.mark.parametrize(
    ("rest", "ws", "is_local"),
    [
        ("http://127.0.0.1:9001", "ws://127.0.0.1:9002", True),
        ("http://localhost:9001", "", True),
        ("http://[::1]:9001", "ws://localhost:1", True),
        ("http://127.0.0.1:9001", "wss://stream.example.com", False),
        ("https://api.example.com", "", False),
        ("http://127.0.0.1.example.com", "", False),
        ("", "", False),
    ],
)
def test_only_addresses_of_this_machine_need_no_check(rest: str, ws: str, is_local: bool) -> None:
    assert is_loopback(Endpoint(rest, ws)) is is_local
