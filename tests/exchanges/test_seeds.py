"""The seed rows: complete, valid, sourced, and never written over an operator's."""

from __future__ import annotations

from decimal import Decimal
from importlib import import_module

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection

from exchanges import registry, seeds
from exchanges.models import Exchange

pytestmark = pytest.mark.django_db


def test_an_empty_database_gets_the_five_exchanges():
    assert set(Exchange.objects.values_list("slug", flat=True)) == set(seeds.EXCHANGES)
    assert len(seeds.EXCHANGES) == 5


@pytest.mark.parametrize("slug", seeds.EXCHANGES)
def test_every_seed_passes_the_validation_of_the_admin(slug):
    Exchange.objects.get(slug=slug).full_clean()


@pytest.mark.parametrize("slug", seeds.EXCHANGES)
def test_every_seed_says_when_and_where_it_was_read(slug):
    row = Exchange.objects.get(slug=slug)
    assert row.limits_verified_at
    assert row.limits_source_url
    assert row.geo_verified_at
    assert row.geo_source_url


def test_one_house_names_its_american_sister_as_the_lawful_alternative():
    assert Exchange.objects.get(slug="binance").geo_alternative_id == "binance_us"
    assert "US" in Exchange.objects.get(slug="binance").geo_rules["countries"]
    rules = Exchange.objects.get(slug="binance_us").geo_rules
    assert rules["only_countries"] == ["US"]
    assert {"US-NY", "US-TX"} <= set(rules["subdivisions"])
    assert "US-CA" not in rules["subdivisions"]


def test_only_coinbase_merges_its_dollar_books():
    assert [e.slug for e in Exchange.objects.filter(merges_usd_usdc=True)] == ["coinbase"]
    assert Exchange.objects.get(slug="coinbase").taker_fee_bps == Decimal(120)


def test_seeding_again_changes_no_row_an_operator_has_edited():
    Exchange.objects.filter(slug="mexc").update(topics_per_connection=10, geo_rules={})
    assert seeds.create_missing(Exchange) == []
    row = Exchange.objects.get(slug="mexc")
    assert (row.topics_per_connection, row.geo_rules) == (10, {})


def test_an_exchange_is_enabled_once_it_has_an_adapter():
    assert set(Exchange.objects.filter(enabled=True).values_list("slug", flat=True)) == set(registry.slugs())


def test_a_row_seeded_before_its_adapter_existed_is_enabled():
    Exchange.objects.filter(slug="kucoin").update(enabled=False, topics_per_connection=400, tier1_size=7)
    Exchange.objects.filter(slug="mexc").update(enabled=False)
    import_module("exchanges.migrations.0003_enable_kucoin").enable(apps, None)
    row = Exchange.objects.get(slug="kucoin")
    assert (row.enabled, row.topics_per_connection, row.tier1_size) == (True, 300, 7)
    assert not Exchange.objects.get(slug="mexc").enabled
    import_module("exchanges.migrations.0004_enable_mexc").enable(apps, None)
    assert Exchange.objects.get(slug="mexc").enabled


def test_seeding_creates_only_the_row_that_is_missing():
    Exchange.objects.filter(slug="kucoin").delete()
    assert seeds.create_missing(Exchange) == ["kucoin"]


def _schema() -> dict[str, list[tuple[str, ...]]]:
    with connection.cursor() as cursor:
        tables = sorted(t.name for t in connection.introspection.get_table_list(cursor))
        return {
            table: sorted(
                (column.name, str(column.type_code), str(column.null_ok))
                for column in connection.introspection.get_table_description(cursor, table)
            )
            + sorted(map(str, connection.introspection.get_constraints(cursor, table).items()))
            for table in tables
        }


@pytest.mark.django_db(transaction=True)
def test_migrating_to_zero_and_back_gives_the_same_schema_and_rows():
    before = _schema()
    for app in ("candles", "symbols", "exchanges"):
        call_command("migrate", app, "zero", verbosity=0)
    assert "exchanges" not in _schema()
    call_command("migrate", verbosity=0)
    assert _schema() == before
    assert Exchange.objects.count() == 5


def test_the_models_and_the_migrations_agree():
    call_command("makemigrations", "exchanges", "symbols", "candles", "--check", "--dry-run", verbosity=0)
