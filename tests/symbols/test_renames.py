"""Who may have been renamed, and what goes over to the new name."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from decimal import Decimal

import pytest
import redis
from django.contrib.auth import get_user_model
from django.urls import reverse
from django.utils import timezone

from symbols import renames, services
from symbols.models import ExchangeSymbol, UserSymbolSubscription
from tests.support import builders
from tests.support.builders import ListedRest, instrument

pytestmark = pytest.mark.django_db
FINE = Decimal("0.001")


@pytest.fixture
def toy():
    return builders.exchange("toy", tier1_size=2)


def renamed(before, after):
    """What a sync says when the venue listed this and then that."""
    services.sync("toy", ListedRest(before))
    return services.sync("toy", ListedRest(after)).renamed


# ---- candidates ----------------------------------------------------------------------------------


def test_the_only_new_symbol_may_be_the_only_one_that_ended(toy):
    rest = [instrument("BTC-USDT"), instrument("NEW-USDT", tick=FINE)]
    assert renamed([instrument("BTC-USDT"), instrument("OLD-USDT", tick=FINE)], rest) == (("OLDUSDT", "NEWUSDT"),)
    assert services.sync("toy", ListedRest(rest)).renamed == ()


def test_a_first_sync_and_a_mere_newcomer_are_no_renames(toy):
    assert services.sync("toy", ListedRest([instrument("BTC-USDT")])).renamed == ()
    assert services.sync("toy", ListedRest([instrument("BTC-USDT"), instrument("ETH-USDT")])).renamed == ()


@pytest.mark.parametrize(
    "other",
    [instrument("NEW-USDC"), instrument("NEW-USDT", tick=FINE), instrument("NEW-USDT", lot=FINE),
     instrument("NEW-USDT", is_trading=False)],
)  # fmt: skip
def test_another_quote_or_step_or_no_trading_is_no_rename(toy, other):
    assert renamed([instrument("OLD-USDT")], [other]) == ()


def test_two_alike_are_none(toy):
    one, two = instrument("ONE-USDT"), instrument("TWO-USDT")
    assert renamed([instrument("OLD-USDT")], [one, two]) == ()
    assert renamed([one, two], [instrument("NEW-USDT")]) == ()


def test_a_halt_beside_a_rename_confuses_nobody(toy):
    halted = instrument("HALT-USDT", is_trading=False, status="BREAK")
    before = [instrument("HALT-USDT"), instrument("OLD-USDT")]
    assert renamed(before, [halted, instrument("NEW-USDT")]) == (("OLDUSDT", "NEWUSDT"),)


def test_one_that_is_still_listed_without_trading_may_have_been_renamed(toy):
    stopped = instrument("OLD-USDT", is_trading=False, status="BREAK")
    assert renamed([instrument("OLD-USDT")], [stopped, instrument("NEW-USDT")]) == (("OLDUSDT", "NEWUSDT"),)


# ---- what goes over ------------------------------------------------------------------------------


@pytest.fixture
def pair(toy):
    old = builders.symbol(toy, "OLD-USDT", tier=1, rank=7, is_trading=False)
    return old, builders.symbol(toy, "NEW-USDT")


def follow(user, symbol, **fields):
    return UserSymbolSubscription.objects.create(user=user, symbol=symbol, reasons=["manual"], **fields)


def test_tier_and_rank_go_over_once(pair):
    old, new = pair
    renames.link(old, new)
    for _ in range(2):
        old.refresh_from_db()
        new.refresh_from_db()
        assert (old.tier, old.rank) == (None, None)
        assert (new.rename_of, new.tier, new.rank) == (old, 1, 7)
        renames.link(old, new)


def test_live_followers_go_over_and_expired_ones_stay(pair):
    old, new = pair
    ann, bob, cid = (get_user_model().objects.create(username=name) for name in ("ann", "bob", "cid"))
    later = timezone.now() + timedelta(days=1)
    follow(ann, old, note="mine", is_pinned=True)
    follow(bob, old, expires_at=timezone.now() - timedelta(days=1))
    follow(cid, old)
    follow(cid, new, expires_at=later, note="both")
    services.follow(cid, new, "alert", expires_at=later)
    renames.link(old, new)
    renames.link(old, new)
    assert {s.user: (s.note, s.is_pinned, s.reasons, s.expires_at) for s in new.subscriptions.all()} == {
        ann: ("mine", True, ["manual"], None),
        cid: ("both", False, ["manual", "alert"], None),
    }
    assert [s.user for s in old.subscriptions.all()] == [bob]


# ---- an operator's word --------------------------------------------------------------------------


@pytest.fixture
def desk(admin_client, redis_state, settings, django_capture_on_commit_callbacks):
    """Posts a symbol's form with this former symbol; the tasks that the broker holds then, and the answer."""

    def change(new: ExchangeSymbol, former: ExchangeSymbol | None):
        place = reverse("admin:symbols_exchangesymbol_change", args=[new.pk])
        with django_capture_on_commit_callbacks(execute=True):
            answer = admin_client.post(place, {"rename_of": former.pk if former else ""})
        with redis.Redis.from_url(settings.CELERY_BROKER_URL) as broker:
            queued = [json.loads(m) for m in broker.lrange(f"backfill.{new.exchange_id}", 0, -1)]
        return answer, [(m["headers"]["task"], *json.loads(base64.b64decode(m["body"]))[:2]) for m in queued]

    return change


def test_a_rename_recorded_by_hand_hands_over_without_proof(pair, desk):
    old, new = pair
    answer, queued = desk(new, old)
    assert answer.status_code == 302
    assert queued == [("candles.hand_over", ["toy", "OLDUSDT", "NEWUSDT"], {"is_certain": True})]
    assert desk(new, old)[1] == queued, "saving what is recorded already asks for nothing"
    assert desk(new, None)[1] == queued


def test_what_cannot_be_a_former_name_is_refused(pair, desk):
    old, new = pair
    elsewhere = builders.symbol(builders.exchange("other"), "OLD-USDT", is_trading=False)
    trading = builders.symbol(old.exchange, "ALIVE-USDT")
    for former in (elsewhere, trading, new):
        answer, queued = desk(new, former)
        assert "trades no more" in answer.content.decode()
        assert queued == []
