"""Alerts from closed candles to stream and table: once each, whatever is killed, lost, repeated or revised."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection

from candles import window
from candles.indicators import macdv
from candles.indicators.bars import Bars
from candles.models import Alert, AlertMemory
from candles.services import alerts, indicators, intrabar, rebuild, retention
from candles.services.alert_event import Looked
from candles.services.record import Closed, record
from exchanges.models import Exchange
from livermore.core import keys
from livermore.core.candle import Candle, Quality, Reason, Timeframe
from livermore.core.errors import InvalidInput, StoreUnavailable
from tests.support import builders

pytestmark = pytest.mark.django_db
SLOT_MS = 300_000
START_MS = 1_770_000_000_000
FIVE = ("toy", "BTC-USDT", "5m")
CALM = 260


@pytest.fixture
def toy(redis_state) -> Exchange:
    row = builders.exchange("toy")
    builders.symbol(row, "BTC-USDT", tier=1)
    return row


def candle(number: int, price: str, **fields) -> Candle:
    """A candle that closes at a price, with a range of 0.02 around it."""
    close = Decimal(price)
    return Candle(
        "toy", "BTC-USDT", Timeframe.M5, START_MS + number * SLOT_MS, close, close + Decimal("0.01"),
        close - Decimal("0.01"), close, volume=Decimal(1), **fields,
    )  # fmt: skip


def calm(count: int = CALM, **fields) -> list[Candle]:
    return [candle(n, f"{100 + (n % 4) / 100:.2f}", **fields) for n in range(count)]


def close(candles: list[Candle], *, now_ms: int | None = None) -> None:
    """As `candles.close` and `candles.indicators` do, just after the last of them ended."""
    record([Closed(c, 1 + c.revision) for c in candles])
    indicators.compute([FIVE], candles[-1].open_ms + SLOT_MS + 2_000 if now_ms is None else now_ms)


def told(redis_state) -> list[dict]:
    return [json.loads(fields[b"event"]) for _, fields in redis_state.xrange(keys.alerts_stream())]


def labels(redis_state) -> list[tuple[int, str]]:
    return [((e["bar_open_time"] - START_MS) // SLOT_MS - CALM, e["label"]) for e in told(redis_state)]


def counted() -> dict[str, int]:
    return alerts.suppressed(["toy"]).get("toy", {})


def test_a_crash_raises_one_alert_with_all_it_has_to_say(toy, redis_state):
    close(calm())
    listener = redis_state.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(keys.channel_alerts("toy"))
    listener.get_message(timeout=1)
    redis_state.hset(keys.ticker("toy", "BTC-USDT"), "time_ms", START_MS + (CALM + 1) * SLOT_MS - 50)
    close([candle(CALM, "92.50")])
    (event,) = told(redis_state)
    assert json.loads(listener.get_message(timeout=2)["data"]) == event
    listener.close()
    value = json.loads(redis_state.get(keys.indicator(*FIVE, "macdv")))
    assert (event["label"], event["direction"], event["phase"]) == ("level_-150", "down", "raised")
    assert (event["exchange"], event["exchange_id"], event["symbol"], event["timeframe"]) == ("toy", "toy", *FIVE[1:])
    assert (event["value"], event["signal"], event["hist"]) == (value["macdv"], value["signal"], value["hist"])
    assert event["previous_value"] > -150 > event["value"]
    assert (event["price"], event["bar_open_time"], event["bar_version"]) == ("92.5", START_MS + CALM * SLOT_MS, 0)
    assert (event["bar_age_ms"], event["trade_age_ms"]) == (2_000, 2_050)
    assert event["buffer"] == pytest.approx(-0.05 * event["value"])
    assert event["timeframes"]["5m"] == {
        "macdv": value["macdv"], "stage": "oversold", "converged": True, "candle_open_time": event["bar_open_time"],
    }  # fmt: skip
    assert (event["stage"], event["zone"], event["bias"]) == ("oversold", "oversold", "Bearish")
    (row,) = Alert.objects.all()
    assert (str(row.event_id), row.exchange_id, row.label, row.event) == (event["event_id"], "toy", "level_-150", event)
    assert row.price == Decimal("92.5")


def test_the_first_value_only_records(toy, redis_state):
    close([*calm(), candle(CALM, "92.50")])
    assert told(redis_state) == []
    assert AlertMemory.objects.count() == 1


def test_a_repeat_tells_nothing_again(toy, redis_state):
    close(calm())
    for _ in range(3):
        close([candle(CALM, "92.50")])
    assert labels(redis_state) == [(0, "level_-150")]
    assert Alert.objects.count() == 1


def test_a_restart_between_two_bars_that_cross_loses_nothing(toy, redis_state):
    close(calm())
    record([Closed(candle(CALM, "92.50"), 1)])  # closed, and the worker died before the indicators
    close([candle(CALM + 1, "92.40")])
    assert labels(redis_state)[0] == (0, "level_-150")
    assert {row.label for row in Alert.objects.all()} == {e["label"] for e in told(redis_state)}


DIE = {
    "sqlite": (
        "CREATE TRIGGER die BEFORE INSERT ON alerts BEGIN SELECT RAISE(ABORT, 'killed'); END",
        "DROP TRIGGER die",
    ),
    "postgresql": (
        "CREATE FUNCTION die() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'killed'; END $$ LANGUAGE plpgsql; "
        "CREATE TRIGGER die BEFORE INSERT ON alerts FOR EACH ROW EXECUTE FUNCTION die()",
        "DROP FUNCTION die() CASCADE",
    ),
}


def test_dying_between_stream_and_table_tells_nothing_twice(toy, redis_state):
    begin, end = DIE[connection.vendor]
    close(calm())
    connection.cursor().execute(begin)
    with pytest.raises(DatabaseError, match="killed"):
        close([candle(CALM, "92.50")])
    assert (len(told(redis_state)), Alert.objects.count()) == (1, 0)
    connection.cursor().execute(end)
    close([candle(CALM, "92.50")])
    assert labels(redis_state) == [(0, "level_-150")]
    assert str(Alert.objects.get().event_id) == told(redis_state)[0]["event_id"]


def test_an_unreachable_redis_leaves_no_trace_and_the_repeat_raises_the_alert(toy, redis_state, settings):
    close(calm())
    record([Closed(candle(CALM, "92.50"), 1)])
    before = AlertMemory.objects.get().memory
    looked = _looked()
    url, settings.STATE_REDIS_URL = settings.STATE_REDIS_URL, "redis://127.0.0.1:1/0"
    with pytest.raises(StoreUnavailable):
        alerts.evaluate(looked, START_MS + (CALM + 1) * SLOT_MS)
    settings.STATE_REDIS_URL = url
    assert (Alert.objects.count(), AlertMemory.objects.get().memory) == (0, before)
    assert alerts.evaluate(looked, START_MS + (CALM + 1) * SLOT_MS) == 1
    assert labels(redis_state) == [(0, "level_-150")]


def _looked() -> list[Looked]:
    found = window.newest(*FIVE[:2], Timeframe.M5, 300)
    bars = Bars.from_candles(found)
    return [Looked(FIVE, found, bars, macdv.lines(bars))]


def test_a_lost_redis_tells_no_old_alert_again_and_goes_on(toy, redis_state):
    close([*calm()])
    close([candle(CALM, "92.50")])
    (first,) = told(redis_state)
    redis_state.flushall()
    rebuild.rebuild(["toy"])
    indicators.compute([FIVE], START_MS + (CALM + 1) * SLOT_MS + 5_000)
    assert told(redis_state) == []
    close([candle(CALM + 1, "80.00")])
    assert [e["previous_label"] for e in told(redis_state)] == [first["label"]]


def test_the_same_candles_on_an_empty_machine_give_the_same_ids(toy, redis_state):
    bars = [candle(CALM + n, price) for n, price in enumerate(("92.50", "80", "81", "86", "92", "97"))]

    def run() -> list[tuple[str, str, float]]:
        close(calm())
        for bar in bars:
            close([bar])
        return [(e["event_id"], e["label"], e["value"]) for e in told(redis_state)]

    first = run()
    assert [label for _, label, _ in first] == ["level_-150", "level_-250", "level_-350"]
    redis_state.flushall()
    Alert.objects.all().delete()
    AlertMemory.objects.all().delete()
    connection.cursor().execute("DELETE FROM candles")
    assert run() == first


@pytest.mark.parametrize(
    ("before", "fields", "reason"),
    [
        (calm(200), {}, "unconverged"),
        ([*calm(100), *(candle(n, "100.03", reason=Reason.OUTAGE) for n in range(100, 103)), *calm()[103:]],
         {}, "data_gap"),
        (calm(), {"quality": Quality.GAPPED}, "gapped"),
        ([c for c in calm() if c.open_ms != START_MS + 150 * SLOT_MS], {}, "data_gap"),
    ],
    ids=["unconverged", "outage in the window", "the bar itself is gapped", "a slot without candle"],
)  # fmt: skip
def test_what_cannot_be_trusted_raises_nothing_and_is_counted(toy, redis_state, before, fields, reason):
    close(before)
    number = (before[-1].open_ms - START_MS) // SLOT_MS + 1
    close([candle(number, "92.50", **fields)])
    assert told(redis_state) == []
    assert counted() == {reason: 1}


def test_a_deployment_may_ask_for_alerts_before_convergence(toy, redis_state, settings):
    settings.ALERT_RULES = {"needs_converged": False, "levels": [100, 150]}
    close(calm(200))
    close([candle(200, "92.50")])
    assert [e["label"] for e in told(redis_state)] == ["level_-150"]
    assert told(redis_state)[0]["levels"] == [-100.0, -150.0]


def test_other_timeframes_may_be_left_out(toy, redis_state, settings):
    settings.ALERT_RULES = {"timeframes": ["1h"]}
    close(calm())
    close([candle(CALM, "92.50")])
    assert (told(redis_state), AlertMemory.objects.count()) == ([], 0)


@pytest.mark.parametrize(
    "said",
    [[1], {"level": [1]}, {"levels": []}, {"levels": [-5]}, {"rearm_band": -1}, {"timeframes": ["1m"]},
     {"needs_converged": 1}, {"intrabar": "yes"}],
)  # fmt: skip
def test_rules_that_cannot_be_are_refused_in_a_line(toy, settings, said):
    settings.ALERT_RULES = said
    with pytest.raises(InvalidInput, match=r"^ALERT_RULES"):
        alerts.evaluate([], 0)


def test_what_was_missed_long_ago_is_no_news(toy, redis_state):
    close(calm())
    rising = [candle(CALM + n, f"{92.5 + 2 * n:.2f}") for n in range(6)]
    close(rising)
    close([candle(CALM + 6, "60")], now_ms=START_MS + (CALM + 6) * SLOT_MS + 3 * 3_600_000)
    assert told(redis_state) == []
    assert counted()["late"] == 2


def form(redis_state, number: int, price: str) -> None:
    prices = {"open": "100", "high": "100", "low": price, "close": price, "volume": "1"}
    redis_state.hset(keys.forming(*FIVE), mapping={"open_time": START_MS + number * SLOT_MS, **prices})


def test_the_spike_of_a_forming_bar_raises_nothing(toy, redis_state):
    close(calm())
    form(redis_state, CALM, "50")
    assert not intrabar.should_evaluate("toy")
    close([candle(CALM, "100.00")])
    assert told(redis_state) == []


def test_who_asks_for_forming_bars_is_told_once_a_bar_and_hears_that_it_is_one(toy, redis_state, settings):
    settings.ALERT_RULES = {"intrabar": True}
    assert [intrabar.should_evaluate("toy") for _ in range(2)] == [True, False]
    close(calm())
    form(redis_state, CALM, "92.50")
    in_bar_ms = START_MS + CALM * SLOT_MS + 60_000
    assert [intrabar.evaluate("toy", in_bar_ms) for _ in range(3)] == [1, 0, 0]
    (event,) = told(redis_state)
    assert (event["kind"], event["label"], event["final"]) == ("macdv_intrabar", "intrabar_level_-150", False)
    close([candle(CALM, "100.00")])  # it faded
    assert len(told(redis_state)) == 1
    close([candle(CALM + 1, "92.50")])
    assert [(e["kind"], e["label"]) for e in told(redis_state)][1:] == [("macdv", "level_-150")]
    assert [row.kind for row in Alert.objects.order_by("id")] == ["macdv_intrabar", "macdv"]


def test_a_forming_bar_that_does_not_follow_a_judged_one_raises_nothing(toy, redis_state, settings):
    settings.ALERT_RULES = {"intrabar": True}
    close(calm())
    form(redis_state, CALM + 1, "92.50")
    assert intrabar.evaluate("toy", START_MS + (CALM + 1) * SLOT_MS + 60_000) == 0
    form(redis_state, CALM, "92.50")
    assert intrabar.evaluate("toy", START_MS + (CALM + 1) * SLOT_MS + 60_000) == 0  # a preview left over


def test_a_revision_that_takes_the_crossing_back_is_noted_and_the_alert_stays(toy, redis_state):
    close(calm())
    close([candle(CALM, "92.50")])
    close([candle(CALM + 1, "100.00")])
    before = Alert.objects.get(label="level_-150").event
    close([replace(candle(CALM, "100.00"), revision=1)], now_ms=START_MS + (CALM + 2) * SLOT_MS)
    row = Alert.objects.get(label="level_-150", open_ms=START_MS + CALM * SLOT_MS)
    assert row.event["revised"]["stands"] is False
    assert row.event["revised"]["bar_version"] == 1
    assert {k: row.event[k] for k in before if k not in ("phase", "revised")} == {
        k: before[k] for k in before if k not in ("phase", "revised")
    }
    notes = [e for e in told(redis_state) if e["phase"] == "revised"]
    assert notes[0] == row.event
    indicators.compute([FIVE], START_MS + (CALM + 2) * SLOT_MS)
    assert [e for e in told(redis_state) if e["phase"] == "revised"] == notes


def test_a_revision_that_makes_the_crossing_raises_the_alert_late(toy, redis_state):
    close(calm())
    for n in range(3):
        close([candle(CALM + n, "100.00")])
    assert told(redis_state) == []
    close([replace(candle(CALM, "92.50"), revision=1)], now_ms=START_MS + (CALM + 3) * SLOT_MS + 9_000)
    first = told(redis_state)[0]
    assert (first["label"], first["bar_version"], first["bar_age_ms"]) == ("level_-150", 1, 2 * SLOT_MS + 9_000)


def test_a_gapped_bar_raises_its_alert_once_it_is_whole(toy, redis_state):
    close(calm())
    close([candle(CALM, "92.50", quality=Quality.GAPPED)])
    assert told(redis_state) == []
    close([candle(CALM, "92.50", quality=Quality.PROVEN)])
    assert labels(redis_state) == [(0, "level_-150")]


def test_alerts_are_kept_as_long_as_signals(toy, redis_state, settings):
    settings.SIGNAL_DAYS, day_ms = 30, 86_400_000
    close(calm())
    close([candle(CALM, "92.50")])
    raised_ms = Alert.objects.get().raised_ms
    retention.retire(raised_ms + 30 * day_ms)
    assert Alert.objects.count() == 1
    retention.retire(raised_ms + 30 * day_ms + 1)
    assert Alert.objects.count() == 0
