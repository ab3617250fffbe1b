"""Symbols and subscriptions: what is unique, what is derived, what one query tells."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from symbols.models import ExchangeSymbol, UserSymbolSubscription
from tests.support import builders

pytestmark = pytest.mark.django_db


@pytest.fixture
def toy():
    return builders.exchange("toy")


@pytest.fixture
def ann():
    return get_user_model().objects.create(username="ann")


def test_a_symbols_name_is_made_of_base_and_quote(toy):
    assert builders.symbol(toy, "BTC-USDT").name == "BTC-USDT"


@pytest.mark.parametrize("fields", [{"native": "BTCUSDT", "base": "ETH"}, {"native": "XBT", "base": "BTC"}])
def test_a_second_native_or_a_second_trading_pair_is_a_validation_error(toy, fields):
    builders.symbol(toy, "BTC-USDT")
    twin = ExchangeSymbol(exchange=toy, **{"quote": "USDT"} | fields)
    with pytest.raises(ValidationError):
        twin.full_clean()
    with pytest.raises(IntegrityError), transaction.atomic():
        twin.save()


def test_a_delisted_pair_leaves_its_name_to_another_native_and_to_other_exchanges(toy):
    builders.symbol(toy, "BTC-USDT", is_trading=False)
    builders.symbol(toy, "BTC-USDT", native="XBT")
    builders.symbol(builders.exchange("other"), "BTC-USDT")
    assert ExchangeSymbol.objects.trading().count() == 2


@pytest.mark.parametrize("base", ["B-C", "B:C", "B|C", ""])
def test_a_base_that_would_break_a_name_or_a_key_is_a_validation_error(toy, base):
    with pytest.raises(ValidationError):
        ExchangeSymbol(exchange=toy, native="x", base=base, quote="USDT").full_clean()


def test_a_user_follows_a_symbol_once(toy, ann):
    btc = builders.symbol(toy, "BTC-USDT")
    UserSymbolSubscription.objects.create(user=ann, symbol=btc, source="position")
    with pytest.raises(IntegrityError), transaction.atomic():
        UserSymbolSubscription.objects.create(user=ann, symbol=btc, source="manual")
    with pytest.raises(ValidationError):
        UserSymbolSubscription(user=ann, symbol=btc).full_clean()


def test_reasons_must_be_known_and_the_strongest_is_the_source(toy, ann):
    row = UserSymbolSubscription(user=ann, symbol=builders.symbol(toy, "BTC-USDT"))
    row.reasons = ["alert", "manual"]
    row.full_clean()
    assert (row.source, row.reasons) == ("manual", ["manual", "alert"])
    row.reasons = ["whim"]
    with pytest.raises(ValidationError, match="position, manual, alert"):
        row.full_clean()


def test_streamed_is_one_query_and_names_each_symbol_once(toy, ann, django_assert_num_queries):
    btc = builders.symbol(toy, "BTC-USDT", tier=1)
    sol, old = builders.symbol(toy, "SOL-USDT"), builders.symbol(toy, "OLD-USDT")
    bob = get_user_model().objects.create(username="bob")
    for user in (ann, bob):
        for symbol in (btc, sol):
            UserSymbolSubscription.objects.create(user=user, symbol=symbol)
    UserSymbolSubscription.objects.create(user=ann, symbol=old, expires_at=timezone.now() - timedelta(seconds=1))
    with django_assert_num_queries(1):
        assert sorted(s.name for s in ExchangeSymbol.objects.streamed()) == ["BTC-USDT", "SOL-USDT"]
