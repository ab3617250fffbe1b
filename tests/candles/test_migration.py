"""M45–M48, M54: the predecessor's keys are taken over while candles close, and nothing is lost on any way."""

from __future__ import annotations

import io
import json
import time
from decimal import Decimal

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command

from candles import legacy, window
from candles.legacy_models import LegacyMigration, LegacyModeChange, Mode
from candles.services import cutover, migration
from candles.services.legacy_walk import Stays
from candles.services.record import Closed, record
from exchanges.models import Exchange
from livermore.core import keys
from livermore.core.candle import Candle, Timeframe
from livermore.core.errors import InvalidInput, Refused
from symbols import services
from tests.bench.migration import take_over
from tests.candles.predecessor import key, leave, member
from tests.candles.streaming import past
from tests.support import builders
from tests.support.waiting import until

pytestmark = pytest.mark.django_db
AT, BTC, RARE = "coinbase", "BTC-USD", "RARE-USD"
FIVE = Timeframe.M5
FAST = 1_000_000.0


@pytest.fixture
def symbols(redis_state):
    at = Exchange.objects.get(pk=AT)
    return [builders.symbol(at, BTC, native=BTC, tier=1), builders.symbol(at, RARE, native=RARE)]


@pytest.fixture
def user(db):
    return get_user_model().objects.create(username="ann")


def run(action: str, *more: str) -> str:
    out = io.StringIO()
    call_command("migrate_keys", action, *more, stdout=out, stderr=out)
    return out.getvalue()


def candle(ago: int, price: str = "64000.123456789012345", name: str = BTC, at: str = AT) -> Candle:
    return Candle(at, name, FIVE, past(ago), *[Decimal(price)] * 4, Decimal("2.5"))


def opens(client, name: object) -> list[int]:
    return [int(score) for _, score in client.zrange(str(name), 0, -1, withscores=True)]


def modes() -> list[tuple[str, str]]:
    return [(c.before, c.after) for c in LegacyModeChange.objects.order_by("pk")]


def test_from_plan_to_purge_every_bar_comes_over_and_exactly_theirs_go(symbols, user, redis_state):
    services.follow(user, symbols[1])
    theirs = [key(7, AT, BTC), key(8, AT, BTC), key(7, AT, BTC, "1h"), key(user.pk, AT, RARE)]
    leave(redis_state, theirs, 30)
    leave(redis_state, theirs[1:2], 40)
    others = [key(7, "binance", BTC), key(7, AT, BTC, "5m")._replace(number=99)]
    leave(redis_state, others, 3)
    left = {str(k): opens(redis_state, k) for k in others}
    assert "4 keys, 4 of them with 130 bars" in run("plan", AT)
    assert list(redis_state.scan_iter("candles:coinbase:*")) == []
    assert "4 keys copied, 0 of them before; 100 bars new, 0 raised" in run("copy", AT)
    assert "4 keys copied, 4 of them before; 0 bars new" in run("copy", AT)
    assert "4 of 4 keys whole (100 %), 0 bars missing, 0 older, 0 unreadable" in run("verify", AT)
    assert opens(redis_state, keys.candles(AT, BTC, "5m")) == opens(redis_state, theirs[1])
    own = keys.user_candles(user.pk, AT, RARE, "5m")
    assert len(opens(redis_state, own)) == 30
    assert 0 < redis_state.ttl(own) <= window.OVERFLOW_S
    bar = window.newest(AT, BTC, FIVE, 1)[0].public()
    assert (bar["open"], bar["high"], bar["volume"], bar["source"], bar["trades"]) == (
        "10.5",
        "11.5",
        "1.25",
        "rest",
        None,
    )
    run("cutover", AT)
    assert "4 keys would be purged" in run("purge", AT, "--dry-run")
    assert len(list(redis_state.scan_iter("candles:*:1:*"))) == 4
    assert "4 keys purged" in run("purge", AT)
    assert list(redis_state.scan_iter("candles:*:1:*")) == list(redis_state.scan_iter("legacy:coinbase:*")) == []
    assert {str(k): opens(redis_state, k) for k in others} == left
    assert len(opens(redis_state, keys.candles(AT, BTC, "1h"))) == 30
    assert modes() == [("legacy", "dual"), ("dual", "shared"), ("shared", "done")]
    assert LegacyModeChange.objects.filter(by="").count() == 0


def test_a_candle_of_ours_stays_and_an_earlier_state_of_theirs_is_raised(symbols, redis_state):
    record([Closed(candle(2), 1)])
    old = key(7, AT, BTC)
    leave(redis_state, [old], 3)
    run("copy", AT)
    assert [c.close for c in window.newest(AT, BTC, FIVE, 9)] == [Decimal("10.5"), candle(2).close, Decimal("10.5")]
    redis_state.zremrangebyscore(str(old), past(1), past(1))
    redis_state.zadd(str(old), {member(past(1), old, 12.0, 9.5): past(1)})
    assert migration.verify(AT).older == 1
    with pytest.raises(CommandError) as told:
        run("verify", AT)
    assert told.value.returncode == 1
    assert "0 bars new, 1 raised" in run("copy", AT)
    assert migration.verify(AT).blocking == 0
    record([Closed(candle(1), 1)])
    assert window.newest(AT, BTC, FIVE, 1) == [candle(1)]


def test_what_still_forms_is_left_out(symbols, redis_state):
    leave(redis_state, [key(7, AT, BTC)], 3, ends=0)
    run("copy", AT)
    assert opens(redis_state, keys.candles(AT, BTC, "5m")) == [past(2), past(1)]
    assert migration.verify(AT).blocking == 0


def test_what_has_no_place_is_named_and_an_unknown_symbol_stops_the_migration(symbols, redis_state):
    old = key(7, AT, BTC)
    leave(redis_state, [old, key(7, AT, "GONE-USD"), key(7, AT, RARE)], 2)
    redis_state.zadd(str(key(7, AT, BTC, "1m")), {"{}": 60_000})
    redis_state.zadd(str(old), {"{": past(9)})
    report = migration.plan(AT)
    assert report.stays == {Stays.SYMBOL: 1, Stays.USER: 1, Stays.TIMEFRAME: 1}
    with pytest.raises(CommandError) as told:
        run("copy", AT)
    assert told.value.returncode == 1
    assert (migration.verify(AT).unreadable, migration.verify(AT).blocking) == (1, 2)
    with pytest.raises(Refused, match="verified to 0 % only"):
        cutover.cut_over(AT, "me")
    assert "1 of 1 keys whole (100 %), 0 bars missing, 0 older, 1 unreadable" in run("verify", AT, "--accept-loss")
    run("cutover", AT)


def test_in_dual_every_closed_candle_is_in_both_and_each_listener_hears_it_once(symbols, redis_state):
    theirs = [key(7, AT, BTC), key(8, AT, BTC), key(8, AT, BTC, "1h")]
    leave(redis_state, theirs, 2, ends=3)
    record([Closed(candle(2), 1)])
    assert opens(redis_state, theirs[0]) == [past(4), past(3)]
    run("copy", AT)
    listeners = {}
    for channel in (keys.channel_closed(AT, BTC, FIVE), theirs[0].channel_closed, theirs[1].channel_closed):
        listeners[channel] = redis_state.pubsub(ignore_subscribe_messages=True)
        listeners[channel].subscribe(channel)
        listeners[channel].get_message(timeout=1)
    for _ in range(2):
        record([Closed(candle(1), 1)])
    heard = [json.loads(one.get_message(timeout=2)["data"]) for one in listeners.values()]
    assert [one.get_message(timeout=0.05) for one in listeners.values()] == [None] * 3
    assert heard[0]["close"] == "64000.123456789012345"
    number = LegacyMigration.objects.get(pk=AT).number
    for said, user in zip(heard[1:], (7, 8), strict=True):
        assert said == {**json.loads(member(past(1), theirs[0])), "volume": 2.5} | dict.fromkeys(
            ("open", "high", "low", "close"), 64000.123456789012345)  # fmt: skip
        stored = redis_state.zrangebyscore(f"candles:{user}:{number}:{BTC}:5m", past(1), past(1))
        assert [json.loads(one) for one in stored] == [said]
        assert 0 < redis_state.ttl(f"candles:{user}:{number}:{BTC}:5m") <= legacy.COPY_S
    assert len(opens(redis_state, theirs[2])) == 2
    migration.verify(AT)
    with pytest.raises(Refused, match="2 old channels"):
        cutover.cut_over(AT, "me")
    for one in listeners.values():
        one.close()
    until(lambda: not cutover.listeners(AT))
    cutover.cut_over(AT, "me")


def test_their_keys_live_as_long_as_both_are_written(symbols, redis_state):
    theirs = [key(7, AT, BTC), key(7, AT, BTC, "1d")]
    leave(redis_state, theirs, 2, ends=3)
    run("copy", AT)
    record([Closed(candle(1), 1)])
    redis_state.expire(str(theirs[0]), 100)
    assert cutover.keep(AT) == 1
    assert [redis_state.ttl(str(one)) > 1_000 for one in theirs] == [True, False]
    assert redis_state.ttl(str(theirs[1])) == -1
    migration.verify(AT)
    cutover.cut_over(AT, "me")
    redis_state.expire(str(theirs[0]), 100)
    assert cutover.keep(AT) == 0
    assert redis_state.ttl(str(theirs[0])) <= 100


def test_a_key_of_theirs_that_was_not_copied_yet_gets_no_expiry(symbols, redis_state):
    old = key(7, AT, BTC)
    leave(redis_state, [old], 2, ends=3)
    cutover.begin(AT, "me")
    record([Closed(candle(1), 1)])
    assert len(opens(redis_state, old)) == 3
    assert redis_state.ttl(str(old)) == -1


def test_rolled_back_their_keys_have_what_closed_meanwhile(symbols, redis_state):
    theirs = [key(7, AT, BTC), key(8, AT, BTC)]
    leave(redis_state, theirs, 5, ends=4)
    run("copy", AT)
    run("verify", AT)
    run("cutover", AT)
    record([Closed(candle(2), 1), Closed(candle(1), 1)])
    assert len(opens(redis_state, theirs[0])) == 5
    redis_state.delete(str(theirs[1]))  # its day was over
    began = time.perf_counter()
    assert "coinbase is dual again" in run("rollback", AT)
    print(f"rolled back in {time.perf_counter() - began:.2f} s")
    assert [len(opens(redis_state, one)) for one in theirs] == [7, 7]
    record([Closed(candle(1, "65000"), 2)])
    assert json.loads(redis_state.zrange(str(theirs[1]), -1, -1)[0])["close"] == 65000
    assert "coinbase is legacy again" in run("rollback", AT)
    assert modes()[-2:] == [("shared", "dual"), ("dual", "legacy")]
    with pytest.raises(CommandError):
        run("rollback", AT)


def test_where_nothing_is_named_all_that_there_is_is_meant_and_wrong_names_are_one_line(symbols, redis_state):
    assert "nothing to do" in run("plan")
    assert "nothing to do" in run("rollback")
    leave(redis_state, [key(7, AT, BTC)], 2)
    leave(redis_state, [key(7, AT, BTC)._replace(number=4)], 1)
    said = run("plan")
    assert "1 keys of exchange number 4, which no exchange here has, are left alone" in said
    assert "coinbase (number 1, legacy): 1 keys, 1 of them with 2 bars" in said
    assert json.loads(run("copy", AT, "--json").splitlines()[-1])["added"] == 2
    for wrong, accepted in (
        (("plan", "kraken"), "accepted: binance"),
        (("copy", AT, "--rate", "x"), "no number of keys"),
    ):
        with pytest.raises(CommandError, match=accepted) as told:
            run(*wrong)
        assert told.value.returncode == 2


def test_nothing_goes_before_its_time(symbols, redis_state):
    old = key(7, AT, BTC)
    leave(redis_state, [old], 5)
    with pytest.raises(Refused, match="accepted: dual"):
        cutover.cut_over(AT, "me")
    run("copy", AT)
    with pytest.raises(Refused, match="not verified"):
        cutover.cut_over(AT, "me")
    with pytest.raises(Refused, match="only what is cut over"):
        cutover.purge(AT, rate=FAST, is_dry=False, by="me")
    run("verify", AT)
    run("cutover", AT)
    with pytest.raises(CommandError, match="copy is for legacy and dual"):
        run("copy", AT)
    redis_state.zremrangebyrank(keys.candles(AT, BTC, "5m"), 0, 0)  # and now ours lacks one
    report = cutover.purge(AT, rate=FAST, is_dry=False, by="me")
    assert (report.purged, len(opens(redis_state, old))) == (0, 5)
    assert LegacyMigration.objects.get(pk=AT).mode == Mode.SHARED
    with pytest.raises(InvalidInput, match="accepted: binance"):
        migration.plan("kraken")


def test_broken_off_half_way_the_copy_goes_on_and_what_closes_meanwhile_is_in_both(redis_state):
    """Candles close between any two steps; each is another one, so that a lost one would show."""
    at = Exchange.objects.get(pk=AT)
    names = [builders.symbol(at, f"S{n}-USD", native=f"S{n}", tier=1).name for n in range(25)]
    theirs = [key(user, AT, name, t) for name in names for user in (7, 8) for t in ("5m", "1h")]
    leave(redis_state, theirs, 4, ends=60)
    closed: list[Candle] = []

    def meanwhile(report):
        some = [candle(50 - len(closed) // len(names), name=name) for name in names]
        record([Closed(one, 1) for one in some])
        closed.extend(some)
        if broken and report.keys >= len(theirs) // 2:
            raise KeyboardInterrupt

    broken = True
    cutover.begin(AT, "me")
    with pytest.raises(KeyboardInterrupt):
        migration.copy(AT, rate=FAST, told=meanwhile)
    assert 0 < sum(map(bool, (c for of in readers(names) for c in of.values()))) < len(theirs)
    broken = False
    migration.copy(AT, rate=FAST, told=meanwhile)
    report = migration.verify(AT, told=meanwhile)
    assert (report.clean, report.missing, report.older) == (len(theirs), 0, 0)
    for one in closed:
        assert window.between(AT, one.symbol, FIVE, one.open_ms, one.open_ms + 1) == [one]
        for user in (7, 8):
            (found,) = redis_state.zrangebyscore(str(key(user, AT, one.symbol)), one.open_ms, one.open_ms)
            assert legacy.value(AT, one.symbol, FIVE, found).close == one.close
    cutover.cut_over(AT, "me")
    purged = cutover.purge(AT, rate=FAST, is_dry=False, by="me")
    assert (purged.purged, list(redis_state.scan_iter("candles:*:*:*:*"))) == (len(theirs), [])


def readers(names: list[str]) -> list[dict]:
    return list(legacy.readers((AT, name) for name in names).values())


@pytest.mark.services
@pytest.mark.timeout(300)
def test_at_500_candles_a_second_and_killed_half_way_nothing_is_lost_and_exactly_theirs_go(tmp_path):
    """Processes and kill -9; small, `make bench` does it with 10,000 keys."""
    done = take_over(tmp_path, symbols=60, bars=8, rate=150)
    print(done)
    assert 0 < done.copied_before_kill < done.keys == 600
    assert (done.missing, done.older, done.whole) == (0, 0, done.keys)
    assert done.written > 0
    assert (done.lost, done.unequal, done.purged, done.left, done.touched) == (0, 0, done.keys, 0, 0)
