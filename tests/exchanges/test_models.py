"""The row of an exchange: what it accepts, and what it hands to sessions and REST."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from exchanges.models import Exchange, UserExchange, all_timeframes
from exchanges.running import Plan
from tests.support import builders

pytestmark = pytest.mark.django_db


def test_every_timeframe_exists_by_default_and_one_minute_never():
    assert builders.exchange().timeframes == all_timeframes() == ["5m", "15m", "30m", "1h", "4h", "1d"]


@pytest.mark.parametrize("timeframes", [["1m", "5m"], ["1m"], [], ["15m"], "5m", {"5m": 1}, None])
def test_a_list_with_1m_or_without_5m_is_refused(timeframes):
    row = builders.exchange(timeframes=timeframes or [])
    row.timeframes = timeframes
    with pytest.raises(ValidationError) as caught:
        row.full_clean()
    assert "timeframes" in caught.value.message_dict


@pytest.mark.parametrize(
    "rules",
    [{}, {"countries": ["US"]}, {"only_countries": ["US"], "subdivisions": ["US-NY"]}, {"subdivisions": ["GB-ENG"]}],
)
def test_geo_rules_of_iso_codes_are_accepted(rules):
    builders.exchange(geo_rules=rules).full_clean()


@pytest.mark.parametrize(
    "rules",
    [[], {"countries": "US"}, {"countries": ["us"]}, {"countries": ["USA"]}, {"countries": ["US-NY"]},
     {"subdivisions": ["US"]}, {"subdivisions": ["US-"]}, {"states": ["US-NY"]}, {"countries": [1]}],
)  # fmt: skip
def test_anything_else_is_refused(rules):
    row = builders.exchange()
    row.geo_rules = rules or [1]
    with pytest.raises(ValidationError) as caught:
        row.full_clean()
    assert "geo_rules" in caught.value.message_dict


def test_the_limits_a_session_keeps_are_the_rows(settings):
    row = builders.exchange(messages_per_second=Decimal("2.5"), connection_lifetime_s=60, silence_s=7)
    limits = Exchange.objects.get(pk=row.pk).limits()
    assert (limits.messages_per_second, limits.connection_lifetime_s, limits.silence_s) == (2.5, 60, 7.0)
    assert limits.topics_per_connection == 10


def test_every_save_is_another_version_of_the_configuration():
    row = builders.exchange()
    row.updated_at = datetime(2026, 3, 1, 12, 0, 0, 123_456, tzinfo=UTC)
    assert row.config_version == 1_772_366_400_123
    row.save()
    assert row.config_version > 1_772_366_400_123
    assert Plan.of(row).config_version == row.config_version
    assert Exchange(slug="new").config_version == 0


def test_the_environment_wins_over_the_rows_addresses_one_by_one(settings):
    row = builders.exchange()
    assert not row.is_endpoint_overridden
    settings.EXCHANGE_ENDPOINTS = {"toy": {"ws": "ws://127.0.0.1:9002/"}}
    assert row.is_endpoint_overridden
    assert (row.endpoint().rest, row.endpoint().ws) == ("https://rest.example", "ws://127.0.0.1:9002")


def test_a_users_account_protects_its_exchange_and_is_unique_by_label():
    row, user = builders.exchange(), get_user_model().objects.create(username="ann")
    UserExchange.objects.create(user=user, exchange=row, label="main")
    with pytest.raises(ProtectedError):
        row.delete()
    with pytest.raises(IntegrityError), transaction.atomic():
        UserExchange.objects.create(user=user, exchange=row, label="main")
    user.delete()
    row.delete()


def test_the_database_itself_refuses_sizes_of_zero():
    with pytest.raises(IntegrityError), transaction.atomic():
        builders.exchange(tier1_size=0)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("silence_s", 0),
        ("connection_lifetime_s", 0),
        ("rest_window_s", 0),
        ("topics_per_connection", 10**12),
        ("taker_fee_bps", Decimal(99_999)),
        ("maker_fee_bps", Decimal(-500)),
        ("messages_per_second", Decimal(0)),
        ("geo_rules", []),
        ("home_url", "javascript:alert(1)"),
    ],
)
def test_an_edit_that_would_kill_a_stream_or_a_page_is_refused_beside_its_field(field, value):
    row = Exchange.objects.get(pk="coinbase")
    setattr(row, field, value)
    with pytest.raises(ValidationError) as refused:
        row.full_clean()
    assert field in refused.value.message_dict


@pytest.mark.django_db
def test_the_seeded_rows_are_valid():
    for row in Exchange.objects.all():
        row.full_clean()
