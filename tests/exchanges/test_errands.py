"""Errands: claimed once, gone on with by the same message, ended once; on a real Redis."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis
from celery import Celery

import symbols.errands  # noqa: F401 - a worker imports it by the settings
from candles.errands import run_backfill, run_reconcile
from exchanges import control, errands
from exchanges.control import Status, Verb
from exchanges.inbox import Inbox
from exchanges.models import Exchange
from livermore import orders
from livermore.celery import app
from livermore.core import keys
from livermore.core.errors import GeoBlocked, StoreUnavailable
from tests.support import builders

pytestmark = pytest.mark.usefixtures("redis_state")


def send(wait_s: float = 30, **options: Any) -> str:
    return control.send("alpha", Verb.RECONCILE, issued_by="test", wait_s=wait_s, **options)


def test_a_host_leaves_an_errand_to_the_workers(redis_state: redis.Redis) -> None:
    errand_id = send()
    start_id = control.send("alpha", Verb.START, issued_by="test", wait_s=30)
    inbox = Inbox("alpha", "a")
    assert [command.id for _ in range(4) for command in inbox.read()] == [start_id]
    assert control.result(errand_id).status is Status.PENDING
    assert redis_state.xpending(keys.control("alpha"), "a")["pending"] == 1


def test_one_task_claims_it_and_the_same_message_goes_on() -> None:
    command_id = send(symbol="A-B")
    first = errands.claim(command_id, "task 1")
    assert first is not None
    assert (first.exchange, first.verb, first.symbol) == ("alpha", Verb.RECONCILE, "A-B")
    assert errands.claim(command_id, "task 2") is None
    assert first.tell("1 of 2", symbols=1)
    assert control.result(command_id) == control.Result(Status.ACKED, "", "1 of 2", "task 1", {"symbols": 1})
    again = errands.claim(command_id, "task 1")
    assert again == first
    assert again.done("2 of 2", symbols=2)
    assert errands.claim(command_id, "task 1") is None


def test_it_has_one_end() -> None:
    errand = errands.claim(send(), "task 1")
    assert errand is not None
    assert errand.failed(GeoBlocked("not here"))
    assert not errand.done("all")
    assert not errand.tell("more")
    ended = control.result(errand.id)
    assert (ended.status, ended.code, ended.message) == (Status.FAILED, "geo", "not here")


def test_one_that_no_worker_began_in_time_expires() -> None:
    command_id = send(wait_s=-1)
    assert errands.claim(command_id, "task 1") is None
    assert control.result(command_id).status is Status.EXPIRED
    assert errands.claim("unknown", "task 1") is None


def test_one_that_is_heard_of_is_not_abandoned_however_long_it_takes(redis_state: redis.Redis) -> None:
    errand = errands.claim(send(), "task 1")
    assert errand is not None
    long_ago = time.time_ns() // 1_000_000 - control.ERRAND_ABANDONED_AFTER_MS - 1
    redis_state.hset(keys.command(errand.id), "deadline_ms", long_ago)
    errand.tell("on its way")
    assert control.settle_overdue("alpha") == 0
    redis_state.hset(keys.command(errand.id), "told_ms", long_ago)
    assert control.settle_overdue("alpha") == 1
    assert control.result(errand.id).code == "abandoned"


def test_a_worker_knows_the_task_of_every_errand(settings: Any) -> None:
    assert set(errands.TASKS) == {verb for verb in Verb if verb.is_errand}
    assert {app.tasks[name].__module__ for name in errands.TASKS.values()} <= set(settings.CELERY_IMPORTS)


@pytest.mark.django_db
class TestTasks:
    """The tasks themselves, called as a worker calls them."""

    @pytest.fixture(autouse=True)
    def _markets(self, settings: Any) -> None:
        settings.EXCHANGE_ENDPOINTS = {"coinbase": {"rest": "http://127.0.0.1:9", "ws": "ws://127.0.0.1:9"}}
        at = Exchange.objects.get(pk="coinbase")
        for rank, name in enumerate(("BTC-USD", "ETH-USD", "SOL-USD"), 1):
            builders.symbol(at, name, native=name, tier=1, rank=rank)

    def test_each_symbol_is_a_step_of_its_own(self, redis_server: Any) -> None:
        command_id = orders.order("coinbase", Verb.RECONCILE, issued_by="test", wait_s=30)
        run_reconcile.apply((command_id,), task_id="t1")
        half = control.result(command_id)
        assert (half.status, half.host, half.answer["symbols"], half.answer["of"]) == (Status.ACKED, "task t1", 1, 3)
        done = {"symbols": 1, "of": 3, "counts": {}, "refused": []}
        run_reconcile.apply((command_id, "task t1", ["ETH-USD", "SOL-USD"], done))
        run_reconcile.apply((command_id, "task t1", ["SOL-USD"], done | {"symbols": 2}))
        ended = control.result(command_id)
        assert (ended.status, ended.message) == (
            Status.DONE, "3 of 3 symbols, 0 compared, 0 equal, 0 being repaired",
        )  # fmt: skip
        with redis.Redis.from_url(redis_server.broker_url) as broker:
            assert broker.llen("backfill.coinbase") == 3  # the order's own, and the steps two and three

    def test_what_it_raises_is_its_end(self, settings: Any) -> None:
        Exchange.objects.filter(pk="coinbase").update(geo_rules={"countries": ["US"]})
        settings.LIVERMORE_REGION, settings.EXCHANGE_ENDPOINTS = "US", {}
        command_id = orders.order("coinbase", Verb.BACKFILL, issued_by="test", wait_s=30, symbol="BTC-USD")
        run_backfill.apply((command_id,), task_id="t1")
        ended = control.result(command_id)
        assert (ended.status, ended.code) == (Status.FAILED, "geo")
        assert "US" in ended.message

    def test_without_a_broker_it_ends_at_once_and_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        absent = Celery("absent", broker="redis://127.0.0.1:1/0", set_as_current=False, fixups=[])
        absent.conf.broker_connection_timeout = 0.1
        monkeypatch.setattr(orders, "app", absent)
        with pytest.raises(StoreUnavailable, match="the broker does not answer"):
            orders.order("coinbase", Verb.REFRESH, issued_by="test", wait_s=30, idempotency_key="k")
        again = control.send("coinbase", Verb.REFRESH, issued_by="test", wait_s=30, idempotency_key="k")
        assert control.result(again).message == "the broker did not take its task"
