"""Fast signals from a cross-section in a real Redis to rows, stream and channels."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

import pytest
import redis

from candles.models import Gap, Signal
from candles.services import section, signal_memory, signals
from exchanges.models import Exchange
from exchanges.state import state_redis
from livermore.core import keys
from livermore.core.gap import Cause
from tests.candles.market import PAST_S, START_MS, Venue, ramp
from tests.candles.streaming import streamed
from tests.support import builders
from tests.support.stack import stack

pytestmark = pytest.mark.django_db

LEADER = Venue("coinbase", ramp(64_000, 80, 20, 26))
FOLLOWER = Venue("binance_us", ramp(64_000, 80, 40, 42))
SILENT = Venue("binance_us", lambda at_s: 64_000 if at_s < 30 else None)
TETHERED = Venue("binance", ramp(64_000, 0, 0, 1), symbol="BTC-USDT")
UNUSUAL = {"not_converged"}
"""Nobody knows yet how far these markets usually are apart: a gap is held back."""
DOLLAR = Venue("coinbase", lambda at_s: 1.0, symbol="USDT-USD")


def stale_since(at_s: int) -> Venue:
    return Venue("coinbase", lambda s: 1.0 if s < at_s else None, symbol="USDT-USD")


class Overtaken(section.Sections):
    """Reading takes so long that the lock has expired and another evaluator holds it."""

    def of(self, base: str) -> Any:
        state_redis().set(keys.signal_lock(base), "another")
        return super().of(base)


@pytest.fixture(autouse=True)
def _listed(redis_state):
    section._listings.cache_clear()
    list_markets()


def list_markets() -> None:
    """The rows that the scripted venues need."""
    for slug, name in (("coinbase", "BTC-USD"), ("binance_us", "BTC-USD"), ("binance", "BTC-USDT")):
        builders.symbol(Exchange.objects.get(pk=slug), name, native=name, rank=1)
    builders.symbol(Exchange.objects.get(pk="coinbase"), "USDT-USD", native="USDT-USD")


def show(client: redis.Redis, venue: Venue, now_ms: int) -> None:
    """What ingest would have left in Redis by now."""
    market = venue.market(now_ms)
    assert market is not None
    leg = market.leg
    name = f"{leg.exchange}|{leg.symbol}"
    quote = f"{leg.price}|{leg.event_ms}|{leg.received_ms}|{float(leg.price) - 1}|{float(leg.price) + 1}"
    before = client.hget(keys.quotes(leg.base), name)
    client.hset(keys.quotes(leg.base), name, quote)
    if before is None or before.decode() != quote:
        client.zadd(keys.touched(), {leg.base: now_ms})
    points = {str(at // 1000 % 720): f"{at}|{price}" for at, price in market.trail}
    client.hset(keys.trail(leg.exchange, leg.symbol), mapping=points)
    place = (leg.exchange, leg.symbol, "5m", "macdv")
    client.set(keys.indicator(*place), json.dumps({"atr": 64_000 * 0.003, "close": 64_000.0, "converged": True}))


def play(client: redis.Redis, *venues: Venue, from_s: float = 15, to_s: float = 60, **options: Any) -> None:
    """Let the venues trade and evaluate twice a second."""
    for venue in venues:
        streamed(client, venue.exchange, since_ms=START_MS - PAST_S * 1000)
    for now_ms in range(int(START_MS + from_s * 1000), int(START_MS + to_s * 1000), 500):
        for venue in venues:
            show(client, venue, now_ms)
        signals.evaluate(now_ms, **options)


def published(client: redis.Redis) -> list[dict]:
    return [json.loads(fields[b"event"]) for _, fields in client.xrange(keys.signals_stream())]


def suppressed(client: redis.Redis) -> dict[str, int]:
    return {why.decode(): int(n) for why, n in client.hgetall(keys.suppressed()).items()}


def lives(events: list[dict]) -> dict[str, list[str]]:
    found = defaultdict(list)
    for event in events:
        found[event["event_id"]].append(event["phase"])
    return dict(found)


def test_a_move_opens_updates_and_closes_each_signal_once(redis_state):
    listener = redis_state.pubsub(ignore_subscribe_messages=True)
    listener.subscribe(keys.channel_signal("BTC"))
    listener.get_message(timeout=1)
    play(redis_state, LEADER, FOLLOWER)
    events = published(redis_state)
    assert len(lives(events)) == 3  # one a window
    for phases in lives(events).values():
        assert (phases[0], phases[-1]) == ("opened", "closed")
        assert len(phases) > 2
        assert set(phases[1:-1]) == {"updated"}
    heard = [json.loads(m["data"]) for _ in events if (m := listener.get_message(timeout=2))]
    assert heard == events
    listener.close()


def test_rows_say_what_the_last_event_said(redis_state):
    play(redis_state, LEADER, FOLLOWER)
    last = {event["event_id"]: event for event in published(redis_state)}
    rows = {str(row.event_id): row for row in Signal.objects.all()}
    assert rows.keys() == last.keys()
    for event_id, row in rows.items():
        assert row.event == last[event_id]
        assert (row.phase, row.outcome) == ("closed", last[event_id]["outcome"])
        assert (row.leader_id, row.follower_id, row.base) == ("coinbase", "binance_us", "BTC")
        assert row.opened_ms == last[event_id]["onset_ms"] < row.closed_ms == last[event_id]["evaluated_ms"]


def test_an_event_links_to_the_followers_own_page_and_knows_its_latency(redis_state):
    Exchange.objects.filter(pk="binance_us").update(home_url="https://x.example/{base}_{quote}/{native}")
    play(redis_state, LEADER, FOLLOWER, to_s=30)
    for event in published(redis_state):
        assert event["links"]["home"] == "https://x.example/BTC_USD/BTC-USD"
        assert isinstance(event["latency"]["eval_to_publish_ms"], int)


def test_a_replay_gives_the_same_ids_and_no_new_rows(redis_state):
    play(redis_state, LEADER, FOLLOWER)
    once = lives(published(redis_state))
    redis_state.flushdb()
    play(redis_state, LEADER, FOLLOWER)
    assert lives(published(redis_state)) == once
    assert Signal.objects.count() == len(once)


def test_a_crash_before_the_states_were_kept_repeats_the_same_event(redis_state):
    play(redis_state, LEADER, FOLLOWER, to_s=22.5)
    states = redis_state.hgetall(keys.signal_states("LEADER_MOVE", "BTC"))
    play(redis_state, LEADER, FOLLOWER, from_s=22.5, to_s=24)
    once = set(lives(published(redis_state)))
    assert once
    redis_state.delete(keys.signal_states("LEADER_MOVE", "BTC"))
    redis_state.hset(keys.signal_states("LEADER_MOVE", "BTC"), mapping=states)
    play(redis_state, LEADER, FOLLOWER, from_s=22.5, to_s=24)
    assert set(lives(published(redis_state))) == once


def test_while_another_evaluates_a_base_it_is_left_alone(redis_state):
    redis_state.set(keys.signal_lock("BTC"), 1)
    play(redis_state, LEADER, FOLLOWER, to_s=30)
    assert published(redis_state) == []
    assert redis_state.exists(keys.signal_lock("BTC"))
    redis_state.delete(keys.signal_lock("BTC"))
    play(redis_state, LEADER, FOLLOWER, from_s=25, to_s=30)
    assert published(redis_state)
    assert not redis_state.exists(keys.signal_lock("BTC"))


def test_a_dead_evaluators_lock_ends_by_itself(redis_state, monkeypatch):
    monkeypatch.setattr(signal_memory, "hold", lambda entries: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        play(redis_state, LEADER, FOLLOWER, to_s=16)
    assert not redis_state.exists(keys.signal_lock("BTC"))


def test_a_lock_that_has_gone_to_another_stays_the_others(redis_state, monkeypatch):
    monkeypatch.setattr(signals, "Sections", Overtaken)
    redis_state.zadd(keys.touched(), {"BTC": START_MS})
    signals.evaluate(START_MS)
    assert redis_state.get(keys.signal_lock("BTC")) == b"another"


def test_a_signal_of_an_asset_that_fell_silent_is_closed(redis_state):
    play(redis_state, LEADER, FOLLOWER, to_s=28)
    opened = lives(published(redis_state))
    assert {phases[-1] for phases in opened.values()} <= {"opened", "updated"}
    late_ms = START_MS + 28_000 + signals.ACTIVE_WITHIN_MS + 20_000
    assert signals.evaluate(late_ms) == 0  # nothing was traded: nobody looks
    assert signals.evaluate(late_ms, has_open=True) == len(opened)
    assert {phases[-1] for phases in lives(published(redis_state)).values()} == {"closed"}
    assert {e["outcome"] for e in published(redis_state) if e["phase"] == "closed"} == {"invalidated"}


def test_a_base_that_rested_for_a_second_waits_for_the_sweep(redis_state):
    play(redis_state, LEADER, FOLLOWER, from_s=15, to_s=16)
    later_ms = START_MS + 16_000 + signals.TOUCHED_WITHIN_MS
    evaluated = keys.suppressed()
    for venue in (LEADER, FOLLOWER):
        redis_state.hset(keys.stream(venue.exchange), "since_ms", later_ms)  # warming: an evaluation is counted
        show(redis_state, venue, START_MS + 24_000)
    redis_state.zadd(keys.touched(), {"BTC": START_MS + 24_000})
    signals.evaluate(START_MS + 25_001)
    assert not redis_state.exists(evaluated)
    signals.evaluate(START_MS + 25_001, has_open=True)
    assert redis_state.exists(evaluated)


def test_an_old_row_that_nothing_remembers_is_not_looked_at_for_ever(redis_state):
    play(redis_state, LEADER, FOLLOWER, to_s=28)
    assert signals._open_bases(START_MS + 60_000) == {"BTC"}
    assert signals._open_bases(START_MS + 2 * signal_memory.STATES_LIFE_S * 1000) == set()


# ---- what is held back -------------------------------------------------------------------------


def test_without_a_fresh_dollar_rate_nothing_opens_and_the_reason_is_counted(redis_state):
    play(redis_state, LEADER, TETHERED, stale_since(-200), to_s=40)
    assert published(redis_state) == []
    assert suppressed(redis_state).keys() == {"basis_stale"}


def test_with_a_fresh_dollar_rate_a_mixed_pair_opens(redis_state):
    play(redis_state, LEADER, TETHERED, DOLLAR, to_s=40)
    events = published(redis_state)
    assert {e["follower"]["symbol"] for e in events} == {"BTC-USDT"}
    assert {e["follower"]["usd_rate"] for e in events} == {"1"}
    assert suppressed(redis_state).keys() == UNUSUAL


def test_an_exchange_that_has_just_started_is_warming(redis_state):
    for now_s in range(15, 30):
        now_ms = START_MS + now_s * 1000
        for venue in (LEADER, FOLLOWER):
            streamed(redis_state, venue.exchange, since_ms=now_ms - 10_000)
            show(redis_state, venue, now_ms)
        signals.evaluate(now_ms)
    assert published(redis_state) == []
    assert suppressed(redis_state).keys() == {"warming"}


def test_an_exchange_that_does_not_stream_is_warming_too(redis_state):
    for now_s in range(15, 30):
        for venue in (LEADER, FOLLOWER):
            show(redis_state, venue, START_MS + now_s * 1000)
        signals.evaluate(START_MS + now_s * 1000)
    assert suppressed(redis_state).keys() == {"warming"}


def test_a_series_without_a_converged_indicator_is_held_back(redis_state):
    streamed(redis_state, "coinbase", since_ms=1)
    streamed(redis_state, "binance_us", since_ms=1)
    for now_s in range(15, 30):
        for venue in (LEADER, FOLLOWER):
            show(redis_state, venue, START_MS + now_s * 1000)
            redis_state.delete(keys.indicator(venue.exchange, venue.symbol, "5m", "macdv"))
        signals.evaluate(START_MS + now_s * 1000)
    assert suppressed(redis_state).keys() == {"not_converged"}


@pytest.mark.parametrize(("ago_s", "reasons"), [(10, {"gap_open"}), (7_200, UNUSUAL)])
def test_an_open_gap_holds_back_as_long_as_it_touches_the_trail(redis_state, ago_s, reasons):
    to_ns = (START_MS - ago_s * 1000) * 1_000_000
    Gap.objects.create(exchange_id="coinbase", symbol="BTC-USD", from_ns=to_ns - 9, to_ns=to_ns, cause=Cause.IDS)
    play(redis_state, LEADER, FOLLOWER, to_s=30)
    assert suppressed(redis_state).keys() == reasons
    assert bool(published(redis_state)) is ("gap_open" not in reasons)


def test_quotes_of_markets_that_nobody_lists_are_ignored(redis_state):
    redis_state.hset(keys.quotes("BTC"), "nowhere|BTC-USD", "1|1|1||")
    redis_state.hset(keys.quotes("USDT"), "nowhere|USDT-USD", "1|1|1||")
    play(redis_state, LEADER, FOLLOWER, to_s=30)
    assert {e["follower"]["exchange"] for e in published(redis_state)} == {"binance_us"}


def test_stable_coins_have_no_signals_of_their_own(redis_state):
    redis_state.zadd(keys.touched(), {"USDT": START_MS})
    assert signals.evaluate(START_MS) == 0
    assert not redis_state.exists(keys.signal_lock("USDT"))


def test_an_evaluation_is_asked_for_at_most_four_times_a_second(redis_state):
    assert signals.should_evaluate()
    assert not signals.should_evaluate()
    assert 0 < redis_state.pttl(keys.asked()) <= signals.ASK_EVERY_MS


# ---- two evaluators at once --------------------------------------------------------------------

EVALUATOR = """
import time
from candles.services import signals
from exchanges.state import state_redis
done = 0
while (now_ms := int(state_redis().get("test:now") or 0)) >= 0:
    if now_ms > done:
        signals.evaluate(now_ms)
        done = now_ms
        state_redis().hset("test:done", NAME, done)
"""


@pytest.mark.slow
def test_two_evaluators_at_once_publish_everything_once(redis_state, tmp_path):
    play(redis_state, LEADER, FOLLOWER)
    alone = Counter((e["event_id"], e["phase"]) for e in published(redis_state) if e["phase"] != "updated")
    with stack(tmp_path) as running:
        running.python("from tests.candles.test_signals_service import list_markets\nlist_markets()\nprint(1)")
        names = ("one", "two")
        for name in names:
            running.start(name, "manage.py", "shell", "--no-imports", "-c", f"NAME = {name!r}\n{EVALUATOR}")
        for venue in (LEADER, FOLLOWER):
            streamed(running.state, venue.exchange, since_ms=START_MS - PAST_S * 1000)
        for now_ms in range(START_MS + 15_000, START_MS + 60_000, 500):
            for venue in (LEADER, FOLLOWER):
                show(running.state, venue, now_ms)
            running.state.set("test:now", now_ms)
            done = lambda now=now_ms: running.state.hvals("test:done") == [str(now).encode()] * 2  # noqa: E731
            running.wait("both evaluated", done, 30)
        running.state.set("test:now", -1)
        events = published(running.state)
        told = Counter((e["event_id"], e["phase"]) for e in events if e["phase"] != "updated")
        assert told == alone
        assert set(told.values()) == {1}
        rows = running.python("from candles.models import Signal\nprint(Signal.objects.count())")
        assert rows == len(lives(events))


def test_what_is_held_back_is_listed_with_its_reason_and_numbers(redis_state):
    """I23: who, when, why, and how far it was from being told."""
    still = Venue("binance_us", lambda at_s: 64_000 if at_s < 10 else None)
    play(redis_state, LEADER, still, from_s=15, to_s=30)
    found = [entry for entry in signal_memory.held(100) if entry["reason"] == "stale_follower"]
    assert {(e["kind"], e["base"], e["leader"]["exchange"], e["follower"]["exchange"]) for e in found} == {
        (kind, "BTC", "coinbase", "binance_us") for kind in ("LEADER_MOVE", "PRICE_GAP")
    }
    assert all(e["follower"]["age_ms"] > e["follower"]["max_age_ms"] for e in found)
    moves = [e for e in found if e["kind"] == "LEADER_MOVE"]
    assert all(float(e["metrics"]["move_leader_bps"]) >= {15: 10, 60: 20, 300: 40}[e["window_s"]] for e in moves)
    assert signal_memory.counts()["stale_follower"] == len(found)


def test_a_lone_small_trade_is_no_move(redis_state):
    """What it was worth comes with the quote: at a market that trades every twenty seconds."""
    prices = {True: 64_512, False: 64_000}
    rare = Venue("coinbase", lambda at_s: prices[at_s >= 20] if at_s % 20 == 0.5 else None)
    for worth, reasons in (("640.25", {"one_trade"}), ("6402.50", set())):
        redis_state.flushdb()
        for venue in (rare, FOLLOWER):
            streamed(redis_state, venue.exchange, since_ms=1)
            show(redis_state, venue, START_MS + 20_800)
        quote = redis_state.hget(keys.quotes("BTC"), "coinbase|BTC-USD").decode()
        redis_state.hset(keys.quotes("BTC"), "coinbase|BTC-USD", f"{quote}|{worth}|{START_MS}|c:1")
        signals.evaluate(START_MS + 20_800)
        assert {e["reason"] for e in signal_memory.held(9) if e["window_s"] == 15} == reasons


def test_what_the_state_store_has_forgotten_is_closed_and_not_scored(redis_state):
    play(redis_state, LEADER, FOLLOWER, to_s=28)
    opened = set(lives(published(redis_state)))
    redis_state.flushdb()
    assert signals.evaluate(START_MS + 30_000, has_open=True) == len(opened)
    events = published(redis_state)
    assert {(e["event_id"], e["phase"], e["outcome"]) for e in events} == {(i, "closed", "invalidated") for i in opened}
    rows = Signal.objects.filter(pk__in=opened)
    assert {(row.phase, row.closed_ms, row.peak_bps) for row in rows} == {("closed", START_MS + 30_000, None)}
    assert signals.evaluate(START_MS + 32_000, has_open=True) == 0
