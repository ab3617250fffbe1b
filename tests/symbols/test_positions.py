"""Positions: read from simulated venues with real keys, followed, and let go a day after they vanished."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import redis
from django.contrib.auth import get_user_model
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from exchanges import credentials
from exchanges.models import Exchange, KeyState, UserExchange
from exchanges.simulation import scenario
from exchanges.simulation.account import Account
from livermore.core import keys
from livermore.core.errors import InvalidInput
from symbols import positions, services, tasks
from symbols.models import ExchangeSymbol, Position, UserSymbolSubscription
from tests.support import builders
from tests.support.simulation import Running, simulated

pytestmark = pytest.mark.django_db
SECRET = "secret-91AC"


@pytest.fixture(scope="module")
def venues() -> Iterator[Running]:
    now_ms = time.time_ns() // 1_000_000
    with simulated("binance", "mexc", is_paused=True, start_ms=now_ms) as running:
        yield running


@pytest.fixture
def account(venues: Running, settings: Any, redis_state: redis.Redis) -> Account:
    """An account at Binance, whose symbols are known and ranked, and its key."""
    settings.EXCHANGE_ENDPOINTS = venues.endpoints
    for slug in ("binance", "mexc"):
        rest = services_rest(slug)
        services.sync(slug, rest)
    opened = Account("key-7Q4F", SECRET)
    opened.balances = {"BTC": ("0.5", "0.1"), "DOGE": ("0.5", "0"), "USDT": ("100", "0"), "NOWHERE": ("7", "0")}
    for slug in ("binance", "mexc"):
        venues.call(venues.simulation.open_account, slug, opened)
    return opened


def services_rest(slug: str) -> Any:
    import exchanges.services

    return exchanges.services.rest(slug, share=1)


@pytest.fixture
def user() -> Any:
    return get_user_model().objects.create_user("jesse")


def connected(user: Any, slug: str = "binance", key: str = "key-7Q4F", **fields: Any) -> UserExchange:
    token = credentials.encrypt({"api_key": key, "api_secret": SECRET, "passphrase": ""})
    return UserExchange.objects.create(user=user, exchange_id=slug, credentials=token, **fields)


def held(user: Any) -> dict[str, tuple[Decimal | None, str | None]]:
    """Asset → what is free, and the market followed."""
    rows = Position.objects.filter(user=user).select_related("symbol")
    return {row.asset: (row.free, row.symbol and row.symbol.name) for row in rows}


def followed(user: Any) -> dict[str, list[str]]:
    rows = UserSymbolSubscription.objects.live().filter(user=user).select_related("symbol")
    return {row.symbol.name: row.reasons for row in rows}


def state(row: UserExchange) -> str:
    row.refresh_from_db()
    return row.state


# ---- what is held and followed -----------------------------------------------------------------


def test_what_an_account_holds_is_followed_but_for_cash_dust_and_what_is_not_traded(
    account: Account, user: Any
) -> None:
    """M20: a position in the fixture is streamed as soon as it was read."""
    row = connected(user)
    tasks.refresh_positions(row.pk)
    assert state(row) == KeyState.READ
    assert held(user) == {
        "BTC": (Decimal("0.5"), "BTC-USDT"),
        "DOGE": (Decimal("0.5"), None),
        "USDT": (Decimal(100), None),
        "NOWHERE": (Decimal(7), None),
    }
    btc, doge, cash = (Position.objects.get(asset=asset) for asset in ("BTC", "DOGE", "USDT"))
    assert btc.locked == Decimal("0.1")
    assert btc.value_usd > 1000
    assert 0 < doge.value_usd < 1
    assert cash.value_usd == 100
    assert followed(user) == {"BTC-USDT": ["position"]}
    assert "BTC-USDT" in services.streamed_names("binance").values()


def test_the_market_is_the_most_liquid_in_dollars_and_kept_while_it_trades(account: Account, user: Any) -> None:
    usdc = builders.symbol(Exchange.objects.get(pk="binance"), "BTC-USDC", turnover_usd_24h=Decimal("99e12"))
    builders.symbol(usdc.exchange, "BTC-EUR", turnover_usd_24h=Decimal("99e15"))
    assert [s.name for s in positions.markets("binance", {"BTC"})["BTC"]] == ["BTC-USDC", "BTC-USDT", "BTC-EUR"]
    row = connected(user)
    positions.read(row.pk)
    assert list(followed(user)) == ["BTC-USDC"]
    ExchangeSymbol.objects.filter(pk=usdc.pk).update(turnover_usd_24h=Decimal(1))
    positions.read(row.pk)
    assert list(followed(user)) == ["BTC-USDC"]
    ExchangeSymbol.objects.filter(pk=usdc.pk).update(is_trading=False)
    positions.read(row.pk)
    assert list(followed(user)) == ["BTC-USDT"]


def test_a_vanished_position_stays_for_a_day_and_leaves_other_reasons(account: Account, user: Any) -> None:
    row = connected(user)
    positions.read(row.pk)
    btc = ExchangeSymbol.objects.get(exchange_id="binance", name="BTC-USDT")
    services.follow(user, btc, "manual", expires_at=timezone.now() + timedelta(days=30))
    del account.balances["BTC"]
    positions.read(row.pk)
    now = timezone.now()
    positions.end_due(now + timedelta(hours=23))
    assert held(user)["BTC"] == (Decimal("0.5"), "BTC-USDT")
    assert followed(user) == {"BTC-USDT": ["position", "manual"]}
    positions.end_due(now + timedelta(hours=25))
    assert "BTC" not in held(user)
    assert followed(user) == {"BTC-USDT": ["manual"]}


def test_a_position_that_became_dust_is_shown_and_no_longer_followed_after_a_day(account: Account, user: Any) -> None:
    row = connected(user)
    positions.read(row.pk)
    account.balances["BTC"] = ("0.00000001", "0")
    positions.read(row.pk)
    assert list(followed(user)) == ["BTC-USDT"]
    positions.end_due(timezone.now() + timedelta(hours=25))
    assert held(user)["BTC"] == (Decimal("1e-8"), None)
    assert followed(user) == {}


def test_a_symbol_held_in_two_accounts_is_followed_until_the_last_ends(account: Account, user: Any) -> None:
    first, second = connected(user, label="a"), connected(user, label="b")
    for row in (first, second):
        positions.read(row.pk)
    assert Position.objects.filter(user=user, asset="BTC").count() == 2
    positions.forget(Position.objects.filter(account=first))
    assert list(followed(user)) == ["BTC-USDT"]
    positions.forget(Position.objects.filter(account=second))
    assert followed(user) == {}


def test_a_reading_renews_the_end_of_what_it_confirms(account: Account, user: Any) -> None:
    row = connected(user)
    positions.read(row.pk)
    soon = timezone.now() + timedelta(hours=2)
    UserSymbolSubscription.objects.filter(user=user).update(expires_at=soon)
    Position.objects.filter(user=user).update(until=soon)
    positions.read(row.pk)
    ends = timezone.now() + timedelta(hours=23)
    assert UserSymbolSubscription.objects.get(user=user).expires_at > ends
    assert Position.objects.get(asset="BTC").until > ends


def test_a_scenario_opens_an_account_and_moves_what_it_holds(
    user: Any, settings: Any, redis_state: redis.Redis
) -> None:
    """What `simulate --scenario` does: a person can try an account without one."""
    told = {"api_key": "key-7Q4F", "api_secret": SECRET}
    steps = [
        {"at_s": 0, "venue": "binance", "account": told | {"balances": {"ETH": ["2", "0"]}}},
        {"at_s": 60, "venue": "binance", "account": told | {"balances": {"BTC": ["1", "0"]}}},
    ]
    now_ms = time.time_ns() // 1_000_000
    with simulated("binance", is_paused=True, start_ms=now_ms, scenario=steps) as running:
        settings.EXCHANGE_ENDPOINTS = running.endpoints
        services.sync("binance", services_rest("binance"))
        row = connected(user)
        positions.read(row.pk)
        assert list(followed(user)) == ["ETH-USDT"]
        running.call(running.simulation.advance, 61)
        positions.read(row.pk)
        assert sorted(followed(user)) == ["BTC-USDT", "ETH-USDT"]


@pytest.mark.parametrize(
    ("account", "said"),
    [
        ({"api_key": "k"}, "account takes texts for api_key and api_secret"),
        ({"api_key": "k", "api_secret": "s", "balance": {}}, "account takes an object of api_key"),
        ({"api_key": "k", "api_secret": "s", "balances": {"BTC": "1"}}, "BTC takes what is free and what is locked"),
    ],
)
def test_a_scenario_names_what_is_wrong_with_an_account(account: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        scenario.read([{"at_s": 0, "venue": "binance", "account": account}])


# ---- keys --------------------------------------------------------------------------------------


def test_a_key_that_can_trade_is_refused_unless_acknowledged(account: Account, user: Any) -> None:
    account.rights = {"read", "trade"}
    row = connected(user)
    positions.read(row.pk)
    assert state(row) == KeyState.REFUSED
    assert "enableSpotAndMarginTrading" in row.state_why
    assert held(user) == {}
    row.is_trading_acknowledged = True
    row.ask_again()
    row.save()
    positions.read(row.pk)
    assert (state(row), row.state_why) == (KeyState.READ, "")
    assert list(followed(user)) == ["BTC-USDT"]


def test_where_the_venue_cannot_tell_what_a_key_may_do_it_needs_acknowledgement(account: Account, user: Any) -> None:
    row = connected(user, "mexc")
    positions.read(row.pk)
    assert state(row) == KeyState.REFUSED
    assert "does not tell" in row.state_why
    UserExchange.objects.filter(pk=row.pk).update(is_trading_acknowledged=True, state=KeyState.NEW)
    positions.read(row.pk)
    assert state(row) == KeyState.READ


def test_a_rejected_key_is_not_used_again_before_it_is_edited(account: Account, user: Any) -> None:
    row = connected(user, key="unknown-key")
    positions.read(row.pk)
    assert state(row) == KeyState.REFUSED
    assert "Invalid API-key" in row.state_why
    assert positions.readable(["binance"]) == []
    assert positions.read(row.pk) is None
    row.ask_again()
    row.save()
    assert positions.readable(["binance"]) == [row.pk]


def test_trouble_with_the_venue_is_written_down_and_tried_again(account: Account, user: Any, settings: Any) -> None:
    row = connected(user)
    positions.read(row.pk)
    read_at = UserExchange.objects.get(pk=row.pk).read_at
    settings.EXCHANGE_ENDPOINTS = {"binance": {"rest": "http://127.0.0.1:9", "ws": "ws://127.0.0.1:9"}}
    positions.read(row.pk)
    assert state(row) == KeyState.FAILING
    assert row.state_why == "127.0.0.1:9: ConnectionError"
    assert row.read_at == read_at < row.tried_at
    assert positions.readable(["binance"]) == [row.pk]
    assert list(followed(user)) == ["BTC-USDT"]


def test_what_was_read_with_a_key_that_was_replaced_meanwhile_counts_for_nothing(
    account: Account, user: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = connected(user)
    real = positions._seen

    def replaced_meanwhile(*args: Any) -> Any:
        UserExchange.objects.filter(pk=row.pk).update(credentials=b"another")
        return real(*args)

    monkeypatch.setattr(positions, "_seen", replaced_meanwhile)
    assert positions.read(row.pk) is None
    assert (state(row), held(user)) == (KeyState.NEW, {})


def test_no_secret_reaches_a_log_or_the_account_page(
    account: Account, user: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(1):
        for key in ("key-7Q4F", "wrong-key-0BAD"):
            row = connected(user, key=key, label=key[:5])
            tasks.refresh_positions(row.pk)
            row.refresh_from_db()
            assert SECRET not in row.state_why
            assert key not in row.state_why
    assert "symbols.positions_read" in caplog.text
    assert SECRET not in caplog.text


# ---- beat --------------------------------------------------------------------------------------


def test_beat_gives_every_readable_account_of_a_streaming_exchange_a_task_of_its_own(
    user: Any, redis_state: redis.Redis, redis_server: Any
) -> None:
    redis_state.hset(keys.stream("binance"), mapping={"state": "streaming"})
    first, second = connected(user), connected(user, label="b")
    connected(user, label="refused", state=KeyState.REFUSED)
    connected(user, "mexc")
    UserExchange.objects.create(user=user, exchange_id="binance", label="without a key")
    tasks.refresh_positions()
    with redis.Redis.from_url(redis_server.broker_url) as broker:
        queued = [json.loads(message)["headers"] for message in broker.lrange("default", 0, -1)]
    assert sorted(h["argsrepr"] for h in queued) == [f"({first.pk},)", f"({second.pk},)"]
    assert all(h["task"] == "symbols.refresh_positions" and h["expires"] for h in queued)


def test_beats_schedule_is_seeded() -> None:
    seeded = PeriodicTask.objects.get(name="symbols.refresh_positions")
    assert (seeded.task, str(seeded.interval)) == (tasks.refresh_positions.name, "every 45 seconds")
