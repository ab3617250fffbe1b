"""The admin as an operator meets it: through its pages."""

from __future__ import annotations

import html
import json
import time
from datetime import timedelta
from decimal import Decimal

import pytest
import redis
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.forms import model_to_dict
from django.urls import reverse
from django.utils import timezone

from exchanges import credentials
from exchanges.models import Exchange, UserExchange
from livermore.core import keys
from symbols.models import ExchangeSymbol
from tests.support import builders

pytestmark = pytest.mark.django_db
SECRETS = {"api_key": "key-7Q4F", "api_secret": "secret-91AC", "passphrase": "phrase-33"}


@pytest.fixture
def toy():
    return builders.exchange("toy")


def page(name, *arguments):
    return reverse(f"admin:exchanges_{name}", args=arguments)


def form_of(row, **changed):
    """What a browser would post back for an exchange, with some fields changed."""
    fields = {name: "" if value is None else value for name, value in model_to_dict(row).items()}
    fields |= {"timeframes": json.dumps(row.timeframes), "geo_rules": json.dumps(row.geo_rules)}
    for flag in ("enabled", "merges_usd_usdc", "geo_paused"):
        if not fields[flag]:
            del fields[flag]
    return fields | changed


def errors_of(answer):
    return answer.context["adminform"].form.errors


# ---- exchanges ---------------------------------------------------------------------------------


def test_every_seeded_exchange_can_be_opened_and_saved_unchanged(admin_client, redis_state):
    for row in Exchange.objects.all():
        address = page("exchange_change", row.pk)
        assert admin_client.get(address).status_code == 200
        assert admin_client.post(address, form_of(row)).status_code == 302, row.slug
        after = Exchange.objects.get(pk=row.pk)
        assert model_to_dict(after) == model_to_dict(row)


def test_a_new_exchange_is_chosen_among_the_adapters_without_a_row(admin_client):
    Exchange.objects.filter(slug="mexc").delete()
    offered = admin_client.get(page("exchange_add")).context["adminform"].form.fields["slug"].widget.choices
    assert [slug for slug, _ in offered] == ["", "mexc"]


def test_an_address_edited_here_is_used_by_the_next_connection(admin_client, redis_state):
    row = Exchange.objects.get(pk="binance_us")
    untouched = Exchange.objects.get(pk="binance").endpoint()
    address = page("exchange_change", row.pk)
    assert admin_client.post(address, form_of(row, ws_url="wss://other.example:9443")).status_code == 302
    assert Exchange.objects.get(pk="binance_us").endpoint().ws == "wss://other.example:9443"
    assert Exchange.objects.get(pk="binance").endpoint() == untouched
    assert LogEntry.objects.filter(object_id="binance_us", change_message__contains="Ws url").exists()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("timeframes", '["1m", "5m"]', "1m does not exist"),
        ("timeframes", '["15m"]', "5m cannot be left out"),
        ("timeframes", "5m", "valid JSON"),
        ("geo_rules", '{"countries": ["usa"]}', "ISO 3166"),
        ("geo_rules", '{"subdivisions": ["NY"]}', "ISO 3166"),
        ("geo_rules", '{"country": ["US"]}', "countries, subdivisions"),
        ("geo_rules", "{", "valid JSON"),
        ("ws_url", "https://x.example", "wss://"),
        ("messages_per_second", "0", "must be between"),
        ("messages_per_second", "many", "number"),
        ("topics_per_connection", "0", "greater than or equal to 1"),
        ("tier1_size", "0", "greater than or equal to 1"),
        ("geo_alternative", "toy", "itself"),
        ("home_url", "https://x.example/{pair}", "{base}"),
    ],
)
def test_bad_input_is_refused_beside_its_field(admin_client, toy, redis_state, field, value, said):
    answer = admin_client.post(page("exchange_change", "toy"), form_of(toy, **{field: value}))
    assert answer.status_code == 200
    assert said in str(errors_of(answer)[field])
    assert Exchange.objects.get(pk="toy").updated_at == toy.updated_at


def test_emptied_geo_rules_mean_no_rules(admin_client, toy, redis_state):
    assert admin_client.post(page("exchange_change", "toy"), form_of(toy, geo_rules="")).status_code == 302
    assert Exchange.objects.get(pk="toy").geo_rules == {}


def test_decimals_keep_every_digit_through_the_form(admin_client, toy, redis_state):
    exact = "0.123456789012345678901234567890"
    assert admin_client.post(page("exchange_change", "toy"), form_of(toy, taker_fee_bps=exact)).status_code == 302
    assert Exchange.objects.get(pk="toy").taker_fee_bps == Decimal(exact)


def test_the_observed_state_is_shown_with_its_age(admin_client, toy, redis_state):
    told = {"state": "streaming", "host": "h1", "reason": "", "updated_ms": int((time.time() - 3) * 1000)}
    redis_state.hset(keys.stream("toy"), mapping=told)
    text = admin_client.get(page("exchange_change", "toy")).content.decode()
    assert "streaming, 3 s ago, by host h1" in text


@pytest.mark.parametrize(("ahead_ms", "said"), [(0, ": applied"), (-1, ": not yet, the stream host has ")])
def test_whether_the_stream_host_follows_the_saved_row_is_shown(admin_client, toy, redis_state, ahead_ms, said):
    version = toy.config_version + ahead_ms
    redis_state.hset(keys.stream("toy"), mapping={"state": "streaming", "config_version": version})
    assert f"version {toy.config_version}{said}" in admin_client.get(page("exchange_change", "toy")).content.decode()


def test_the_page_opens_while_the_state_redis_is_away(admin_client, toy, settings):
    settings.STATE_REDIS_URL = "redis://127.0.0.1:1/0"
    answer = admin_client.get(page("exchange_change", "toy"))
    assert answer.status_code == 200
    assert "unknown: the state Redis does not answer" in answer.content.decode()


def test_geo_rules_that_nobody_compared_for_a_month_are_pointed_out(admin_client, toy):
    today = timezone.localdate()
    for age_days, said in ((30, "30 days ago</td>"), (31, "31 days ago: look again")):
        Exchange.objects.filter(pk="toy").update(geo_verified_at=today - timedelta(days=age_days))
        text = admin_client.get(page("exchange_changelist"), {"q": "toy"}).content.decode()
        assert said in text
    Exchange.objects.filter(pk="toy").update(geo_verified_at=None)
    assert "never: look" in admin_client.get(page("exchange_changelist"), {"q": "toy"}).content.decode()


def test_an_exchange_with_children_is_not_deleted_and_its_children_are_listed(admin_client, toy):
    builders.symbol(toy, "BTC-USDT")
    answer = admin_client.get(page("exchange_delete", "toy"))
    assert "BTC-USDT at toy" in html.unescape(answer.content.decode())
    assert admin_client.post(page("exchange_delete", "toy"), {"post": "yes"}).status_code == 200
    admin_client.post(
        page("exchange_changelist"), {"action": "delete_selected", "_selected_action": ["toy"], "post": "yes"}
    )
    assert Exchange.objects.filter(pk="toy").exists()


def test_an_exchange_without_children_can_be_deleted(admin_client, toy):
    assert admin_client.post(page("exchange_delete", "toy"), {"post": "yes"}).status_code == 302
    assert not Exchange.objects.filter(pk="toy").exists()


@pytest.mark.parametrize("verb", ["start", "stop", "pause", "resume"])
def test_an_action_sends_the_durable_command(admin_client, toy, redis_state, verb):
    admin_client.post(page("exchange_changelist"), {"action": verb, "_selected_action": ["toy"]})
    [(_, entry)] = redis_state.xrange(keys.control("toy"))
    command = redis_state.hgetall(keys.command(entry[b"id"].decode()))
    assert (command[b"verb"], command[b"issued_by"]) == (verb.encode(), b"admin")


def test_an_action_sent_twice_from_one_page_is_one_command(admin_client, toy, redis_state):
    address = page("exchange_changelist")
    key = admin_client.get(address).context["action_form"]["order_key"].value()
    posted = {"action": "stop", "_selected_action": ["toy"], "order_key": key}
    said = [admin_client.post(address, posted, follow=True).content.decode() for _ in range(2)]
    assert len({entry[b"id"] for _, entry in redis_state.xrange(keys.control("toy"))}) == 1
    assert [text.count("is not sent again") for text in said] == [0, 1]
    assert admin_client.get(address).context["action_form"]["order_key"].value() != key


def test_a_disabled_exchange_is_not_started(admin_client, redis_state):
    Exchange.objects.filter(pk="mexc").update(enabled=False)
    admin_client.post(page("exchange_changelist"), {"action": "start", "_selected_action": ["mexc"]})
    assert redis_state.xlen(keys.control("mexc")) == 0


@pytest.mark.django_db(transaction=True)
def test_refresh_tier_1_now_enqueues_its_task(admin_client, redis_state, redis_server):
    builders.exchange("toy")
    admin_client.post(page("exchange_changelist"), {"action": "refresh_tier1", "_selected_action": ["toy"]})
    with redis.Redis.from_url(redis_server.broker_url) as broker:
        [message] = broker.lrange("default", 0, -1)
    assert json.loads(message)["headers"]["task"] == "symbols.refresh_tier1"


# ---- users' accounts ---------------------------------------------------------------------------


@pytest.fixture
def account(admin_client, admin_user, toy):
    posted = {"user": admin_user.pk, "exchange": "toy", "label": "main"} | SECRETS
    assert admin_client.post(page("userexchange_add"), posted).status_code == 302
    return UserExchange.objects.get()


def test_credentials_go_in_encrypted_and_never_come_out(admin_client, account):
    stored = bytes(account.credentials)
    assert credentials.decrypt(stored).api_secret == SECRETS["api_secret"]
    seen = [
        admin_client.get(page("userexchange_change", account.pk)).content.decode(),
        admin_client.get(page("userexchange_changelist")).content.decode(),
        admin_client.get(page("userexchange_history", account.pk)).content.decode(),
        *LogEntry.objects.values_list("change_message", flat=True),
        repr(account),
    ]
    for text in seen:
        assert not any(secret in text for secret in SECRETS.values())
        assert stored.decode() not in text


def test_a_refused_form_does_not_return_what_was_typed(admin_client, admin_user, toy):
    posted = {"user": admin_user.pk, "exchange": "toy", "label": "x", "api_key": SECRETS["api_key"]}
    answer = admin_client.post(page("userexchange_add"), posted)
    assert "api_secret" in errors_of(answer)
    assert SECRETS["api_key"] not in answer.content.decode()
    assert not UserExchange.objects.exists()


def test_saving_without_secrets_keeps_the_stored_ones_and_new_ones_replace_all(admin_client, account):
    address = page("userexchange_change", account.pk)
    posted = {"user": account.user_id, "exchange": "toy", "label": "renamed"}
    assert admin_client.post(address, posted).status_code == 302
    kept = UserExchange.objects.get()
    assert (kept.label, bytes(kept.credentials)) == ("renamed", bytes(account.credentials))
    assert admin_client.post(address, posted | {"api_key": "k2", "api_secret": "s2"}).status_code == 302
    replaced = credentials.decrypt(UserExchange.objects.get().credentials)
    assert (replaced.api_key, replaced.api_secret, replaced.passphrase) == ("k2", "s2", "")


def test_an_account_protects_its_exchange(admin_client, account):
    answer = admin_client.post(page("exchange_delete", "toy"), {"post": "yes"})
    assert "at toy" in answer.content.decode()
    assert Exchange.objects.filter(pk="toy").exists()


# ---- symbols and subscriptions -----------------------------------------------------------------


def test_the_symbol_list_asks_the_database_as_often_for_many_as_for_few(
    admin_client, toy, django_assert_max_num_queries
):
    for n in range(60):
        builders.symbol(toy, f"A{n}-USDT", rank=n + 1, tier=1)
    with django_assert_max_num_queries(8):
        answer = admin_client.get(reverse("admin:symbols_exchangesymbol_changelist"), {"q": "A", "tier__exact": 1})
    assert answer.context["cl"].result_count == 60


def test_a_symbol_added_twice_is_a_validation_error(admin_client, toy):
    builders.symbol(toy, "BTC-USDT")
    posted = {"exchange": "toy", "native": "XBT-USDT", "base": "btc", "quote": "usdt", "is_trading": "on"}
    address = reverse("admin:symbols_exchangesymbol_add")
    assert errors_of(admin_client.post(address, posted))
    assert errors_of(admin_client.post(address, posted | {"native": "BTCUSDT", "base": "ETH"}))
    assert ExchangeSymbol.objects.filter(exchange=toy).count() == 1
    assert admin_client.post(address, posted | {"base": "eth"}).status_code == 302
    assert ExchangeSymbol.objects.get(native="XBT-USDT").name == "ETH-USDT"


def test_a_subscription_takes_its_source_from_the_strongest_reason(admin_client, admin_user, toy):
    sol = builders.symbol(toy, "SOL-USDT")
    posted = {"user": admin_user.pk, "symbol": sol.pk, "reasons": ["alert", "position"]}
    answer = admin_client.post(reverse("admin:symbols_usersymbolsubscription_add"), posted)
    assert answer.status_code == 302
    row = admin_user.subscriptions.get()
    assert (row.source, row.reasons) == ("position", ["position", "alert"])
    again = admin_client.post(reverse("admin:symbols_usersymbolsubscription_add"), posted)
    assert errors_of(again), "one row per user and symbol"


def test_who_is_no_staff_reaches_none_of_it(client, toy):
    client.force_login(get_user_model().objects.create_user("ann"))
    assert client.get(page("exchange_changelist")).status_code == 302
    assert client.post(page("exchange_change", "toy"), form_of(toy, title="x")).status_code == 302
    assert Exchange.objects.get(pk="toy").title == "Toy"
