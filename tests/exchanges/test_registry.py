"""The registry names what exists and imports a venue only when asked."""

from __future__ import annotations

import subprocess
import sys

import pytest

from exchanges.registry import slugs, venue
from exchanges.venue import Venue
from livermore.core.errors import InvalidInput


@pytest.mark.parametrize("slug", slugs())
def test_a_slug_leads_to_its_venue_always_the_same_one(slug: str) -> None:
    found = venue(slug)
    assert isinstance(found, Venue)
    assert found.slug == slug
    assert venue(slug) is found


def test_the_first_three_exchanges_exist() -> None:
    assert {"binance", "binance_us", "coinbase"} <= set(slugs())


@pytest.mark.parametrize("slug", ["", "kraken", "Binance", "os"])
def test_an_unknown_slug_is_answered_with_what_exists(slug: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        venue(slug)
    assert all(known in str(refusal.value) for known in slugs())
    assert "\n" not in str(refusal.value)


def test_a_variant_differs_from_its_model_in_name_only() -> None:
    model, variant = venue("binance"), venue("binance_us")
    assert variant.mapper is model.mapper
    assert variant.session is model.session
    assert variant.docs != model.docs


def test_neither_the_registry_nor_a_venue_imports_an_sdk() -> None:
    """An SDK takes a second to import, and most processes never call a venue's REST API."""
    code = (
        "import sys; from exchanges.registry import slugs, venue\n"
        "assert not [m for m in sys.modules if m.startswith('exchanges.binance')]\n"
        "assert all(venue(s) for s in slugs())\n"
        "assert not {'binance', 'kucoin_universal_sdk', 'aiohttp', 'django'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
