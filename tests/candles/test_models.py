"""Stored candles keep every digit and their identity, and are looked at without counting them all."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models import ProtectedError
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from candles.admin import COUNTED_ROWS, BoundedPaginator
from candles.models import Candle, Gap, Signal
from exchanges.models import Exchange, UserExchange
from livermore.core.candle import Quality, Source, Timeframe
from livermore.core.gap import Cause
from tests.support import builders

pytestmark = pytest.mark.django_db
EXACT = Decimal("296946661.620974820000000001")


@pytest.fixture
def btc():
    return builders.symbol(builders.exchange("toy"), "BTC-USDT")


def candle(symbol, open_ms=0, **fields):
    prices = dict.fromkeys(("open", "high", "low", "close"), EXACT)
    given = {
        "timeframe": str(Timeframe.M5), "open_ms": open_ms, "volume": EXACT,
        "source": str(Source.TRADES), "quality": str(Quality.PROVEN),
    }  # fmt: skip
    return Candle(symbol=symbol, **prices | given | fields)


def signal(event_id, at):
    return Signal(
        event_id=event_id, kind="LEADER_MOVE", phase="open", base="BTC", direction="up",
        leader=at, follower=at, opened_ms=1, event={"long": "text"},
    )  # fmt: skip


def test_a_candle_is_stored_with_every_digit(btc):
    candle(btc).save()
    assert Candle.objects.get().close == EXACT
    assert Candle.objects.get().value("toy", "BTC-USDT").volume == EXACT


def test_there_is_one_candle_per_symbol_timeframe_and_open(btc):
    candle(btc).save()
    with pytest.raises(IntegrityError), transaction.atomic():
        candle(btc).save()
    candle(btc, timeframe=str(Timeframe.M15)).save()


def test_a_one_minute_candle_is_no_valid_row(btc):
    with pytest.raises(ValidationError, match="1m"):
        candle(btc, timeframe="1m").full_clean()


def test_conclusions_hang_on_exchanges_and_never_on_users_accounts(btc):
    for model in (Candle, Gap, Signal):
        related = {f.related_model for f in model._meta.get_fields() if f.is_relation}
        assert UserExchange not in related
    candle(btc).save()
    for protected in (btc, btc.exchange):
        with pytest.raises(ProtectedError):
            protected.delete()


def test_gaps_and_signals_protect_their_exchange_too():
    for slug, make in (
        ("a", lambda at: Gap(exchange=at, from_ns=0, to_ns=1, cause=str(next(iter(Cause))))),
        ("b", lambda at: signal("00000000-0000-0000-0000-000000000001", at)),
    ):
        at = builders.exchange(slug)
        make(at).save()
        with pytest.raises(ProtectedError):
            Exchange.objects.get(pk=slug).delete()


def test_the_candle_list_counts_no_further_than_its_bound_and_sorts_by_an_index(admin_client, btc):
    Candle.objects.bulk_create([candle(btc, n * 300_000) for n in range(150)])
    with CaptureQueriesContext(connection) as asked:
        answer = admin_client.get(reverse("admin:candles_candle_changelist"), {"quality__exact": "proven"})
    assert answer.context["cl"].result_count == 150
    statements = [q["sql"] for q in asked if '"candles"' in q["sql"]]
    counting = [s for s in statements if "COUNT(" in s]
    assert counting
    assert all(f"LIMIT {COUNTED_ROWS}" in s for s in counting)
    assert len(asked) <= 8
    [listing] = [s for s in statements if "COUNT(" not in s]
    assert 'ORDER BY "candles"."id" DESC LIMIT' in listing


def test_the_bound_holds(btc, monkeypatch):
    monkeypatch.setattr("candles.admin.COUNTED_ROWS", 7)
    Candle.objects.bulk_create([candle(btc, n * 300_000) for n in range(9)])
    assert BoundedPaginator(Candle.objects.order_by("-id"), 5).count == 7


@pytest.mark.parametrize("model", ["candle", "gap", "signal"])
def test_conclusions_can_be_looked_at_and_not_changed(admin_client, btc, model):
    candle(btc).save()
    Gap.objects.create(exchange=btc.exchange, from_ns=0, to_ns=1, cause=str(next(iter(Cause))))
    signal("00000000-0000-0000-0000-000000000002", btc.exchange).save()
    row = {"candle": Candle, "gap": Gap, "signal": Signal}[model].objects.get()
    assert admin_client.get(reverse(f"admin:candles_{model}_changelist")).status_code == 200
    address = reverse(f"admin:candles_{model}_change", args=[row.pk])
    assert admin_client.get(address).status_code == 200
    assert admin_client.post(address, {}).status_code == 403
    assert admin_client.get(reverse(f"admin:candles_{model}_add")).status_code == 403
    assert admin_client.get(reverse(f"admin:candles_{model}_delete", args=[row.pk])).status_code == 403
