"""What a KuCoin session does at its limits; the ordinary conversations are in the fixtures."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import permutations

import pytest

from exchanges.kucoin import VENUE
from exchanges.venue import KEEP, Close, Ready, Refused, Send, Session
from livermore.core.errors import RemoteProtocolError
from livermore.core.trade import Nanos
from tests.venues import conversation
from tests.venues.conversation import START_NS, TICK_NS, Player

SECOND = 10 * TICK_NS
WELCOME = '{"id":"hQvf8jkno","type":"welcome"}'
TOPIC = "/market/match:"
LIMITS = replace(conversation.LIMITS, topics_per_connection=400, messages_per_second=10.0)


def player(*natives: str) -> Player:
    talk = Player(VENUE.session(LIMITS, natives), greeting=WELCOME)
    talk.open()
    return talk


def welcomed(*natives: str) -> Session:
    session = VENUE.session(LIMITS, natives)
    session.opened(Nanos(START_NS))
    session.received(WELCOME.encode(), Nanos(START_NS))
    return session


def symbols(message: dict[str, str]) -> list[str]:
    return message["topic"].removeprefix(TOPIC).split(",")


def test_groups_hold_a_hundred_symbols_and_ids_are_texts_that_rise() -> None:
    natives = [f"COIN{n}-USDT" for n in range(350)]
    talk = player(*natives)
    talk.advance_to(2)
    said = [message for _, message in talk.sends()]
    assert [len(symbols(m)) for m in said] == [100, 100, 100, 50]
    assert [m["id"] for m in said] == ["1", "2", "3", "4"]
    assert [s for m in said for s in symbols(m)] == natives


def test_the_bad_symbols_among_a_hundred_are_found_within_the_pace_and_the_rest_is_served() -> None:
    natives = [f"COIN{n}-USDT" for n in range(100)]
    bad = {"COIN7-USDT", "COIN50-USDT", "COIN99-USDT"}
    talk = player(*natives)
    served: set[str] = set()
    answered = 0
    while not talk.has(Ready):
        assert not talk.has(Close)
        for _, message in list(talk.sends())[answered:]:
            answered += 1
            asked = set(symbols(message))
            is_bad = bool(asked & bad)
            error = {"type": "error", "code": 404, "data": "topic is not found"}
            talk.receive(json.dumps({"id": message["id"]} | (error if is_bad else {"type": "ack"})))
            served |= set() if is_bad else asked
        talk.advance_to((talk.now_ns - START_NS + TICK_NS) / 1e9)
    assert {n for _, e in talk.log if isinstance(e, Refused) for n in e.natives} == bad
    assert served == set(natives) - bad
    times = [at for at, _ in talk.sends()]
    assert all(sum(at <= other < at + 10 for other in times) < 100 for at in times)


def test_it_is_never_ready_when_all_was_refused_and_tries_again_only_after_a_drop() -> None:
    session = welcomed("NO-USDT")
    now = START_NS + SECOND
    (refused,) = session.received(b'{"id":"1","type":"error","code":404,"data":"topic is not found"}', Nanos(now))
    assert isinstance(refused, Refused)
    assert not session.follow(["NO-USDT"], Nanos(now + SECOND))
    assert not any(isinstance(e, Send) for e in session.follow([], Nanos(now + 2 * SECOND)))
    (again,) = session.follow(["NO-USDT"], Nanos(now + 3 * SECOND))
    assert isinstance(again, Send)


MANY = "0" * 5000


@pytest.mark.parametrize("number", ['"99"', '"0"', "1", "null", '"x"', '"-1"', f'"9{MANY}"', f'"{MANY}1"', "[]"])
def test_an_answer_to_no_question_is_impossible(number: str) -> None:
    session = welcomed("BTC-USDT")
    with pytest.raises(RemoteProtocolError) as error:
        session.received(f'{{"id":{number},"type":"ack"}}'.encode(), Nanos(START_NS))
    assert len(str(error.value)) < 120


def test_fields_may_come_in_any_order_and_spacing() -> None:
    session, at = welcomed("BTC-USDT"), Nanos(START_NS)
    parts = ['"type": "message"', '"topic": "/market/match:BTC-USDT"', '"subject": "trade.l3match"', '"data": {}']
    for order in permutations(parts):
        frame = "{" + ",".join(order) + "}"
        assert session.received(frame.encode(), at) == KEEP
        assert session.received(frame.replace(": ", ":").encode(), at) is KEEP
    other = '{"type": "message", "topic": "/market/ticker:all", "subject": "BTC-USDT", "data": {}}'
    assert list(session.received(other.encode(), at)) == []


def test_an_error_that_quotes_a_topic_is_no_trade() -> None:
    session = welcomed("BTC-USDT")
    said = b'{"id":"1","type":"error","code":404,"data":"/market/match:BTC-USDT"}'
    (refused,) = session.received(said, Nanos(START_NS))
    assert refused == Refused(("BTC-USDT",), "/market/match:BTC-USDT")


def test_pings_come_first_so_that_many_changes_cannot_delay_them() -> None:
    limits = replace(LIMITS, ping_interval_s=5.0, ping_timeout_s=5.0, messages_per_second=1.0)
    session = VENUE.session(limits, ["A-B"])
    session.opened(Nanos(START_NS))
    session.received(WELCOME.encode(), Nanos(START_NS))
    now = START_NS + 5 * SECOND
    (ping,) = session.follow(["C-D"], Nanos(now))
    assert isinstance(ping, Send)
    assert json.loads(ping.text)["type"] == "ping"


def test_no_fuzzed_answer_raises_anything_but_a_protocol_error() -> None:
    dice = random.Random("kucoin")
    models = [
        b'{"id":"1","type":"ack"}',
        b'{"id":"1","type":"pong","timestamp":1791026404123}',
        b'{"id":"1","type":"error","code":404,"data":"topic is not found"}',
        b'{"id":"1","type":"error","code":509,"data":"exceed max subscription count limitation of 400 per session"}',
        b'{"id":"x","type":"welcome"}',
        b'{"type": "message","topic":"/market/match:A-B","data":{}}',
    ]
    values = [b"null", b"[]", b"{}", b"[[1]]", b"-1", b"1e999", b'"x"', b"true", b"9" * 30, b'"1"', b'"error"']
    for _ in range(20_000):
        session = VENUE.session(LIMITS, ["A-B", "C-D"])
        session.opened(Nanos(START_NS))
        if dice.random() < 0.9:
            session.received(WELCOME.encode(), Nanos(START_NS))
        frame = dice.choice(models)
        for _ in range(dice.randint(1, 3)):
            parts = frame.split(b":")
            parts[dice.randrange(1, len(parts))] = dice.choice(values) + dice.choice([b"", b"}", b',"x"', b',"code"'])
            frame = b":".join(parts)
        try:
            session.received(frame, Nanos(START_NS))
        except RemoteProtocolError:
            continue
        session.tick(Nanos(START_NS + SECOND))
