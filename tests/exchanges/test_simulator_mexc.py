"""The MEXC simulator, heard by plain clients with a hand-written decoder and judged by the protocol sheet."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from decimal import Decimal
from itertools import pairwise

import pytest
import requests
import websocket

from exchanges.mexc.simulator_wire import deals_frame
from exchanges.simulation.playback import Playback
from exchanges.simulation.stage import Options
from exchanges.simulator import available, load
from tests.support.recordings import recorded_rows, recording
from tests.support.simulation import Running, simulated

VENUE = "mexc"
BUCKET_MS = 300_000
START_MS = 1_790_000_123_456  # 23 s into a bucket
RECORDED = "mexc/ws_protobuf_2026-09.jsonl.gz"
DEALS_VECTOR = (
    "0a2f73706f74407075626c69632e61676772652e6465616c732e76332e6170692e7062403130306d7340425443555344541a07425443"
    "5553445430c4a9d9d0c432d2136e0a240a0839333232302e3030120a302e3034343338323433180220bba9d9d0c4322a03315f320a1d"
    "0a0839333231392e39391203302e31180120bca9d9d0c4322a03335f34122773706f74407075626c69632e61676772652e6465616c73"
    "2e76332e6170692e7062403130306d73"
)

Message = dict[int, list[int | bytes]]


def decoded(frame: bytes) -> Message:
    """Every field of a protobuf message by its number; only varints and byte strings occur here."""
    found: Message = {}
    at = 0

    def number() -> int:
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = frame[at]
            at, value, shift = at + 1, value | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                return value

    while at < len(frame):
        key = number()
        value: int | bytes
        if key & 7 == 0:
            value = number()
        else:
            assert key & 7 == 2, f"wire type {key & 7}"
            size = number()
            at, value = at + size, frame[at : at + size]
            assert len(value) == size, "cut short"
        found.setdefault(key >> 3, []).append(value)
    return found


def text(message: Message, field: int) -> str:
    return bytes(message[field][0]).decode()


def deals_of(frame: bytes) -> list[Message]:
    wrapper = decoded(frame)
    return [decoded(item) for item in decoded(wrapper[314][0]).get(1, [])] if 314 in wrapper else []


def deals(native: str, rate: str = "100ms") -> str:
    return f"spot@public.aggre.deals.v3.api.pb@{rate}@{native}"


def kline(native: str, span: str = "Min5") -> str:
    return f"spot@public.kline.v3.api.pb@{native}@{span}"


@pytest.fixture(scope="module")
def sim() -> Iterator[Running]:
    with paused(weight_limit=100_000) as running:
        yield running


def paused(**options: object) -> AbstractContextManager[Running]:
    return simulated(VENUE, seed=3, start_ms=START_MS, is_paused=True, options=Options(**options))


def connect(sim: Running) -> websocket.WebSocket:
    return websocket.create_connection(sim.endpoints[VENUE]["ws"] + "/ws", timeout=10)


def said(ws: websocket.WebSocket) -> tuple[list[bytes], dict]:
    """The next text frame, and the binary ones before it."""
    found: list[bytes] = []
    while True:
        opcode, body = ws.recv_data()
        if opcode == websocket.ABNF.OPCODE_TEXT:
            return found, json.loads(body)
        found.append(body)


def ask(ws: websocket.WebSocket, method: str, *topics: str) -> str:
    ws.send(json.dumps({"method": method, "params": list(topics), "id": 5}))
    reply = said(ws)[1]
    assert (reply["id"], reply["code"]) == (0, 0)
    return reply["msg"]


def messages(ws: websocket.WebSocket) -> list[bytes]:
    """Every binary frame sent so far: the PONG ends them."""
    ws.send('{"method":"PING"}')
    found, reply = said(ws)
    assert reply == {"id": 0, "code": 0, "msg": "PONG"}
    return found


def until_closed(ws: websocket.WebSocket) -> None:
    while ws.recv_data(control_frame=True)[0] != websocket.ABNF.OPCODE_CLOSE:
        pass


def vanishes(ws: websocket.WebSocket, within_s: float) -> float:
    """Seconds until the connection ended without a close frame."""
    began_s = time.monotonic()
    ws.settimeout(within_s)
    with pytest.raises((websocket.WebSocketConnectionClosedException, ConnectionError)):
        until_closed(ws)
    return time.monotonic() - began_s


def get(sim: Running, path: str, **query: object) -> requests.Response:
    return requests.get(sim.endpoints[VENUE]["rest"] + "/api/v3/" + path, params=query, timeout=10)


# ---- control frames --------------------------------------------------------------------------------


def test_one_text_acknowledges_a_whole_request(sim):
    ws = connect(sim)
    assert ask(ws, "SUBSCRIPTION", deals("BTCUSDT")) == deals("BTCUSDT")
    both = [deals("ETHUSDT"), deals("SOLUSDT", "10ms")]
    assert ask(ws, "SUBSCRIPTION", *both) == ",".join(both)
    assert ask(ws, "UNSUBSCRIPTION", deals("BTCUSDT")) == deals("BTCUSDT")
    sim.call(sim.simulation.burst, 60)
    assert {text(decoded(f), 3) for f in messages(ws)} == {"ETHUSDT", "SOLUSDT"}
    ws.close()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (deals("NOSUCHUSDT"), "Blocked! "),
        ("spot@public.deals.v3.api.pb@BTCUSDT", "Blocked! "),
        ("spot@public.aggre.deals.v3.api@100ms@BTCUSDT", "Blocked! "),
        (kline("BTCUSDT", "Min7"), "Blocked! "),
        (deals("btcusdt"), "Msg Format invalid"),
    ],
)
def test_a_refusal_has_code_0_and_is_in_the_text(sim, bad, reason):
    ws = connect(sim)
    refused = f"Not Subscribed successfully! [{bad}].  Reason： {reason}"
    assert ask(ws, "SUBSCRIPTION", bad) == refused
    good = deals("BTCUSDT")
    assert ask(ws, "SUBSCRIPTION", good, bad) == f"Subscribed successful! [{good}]. {refused}"
    sim.call(sim.simulation.burst, 60)
    assert {text(decoded(f), 1) for f in messages(ws)} == {good}
    ws.close()


def test_the_thirty_first_topic_is_acknowledged_and_silent(sim):
    ws = connect(sim)
    natives = [x.native for x in sim.simulation.servers[VENUE].stage.listings]
    padding = [kline(n, span) for n in natives for span in ("Min15", "Min30", "Min60")][:29]
    assert ask(ws, "SUBSCRIPTION", *padding) == ",".join(padding)
    assert ask(ws, "SUBSCRIPTION", deals("BTCUSDT"), deals("ETHUSDT")) == f"{deals('BTCUSDT')},{deals('ETHUSDT')}"
    sim.call(sim.simulation.burst, 100)
    heard = {text(decoded(f), 3) for f in messages(ws) if deals_of(f)}
    assert heard == {"BTCUSDT"}
    ask(ws, "UNSUBSCRIPTION", padding[0])
    ask(ws, "SUBSCRIPTION", deals("ETHUSDT"))
    sim.call(sim.simulation.burst, 100)
    heard = {text(decoded(f), 3) for f in messages(ws) if deals_of(f)}
    ws.close()
    assert heard == {"BTCUSDT", "ETHUSDT"}


def test_a_subscription_can_be_lost_although_acknowledged(sim):
    ws = connect(sim)
    sim.fault(VENUE, "lose")
    assert ask(ws, "SUBSCRIPTION", deals("BTCUSDT")) == deals("BTCUSDT")
    sim.call(sim.simulation.burst, 60)
    assert messages(ws) == []
    ask(ws, "SUBSCRIPTION", deals("BTCUSDT"))
    sim.call(sim.simulation.burst, 60)
    assert messages(ws)
    ws.close()


def test_what_is_no_request_is_said_to_be_none(sim):
    ws = connect(sim)
    for nonsense in ("{not json", "[]", '{"method":"SHOUT"}'):
        ws.send(nonsense)
        assert said(ws)[1] == {"id": 0, "code": 0, "msg": "Msg Format invalid"}
    ws.close()


def test_the_hundred_and_first_message_in_a_second_ends_the_connection(sim):
    ws = connect(sim)
    for _ in range(101):
        ws.send('{"method":"PING"}')
    assert vanishes(ws, 5) < 5


# ---- idling ----------------------------------------------------------------------------------------


def test_idle_connections_vanish_without_a_close_frame():
    with paused(scale=0.03) as sim:
        topicless, dataless = connect(sim), connect(sim)
        ask(dataless, "SUBSCRIPTION", deals("BTCUSDT"))
        began_s = time.monotonic()
        ws_pings = connect(sim)
        ws_pings.send('{"method":"PING"}')
        assert vanishes(topicless, 5) >= 0.6
        vanishes(dataless, 5)
        assert time.monotonic() - began_s >= 1.5
        ws_pings.settimeout(1)
        assert said(ws_pings)[1]["msg"] == "PONG"
        vanishes(ws_pings, 5)


def test_pings_keep_a_connection_with_topics():
    with paused(scale=0.02) as sim:
        ws = connect(sim)
        ask(ws, "SUBSCRIPTION", deals("BTCUSDT"))
        deadline = time.monotonic() + 2.5
        while time.monotonic() < deadline:
            assert messages(ws) == []
            time.sleep(0.2)
        ws.close()


def test_a_connection_ends_after_its_longest_life():
    with paused(lifetime_s=0.5) as sim:
        until_closed(connect(sim))


# ---- deals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "rate_ms"), [("10ms", 10), ("100ms", 100)])
def test_deals_are_the_markets_executions_collected_per_window(sim, rate, rate_ms):
    ws = connect(sim)
    ask(ws, "SUBSCRIPTION", deals("BTCUSDT", rate))
    before = len(sim.call(sim.simulation.trades, VENUE, "BTCUSDT"))
    sim.call(sim.simulation.burst, 400, over_s=0.5)
    frames = messages(ws)
    truth = sim.call(sim.simulation.trades, VENUE, "BTCUSDT")[before:]
    ws.close()
    heard = []
    for frame in frames:
        wrapper = decoded(frame)
        assert text(wrapper, 1) == deals("BTCUSDT", rate)
        assert text(decoded(wrapper[314][0]), 2) == deals("BTCUSDT", rate).rpartition("@")[0]
        items = deals_of(frame)
        times = [item[4][0] for item in items]
        assert len({ms // rate_ms for ms in times}) == 1
        assert wrapper[6][0] >= times[-1]
        heard += [(Decimal(text(i, 1)), Decimal(text(i, 2)), i[3][0], i[4][0]) for i in items]
    assert heard == [
        (Decimal(t.price), Decimal(t.quantity), 1 if t.is_buy else 2, t.time_ns // 1_000_000) for t in truth
    ]
    assert len(frames) == len({t.time_ns // 1_000_000 // rate_ms for t in truth}) < len(truth)


def test_trade_ids_are_opaque_and_equal_fills_are_told_apart_by_nothing_else(sim):
    ws = connect(sim)
    ask(ws, "SUBSCRIPTION", deals("BTCUSDT"))
    sim.call(sim.simulation.burst, 600)
    items = [i for f in messages(ws) for i in deals_of(f)]
    ws.close()
    ids = [text(i, 5) for i in items]
    assert len(set(ids)) == len(ids) > 100
    assert all(len(i) == 41 and not i.isdigit() for i in ids)
    assert ids != sorted(ids)
    assert any([a[f] for f in (1, 2, 3, 4)] == [b[f] for f in (1, 2, 3, 4)] for a, b in pairwise(items))


def test_older_deals_have_no_ids_and_newer_ones_a_field_nobody_knows():
    with paused(quirks=frozenset({"no_trade_ids", "unknown_field"})) as sim:
        ws = connect(sim)
        ask(ws, "SUBSCRIPTION", deals("BTCUSDT"))
        sim.call(sim.simulation.burst, 60)
        frames = messages(ws)
        ws.close()
    assert frames
    assert all(999 in decoded(f) for f in frames)
    assert all(set(i) == {1, 2, 3, 4} for f in frames for i in deals_of(f))


# ---- klines ----------------------------------------------------------------------------------------


def test_a_kline_comes_at_once_and_then_after_trades(sim):
    ws = connect(sim)
    ask(ws, "SUBSCRIPTION", kline("ADAUSDT"))
    frames = messages(ws)
    assert len(frames) == 1, "the running window"
    sim.call(sim.simulation.burst, 100)
    opcode, body = ws.recv_data()
    assert opcode == websocket.ABNF.OPCODE_BINARY
    wrapper = decoded(body)
    bar = decoded(wrapper[308][0])
    now_ms = sim.call(sim.simulation.now_us) // 1000
    truth = sim.call(sim.simulation.truth, VENUE, "ADAUSDT", now_ms // BUCKET_MS * BUCKET_MS)
    ws.settimeout(1.3)
    with pytest.raises(websocket.WebSocketTimeoutException):
        ws.recv()
    ws.close()
    assert (text(wrapper, 1), text(wrapper, 3)) == (kline("ADAUSDT"), "ADAUSDT")
    assert wrapper[5][0] == now_ms
    assert text(bar, 1) == "Min5"
    assert (bar[2][0], bar[9][0]) == (truth.open_ms // 1000, truth.open_ms // 1000 + 300), "in seconds"
    assert [Decimal(text(bar, f)) for f in (3, 4, 5, 6, 7)] == [
        truth.open, truth.close, truth.high, truth.low, truth.volume
    ]  # fmt: skip
    assert 0 <= truth.turnover - Decimal(text(bar, 8)) < Decimal("0.0001")


def test_rest_klines_have_eight_columns_and_end_where_the_next_begins(sim):
    now_ms = sim.call(sim.simulation.now_us) // 1000
    start_ms = now_ms // BUCKET_MS * BUCKET_MS - BUCKET_MS
    rows = get(sim, "klines", symbol="BTCUSDT", interval="5m", startTime=start_ms).json()
    truth = sim.call(sim.simulation.truth, VENUE, "BTCUSDT", start_ms)
    assert [(r[0], r[6]) for r in rows] == [
        (start_ms, start_ms + BUCKET_MS), (start_ms + BUCKET_MS, start_ms + 2 * BUCKET_MS)
    ]  # fmt: skip
    assert [len(r) for r in rows] == [8, 8]
    assert [Decimal(c) for c in rows[0][1:6]] == [truth.open, truth.high, truth.low, truth.close, truth.volume]
    assert 0 <= truth.turnover - Decimal(rows[0][7]) < Decimal("0.01")


def test_at_most_500_klines_come_back_in_mexcs_own_intervals(sim):
    rows = get(sim, "klines", symbol="BTCUSDT", interval="60m", limit=1000).json()
    assert len(rows) == 500
    assert all(b[0] - a[0] == 3_600_000 for a, b in pairwise(rows))
    assert get(sim, "klines", symbol="BTCUSDT", interval="1h").json()["code"] == -1120
    first_ms = START_MS - 900 * BUCKET_MS
    paged = get(sim, "klines", symbol="BTCUSDT", interval="5m", startTime=first_ms, endTime=START_MS).json()
    assert len(paged) == 500
    assert 0 <= paged[0][0] - first_ms < BUCKET_MS


@pytest.mark.parametrize("quirks", [frozenset(), frozenset({"omits_idle"})])
def test_idle_intervals_are_flat_or_left_out(quirks):
    with paused(quirks=quirks) as sim:
        sim.call(sim.simulation.halt, VENUE, "ETH")
        sim.call(sim.simulation.advance, 900.0)
        rows = get(sim, "klines", symbol="ETHUSDT", interval="5m", limit=3).json()
        info = get(sim, "exchangeInfo", symbol="ETHUSDT").json()["symbols"]
    assert info[0]["status"] == "2"
    if quirks:
        assert rows == []
    else:
        assert [r[5] for r in rows] == ["0"] * 3
        assert all(len(set(r[1:5])) == 1 for r in rows)


# ---- the rest of REST ------------------------------------------------------------------------------


def test_trades_have_no_ids_and_come_newest_first(sim):
    rows = get(sim, "trades", symbol="BTCUSDT", limit=50).json()
    truth = sim.call(sim.simulation.trades, VENUE, "BTCUSDT")[-50:][::-1]
    assert [(r["id"], Decimal(r["price"]), Decimal(r["qty"]), r["time"]) for r in rows] == [
        (None, Decimal(t.price), Decimal(t.quantity), t.time_ns // 1_000_000) for t in truth
    ]
    assert all((r["tradeType"] == "ASK") is r["isBuyerMaker"] for r in rows)
    assert [r["tradeType"] == "BID" for r in rows] == [t.is_buy for t in truth]


def test_aggregates_are_paged_by_time_only(sim):
    now_ms = sim.call(sim.simulation.now_us) // 1000
    query = {"symbol": "BTCUSDT", "limit": 1000}
    rows = get(sim, "aggTrades", **query, startTime=now_ms - 60_000, endTime=now_ms).json()
    assert rows
    assert {(r["a"], r["f"], r["l"]) for r in rows} == {(None, None, None)}
    assert all(now_ms - 60_000 <= r["T"] <= now_ms for r in rows)
    assert get(sim, "aggTrades", **query, startTime=now_ms - 60_000).status_code == 400
    assert get(sim, "aggTrades", **query, startTime=now_ms - 7_200_000, endTime=now_ms).status_code == 400


def test_symbols_tell_tick_and_lot_in_mexcs_way(sim):
    info = get(sim, "exchangeInfo").json()
    rows = {r["symbol"]: r for r in info["symbols"]}
    assert info["timezone"] == "CST"
    assert get(sim, "defaultSymbols").json() == {"code": 200, "data": list(rows), "msg": None}
    assert (rows["BTCUSDT"]["quotePrecision"], rows["BTCUSDT"]["baseSizePrecision"]) == (2, "0.000001")
    assert (rows["DOGEUSDT"]["baseSizePrecision"], rows["DOGEUSDT"]["baseAssetPrecision"]) == ("0", 2)
    two = get(sim, "exchangeInfo", symbols="BTCUSDT,ETHUSDT").json()["symbols"]
    assert [r["symbol"] for r in two] == ["BTCUSDT", "ETHUSDT"]
    assert get(sim, "exchangeInfo", symbol="nosuch").json() == {"code": -1121, "msg": "Invalid symbol."}


def test_a_ticker_may_lack_its_turnover(sim):
    rows = {r["symbol"]: r for r in get(sim, "ticker/24hr").json()}
    assert {s for s, r in rows.items() if r["quoteVolume"] is None} == {"NMRUSDT", "BSVUSDT"}
    assert all(r["count"] is None and Decimal(r["volume"]) > 0 for r in rows.values())
    assert abs(float(rows["BTCUSDT"]["priceChangePercent"])) < 1
    assert get(sim, "ticker/24hr", symbol="BTCUSDT").json()["symbol"] == "BTCUSDT"
    last = rows["BTCUSDT"]["lastPrice"]
    assert get(sim, "ticker/price", symbol="BTCUSDT").json() == {"symbol": "BTCUSDT", "price": last}
    book = get(sim, "ticker/bookTicker", symbol="BTCUSDT").json()
    assert Decimal(book["bidPrice"]) < Decimal(last) < Decimal(book["askPrice"])
    assert abs(get(sim, "time").json()["serverTime"] - sim.call(sim.simulation.now_us) // 1000) <= 1


def test_a_burst_of_requests_is_shut_out_by_the_cdn_with_html():
    with paused(weight_limit=100_000, scale=0.01) as sim:
        with requests.Session() as session:
            url = sim.endpoints[VENUE]["rest"] + "/api/v3/ping"
            statuses = [session.get(url, timeout=10).status_code for _ in range(51)]
            page = session.get(url, timeout=10)
        assert statuses == [200] * 50 + [403]
        assert (page.status_code, page.headers["Content-Type"].split(";")[0]) == (403, "text/html")
        assert "Access Denied" in page.text
        time.sleep(1.0)
        assert get(sim, "ping").json() == {}


def test_each_endpoint_has_its_own_pool_and_insisting_is_banned():
    with paused(weight_limit=80, scale=0.06) as sim:  # a window of 0.6 s: enough for all requests on a busy machine
        answers = [get(sim, "ticker/24hr") for _ in range(14)]
        assert [a.status_code for a in answers] == [200] * 2 + [429] * 11 + [418]
        assert int(answers[2].headers["Retry-After"]) > 0
        assert get(sim, "time").status_code == 200
        deadline_s = time.monotonic() + 20
        while get(sim, "ticker/24hr").status_code != 200:
            assert time.monotonic() < deadline_s, "the ban does not end"
            time.sleep(0.2)


def test_all_venues_together_trade_sixty_to_eighty_times_a_second():
    listings = [x for name in available() for x in load(name).listings]
    assert {x.venue for x in listings} == set(available()) >= {VENUE, "kucoin"}
    assert 60 <= sum(x.trades_per_s for x in listings) <= 80


# ---- witnesses -------------------------------------------------------------------------------------


def test_the_encoder_writes_the_published_test_vector():
    vector = bytes.fromhex(DEALS_VECTOR)
    items = [
        [(1, "93220.00"), (2, "0.04438243"), (3, 2), (4, 1736409765051), (5, "1_2")],
        [(1, "93219.99"), (2, "0.1"), (3, 1), (4, 1736409765052), (5, "3_4")],
    ]
    assert deals_frame(deals("BTCUSDT"), "BTCUSDT", 1736409765060, items) == vector


def test_simulated_frames_have_the_fields_of_recorded_ones(sim):
    frames = [base64.b64decode(r["b64"]) for r in recorded_rows(RECORDED)]
    recorded = {next(f for f in decoded(frame) if f > 300): frame for frame in frames}
    ws = connect(sim)
    ask(ws, "SUBSCRIPTION", deals("BTCUSDT"), kline("BTCUSDT"))
    sim.call(sim.simulation.burst, 60)
    found = {next(f for f in decoded(frame) if f > 300): frame for frame in messages(ws)}
    ws.close()
    for body in (308, 314):
        ours, theirs = decoded(found[body]), decoded(recorded[body])
        assert list(ours) == list(theirs)
        assert set(decoded(ours[body][0])) == set(decoded(theirs[body][0]))
    assert {frozenset(i) for i in deals_of(found[314])} == {frozenset(i) for i in deals_of(recorded[314])}
    assert [type(v[0]) for v in deals_of(found[314])[0].values()] == [bytes, bytes, int, int, bytes]


def test_a_recorded_session_is_played_byte_for_byte():
    file = recording(RECORDED)
    with simulated(VENUE, playbacks=[Playback(VENUE, file)]) as sim:
        ws = connect(sim)
        assert ask(ws, "SUBSCRIPTION", deals("BTCUSDT")) == deals("BTCUSDT")
        rows = recorded_rows(RECORDED)
        assert [ws.recv() for _ in rows] == [base64.b64decode(r["b64"]) for r in rows]
        ws.close()


@pytest.mark.parametrize("kind", ["malformed", "unknown_symbol", "huge_number", "binary"])
def test_nonsense_comes_in_binary_frames(sim, kind):
    ws = connect(sim)
    ask(ws, "SUBSCRIPTION", deals("NMRUSDT"))
    sim.fault(VENUE, kind)
    opcode, body = ws.recv_data()
    ws.close()
    assert opcode == websocket.ABNF.OPCODE_BINARY
    if kind == "unknown_symbol":
        assert text(decoded(body), 3) == "NOSUCHUSDT"
    elif kind == "huge_number":
        assert text(deals_of(body)[0], 1) == "1e400"
    elif kind == "malformed":
        with pytest.raises((AssertionError, IndexError)):
            decoded(body)
