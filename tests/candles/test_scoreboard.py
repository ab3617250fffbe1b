"""The scoreboard equals what somebody else computes from the published events alone (I21)."""

from __future__ import annotations

import json
import math
from statistics import median

import pytest

from candles.models import Signal
from candles.services import retention, scoreboard, signal_memory, signal_record
from candles.services.scoreboard import DAY_MS
from candles.signals.scores import Graded, score
from exchanges.models import Exchange
from livermore.core import keys
from livermore.web.api import signals as api
from tests.candles.market import START_MS, Venue, play, ramp
from tests.support import builders

pytestmark = pytest.mark.django_db


def told(lag_s: float, bps: float, at_h: int, pair: tuple[str, str] = ("coinbase", "binance_us")) -> list[dict]:
    """The events of a scripted lead, so many hours later."""
    leader = Venue(pair[0], ramp(64_000, bps, 20, 26))
    follower = Venue(pair[1], ramp(64_000, bps, 20 + lag_s, 22 + lag_s))
    moved_ms = at_h * 3_600_000
    events = play(leader, follower, seconds=90, every_ms=500).events
    for event in events:
        event["event_id"] = event["event_id"][:-6] + f"{at_h:06d}"
        event["onset_ms"] += moved_ms
        event["evaluated_ms"] += moved_ms
    return events


@pytest.fixture
def published(redis_state):
    builders.symbol(Exchange.objects.get(pk="coinbase"), "BTC-USD", native="BTC-USD", rank=1)
    pasts = [told(14, 80, 0), told(30, 80, 1), told(50, 55, 24), told(18, -70, 25), told(20, 60, 2, ("kucoin", "mexc"))]
    for events in pasts:
        signal_record.keep(events, {})
    return [json.loads(fields[b"event"]) for _, fields in redis_state.xrange(keys.signals_stream())]


def test_it_equals_the_recomputation_from_the_stream(published):
    closed = [event for event in published if event["phase"] == "closed"]
    groups: dict[tuple, list[dict]] = {}
    for event in closed:
        hour = event["onset_ms"] // 3_600_000 % 24
        place = (event["kind"], event["leader"]["exchange"], event["follower"]["exchange"], hour)
        groups.setdefault(place, []).append(event)
    expected = []
    for (kind, leader, follower, hour), events in sorted(groups.items()):
        hits = [e["duration_ms"] / 1000 for e in events if e["outcome"] == "converged"]
        lives = sorted(e["duration_ms"] / 1000 for e in events)
        names = ("peak_remaining_bps", "mfe_bps", "mae_bps")
        numbers = {name: median(float(e[name]) for e in events) for name in names}
        expected.append(
            {
                "kind": kind, "leader": leader, "follower": follower, "hour": hour, "n": len(events),
                "hit_rate": f"{len(hits) / len(events):.4f}",
                "median_catchup_s": f"{median(hits):.2f}" if hits else None,
                "life_p50_s": f"{median(lives):.2f}",
                "life_p90_s": f"{lives[math.ceil(0.9 * len(lives)) - 1]:.2f}",
                "peak_p50_bps": f"{numbers['peak_remaining_bps']:z.2f}",
                "mfe_p50_bps": f"{numbers['mfe_bps']:z.2f}",
                "mae_p50_bps": f"{numbers['mae_bps']:z.2f}",
            }
        )  # fmt: skip
    assert scoreboard.scores(START_MS - DAY_MS) == expected
    assert len(expected) == 3  # two of them are the same hour on two days
    assert {row["hour"] for row in expected} == {(START_MS // 3_600_000 + passed) % 24 for passed in (0, 1, 2)}


def test_a_later_event_tells_what_became_of_the_earlier_ones(published):
    scoreboard._history.cache_clear()
    opened = told(14, 80, 48)[0]
    (event,) = signal_record.keep([opened], {})
    before = [e for e in published if e["phase"] == "closed" and e["leader"]["exchange"] == "coinbase"]
    hits = [e["duration_ms"] / 1000 for e in before if e["outcome"] == "converged"]
    assert event["history"] == {
        "n_30d": len(before),
        "hit_rate": f"{len(hits) / len(before):.2f}",
        "median_catchup_s": f"{median(hits):.1f}",
        "expected_remaining_bps_p50": f"{median(float(e['peak_remaining_bps']) for e in before):.0f}",
    }
    other = {**opened, "base": "ETH", "event_id": opened["event_id"][:-2] + "99"}
    assert signal_record.keep([other], {})[0]["history"] is None


def test_the_score_of_events_none_of_which_converged():
    one = Graded("PRICE_GAP", "a", "b", 0, "expired", 5_000, 30.0, 2.0, -1.0)
    assert (score([one]).hit_rate, score([one]).catch_up_s, score([one]).life_p90_s) == (0.0, None, 5.0)


def test_closed_signals_leave_the_table_when_they_are_old_and_open_ones_stay(published, settings):
    settings.SIGNAL_DAYS = 30
    Signal.objects.filter(leader="kucoin").update(closed_ms=None)
    kept = Signal.objects.filter(leader="kucoin").count()
    assert kept
    assert Signal.objects.count() > kept
    retention.retire(START_MS + 40 * DAY_MS)
    assert Signal.objects.count() == kept


def test_the_api_tells_scores_reasons_and_regimes(published, client, django_user_model, monkeypatch):
    client.force_login(django_user_model.objects.create_user("reader"))
    monkeypatch.setattr(api, "now_ms", lambda: START_MS + 2 * DAY_MS)
    found = client.get("/api/v1/signals/scoreboard", {"days": 3, "kind": "leader_move"}).json()["scores"]
    assert found == scoreboard.scores(START_MS - DAY_MS, kind="LEADER_MOVE")
    lines = client.get("/api/v1/signals/scoreboard", {"days": 3, "format": "csv"}).content.decode().split("\r\n")
    assert lines[0].split(",") == list(scoreboard.COLUMNS)
    assert len(lines) == len(found) + 2
    signal_memory.hold([{"reason": "gap_open", "base": "BTC", "kind": "PRICE_GAP", "at_ms": 1}])
    signal_memory.hold([{"reason": "warming", "base": "ETH", "kind": "PRICE_GAP", "at_ms": 2}])
    answer = client.get("/api/v1/signals/suppressed", {"base": "btc"}).json()
    assert [entry["reason"] for entry in answer["suppressed"]] == ["gap_open"]
    assert answer["counts"] == {"gap_open": 1, "warming": 1}
    assert client.get("/api/v1/signals/regimes", {"base": "BTC"}).json()["regimes"] == []
    assert client.get("/api/v1/signals/standings", {"base": "BTC"}).json()["standings"] == []
    assert client.get("/api/v1/signals/scoreboard", {"days": 0}).status_code == 422
