"""M53: planted orphans are all found within one run, and nothing that is needed is called one."""

from __future__ import annotations

import io
import json

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from candles.ledger import Bucket
from candles.legacy_models import LegacyMigration, Mode
from candles.services.close import close
from candles.services.key_audit import audit
from livermore.core import keys
from livermore.core.candle import Timeframe
from livermore.core.legacy_keys import LegacyKey
from symbols import services
from symbols.models import ExchangeSymbol
from tests.candles.predecessor import key, leave
from tests.candles.streaming import past, store, streamed
from tests.support.trades import BUCKET_MS, make

pytestmark = pytest.mark.django_db
AT = "binance"


@pytest.fixture
def user(redis_state):
    """He follows one symbol beside the shared pool; both have traded for an hour, and the predecessor had the one."""
    user = get_user_model().objects.create(username="ann")
    open_ms = past(12, aligned_ms=Timeframe.H1.ms)
    streamed(redis_state, AT, since_ms=open_ms - BUCKET_MS)
    for base, tier in (("BTC", 1), ("RARE", None)):
        symbol = ExchangeSymbol.objects.create(exchange_id=AT, native=f"{base}USDT", base=base, quote="USDT", tier=tier)
        if tier is None:
            services.follow(user, symbol)
        store(AT, symbol.name, make(600, [symbol.native], open_ms, 12))
        close(AT, [Bucket(symbol.name, open_ms + n * BUCKET_MS) for n in range(12)])
    leave(redis_state, [key(user.pk, AT, "BTC-USDT")], 3)
    return user


def plant(client, names: list[str]) -> None:
    for name in names:
        client.zadd(name, {"{}": 1})


def test_each_of_fifty_planted_orphans_is_found_and_nothing_else(user, redis_state):
    assert audit().orphans == []
    assert audit().keys["candles:{exchange}:{symbol}:{timeframe}"] == 4
    number = LegacyMigration.objects.get(pk=AT).number
    planted = {
        "unknown exchange": [keys.candles("gone", f"S{n}-USD", "5m") for n in range(10)] + [keys.due("gone")],
        "unknown symbol": [keys.candles(AT, f"S{n}-USD", "5m") for n in range(10)] + [keys.ticker(AT, "S-USD")],
        "no such timeframe": [keys.candles(AT, "BTC-USDT", "1m")],
        "unknown user": [keys.user_candles(9_000 + n, AT, "RARE-USDT", "5m") for n in range(10)],
        "its user does not follow it any more": [keys.user_candles(user.pk, AT, "BTC-USDT", t) for t in Timeframe],
        "unknown exchange number": [str(LegacyKey(7, number + 900, f"S{n}-USD", "5m")) for n in range(11)],
    }
    for names in planted.values():
        plant(redis_state, names)
    found = audit()
    assert sum(map(len, planted.values())) == len(found.orphans) == 50
    assert {why: sorted(one.key for one in found.orphans if one.why == why) for why in planted} == {
        why: sorted(names) for why, names in planted.items()
    }
    assert found.bytes["usercandles:{user}:{exchange}:{symbol}:{timeframe}"] > 10_000


def test_what_ends_with_its_time_is_found_when_its_time_is_over(user, redis_state):
    LegacyMigration.objects.filter(pk=AT).update(mode=Mode.DONE)
    ExchangeSymbol.objects.filter(name="BTC-USDT").update(tier=None)
    user.subscriptions.all().delete()
    found = audit().orphans
    assert {one.why for one in found} == {
        "the exchange's migration is done", "not in the shared pool", "its user does not follow it any more"
    }  # fmt: skip
    assert len(found) == 1 + 4 + 4


def test_the_command_counts_names_and_exits_with_1(user, redis_state):
    out = io.StringIO()
    call_command("audit_keys", "--json", stdout=out)
    assert json.loads(out.getvalue())["orphans"] == []
    plant(redis_state, [keys.ticker("gone", "BTC-USD"), "somebody:else"])
    out = io.StringIO()
    with pytest.raises(CommandError, match="1 orphans") as told:
        call_command("audit_keys", stdout=out)
    assert told.value.returncode == 1
    assert "orphan ticker:gone:BTC-USD: unknown exchange" in out.getvalue()
    assert "1 keys are not ours, such as somebody:else" in out.getvalue()
