"""Users' accounts in the admin: what reading them came to, and that no key is shown to the wrong venue."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
import redis
from django.urls import reverse

from exchanges import credentials
from exchanges.models import Exchange, KeyState, UserExchange
from livermore.core import keys
from symbols import services
from symbols.models import Position, UserSymbolSubscription
from tests.support import builders

pytestmark = pytest.mark.django_db
SECRETS = {"api_key": "key-7Q4F", "api_secret": "secret-91AC", "passphrase": "phrase-33"}


def page(name: str, *arguments: Any) -> str:
    return reverse(f"admin:exchanges_userexchange_{name}", args=arguments)


@pytest.fixture
def account(admin_user: Any, redis_state: redis.Redis) -> UserExchange:
    return UserExchange.objects.create(
        user=admin_user, exchange_id="binance", label="main", credentials=credentials.encrypt(SECRETS)
    )


def edited(account: UserExchange, **changed: Any) -> dict[str, Any]:
    return {"user": account.user_id, "exchange": account.exchange_id, "label": account.label} | changed


def holding(account: UserExchange) -> Position:
    """A followed position of the account."""
    exchange = Exchange.objects.get(pk=account.exchange_id)
    symbol = builders.symbol(exchange, "BTC-USDT")
    services.follow(account.user, symbol, "position")
    return Position.objects.create(
        user=account.user, exchange=exchange, account=account, asset="BTC", free=Decimal(1), symbol=symbol
    )


def queued(redis_server: Any) -> list[str]:
    with redis.Redis.from_url(redis_server.broker_url) as broker:
        messages = [json.loads(m)["headers"] for m in broker.lrange("default", 0, -1)]
    return [m["argsrepr"] for m in messages if m["task"] == "symbols.refresh_positions"]


def test_how_reading_goes_is_shown_and_an_edit_lets_a_refused_key_be_tried_again(
    admin_client: Any, account: UserExchange
) -> None:
    UserExchange.objects.filter(pk=account.pk).update(state=KeyState.REFUSED, state_why="this key may do more")
    for address in (page("changelist"), page("change", account.pk)):
        text = admin_client.get(address).content.decode()
        assert "refused; not tried until it is edited" in text
        assert "this key may do more" in text
        assert not any(secret in text for secret in SECRETS.values())
    posted = edited(account, is_trading_acknowledged="on")
    assert admin_client.post(page("change", account.pk), posted).status_code == 302
    account.refresh_from_db()
    assert (account.state, account.state_why, account.is_trading_acknowledged) == (KeyState.NEW, "", True)
    assert credentials.decrypt(account.credentials).api_secret == SECRETS["api_secret"]


def test_a_key_is_never_shown_to_another_exchange(admin_client: Any, account: UserExchange) -> None:
    holding(account)
    posted = edited(account, exchange="mexc")
    answer = admin_client.post(page("change", account.pk), posted)
    assert "api_secret" in answer.context["adminform"].form.errors
    answer = admin_client.post(page("change", account.pk), posted | {"api_key": "k2", "api_secret": "s2"})
    assert answer.status_code == 302
    assert not Position.objects.exists()
    assert not UserSymbolSubscription.objects.exists()


@pytest.mark.parametrize(
    ("slug", "changed", "said"), [("kucoin", {"passphrase": ""}, "passphrase"), ("coinbase", {}, "PEM")]
)
def test_what_cannot_be_a_key_of_the_venue_is_said_at_once(
    admin_client: Any, admin_user: Any, slug: str, changed: dict[str, str], said: str
) -> None:
    posted = {"user": admin_user.pk, "exchange": slug, "label": "x"} | SECRETS | changed
    answer = admin_client.post(page("add"), posted)
    assert said in str(answer.context["adminform"].form.non_field_errors())
    assert SECRETS["api_secret"] not in answer.content.decode()
    assert not UserExchange.objects.exists()


@pytest.mark.parametrize("is_many", [False, True])
def test_a_deleted_account_leaves_nothing_followed(admin_client: Any, account: UserExchange, is_many: bool) -> None:
    holding(account)
    if is_many:
        posted = {"action": "delete_selected", "_selected_action": account.pk, "post": "yes"}
        admin_client.post(page("changelist"), posted)
    else:
        admin_client.post(page("delete", account.pk), {"post": "yes"})
    assert not UserExchange.objects.exists()
    assert not UserSymbolSubscription.objects.exists()


@pytest.mark.parametrize(("state", "enqueued"), [("idle", 0), ("streaming", 1)])
def test_a_saved_account_is_read_at_once_where_its_exchange_streams(
    admin_client: Any, account: UserExchange, redis_state: redis.Redis, redis_server: Any, state: str, enqueued: int,
    django_capture_on_commit_callbacks: Any,
) -> None:  # fmt: skip
    redis_state.hset(keys.stream("binance"), mapping={"state": state})
    with django_capture_on_commit_callbacks(execute=True):
        assert admin_client.post(page("change", account.pk), edited(account)).status_code == 302
    assert queued(redis_server) == [f"({account.pk},)"] * enqueued


def test_the_action_reads_now_but_not_with_a_refused_key(
    admin_client: Any, account: UserExchange, redis_server: Any, django_capture_on_commit_callbacks: Any
) -> None:
    posted = {"action": "read_now", "_selected_action": account.pk}
    with django_capture_on_commit_callbacks(execute=True):
        admin_client.post(page("changelist"), posted)
    assert queued(redis_server) == [f"({account.pk},)"]
    UserExchange.objects.filter(pk=account.pk).update(state=KeyState.REFUSED, state_why="no")
    with django_capture_on_commit_callbacks(execute=True):
        text = admin_client.post(page("changelist"), posted, follow=True).content.decode()
    assert "no; edit it first" in text
    assert len(queued(redis_server)) == 1
