"""What sessions do at their limits; the ordinary conversations are in the fixtures."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from exchanges.registry import slugs, venue
from exchanges.venue import KEEP, Close, Keep, Lost, Ready, Refused, Send, Session
from livermore.core.errors import LocalProtocolError, RemoteProtocolError
from livermore.core.trade import Nanos
from tests.venues.conversation import LIMITS, START_NS, TICK_NS, Player

SECOND = 10 * TICK_NS
MEXC_REFUSAL = (
    '{"id":0,"code":0,"msg":"Subscribed successful! []. Not Subscribed successfully! '
    '[spot@public.aggre.deals.v3.api.pb@100ms@A-B].  Reason： Blocked! "}'
)


@pytest.mark.parametrize("slug", slugs())
def test_more_symbols_than_a_connection_carries_are_our_own_mistake(slug: str) -> None:
    natives = [f"N{n}" for n in range(LIMITS.topics_per_connection + 1)]
    with pytest.raises(LocalProtocolError):
        venue(slug).session(LIMITS, natives)
    session = venue(slug).session(LIMITS, natives[1:])
    with pytest.raises(LocalProtocolError):
        session.follow(natives, Nanos(START_NS))


@pytest.mark.parametrize(
    ("slug", "refusal"),
    [
        ("binance", b'{"code":2,"msg":"no","id":1}'),
        ("coinbase", b'{"type":"error","message":"BTC-USD is not a valid product"}'),
        ("mexc", MEXC_REFUSAL.replace("A-B", "BTC-USD").encode()),
    ],
)
def test_a_refused_symbol_is_tried_again_only_after_it_was_dropped(slug: str, refusal: bytes) -> None:
    session = venue(slug).session(LIMITS, ["BTC-USD"])
    sent = [*session.opened(Nanos(START_NS)), *session.tick(Nanos(START_NS + SECOND))]
    now = START_NS + 2 * SECOND
    assert any(isinstance(e, Refused) for e in session.received(refusal, Nanos(now)))
    kept = session.follow(["BTC-USD"], Nanos(now + SECOND))
    dropped = session.follow([], Nanos(now + 2 * SECOND))
    assert not any(isinstance(e, Send) for e in (*kept, *dropped))
    (again,) = session.follow(["BTC-USD"], Nanos(now + 3 * SECOND))
    assert isinstance(again, Send)
    assert "btc-usd" in again.text.lower()
    assert isinstance(sent[-1], Send)


@pytest.mark.parametrize("slug", slugs())
@pytest.mark.parametrize("junk", [b"", b"\x00\xff", b"[1]", b'{"cut":', b"null", b"[" * 200_000])
def test_what_nobody_understands_is_kept_for_the_mapper_to_set_aside(slug: str, junk: bytes) -> None:
    session = venue(slug).session(LIMITS, ["BTC-USD"])
    session.opened(Nanos(START_NS))
    assert session.received(junk, Nanos(START_NS)) == KEEP


@pytest.mark.parametrize("slug", slugs())
def test_no_fuzzed_control_frame_raises_anything_but_a_protocol_error(slug: str) -> None:
    dice = random.Random(slug)
    models = [
        b'{"result":null,"id":1}',
        b'{"code":2,"msg":"x","id":1}',
        b'{"error":{"code":4,"msg":"Too many subscriptions"},"id":1}',
        b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}',
        b'{"channel":"subscriptions","sequence_num":1,"events":[{"subscriptions":{"market_trades":["A-B"]}}]}',
        b'{"channel":"heartbeats","sequence_num":1,"events":[{"heartbeat_counter":1}]}',
        b'{"type":"error","message":"A-B: no"}',
        b'{"id":0,"code":0,"msg":"PONG"}',
        MEXC_REFUSAL.encode(),
    ]
    values = [b"null", b"[]", b"{}", b"[[1]]", b"-1", b"1e999", b'"x"', b"true", b"9" * 30]
    for _ in range(5_000):
        session = venue(slug).session(LIMITS, ["A-B", "C-D"])
        session.opened(Nanos(START_NS))
        frame = dice.choice(models)
        for _ in range(dice.randint(1, 3)):
            parts = frame.split(b":")
            parts[dice.randrange(1, len(parts))] = dice.choice(values) + dice.choice([b"", b"}", b',"x"', b"}]}"])
            frame = b":".join(parts)
        try:
            session.received(frame, Nanos(START_NS))
        except RemoteProtocolError:
            continue
        session.tick(Nanos(START_NS + SECOND))


def test_binance_chunks_hold_two_hundred_streams_in_lower_case() -> None:
    player = Player(venue("binance").session(LIMITS, [f"COIN{n}USDT" for n in range(450)] + ["币安人生USDT"]))
    player.open()
    player.advance_to(3)
    sizes = [len(message["params"]) for _, message in player.sends()]
    assert sizes == [200, 200, 51]
    ids = [message["id"] for _, message in player.sends()]
    assert ids == [1, 2, 3]
    streams = [s for _, message in player.sends() for s in message["params"]]
    assert streams[-1] == "币安人生usdt@aggTrade"
    assert all(s == s.lower().replace("aggtrade", "aggTrade") for s in streams)


def test_binance_finds_the_bad_symbols_among_two_hundred_and_serves_the_rest() -> None:
    natives = [f"COIN{n}USDT" for n in range(200)]
    bad = {"COIN7USDT", "COIN150USDT"}
    player = Player(venue("binance").session(LIMITS, natives))
    player.open()
    served: set[str] = set()
    answered = 0
    while not player.has(Ready):
        assert not player.has(Close)
        for _, message in list(player.sends())[answered:]:
            answered += 1
            asked = {p.removesuffix("@aggTrade").upper() for p in message["params"]}
            error: dict[str, Any] = {"code": 2, "msg": "Invalid request"}
            player.receive(json.dumps((error if asked & bad else {"result": None}) | {"id": message["id"]}))
            served |= set() if asked & bad else asked
        player.advance_to((player.now_ns - START_NS + TICK_NS) / 1e9)
    assert {n for _, e in player.log if isinstance(e, Refused) for n in e.natives} == bad
    assert served == set(natives) - bad


def test_binance_is_never_ready_when_all_was_refused() -> None:
    player = Player(venue("binance").session(LIMITS, ["NOUSDT"]))
    player.open()
    player.receive('{"code":2,"msg":"no","id":1}')
    assert player.has(Refused)
    assert not player.has(Ready)


@pytest.mark.parametrize("answer", ['{"result":null,"id":99}', '{"result":null,"id":0}', '{"result":null,"id":"1"}'])
def test_binance_an_answer_to_no_question_is_impossible(answer: str) -> None:
    session = opened("binance", "BTCUSDT")
    with pytest.raises(RemoteProtocolError):
        session.received(answer.encode(), Nanos(START_NS))


def test_binance_ids_go_on_while_following_during_an_open_request() -> None:
    session = opened("binance", "AUSDT")
    later = Nanos(START_NS + SECOND)
    (change,) = session.follow(["BUSDT"], later)
    assert isinstance(change, Send)
    assert json.loads(change.text) == {"method": "UNSUBSCRIBE", "id": 2, "params": ["ausdt@aggTrade"]}
    session.received(b'{"result":null,"id":1}', later)
    (added,) = session.tick(Nanos(later + SECOND))
    assert isinstance(added, Send)
    assert json.loads(added.text) == {"method": "SUBSCRIBE", "id": 3, "params": ["busdt@aggTrade"]}
    assert list(session.received(b'{"result":null,"id":2}', later)) == []
    assert list(session.received(b'{"result":null,"id":3}', later)) == [Ready()]


def test_binance_other_channels_and_unusual_spacing() -> None:
    session = opened("binance", "BTCUSDT")
    book = b'{"stream":"btcusdt@bookTicker","data":{"u":4,"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1"}}'
    assert session.received(book, Nanos(START_NS)) == ()
    spaced = b'{ "stream" : "btcusdt@aggTrade", "data" : {"e": "aggTrade"} }'
    assert session.received(spaced, Nanos(START_NS)) is KEEP
    assert session.received(b'{"e":"aggTrade"}', Nanos(START_NS)) is KEEP


def test_coinbase_chunks_hold_a_hundred_products() -> None:
    player = Player(venue("coinbase").session(LIMITS, [f"COIN{n}-USD" for n in range(250)]))
    player.open()
    player.advance_to(3)
    said = [message for _, message in player.sends()]
    assert [len(m.get("product_ids", ())) for m in said] == [0, 100, 100, 50]
    assert [m["channel"] for m in said] == ["heartbeats"] + ["market_trades"] * 3


def test_coinbase_an_acknowledgement_of_another_shape_is_impossible() -> None:
    session = opened("coinbase", "BTC-USD")
    for events in (b'[{"subscriptions":[1]}]', b'[{"subscriptions":{"market_trades":5}}]', b"5"):
        with pytest.raises(RemoteProtocolError):
            session.received(b'{"channel":"subscriptions","sequence_num":0,"events":' + events + b"}", Nanos(START_NS))


def test_coinbase_the_number_may_stand_anywhere() -> None:
    session = opened("coinbase", "BTC-USD")
    at = Nanos(START_NS)
    assert session.received(b'{"channel":"market_trades","events":[],"sequence_num":0}', at) is KEEP
    assert session.received(b'{"sequence_num":1,"channel":"market_trades","events":[]}', at) is KEEP
    lost, kept = session.received(b'{"channel":"market_trades","events":[],"sequence_num":5}\n', at)
    assert kept == Keep()
    assert "5 after 1" in lost.why  # type: ignore[union-attr]


def test_coinbase_a_frame_that_comes_late_or_twice_is_no_loss() -> None:
    session = opened("coinbase", "BTC-USD")

    def received(number: int) -> list[str]:
        frame = b'{"channel":"market_trades","events":[],"sequence_num":%d}' % number
        events = session.received(frame, Nanos(START_NS))
        assert events[-1] == Keep()
        return [event.why for event in events if isinstance(event, Lost)]

    assert [received(number) for number in (0, 1, 1, 0, 2)] == [[]] * 5
    assert received(4) == ["frame 4 after 2"]
    assert [received(number) for number in (3, 5, 4, 6)] == [[]] * 4
    assert received(20_000) == ["frame 20000 after 6"]
    assert received(3) == ["frame 3 after 20000"]  # the venue counts anew
    assert received(4) == []


def opened(slug: str, native: str) -> Session:
    session = venue(slug).session(LIMITS, [native])
    session.opened(Nanos(START_NS))
    return session
