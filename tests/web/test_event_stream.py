"""The event stream over a real web process and a real Redis."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest
import redis

from livermore.core import keys
from livermore.web.event_stream import BadChannels, patterns_of
from livermore.web.hub import QUEUE_LENGTH, Client, Event, Hub
from tests.support.redis_server import RedisServer
from tests.web import market_data
from tests.web.site import PATIENCE_S, Site, eventually


def test_a_signal_arrives_with_the_id_it_can_be_resumed_from(site: Site, redis_state: redis.Redis) -> None:
    listener = site.listen("signals:*")
    market_data.publish_signal(market_data.signal(1))
    heard = listener.next("signal")
    assert heard.data["event_id"].endswith("1")
    assert heard.id == redis_state.xrevrange(keys.signals_stream(), count=1)[0][0].decode()
    listener.close()


def test_after_a_break_exactly_the_missed_signals_come(site: Site, redis_state: redis.Redis) -> None:
    listener = site.listen("signals:*")
    market_data.publish_signal(market_data.signal(1))
    last_id = listener.next("signal").id
    listener.close()
    for number in (2, 3, 4):
        market_data.publish_signal(market_data.signal(number))
    again = site.listen("signals:*", last_event_id=last_id)
    market_data.publish_signal(market_data.signal(5))
    numbers = [int(again.next("signal").data["event_id"][-2:]) for _ in range(4)]
    assert numbers == [2, 3, 4, 5]
    again.close()


def test_one_who_heard_nothing_yet_can_resume_from_the_hello(site: Site, redis_state: redis.Redis) -> None:
    market_data.publish_signal(market_data.signal(1))
    listener = site.listen("signals:*")
    listener.close()
    market_data.publish_signal(market_data.signal(2))
    again = site.listen("signals:*", last_event_id=listener.hello.id)
    assert again.next("signal").data["event_id"].endswith("2")
    again.close()


def test_trimmed_signals_are_announced_as_a_gap(site: Site, redis_state: redis.Redis) -> None:
    for number in (1, 2, 3):
        market_data.publish_signal(market_data.signal(number))
    first = redis_state.xrange(keys.signals_stream(), count=1)[0][0].decode()
    redis_state.xtrim(keys.signals_stream(), maxlen=1, approximate=False)
    listener = site.listen("signals:*", last_event_id=first)
    assert listener.next().name == "gap"
    assert listener.next("signal").data["event_id"].endswith("3")
    listener.close()


def test_a_base_hears_only_its_own(site: Site, redis_state: redis.Redis) -> None:
    listener = site.listen("signal:ETH")
    market_data.publish_signal(market_data.signal(1, base="BTC"))
    market_data.publish_signal(market_data.signal(2, base="ETH"))
    assert listener.next("signal").data["base"] == "ETH"
    listener.close()


def test_a_wake_up_arrives_on_its_channel_once_for_overlapping_patterns(site: Site, redis_state: redis.Redis) -> None:
    listener = site.listen("candle:kucoin:BTC-USDT:5m,candle:kucoin:*")
    channel = keys.channel_forming("kucoin", "BTC-USDT", "5m")
    eventually(lambda: redis_state.publish(channel, json.dumps({"close": "1"})) >= 2)
    redis_state.publish(keys.channel_forming("coinbase", "BTC-USD", "5m"), "{}")
    redis_state.publish(channel, json.dumps({"close": "2"}))
    heard = [listener.next("wake").data for _ in range(2)]
    assert [h["data"]["close"] for h in heard] == ["1", "2"]
    assert {h["channel"] for h in heard} == {channel}
    listener.close()


def test_the_numbers_of_an_exchange_come_by_themselves(site: Site, redis_state: redis.Redis) -> None:
    listener = site.listen("exchanges:*")
    market_data.set_stream(redis_state, "kucoin", frames=1)
    assert listener.next("wake").data["data"]["frames"] == "1"
    market_data.set_stream(redis_state, "kucoin", frames=2)
    assert listener.next("wake").data["data"]["frames"] == "2"
    listener.close()


def test_a_heartbeat_comes_to_who_asks_for_it(site: Site, redis_state: redis.Redis) -> None:
    listener = site.listen("heartbeat")
    first, second = (listener.next("heartbeat").data["now_ms"] for _ in range(2))
    assert 1_500 < second - first < 4_000
    listener.close()


def test_many_listeners_cost_redis_nothing(site: Site, redis_state: redis.Redis) -> None:
    first = site.listen("signals:*,exchanges:*")
    before = len(redis_state.client_list())
    listeners = [site.listen("signals:*,exchanges:*") for _ in range(20)]
    assert len(redis_state.client_list()) <= before
    market_data.publish_signal(market_data.signal(1))
    for listener in [first, *listeners]:
        assert listener.next("signal").data["base"] == "BTC"
        listener.close()


WRONG_CHANNELS = ("", "trades:*", "channel:control:kucoin", "signals:[a]", "signals:a:b", "__keyspace@0__:*")


@pytest.mark.parametrize("wrong", WRONG_CHANNELS)
def test_channels_that_cannot_be_are_422(site: Site, wrong: str) -> None:
    status, body = site.get(f"/api/v1/stream?channels={quote(wrong)}")
    assert status == 422
    assert json.loads(body)["error"]["code"] == "unknown_channel"


def test_plurals_mean_every_channel_of_a_kind() -> None:
    assert patterns_of("candles:*:BTC-*:5m,heartbeat") == (
        ["channel:candle:*:BTC-*:5m", "channel:candle:close:*:BTC-*:5m"],
        True,
    )
    assert patterns_of("channel:signal:BTC") == (["channel:signal:BTC"], False)
    assert patterns_of("channel:alerts:kucoin,alerts") == (["channel:alerts:kucoin", "channel:alerts:*"], False)
    assert patterns_of("channel:candle:close:kucoin") == (["channel:candle:close:kucoin:*:*"], False)
    with pytest.raises(BadChannels):
        patterns_of(",".join(f"ticker:kucoin:A{n}-B" for n in range(500)))


def test_a_listener_that_does_not_keep_up_is_dropped_and_told() -> None:
    async def scenario() -> list[str]:
        slow = Client(("channel:ticker:*",))
        for number in range(QUEUE_LENGTH + 10):
            slow.offer(Event("wake", "channel:ticker:a:b", str(number)))
        return [slow.queue.get_nowait().name for _ in range(slow.queue.qsize())]

    assert asyncio.run(scenario()) == ["dropped"]


def test_a_canary_is_heard_by_the_hub_and_by_no_listener(redis_state: redis.Redis) -> None:
    async def scenario() -> tuple[int | None, int | None, bool]:
        hub = Hub()
        unheard = hub.heard_ms("kucoin")
        client = await hub.join([keys.channel_canary("*")])
        began = hub.heard_ms("kucoin")
        deadline = asyncio.get_running_loop().time() + PATIENCE_S
        while hub.heard_ms("kucoin") == began and asyncio.get_running_loop().time() < deadline:
            await asyncio.to_thread(redis_state.publish, keys.channel_canary("kucoin"), "1")
        return unheard, hub.heard_ms("kucoin") - began, client.queue.empty()

    unheard, later, is_silent = asyncio.run(scenario())
    assert (unheard, is_silent) == (None, True)
    assert later > 0


def test_when_redis_dies_listeners_are_sent_home_and_new_ones_are_refused(tmp_path: Any, settings: Any) -> None:
    server = RedisServer.start(tmp_path)
    settings.STATE_REDIS_URL = server.state_url

    async def scenario() -> Event:
        hub = Hub()
        client = await hub.join(["channel:signal:*"])
        await asyncio.to_thread(server.stop)
        ended = await asyncio.wait_for(client.queue.get(), PATIENCE_S)
        with pytest.raises(TimeoutError):
            await hub.join(["channel:signal:*"], timeout_s=0.5)
        return ended

    assert asyncio.run(scenario()).name == "dropped"
