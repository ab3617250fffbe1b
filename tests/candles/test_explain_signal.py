"""`explain_signal`: from an event back to the batch, the trades and the recorded frame that caused it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from django.core.management import CommandError, call_command

from candles.models import Signal
from candles.services import ingest, section, signals
from exchanges import wire
from exchanges.models import Exchange
from exchanges.recording import FORMAT, Header, Writer
from livermore.core.frame import FrameBatch
from tests.candles.market import START_MS, Venue, ramp
from tests.candles.streaming import streamed
from tests.candles.test_signals_service import published, show
from tests.support import builders
from tests.support.trades import Made

pytestmark = pytest.mark.django_db

AT, NAME, NATIVE = "binance", "BTC-USDT", "BTCUSDT"
LEADER = Venue("kucoin", ramp(64_000, 80, 20, 26), symbol=NAME)


@pytest.fixture
def opened(redis_state, tmp_path) -> tuple[dict, Made]:
    """A lead, whose follower's price came through ingest in a batch; that batch is recorded, too."""
    section._listings.cache_clear()
    ingest._books.clear()
    for slug, native in ((AT, NATIVE), ("kucoin", "BTC-USDT")):
        builders.symbol(Exchange.objects.get(pk=slug), NAME, native=native, rank=1)
        streamed(redis_state, slug, since_ms=1)
    follower = Venue(AT, ramp(64_000, 0, 0, 1), symbol=NAME)
    for now_s in (25, 25.5, 26, 26.5):
        now_ms = START_MS + int(now_s * 1000)
        for venue in (LEADER, follower):
            show(redis_state, venue, now_ms)
        made = Made(NATIVE, int(now_s * 10), now_ms - 60, "64000.00", "1.5", True)
        ns = (now_ms - 20) * 1_000_000
        batch = FrameBatch(AT, "c0ffee", int(now_s * 10), 1, (made.frame(),), ((1, ns),))
        ingest.ingest(wire.pack(batch))
        signals.evaluate(now_ms)
        if events := published(redis_state):
            writer = Writer(tmp_path / "binance.zst", Header(FORMAT, "r", 0, AT, "venue", 1, {}, ()))
            writer.write(replace(batch, frames=(b'{"result": null, "id": 1}', made.frame()), arrivals=((2, ns),)))
            writer.close()
            return events[0], made
    raise AssertionError("no signal opened")


def test_six_moments_and_the_batch_that_brought_the_price(opened, capsys, redis_state) -> None:
    event, made = opened
    call_command("explain_signal", event["event_id"], "--json")
    said = json.loads(capsys.readouterr().out)
    hops = [(hop["of"], hop["at_ms"]) for hop in said["hops"]]
    assert ("follower", made.time_ms) in hops
    assert ("follower", event["follower"]["ts_recv"]) in hops
    assert ("follower", event["follower"]["ts_stored"]) in hops
    assert {at for of, at in hops if not of} >= {event["onset_ms"], event["evaluated_ms"]}
    assert len(hops) == 2 * 2 + 1 + 3
    follower = next(cause for cause in said["causes"] if cause["of"] == "follower")
    assert (follower["batch"], follower["trade_ids"], follower["is_kept"]) == (f"c0ffee:{made.id}", [made.id], True)
    assert [told["phase"] for told in said["told"]] == ["opened"]


def test_the_recorded_frame_is_found(opened, capsys, tmp_path) -> None:
    event, _ = opened
    call_command("explain_signal", event["event_id"], "--json", "--recording", str(tmp_path / "binance.zst"))
    causes = {cause["of"]: cause for cause in json.loads(capsys.readouterr().out)["causes"]}
    assert causes["follower"]["frames"] == [1]
    assert causes["leader"]["frames"] == []


def test_what_is_no_longer_kept_is_said_and_the_rest_stays(opened, capsys, redis_state) -> None:
    event, made = opened
    redis_state.flushdb()
    ended = {"event": {"phase": "closed"}, "closed_ms": START_MS + 90_000, "outcome": "expired"}
    Signal.objects.filter(pk=event["event_id"]).update(**ended)
    call_command("explain_signal", event["event_id"])
    said = capsys.readouterr().out
    assert f"batch c0ffee:{made.id}: its trades are no longer kept" in said
    assert "stored by ingest: batch" in said
    assert "closed: expired" in said


def test_an_id_that_is_none_is_refused_in_one_line(db) -> None:
    with pytest.raises(CommandError, match="is no event id"):
        call_command("explain_signal", "nonsense")
    with pytest.raises(CommandError, match="there is no signal"):
        call_command("explain_signal", "5c1e8f0a-6d5b-5b0e-9d5e-2a4c0f3b7d61")
