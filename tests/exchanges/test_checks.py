"""Every system check of exchanges and candles: silent when all is well, and with its id when not."""

from __future__ import annotations

from datetime import date

import pytest
from django.core.checks import run_checks
from django.db import connection

import proto
from candles import checks as candle_checks
from exchanges import checks, registry
from exchanges.models import Exchange
from livermore.settings import env
from tests.support import builders


def ids(messages):
    return [m.id for m in messages]


@pytest.mark.django_db
def test_w001_an_enabled_exchange_without_an_adapter_and_an_adapter_without_a_row_are_named():
    assert checks.registry_and_table_agree(None) == []
    builders.exchange("nowhere")
    Exchange.objects.filter(slug=registry.slugs()[0]).delete()
    found = checks.registry_and_table_agree(None)
    assert ids(found) == ["livermore.W001", "livermore.W001"]
    assert "'nowhere'" in found[0].msg
    assert repr(registry.slugs()[0]) in found[1].msg


@pytest.mark.django_db
def test_w001_a_disabled_exchange_may_lack_its_adapter():
    builders.exchange("nowhere", enabled=False)
    assert checks.registry_and_table_agree(None) == []


@pytest.mark.django_db
def test_w001_is_silent_before_the_first_migration():
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE exchanges RENAME TO elsewhere")
    assert checks.registry_and_table_agree(None) == []


def test_w002_a_venue_without_a_fixture_folder_is_named(settings, tmp_path):
    settings.BASE_DIR = tmp_path
    assert checks.every_venue_has_fixtures(None) == [], "tests are not installed"
    for slug in registry.slugs()[1:]:
        (tmp_path / checks.FIXTURES / slug).mkdir(parents=True)
    [found] = checks.every_venue_has_fixtures(None)
    assert found.id == "livermore.W002"
    assert repr(registry.slugs()[0]) in found.msg


def test_e003_a_time_limit_beyond_half_of_the_visibility_timeout_is_an_error(settings):
    settings.CELERY_BROKER_URL = "redis://127.0.0.1:6379/0"
    settings.CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 300}
    settings.CELERY_TASK_TIME_LIMIT = 90
    assert candle_checks.tasks_end_before_they_are_delivered_again(None) == []
    settings.CELERY_TASK_TIME_LIMIT = 91
    [found] = candle_checks.tasks_end_before_they_are_delivered_again(None)
    assert found.id == "livermore.E003"
    settings.CELERY_BROKER_URL = "amqp://127.0.0.1//"
    assert candle_checks.tasks_end_before_they_are_delivered_again(None) == []


@pytest.mark.parametrize("flag", ["cluster=true", "ssl=1&cluster=1"])
def test_e004_a_broker_that_is_a_cluster_is_an_error(settings, flag):
    settings.CELERY_BROKER_URL = f"redis://127.0.0.1:7000/0?{flag}"
    [found] = candle_checks.broker_is_no_cluster(None)
    assert found.id == "livermore.E004"


def test_e004_any_other_broker_passes(settings):
    for url in ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0?cluster=false", "amqp://127.0.0.1//"):
        settings.CELERY_BROKER_URL = url
        assert candle_checks.broker_is_no_cluster(None) == []


def test_w005_a_state_redis_that_evicts_is_named_and_only_asked_with_database(redis_state):
    assert candle_checks.state_redis_never_evicts(None, databases=["default"]) == []
    redis_state.config_set("maxmemory-policy", "allkeys-lru")
    try:
        [found] = candle_checks.state_redis_never_evicts(None, databases=["default"])
        assert found.id == "livermore.W005"
        assert "allkeys-lru" in found.msg
        assert candle_checks.state_redis_never_evicts(None, databases=None) == []
    finally:
        redis_state.config_set("maxmemory-policy", "noeviction")


def test_w005_is_silent_where_no_redis_answers_and_warns_where_it_may_not_be_asked(redis_state, settings):
    address = settings.STATE_REDIS_URL
    settings.STATE_REDIS_URL = "redis://127.0.0.1:1/0"
    assert candle_checks.state_redis_never_evicts(None, databases=["default"]) == []
    redis_state.execute_command("ACL", "SETUSER", "ann", "on", ">pw", "~*", "+@all", "-config")
    try:
        settings.STATE_REDIS_URL = address.replace("redis://:", "redis://ann:").replace(
            redis_state.connection_pool.connection_kwargs["password"], "pw"
        )
        [found] = candle_checks.state_redis_never_evicts(None, databases=["default"])
        assert found.id == "livermore.W005"
        assert "unknown" in found.msg
    finally:
        redis_state.execute_command("ACL", "DELUSER", "ann")


def test_e006_a_misspelt_variable_is_an_error_that_names_the_right_one(monkeypatch):
    assert checks.environment_is_in_the_schema(None) == []
    monkeypatch.setitem(env.ENVIRON, "LIVERMORE_REGOIN", "DE")
    [found] = checks.environment_is_in_the_schema(None)
    assert found.id == "livermore.E006"
    assert found.hint == "Accepted: LIVERMORE_REGION."


def test_e007_messages_older_than_a_mapper_needs_are_an_error(monkeypatch):
    assert checks.message_schemas_are_new_enough(None) == []
    needs = [slug for slug in registry.slugs() if registry.venue(slug).schema_since]
    assert needs
    monkeypatch.setattr(proto, "revised_on", lambda: date(2025, 8, 1))
    found = checks.message_schemas_are_new_enough(None)
    assert ids(found) == ["livermore.E007"] * len(needs)
    assert "2025-08-01" in found[0].msg
    assert repr(needs[0]) in found[0].msg


@pytest.mark.django_db
def test_the_project_as_delivered_has_no_error_and_all_checks_are_registered(monkeypatch):
    monkeypatch.setitem(env.ENVIRON, "LIVERMORE_NOTHING", "1")
    found = run_checks()
    assert "livermore.E006" in ids(found)
    assert [m for m in found if m.is_serious() and m.id != "livermore.E006"] == []
