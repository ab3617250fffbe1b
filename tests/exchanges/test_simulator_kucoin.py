"""The KuCoin simulator, heard by plain clients and KuCoin's own, and judged by the protocol sheet."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from decimal import Decimal
from itertools import pairwise

import pytest
import requests
import websocket
from kucoin_universal_sdk.api import DefaultClient
from kucoin_universal_sdk.generate.spot.market import (
    GetAllSymbolsReqBuilder,
    GetKlinesReqBuilder,
    GetTradeHistoryReqBuilder,
)
from kucoin_universal_sdk.model import ClientOptionBuilder, TransportOptionBuilder, WebSocketClientOptionBuilder

from exchanges.simulation.playback import Playback
from exchanges.simulation.stage import Options
from exchanges.simulator import Simulation
from livermore.core.errors import InvalidInput
from tests.support.recordings import recorded_frames, recording
from tests.support.simulation import Running, simulated

VENUE = "kucoin"
BUCKET_S = 300
START_MS = 1_790_000_123_456  # 23 s into a bucket
MATCH, CANDLES = "/market/match:", "/market/candles:"


@pytest.fixture(scope="module")
def sim() -> Iterator[Running]:
    with simulated(VENUE, seed=3, options=Options(scale=0.5, weight_limit=100_000)) as running:
        yield running


def paused(**options: object) -> AbstractContextManager[Running]:
    return simulated(VENUE, seed=3, start_ms=START_MS, is_paused=True, options=Options(**options))


def get(sim: Running, path: str, **query: object) -> requests.Response:
    return requests.get(sim.endpoints[VENUE]["rest"] + path, params=query, timeout=10)


def data(sim: Running, path: str, **query: object) -> object:
    body = get(sim, path, **query).json()
    assert body["code"] == "200000", body
    return body["data"]


def bullet(sim: Running) -> dict:
    answer = requests.post(sim.endpoints[VENUE]["rest"] + "/api/v1/bullet-public", timeout=10).json()
    assert answer["code"] == "200000"
    return answer["data"]


def dial(sim: Running, token: str | None = None, name: str = "me") -> websocket.WebSocket:
    told = bullet(sim)
    url = f"{told['instanceServers'][0]['endpoint']}?token={token or told['token']}&connectId={name}"
    return websocket.create_connection(url, timeout=10)


def connect(sim: Running) -> websocket.WebSocket:
    ws = dial(sim)
    assert json.loads(ws.recv()) == {"id": "me", "type": "welcome"}
    return ws


def say(ws: websocket.WebSocket, topic: str, number: object = 1, **more: object) -> None:
    message = {"id": number, "type": "subscribe", "topic": topic, "privateChannel": False, "response": True}
    ws.send(json.dumps(message | more))


def until(ws: websocket.WebSocket, is_it: Callable[[dict], bool]) -> list[dict]:
    found = [json.loads(ws.recv())]
    while not is_it(found[-1]):
        found.append(json.loads(ws.recv()))
    return found


def reply(ws: websocket.WebSocket) -> dict:
    """The next frame that is no data."""
    return until(ws, lambda frame: frame["type"] != "message")[-1]


def messages(ws: websocket.WebSocket) -> list[dict]:
    """Everything sent so far, in order: the answer to a ping ends it."""
    ws.send('{"id":"end","type":"ping"}')
    return until(ws, lambda frame: frame.get("id") == "end")[:-1]


def assert_closed(ws: websocket.WebSocket) -> None:
    opcode = None
    while opcode != websocket.ABNF.OPCODE_CLOSE:
        opcode, _ = ws.recv_data(control_frame=True)


# ---- token and welcome -----------------------------------------------------------------------------


def test_a_token_tells_the_socket_and_the_scaled_ping_interval(sim):
    first, second = bullet(sim), bullet(sim)
    server = first["instanceServers"][0]
    assert first["token"] != second["token"]
    assert server["endpoint"] == sim.endpoints[VENUE]["ws"] + "/"
    assert (server["pingInterval"], server["pingTimeout"], server["protocol"]) == (9000, 5000, "websocket")
    assert get(sim, "/api/v1/bullet-public").json()["code"] == "404000", "it must be a POST"


def test_a_token_admits_once(sim):
    token = bullet(sim)["token"]
    first = dial(sim, token)
    assert json.loads(first.recv())["type"] == "welcome"
    for refused in (dial(sim, token), dial(sim, "made-up")):
        assert json.loads(refused.recv()) == {"id": "me", "type": "error", "code": 401, "data": "token is invalid"}
        assert_closed(refused)
    first.close()


def test_a_token_expires_after_its_scaled_day():
    with simulated(VENUE, options=Options(scale=1e-6)) as sim:
        token = bullet(sim)["token"]
        time.sleep(0.1)
        assert json.loads(dial(sim, token).recv())["code"] == 401


def test_a_frame_before_the_welcome_ends_the_connection():
    with simulated(VENUE, options=Options(scale=50.0)) as sim:
        ws = dial(sim)
        say(ws, MATCH + "BTC-USDT")
        assert json.loads(ws.recv()) == {"id": "1", "type": "error", "code": 400, "data": "topic is invalid"}
        assert_closed(ws)


def test_the_thirty_first_connection_of_a_minute_is_refused():
    with simulated(VENUE) as sim:
        sockets = [connect(sim) for _ in range(3)] + [dial(sim) for _ in range(28)]
        assert json.loads(sockets[-1].recv())["code"] == 509
        assert json.loads(sockets[-2].recv())["type"] == "welcome"
        for ws in sockets:
            ws.close()


# ---- control frames --------------------------------------------------------------------------------


def test_acknowledgements_carry_the_id_as_text_and_come_only_when_asked_for(sim):
    ws = connect(sim)
    say(ws, MATCH + "BTC-USDT,ETH-USDT", 7)
    assert reply(ws) == {"id": "7", "type": "ack"}
    say(ws, MATCH + "SOL-USDT", "quiet", response=False)
    say(ws, MATCH + "ETH-USDT", "u", type="unsubscribe")
    assert reply(ws) == {"id": "u", "type": "ack"}
    sim.call(sim.simulation.burst, 60)
    heard = {f["data"]["symbol"] for f in messages(ws)}
    ws.close()
    assert heard == {"BTC-USDT", "SOL-USDT"}


@pytest.mark.parametrize(
    ("topic", "more", "code", "text"),
    [
        ("/market/foo", {}, 404, "topic /market/foo is not found"),
        (MATCH + "NOSUCH-USDT", {}, 404, f"topic {MATCH}NOSUCH-USDT is not found"),
        (CANDLES + "BTC-USDT_7min", {}, 404, f"topic {CANDLES}BTC-USDT_7min is not found"),
        (MATCH, {}, 400, "topic is invalid"),
        ("", {}, 406, "topic is required"),
        (MATCH + "BTC-USDT", {"type": "shout"}, 415, "command type is invalid"),
        (MATCH + "BTC-USDT", {"privateChannel": True}, 403, "login is required"),
        (MATCH + ",".join(["BTC-USDT"] * 101), {}, 509, "exceed max subscription count limitation of 100 per time"),
    ],
)
def test_errors_carry_the_id_and_a_code(sim, topic, more, code, text):
    ws = connect(sim)
    say(ws, topic, "x", **more)
    assert reply(ws) == {"id": "x", "type": "error", "code": code, "data": text}
    ws.close()


def test_one_unknown_symbol_spoils_the_whole_list(sim):
    ws = connect(sim)
    say(ws, MATCH + "BTC-USDT,NOSUCH-USDT")
    assert reply(ws)["code"] == 404
    sim.call(sim.simulation.burst, 40)
    assert messages(ws) == []
    ws.close()


def test_an_unknown_symbol_may_be_acknowledged_and_stay_silent():
    with paused(quirks=frozenset({"unknown_is_silent"})) as sim:
        ws = connect(sim)
        say(ws, MATCH + "BTC-USDT,NOSUCH-USDT")
        assert reply(ws)["type"] == "ack"
        sim.call(sim.simulation.burst, 40)
        assert {f["data"]["symbol"] for f in messages(ws)} == {"BTC-USDT"}
        ws.close()


def test_a_quirk_that_does_not_exist_is_named():
    with pytest.raises(InvalidInput, match="hex_ids"):
        Simulation([VENUE], options=Options(quirks=frozenset({"nosuch"})))


def test_a_session_has_four_hundred_topics_at_most(sim, monkeypatch):
    monkeypatch.setattr("exchanges.kucoin.simulator_streams.TOPICS_PER_SESSION", 14)
    ws = connect(sim)
    natives = [x.native for x in sim.simulation.servers[VENUE].stage.listings]
    say(ws, MATCH + ",".join(natives))
    assert reply(ws)["type"] == "ack"
    say(ws, CANDLES + ",".join(f"{n}_5min" for n in natives), 2)
    assert reply(ws)["data"] == "exceed max subscription count limitation of 14 per session"
    say(ws, CANDLES + "BTC-USDT_5min", 3)
    assert reply(ws) == {"id": "3", "type": "ack"}
    ws.close()


def test_the_hundred_and_first_message_in_ten_seconds_ends_the_connection(sim):
    ws = connect(sim)
    for number in range(101):
        ws.send(json.dumps({"id": number, "type": "ping"}))
    replies = [json.loads(ws.recv()) for _ in range(101)]
    assert [r["type"] for r in replies] == ["pong"] * 100 + ["error"]
    assert (replies[-1]["code"], replies[-1]["data"]) == (509, "exceed max permits per second")
    assert_closed(ws)


def test_a_ping_is_answered_by_its_id_with_the_servers_time(sim):
    ws = connect(sim)
    ws.send('{"id":171,"type":"ping"}')
    pong = reply(ws)
    ws.close()
    assert (pong["id"], pong["type"]) == ("171", "pong")
    assert abs(pong["timestamp"] - time.time() * 1000) < 10_000


def test_without_pings_of_its_own_a_client_is_cut():
    with simulated(VENUE, options=Options(scale=0.04)) as sim:
        began_s = time.monotonic()
        idle, lively = connect(sim), connect(sim)
        idle.ping()
        deadline = began_s + 28 * 0.04 + 0.6
        while time.monotonic() < deadline:
            assert messages(lively) == []
            time.sleep(0.2)
        assert reply(idle) == {"id": "me", "type": "error", "code": 400, "data": "ping timeout"}
        assert_closed(idle)
        lively.close()


def test_a_connection_ends_after_its_longest_life():
    with simulated(VENUE, options=Options(lifetime_s=0.5)) as sim:
        began_s = time.monotonic()
        assert_closed(connect(sim))
        assert time.monotonic() - began_s >= 0.4


def test_a_subscription_can_be_lost_although_acknowledged():
    with paused() as sim:
        ws = connect(sim)
        sim.fault(VENUE, "lose")
        say(ws, MATCH + "BTC-USDT,ETH-USDT")
        assert reply(ws)["type"] == "ack"
        sim.call(sim.simulation.burst, 60)
        assert {f["data"]["symbol"] for f in messages(ws)} == {"ETH-USDT"}
        say(ws, MATCH + "BTC-USDT")
        assert reply(ws)["type"] == "ack"
        sim.call(sim.simulation.burst, 60)
        assert {f["data"]["symbol"] for f in messages(ws)} == {"BTC-USDT", "ETH-USDT"}
        ws.close()


# ---- trades ----------------------------------------------------------------------------------------


def test_matches_are_the_markets_executions_one_a_frame():
    with paused() as sim:
        ws = connect(sim)
        say(ws, MATCH + "BTC-USDT")
        reply(ws)
        before = len(sim.call(sim.simulation.trades, VENUE, "BTC-USDT"))
        sim.call(sim.simulation.burst, 400)
        frames = messages(ws)
        truth = sim.call(sim.simulation.trades, VENUE, "BTC-USDT")[before:]
        ws.close()
    assert len(frames) == len(truth) > 50
    assert {(f["type"], f["topic"], f["subject"]) for f in frames} == {
        ("message", MATCH + "BTC-USDT", "trade.l3match")
    }
    for frame, trade in zip(frames, truth, strict=True):
        row = frame["data"]
        assert (Decimal(row["price"]), Decimal(row["size"])) == (Decimal(trade.price), Decimal(trade.quantity))
        assert (row["side"] == "buy") is trade.is_buy, "the side is the taker's"
        assert int(row["time"]) == trade.time_ns
        assert row["time"].endswith("000000")
        assert row["tradeId"] == row["sequence"]


def test_the_sequence_rises_with_holes_and_a_sweep_shares_taker_and_time():
    with paused() as sim:
        ws = connect(sim)
        say(ws, MATCH + "BTC-USDT")
        reply(ws)
        sim.call(sim.simulation.burst, 600)
        rows = [f["data"] for f in messages(ws)]
        ws.close()
    steps = {int(b["sequence"]) - int(a["sequence"]) for a, b in pairwise(rows)}
    assert steps <= {1, 2, 3, 4, 5}
    assert len(steps) > 1
    sweeps = [(a, b) for a, b in pairwise(rows) if a["takerOrderId"] == b["takerOrderId"]]
    assert sweeps
    assert all(a["time"] == b["time"] and a["makerOrderId"] != b["makerOrderId"] for a, b in sweeps)


def test_trade_ids_may_be_the_hexadecimal_ones_of_2021():
    with paused(quirks=frozenset({"hex_ids"})) as sim:
        ws = connect(sim)
        say(ws, MATCH + "BTC-USDT")
        reply(ws)
        sim.call(sim.simulation.burst, 60)
        rows = [f["data"] for f in messages(ws)]
        ws.close()
    ids = {r["tradeId"] for r in rows}
    assert len(ids) == len(rows)
    assert all(len(i) == 24 and int(i, 16) > 0 for i in ids)


def test_histories_hold_the_last_hundred_trades_oldest_first():
    with paused() as sim:
        rows = data(sim, "/api/v1/market/histories", symbol="BTC-USDT")
        truth = sim.call(sim.simulation.trades, VENUE, "BTC-USDT")[-100:]
        ws = connect(sim)
        say(ws, MATCH + "BTC-USDT")
        reply(ws)
        sim.call(sim.simulation.burst, 100)
        heard = [f["data"] for f in messages(ws)][-20:]
        later = data(sim, "/api/v1/market/histories", symbol="BTC-USDT")
        ws.close()
    assert len(rows) == len(truth) == 100
    assert [set(r) for r in rows] == [{"sequence", "price", "size", "side", "time"}] * 100
    assert [(r["time"], Decimal(r["price"]), r["side"] == "buy") for r in rows] == [
        (t.time_ns, Decimal(t.price), t.is_buy) for t in truth
    ]
    assert [int(r["sequence"]) for r in rows] == sorted(int(r["sequence"]) for r in rows)
    assert [r["sequence"] for r in later][-len(heard) :] == [r["sequence"] for r in heard]


# ---- candles ---------------------------------------------------------------------------------------


def test_rest_candles_are_the_trades_fold_in_kucoins_columns_newest_first():
    with paused() as sim:
        now_s = sim.call(sim.simulation.now_us) // 1_000_000
        start = now_s // BUCKET_S * BUCKET_S - BUCKET_S
        query = {"symbol": "BTC-USDT", "type": "5min", "startAt": start}
        rows = data(sim, "/api/v1/market/candles", **query, endAt=now_s + 1)
        closed = data(sim, "/api/v1/market/candles", **query, endAt=start + BUCKET_S)
        truth = sim.call(sim.simulation.truth, VENUE, "BTC-USDT", start * 1000)
    assert [int(r[0]) for r in rows] == [start + BUCKET_S, start], "the open candle is included"
    assert closed == rows[1:], "endAt is exclusive"
    assert [Decimal(c) for c in rows[1][1:]] == [
        truth.open, truth.close, truth.high, truth.low, truth.volume, truth.turnover
    ]  # fmt: skip


def test_candles_are_limited_and_need_both_bounds_and_a_known_type(sim):
    now_s = int(time.time())
    query = {"symbol": "BTC-USDT", "type": "5min", "endAt": now_s}
    rows = data(sim, "/api/v1/market/candles", **query, startAt=now_s - 2000 * BUCKET_S)
    assert len(rows) == 1500
    assert all(int(a[0]) - int(b[0]) == BUCKET_S for a, b in pairwise(rows))
    assert now_s - int(rows[0][0]) <= 2 * BUCKET_S
    assert data(sim, "/api/v1/market/candles", **query) == []
    wrong = get(sim, "/api/v1/market/candles", symbol="BTC-USDT", type="5m", startAt=1, endAt=2)
    assert (wrong.status_code, wrong.json()["code"]) == (200, "400100")


def test_intervals_without_trades_are_left_out_by_rest_and_told_late_and_flat_by_the_stream():
    with paused() as sim:
        topic = CANDLES + "ETH-USDT_5min"
        ws = connect(sim)
        say(ws, topic)
        assert reply(ws)["type"] == "ack"
        sim.call(sim.simulation.halt, VENUE, "ETH")
        sim.call(sim.simulation.advance, 3 * BUCKET_S)
        sim.call(sim.simulation.halt, VENUE, "ETH", is_halted=False)
        sim.call(sim.simulation.advance, 30)
        frames = until(ws, lambda f: f["type"] == "message" and f["data"]["candles"][5] != "0")
        ws.close()
        now_s = sim.call(sim.simulation.now_us) // 1_000_000
        query = {"symbol": "ETH-USDT", "type": "5min", "startAt": now_s - 4 * BUCKET_S, "endAt": now_s + 1}
        rows = data(sim, "/api/v1/market/candles", **query)
    flat, first = (f["data"]["candles"] for f in frames)
    assert [f["subject"] for f in frames] == ["trade.candles.add"] * 2
    assert flat[5:] == ["0", "0"]
    assert len(set(flat[1:5])) == 1
    assert int(first[0]) - int(flat[0]) == BUCKET_S
    assert flat[0] not in {r[0] for r in rows}
    assert rows[0] == first


def test_a_candle_is_added_once_and_then_updated_after_trades_only():
    with paused() as sim:
        sim.call(sim.simulation.halt, VENUE, "BTC")
        sim.call(sim.simulation.advance, BUCKET_S)
        ws = connect(sim)
        say(ws, CANDLES + "BTC-USDT_5min")
        reply(ws)
        seen = []
        for _ in range(3):
            sim.call(sim.simulation.burst, 60)
            seen += until(ws, lambda f: f["type"] == "message")
        time.sleep(1.2)
        assert messages(ws) == [], "nothing is pushed while nothing is traded"
        now_us = sim.call(sim.simulation.now_us)
        truth = sim.call(sim.simulation.truth, VENUE, "BTC-USDT", now_us // 300_000_000 * 300_000)
        ws.close()
    last = seen[-1]["data"]
    assert [f["subject"].rpartition(".")[2] for f in seen] == ["add", "update", "update"]
    assert last["symbol"] == "BTC-USDT"
    assert Decimal(last["candles"][5]) == truth.volume
    assert Decimal(last["candles"][6]) == truth.turnover
    assert last["time"] == now_us * 1000


# ---- symbols, tickers, limits ----------------------------------------------------------------------


def test_a_renamed_market_keeps_its_symbol_and_shows_its_name():
    with paused() as sim:
        sim.call(sim.simulation.halt, VENUE, "ADA")
        rows = {r["symbol"]: r for r in data(sim, "/api/v2/symbols")}
        tickers = {t["symbol"]: t for t in data(sim, "/api/v1/market/allTickers")["ticker"]}
        assert data(sim, "/api/v2/symbols", market="BTC") == []
    assert (rows["BCHSV-USDT"]["name"], rows["BCHSV-USDT"]["baseCurrency"]) == ("BSV-USDT", "BSV")
    assert tickers["BCHSV-USDT"]["symbolName"] == "BSV-USDT"
    assert rows["BTC-USDT"]["priceIncrement"] == "0.1"
    assert {s for s, r in rows.items() if not r["enableTrading"]} == {"ADA-USDT"}
    assert all(Decimal(t["volValue"]) > 0 and abs(float(t["changeRate"])) < 1 for t in tickers.values())


def test_tickers_are_a_snapshot_of_every_two_seconds():
    with paused() as sim:
        first = data(sim, "/api/v1/market/allTickers")
        sim.call(sim.simulation.advance, 1.9)
        assert data(sim, "/api/v1/market/allTickers") == first
        sim.call(sim.simulation.advance, 0.2)
        later = data(sim, "/api/v1/market/allTickers")
    assert later["time"] - first["time"] == 2100
    assert later["ticker"] != first["ticker"]


def test_errors_are_codes_as_text_mostly_with_status_200(sim):
    unknown = get(sim, "/api/v1/market/histories", symbol="NOSUCH-USDT")
    assert (unknown.status_code, unknown.json()["code"]) == (200, "900001")
    lacking = get(sim, "/api/v1/market/histories")
    assert (lacking.status_code, lacking.json()["code"]) == (200, "400100")
    nowhere = get(sim, "/api/v1/nowhere")
    assert (nowhere.status_code, nowhere.json()["code"]) == (404, "404000")
    url = sim.endpoints[VENUE]["rest"] + "/api/v1/timestamp"
    assert requests.get(url, data="{}", timeout=10).status_code == 403, "a GET must have no body"


def test_the_pool_is_told_in_headers_and_refused_when_spent():
    with simulated(VENUE, options=Options(weight_limit=10, scale=0.05)) as sim:
        answers = [get(sim, "/api/v1/timestamp") for _ in range(4)]
        last = answers[-1]
        assert [a.status_code for a in answers] == [200, 200, 200, 429]
        assert [a.headers["gw-ratelimit-remaining"] for a in answers] == ["7", "4", "1", "0"]
        assert last.json()["code"] == "429000"
        assert 0 < int(last.headers["gw-ratelimit-reset"]) <= 1500
        time.sleep(int(last.headers["gw-ratelimit-reset"]) / 1000 + 0.05)
        assert get(sim, "/api/v1/timestamp").status_code == 200


def test_overload_is_a_429_without_headers_and_a_region_has_its_own_code(sim):
    sim.fault(VENUE, "rest_status", status=429)
    overloaded = get(sim, "/api/v1/timestamp")
    assert (overloaded.status_code, overloaded.json()["code"]) == (429, "429000")
    assert not [h for h in overloaded.headers if h.lower().startswith("gw-ratelimit")]
    sim.fault(VENUE, "rest_status", status=451)
    assert get(sim, "/api/v1/timestamp").json()["code"] == "400302"
    sim.fault(VENUE, "handshake", status=403)
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        dial(sim)
    assert json.loads(refused.value.resp_body)["code"] == "400302"


# ---- witnesses -------------------------------------------------------------------------------------


def test_simulated_frames_have_the_fields_of_recorded_ones():
    recorded = [json.loads(f) for f in recorded_frames("kucoin/ws_spot_2021-04-25.jsonl.gz")]
    trade = next(f for f in recorded if f.get("subject") == "trade.l3match")
    bar = next(f for f in recorded if f.get("subject") == "trade.candles.add")
    with paused() as sim:
        ws = connect(sim)
        say(ws, MATCH + "BTC-USDT")
        say(ws, CANDLES + "BTC-USDT_5min", 2)
        reply(ws), reply(ws)
        sim.call(sim.simulation.burst, 60)
        frames = until(ws, lambda f: "candles" in f.get("subject", ""))
        ws.close()
    assert (set(frames[0]), set(frames[0]["data"])) == (set(trade), set(trade["data"]))
    assert (set(frames[-1]), set(frames[-1]["data"])) == (set(bar), set(bar["data"]))
    assert len(frames[-1]["data"]["candles"]) == len(bar["data"]["candles"]) == 7


def test_a_recorded_session_speaks_first_and_byte_for_byte():
    name = "kucoin/ws_spot_2021-04-25.jsonl.gz"
    file, expected = recording(name), recorded_frames(name)
    with simulated(VENUE, playbacks=[Playback(VENUE, file)]) as sim:
        ws = dial(sim)
        assert [ws.recv().encode() for _ in expected] == expected
        ws.close()


@pytest.fixture
def sdk(sim) -> DefaultClient:
    url = sim.endpoints[VENUE]["rest"]
    listen = WebSocketClientOptionBuilder().with_reconnect(False).build()
    option = ClientOptionBuilder().set_key("").set_secret("").set_passphrase("")
    option = option.set_spot_endpoint(url).set_futures_endpoint(url).set_broker_endpoint(url)
    option = option.set_transport_option(TransportOptionBuilder().set_max_retries(0).build())
    return DefaultClient(option.set_websocket_client_option(listen).build())


def test_kucoins_own_client_reads_the_rest_answers(sim, sdk):
    api = sdk.rest_service().get_spot_service().get_market_api()
    assert api.get_public_token().instance_servers[0].ping_interval == 9000
    names = {s.symbol: s.name for s in api.get_all_symbols(GetAllSymbolsReqBuilder().build()).data}
    assert len(names) == 13
    assert names["BCHSV-USDT"] == "BSV-USDT"
    tickers = api.get_all_tickers()
    assert {t.symbol for t in tickers.ticker} == set(names)
    assert abs(api.get_server_time().data - time.time() * 1000) < 10_000
    now_s = int(time.time())
    ask = GetKlinesReqBuilder().set_symbol("BTC-USDT").set_type("5min")
    rows = api.get_klines(ask.set_start_at(now_s - 3000).set_end_at(now_s).build()).data
    assert len(rows) in (10, 11)
    assert all(Decimal(r[4]) <= Decimal(r[1]) <= Decimal(r[3]) for r in rows), "low, open, high"
    trades = api.get_trade_history(GetTradeHistoryReqBuilder().set_symbol("BTC-USDT").build())
    assert len(trades.data) == 100
    assert trades.common_response.rate_limit.limit == 100_000


def test_kucoins_own_client_hears_trades(sim, sdk):
    heard: queue.Queue[tuple[str, str, str]] = queue.Queue()
    ws = sdk.ws_service().new_spot_public_ws()
    ws.start()
    try:
        ws.trade(["BTC-USDT", "ETH-USDT"], lambda topic, subject, event: heard.put((topic, subject, event.trade_id)))
        sim.call(sim.simulation.burst, 200)
        found = [heard.get(timeout=10)]
        while len({topic for topic, _, _ in found}) < 2:
            found.append(heard.get(timeout=10))
    finally:
        ws.stop()
    assert {topic for topic, _, _ in found} == {MATCH + "BTC-USDT", MATCH + "ETH-USDT"}
    assert {subject for _, subject, _ in found} == {"trade.l3match"}
    assert all(number.isdigit() for _, _, number in found)
