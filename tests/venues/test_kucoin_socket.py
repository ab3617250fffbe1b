"""Our socket against a strict little venue: a token serves once, the welcome comes first, pings are owed."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve

from exchanges.connection import Connection, Link
from exchanges.kucoin import VENUE
from exchanges.venue import Endpoint, Limits
from livermore.core.errors import VenueUnavailable
from livermore.core.frame import FrameBatch
from tests.support.budgets import OpenBudget
from tests.support.http_server import Answer, Asked, http_server
from tests.support.waiting import until

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the SDK's imports

LIMITS = Limits(topics_per_connection=400, messages_per_second=10.0, connection_lifetime_s=None)
PING_S = 0.4
MATCH = (
    '{"type":"message","topic":"/market/match:BTC-USDT","subject":"trade.l3match","data":{"symbol":"BTC-USDT",'
    '"sequence":"7","side":"buy","price":"1","size":"1","time":"1791026404123000000","type":"match"}}'
)


@dataclass
class StrictVenue:
    """Hands out tokens and answers each connection by the book; every fault it meets goes to `faults`."""

    rest_url: str = ""
    issued: list[str] = field(default_factory=list)
    used: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    pings: list[float] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)
    failures_to_come: int = 0
    is_reusing: bool = False
    is_mute: bool = False
    ws_url: str = ""

    def bullet(self, asked: Asked) -> Answer:
        if self.failures_to_come:
            self.failures_to_come -= 1
            return Answer({"code": "500000", "msg": "Internal server error"}, 500)
        if not self.is_reusing or not self.issued:
            self.issued.append(f"s3cret{len(self.issued)}")
        server = {
            "endpoint": self.ws_url,
            "encrypt": False,
            "protocol": "websocket",
            "pingInterval": int(PING_S * 1000),
            "pingTimeout": 800,
        }
        return Answer({"code": "200000", "data": {"token": self.issued[-1], "instanceServers": [server]}})

    def admit(self, connection: ServerConnection, request: Any) -> Any:
        token = request.path.partition("token=")[2].partition("&")[0]
        if token not in self.issued or token in self.used or "connectId=" not in request.path:
            return connection.respond(HTTPStatus.UNAUTHORIZED, "token")
        self.used.append(token)
        return None

    def converse(self, connection: ServerConnection) -> None:
        try:
            said = connection.recv(timeout=0.3)
            self.faults.append(f"said before the welcome: {said!r}")
        except TimeoutError:
            pass
        connection.send('{"id":"x","type":"welcome"}')
        for text in connection:
            message = json.loads(text)
            if message["type"] == "ping":
                self.pings.append(time.monotonic())
                if not self.is_mute:
                    connection.send(json.dumps({"id": message["id"], "type": "pong", "timestamp": 1}))
            else:
                self.topics.append(message["topic"])
                connection.send(json.dumps({"id": message["id"], "type": "ack"}))
                connection.send(MATCH)


@contextmanager
def strict_venue() -> Iterator[StrictVenue]:
    venue = StrictVenue()
    with (
        http_server(venue.bullet) as rest,
        serve(venue.converse, "127.0.0.1", 0, process_request=venue.admit, ping_interval=None) as sockets,
    ):
        thread = threading.Thread(target=sockets.serve_forever, daemon=True)
        thread.start()
        venue.rest_url = rest.url
        venue.ws_url = f"ws://127.0.0.1:{sockets.socket.getsockname()[1]}/endpoint"
        yield venue
        sockets.shutdown()
        thread.join(5)


@dataclass
class Client:
    """What every connection of a test shares."""

    link: Link
    batches: list[FrameBatch]

    def connect(self) -> Connection:
        connection = Connection(self.link, ["BTC-USDT"])
        connection.start()
        return connection


@pytest.fixture
def venue() -> Iterator[StrictVenue]:
    with strict_venue() as running:
        yield running


@pytest.fixture
def client(venue: StrictVenue) -> Client:
    batches: list[FrameBatch] = []
    rest = VENUE.rest(Endpoint(venue.rest_url, ""), OpenBudget())
    return Client(Link(VENUE, rest, LIMITS, OpenBudget(), 1, batches.append, lambda: None), batches)


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Everything at debug level but what the test's own server says."""
    return "\n".join(r.getMessage() for r in caplog.records if not r.name.startswith("websockets."))


def test_five_connections_take_five_tokens_and_say_nothing_before_the_welcome(
    venue: StrictVenue, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for _ in range(5):
        connection = client.connect()
        until(lambda c=connection: c.ready_ns)
        connection.close()
        assert connection.ended.wait(10)
        assert connection.error is None
    assert venue.faults == []
    assert len(set(venue.used)) == len(venue.used) == 5
    assert venue.topics == ["/market/match:BTC-USDT"] * 5
    assert sum(len(batch.frames) for batch in client.batches) == 5
    assert "s3cret" not in logged(caplog)


def test_pings_follow_the_interval_of_the_token_reply(venue: StrictVenue, client: Client) -> None:
    connection = client.connect()
    until(lambda: len(venue.pings) >= 4)
    assert connection.error is None
    connection.close()
    assert connection.ended.wait(10)
    gaps = [b - a for a, b in zip(venue.pings, venue.pings[1:], strict=False)]
    assert all(PING_S - 0.1 < gap < PING_S + 0.6 for gap in gaps), gaps


def test_a_venue_that_answers_no_ping_is_left(venue: StrictVenue, client: Client) -> None:
    venue.is_mute = True
    connection = client.connect()
    assert connection.ended.wait(10)
    assert "no pong within 0.8 s" in str(connection.error)


def test_a_refused_token_and_a_failed_reply_end_the_connection_without_naming_the_token(
    venue: StrictVenue, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    venue.is_reusing = True
    first = client.connect()
    until(lambda: first.ready_ns)
    second = client.connect()
    assert second.ended.wait(10)
    assert isinstance(second.error, VenueUnavailable)
    first.close()
    assert first.ended.wait(10)
    venue.failures_to_come = 1
    third = client.connect()
    assert third.ended.wait(10)
    assert isinstance(third.error, VenueUnavailable)
    told = [str(second.error), str(third.error)]
    assert "s3cret" not in "".join(told) + logged(caplog)
