"""A batch that cannot be taken is kept and becomes a gap; what was set aside can be looked at, and tried again."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
import redis
from celery.app.task import Context
from django.contrib.auth.models import User
from django.urls import reverse

from candles.models import QuarantinedBatch
from candles.services import arrivals, deliveries, ingest, quarantine
from candles.services.deliveries import DEATHS, Delivery
from exchanges import wire
from livermore.core import keys
from livermore.core.errors import FrameRejected, Transient
from livermore.core.frame import FrameBatch
from livermore.core.gap import Cause
from symbols.models import ExchangeSymbol
from tests.support.trades import Made

pytestmark = pytest.mark.django_db

AT = "binance"
OPEN_MS = 1_770_000_000_000
RECEIVED_NS = OPEN_MS * 1_000_000
HOSTILE = b"<script>alert(1)</script>" + b"x" * 5_000


@pytest.fixture(autouse=True)
def _listed(redis_state: Any) -> None:
    for memory in (ingest._books, ingest._previews, arrivals._newest, arrivals._epochs):
        memory.clear()
    ExchangeSymbol(exchange_id=AT, native="BTCUSDT", base="BTC", quote="USDT", tier=1).save()


def body(number: int = 0, frames: tuple[bytes, ...] = ()) -> dict[str, Any]:
    held = frames or (Made("BTCUSDT", number, OPEN_MS + number, "64000", "1", True).frame(),)
    return wire.pack(FrameBatch(AT, "c", number, 1, held, ((len(held), RECEIVED_NS),)))


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of our own in the hot path."""

    def divide(*_: Any) -> None:
        raise ZeroDivisionError("token=hush")

    monkeypatch.setattr(ingest, "_mapped", divide)


def test_a_good_batch_is_not_counted(redis_state: Any) -> None:
    assert deliveries.ingest(body()).trades == 1
    assert not redis_state.keys("deliveries:*")


def test_an_unforeseen_fault_is_tried_again_and_then_set_aside_as_a_gap(
    broken: None, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(Transient, match="ZeroDivisionError"):
        deliveries.ingest(body(7))
    with caplog.at_level(logging.ERROR):
        done = deliveries.ingest(body(7), Delivery(failures=5, is_last=True))
    (gap,) = done.gaps
    assert (gap.exchange, gap.cause, gap.symbols) == (AT, Cause.BATCH, ())
    assert gap.from_ns < RECEIVED_NS < gap.to_ns
    (row,) = QuarantinedBatch.objects.all()
    assert (row.exchange, row.connection, row.number, row.frames, row.failures) == (AT, "c", 7, 1, 6)
    assert "ZeroDivisionError" in row.error
    assert "hush" not in row.error
    assert quarantine.frames_of(row) == wire.unpack(body(7)).frames
    assert [record.message for record in caplog.records] == ["batch.quarantined"]


def test_a_batch_that_comes_again_is_counted_until_it_goes_well(redis_state: Any, broken: None) -> None:
    again = Delivery(is_repeated=True)
    key = keys.deliveries(AT, "c:3")
    for deaths in range(1, DEATHS):
        with pytest.raises(Transient):
            deliveries.ingest(body(3), again)
        assert int(redis_state.get(key)) == deaths
    assert redis_state.ttl(key) > 3600
    assert deliveries.ingest(body(3), again).gaps
    assert not redis_state.exists(key)
    assert QuarantinedBatch.objects.get().error == f"{DEATHS} workers did not survive it"


def test_a_repeated_batch_that_goes_well_is_forgotten(redis_state: Any) -> None:
    assert deliveries.ingest(body(), Delivery(is_repeated=True)).trades == 1
    assert not redis_state.keys("deliveries:*")
    assert not QuarantinedBatch.objects.exists()


def test_an_unreadable_body_is_refused_however_often_it_comes(redis_state: Any) -> None:
    for _ in range(DEATHS + 1):
        with pytest.raises(FrameRejected):
            deliveries.ingest({"v": 99, "exchange": AT}, Delivery(is_repeated=True))
    assert not QuarantinedBatch.objects.exists()


def test_only_the_newest_batches_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine, "BATCHES_KEPT", 3)
    for number in range(5):
        quarantine.set_aside(body(number), "?", 1)
    quarantine.set_aside(body(4), "again", 2)
    kept = QuarantinedBatch.objects.order_by("number")
    assert [(row.number, row.error) for row in kept] == [(2, "?"), (3, "?"), (4, "again")]


def test_the_newest_thousand_frames_are_kept_for_a_week(redis_state: Any) -> None:
    pipe = redis_state.pipeline(transaction=False)
    for number in range(quarantine.FRAMES_KEPT + 5):
        quarantine.stage(pipe, AT, f"c:{number}", "not JSON", HOSTILE)
    pipe.execute()
    kept = quarantine.frames(AT, 5_000)
    assert [kept[0].batch, kept[-1].batch, len(kept)] == ["c:1004", "c:5", 1_000]
    assert (kept[0].size, kept[0].frame) == (len(HOSTILE), HOSTILE[:2_000])
    assert 0 < redis_state.ttl(keys.quarantine(AT)) <= 7 * 86_400


# ---- admin and API -------------------------------------------------------------------------------


def test_the_admin_shows_frames_as_text_with_their_reason(admin_client: Any) -> None:
    ingest.ingest(body(1, (HOSTILE,)))
    address = reverse("admin:candles_quarantinedframe_changelist")
    page = admin_client.get(f"{address}?exchange={AT}").content.decode()
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page
    assert f"({len(HOSTILE)} bytes)" in page
    assert "c:1" in page
    assert "Nothing of kucoin" in admin_client.get(f"{address}?exchange=kucoin").content.decode()


def test_the_admin_lists_batches_with_their_frames(admin_client: Any) -> None:
    quarantine.set_aside(body(1, (HOSTILE, b"\xff\x00")), "Traceback …\nValueError: odd", 6)
    row = QuarantinedBatch.objects.get()
    assert "ValueError: odd" in admin_client.get(reverse("admin:candles_quarantinedbatch_changelist")).content.decode()
    page = admin_client.get(reverse("admin:candles_quarantinedbatch_change", args=[row.pk])).content.decode()
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page
    assert "\\xff" in page


def test_a_batch_is_tried_again_from_the_admin_and_its_row_says_how_that_went(
    admin_client: Any, redis_state: Any, settings: Any
) -> None:
    quarantine.set_aside(body(1), "?", 6)
    row = QuarantinedBatch.objects.get()
    chosen = {"action": "try_again", "_selected_action": [row.pk]}
    assert admin_client.post(reverse("admin:candles_quarantinedbatch_changelist"), chosen).status_code == 302
    row.refresh_from_db()
    assert (row.tried_at is not None, row.taken_at) == (True, None)
    message = json.loads(redis.Redis.from_url(settings.CELERY_BROKER_URL).rpop(f"ticks.{AT}.0"))
    arrived = Context(message["headers"] | {"headers": message["headers"], "delivery_info": {}})
    assert deliveries.ingest(body(1), Delivery.of(arrived, 5)).trades == 1
    row.refresh_from_db()
    assert row.taken_at is not None


def test_strangers_and_readers_try_nothing_again(client: Any) -> None:
    quarantine.set_aside(body(1), "?", 1)
    addresses = [reverse(f"admin:candles_quarantined{what}_changelist") for what in ("batch", "frame")]
    assert [client.get(address).status_code for address in addresses] == [302, 302]
    reader = User.objects.create_user("reader", password="correct horse battery", is_staff=True)
    client.force_login(reader)
    assert [client.get(address).status_code for address in addresses] == [403, 403]


def test_the_api_lists_what_was_set_aside(client: Any, django_user_model: Any) -> None:
    ingest.ingest(body(1, (HOSTILE,)))
    quarantine.set_aside(body(2), "odd", 6)
    assert client.get(f"/api/v1/quarantine?exchange={AT}").status_code == 401
    client.force_login(django_user_model.objects.create_user("trader", password="correct horse battery"))
    said = client.get(f"/api/v1/quarantine?exchange={AT}").json()
    assert [(f["batch"], f["why"], f["size"]) for f in said["frames"]] == [("c:1", "not JSON", len(HOSTILE))]
    assert [(b["batch"], b["error"], b["taken_ms"]) for b in said["batches"]] == [("c:2", "odd", None)]
    assert client.get("/api/v1/quarantine?exchange=nonsense").status_code == 404
