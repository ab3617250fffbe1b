"""The Binance simulators, heard by plain clients and judged by the protocol sheets."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator
from decimal import Decimal

import pytest
import requests
import websocket

from exchanges.simulation.stage import Options
from tests.support.simulation import Running, simulated

COM, US = "binance", "binance_us"
BUCKET_MS = 300_000


@pytest.fixture(scope="module")
def sim() -> Iterator[Running]:
    with simulated(COM, US, seed=3) as running:
        yield running


def connect(sim: Running, path: str = "/stream", venue: str = COM) -> websocket.WebSocket:
    return websocket.create_connection(sim.endpoints[venue]["ws"] + path, timeout=10)


def ask(ws: websocket.WebSocket, **message: object) -> dict[str, object]:
    """Send one control message and return the answer, whatever data comes in between."""
    ws.send(json.dumps(message))
    while True:
        reply = json.loads(ws.recv())
        if "stream" not in reply and "e" not in reply:
            return reply


def get(sim: Running, path: str, venue: str = COM, **query: object) -> requests.Response:
    return requests.get(sim.endpoints[venue]["rest"] + path, params=query, timeout=10)


def test_a_combined_connection_wraps_its_events(sim):
    ws = connect(sim, "/stream?streams=btcusdt@aggTrade/ethusdt@aggTrade")
    frame = json.loads(ws.recv())
    ws.close()
    assert set(frame) == {"stream", "data"}
    assert frame["stream"] == frame["data"]["s"].lower() + "@aggTrade"
    assert set(frame["data"]) == {"e", "E", "s", "a", "p", "q", "f", "l", "T", "m", "M"}
    assert 0 <= frame["data"]["E"] - frame["data"]["T"] <= 60
    assert len(frame["data"]["p"].partition(".")[2]) == 8


def test_a_raw_connection_does_not_wrap_them(sim):
    ws = connect(sim, "/ws/btcusdt@trade")
    frame = json.loads(ws.recv())
    ws.close()
    assert (frame["e"], frame["s"]) == ("trade", "BTCUSDT")
    assert not {"a", "b"} & set(frame), "order ids left the stream of .com in 2024"


def test_requests_are_acknowledged_by_their_id(sim):
    ws = connect(sim, "/ws")
    assert ask(ws, method="SUBSCRIBE", params=["btcusdt@aggTrade", "nosuch@aggTrade"], id="a-1") == {
        "result": None,
        "id": "a-1",
    }
    listed = ask(ws, method="LIST_SUBSCRIPTIONS", id=2)["result"]
    assert sorted(listed) == ["btcusdt@aggTrade", "nosuch@aggTrade"]
    assert ask(ws, method="UNSUBSCRIBE", params=["btcusdt@aggTrade"], id=None)["result"] is None
    assert ask(ws, method="LIST_SUBSCRIPTIONS", id=4) == {"result": ["nosuch@aggTrade"], "id": 4}
    ws.close()


def test_an_unknown_symbol_is_acknowledged_and_silent(sim):
    ws = connect(sim)
    assert ask(ws, method="SUBSCRIBE", params=["nosuch@aggTrade", "BTCUSDT@aggTrade"], id=1)["result"] is None
    ws.settimeout(0.7)
    with pytest.raises(websocket.WebSocketTimeoutException):
        ws.recv()
    ws.close()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ("{not json", 3),
        ('{"method":"SHOUT","params":[],"id":1}', 2),
        ('{"method":"GET_PROPERTY","params":["x"],"id":1}', 0),
    ],
)
def test_errors_carry_a_code_and_no_result(sim, sent, code):
    ws = connect(sim)
    ws.send(sent)
    reply = json.loads(ws.recv())
    ws.close()
    assert reply["code"] == code
    assert "result" not in reply


def test_binance_us_accepts_unsigned_integers_as_ids_only(sim):
    ws = connect(sim, venue=US)
    assert ask(ws, method="SUBSCRIBE", params=["btcusdt@trade"], id="x") == {
        "code": 2,
        "msg": "Invalid request: request ID must be an unsigned integer",
    }
    assert ask(ws, method="SUBSCRIBE", params=["btcusdt@trade", "btcusd@trade"], id=1)["result"] is None
    sim.call(sim.simulation.burst, 20, venues=[US])
    frame = json.loads(ws.recv())
    ws.close()
    assert {"a", "b"} < set(frame["data"]), "the older dialect still has order ids"


def test_the_sixth_message_in_a_second_ends_the_connection(sim):
    ws = connect(sim)
    for number in range(6):
        ws.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
    code = None
    while code is None:
        opcode, body = ws.recv_data(control_frame=True)
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            code = int.from_bytes(body[:2], "big")
    assert code == 1008


def test_five_messages_a_second_are_allowed(sim):
    ws = connect(sim)
    for number in range(5):
        assert ask(ws, method="LIST_SUBSCRIPTIONS", id=number)["id"] == number
    ws.close()


def test_a_connection_carries_1024_streams(sim):
    ws = connect(sim)
    many = [f"s{i}@aggTrade" for i in range(1024)]
    assert ask(ws, method="SUBSCRIBE", params=many, id=1)["result"] is None
    refused = ask(ws, method="SUBSCRIBE", params=["one@aggTrade"], id=2)
    ws.close()
    assert refused == {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 2}


def test_a_client_that_answers_pings_lives_and_a_mute_one_is_cut():
    with simulated(US, options=Options(scale=0.005)) as sim:
        polite = connect(sim, venue=US)
        mute = connect(sim, venue=US)
        pings: list[int] = []

        def answer() -> None:
            while len(pings) < 5:
                pings.append(polite.recv_data(control_frame=True)[0])

        reader = threading.Thread(target=answer, daemon=True)
        reader.start()
        opened_s = time.monotonic()
        unanswered = []
        try:
            while True:
                unanswered.append(mute.recv_frame().opcode)
        except (websocket.WebSocketException, OSError):
            assert set(unanswered) == {websocket.ABNF.OPCODE_PING}
        lived_s = time.monotonic() - opened_s
        assert 3.0 <= lived_s <= 6.0, "10 minutes at this scale, after the first ping"
        reader.join(10)
        assert pings == [websocket.ABNF.OPCODE_PING] * 5, "answered pings came for longer than a mute client lives"
        polite.close()


def test_a_connection_does_not_outlive_its_lifetime():
    with simulated(COM, options=Options(lifetime_s=0.5)) as sim:
        ws = connect(sim)
        opened_s = time.monotonic()
        opcode, _ = ws.recv_data(control_frame=True)
        assert opcode == websocket.ABNF.OPCODE_CLOSE
        assert time.monotonic() - opened_s >= 0.4


def test_the_shutdown_notice_has_its_own_stream_name(sim):
    combined, raw = connect(sim), connect(sim, "/ws")
    for ws in (combined, raw):
        ask(ws, method="LIST_SUBSCRIPTIONS", id=1)
    sim.fault(COM, "shutdown")
    wrapped, bare = json.loads(combined.recv()), json.loads(raw.recv())
    combined.close()
    raw.close()
    assert wrapped["stream"] == "!serverShutdown"
    assert wrapped["data"]["e"] == bare["e"] == "serverShutdown"


def test_stream_and_rest_agree_to_the_last_digit():
    streams = "/".join(f"{s}@aggTrade" for s in ("btcusdt", "ethusdt", "pepeusdt"))
    with simulated(COM, is_paused=True) as sim:
        ws = connect(sim, f"/stream?streams={streams}")
        ask(ws, method="LIST_SUBSCRIPTIONS", id=1)
        sim.call(sim.simulation.advance, 120.0)
        ask_end = {"method": "LIST_SUBSCRIPTIONS", "id": 9}
        sim.drained()
        ws.send(json.dumps(ask_end))
        heard: dict[str, list[dict]] = {"BTCUSDT": [], "ETHUSDT": [], "PEPEUSDT": []}
        while "stream" in (frame := json.loads(ws.recv())):
            heard[frame["data"]["s"]].append(frame["data"])
        ws.close()
        for native, events in heard.items():
            listed = get(sim, "/api/v3/aggTrades", symbol=native, fromId=events[0]["a"], limit=1000).json()
            assert listed == [{k: v for k, v in e.items() if k not in ("e", "E", "s")} for e in events]
            assert len(events) > 50


def aggregates_between(sim: Running, venue: str, native: str, first_ms: int, last_ms: int) -> list[dict]:
    path, span = "/api/v3/aggTrades", {"startTime": first_ms, "endTime": last_ms}
    found = page = get(sim, path, venue, symbol=native, limit=1000, **span).json()
    while page:
        page = get(sim, path, venue, symbol=native, fromId=found[-1]["a"] + 1, limit=500).json()
        page = [t for t in page if t["T"] <= last_ms]
        found += page
    return found


def test_klines_are_the_fold_of_the_trades_listed():
    with simulated(COM, US, is_paused=True) as sim:
        for venue, native in ((COM, "BTCUSDT"), (US, "BTCUSD")):
            sim.call(sim.simulation.advance, 310.0)
            now_ms = sim.call(sim.simulation.now_us) // 1000
            open_ms = now_ms // BUCKET_MS * BUCKET_MS - BUCKET_MS
            trades = aggregates_between(sim, venue, native, open_ms, open_ms + BUCKET_MS - 1)
            row = get(sim, "/api/v3/klines", venue, symbol=native, interval="5m", startTime=open_ms, limit=1).json()[0]
            prices = [Decimal(t["p"]) for t in trades]
            assert row[0] == open_ms
            assert row[6] == open_ms + BUCKET_MS - 1
            assert [Decimal(x) for x in row[1:5]] == [prices[0], max(prices), min(prices), prices[-1]]
            assert Decimal(row[5]) == sum(Decimal(t["q"]) for t in trades)
            assert row[8] == sum(t["l"] - t["f"] + 1 for t in trades)
            assert Decimal(row[9]) == sum(Decimal(t["q"]) for t in trades if not t["m"])
            truth = sim.call(sim.simulation.truth, venue, native, open_ms)
            assert Decimal(row[7]) == truth.turnover
            assert truth.turnover <= sum(Decimal(t["p"]) * Decimal(t["q"]) for t in trades)


def test_single_trades_are_listed_by_id(sim):
    newest = get(sim, "/api/v3/trades", symbol="ETHUSDT", limit=3).json()
    assert [t["id"] for t in newest] == list(range(newest[0]["id"], newest[0]["id"] + 3))
    again = get(sim, "/api/v3/historicalTrades", symbol="ETHUSDT", fromId=newest[0]["id"], limit=2).json()
    assert again == newest[:2]
    refused = get(sim, "/api/v3/historicalTrades", US, symbol="BTCUSD")
    assert (refused.status_code, refused.json()["code"]) == (401, -2014)


def test_the_newest_kline_is_the_running_one(sim):
    rows = get(sim, "/api/v3/klines", symbol="BTCUSDT", interval="1h", limit=1000).json()
    assert len(rows) == 1000
    assert rows[-1][6] > get(sim, "/api/v3/time").json()["serverTime"] >= rows[-1][0]
    assert all(b[0] - a[0] == 3_600_000 for a, b in itertools.pairwise(rows))


def test_idle_intervals_are_flat_rows():
    with simulated(COM, is_paused=True) as sim:
        sim.call(sim.simulation.halt, COM, "NMR")
        sim.call(sim.simulation.advance, 900.0)
        info = get(sim, "/api/v3/exchangeInfo", symbol="NMRUSDT").json()["symbols"][0]
        rows = get(sim, "/api/v3/klines", symbol="NMRUSDT", interval="5m", limit=3).json()
    assert info["status"] == "BREAK"
    assert len(rows) == 3
    for row in rows[1:]:
        assert row[1:5] == [rows[0][4]] * 4
        assert (Decimal(row[5]), Decimal(row[7]), row[8]) == (0, 0, 0)


def test_symbols_carry_their_steps_and_twins(sim):
    info = {s["symbol"]: s for s in get(sim, "/api/v3/exchangeInfo", US).json()["symbols"]}
    assert {"BTCUSD", "BTCUSDT", "USDTUSD"} <= set(info)
    assert info["BTCUSD"]["quotePrecision"] == 4
    assert info["BTCUSD"]["permissions"] == ["SPOT"]
    filters = {f["filterType"]: f for f in info["BTCUSD"]["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.0100"
    com = get(sim, "/api/v3/exchangeInfo", symbols='["PEPEUSDT"]').json()["symbols"]
    assert [s["baseAsset"] for s in com] == ["PEPE"]
    assert com[0]["permissionSets"] == [["SPOT", "MARGIN"]]


def test_errors_have_binances_numbers(sim):
    for symbol, interval, code in (("NOPE", "5m", -1121), ("BTCUSDT", "7m", -1120)):
        answer = get(sim, "/api/v3/klines", symbol=symbol, interval=interval)
        assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert get(sim, "/api/v3/klines", interval="5m").json()["code"] == -1102


def test_the_weight_used_is_told_and_limited():
    with simulated(COM, options=Options(weight_limit=100)) as sim:
        first = get(sim, "/api/v3/exchangeInfo")
        second = get(sim, "/api/v3/ticker/24hr")
        used = [int(r.headers["X-MBX-USED-WEIGHT-1M"]) for r in (first, second)]
        if used[0] < used[1]:  # else a new minute began in between
            assert used[1] - used[0] == 80
            refused = get(sim, "/api/v3/exchangeInfo")
            assert refused.status_code == 429
            assert int(refused.headers["Retry-After"]) >= 1
            insisting = [get(sim, "/api/v3/ping").status_code for _ in range(12)]
            assert insisting[-1] in (418, 200)


def test_python_binance_reads_it(sim):
    client_module = pytest.importorskip("binance")
    client = type("Local", (client_module.Client,), {"API_URL": sim.endpoints[COM]["rest"] + "/api"})(ping=True)
    try:
        assert {s["symbol"] for s in client.get_exchange_info()["symbols"]} >= {"BTCUSDT", "USDCUSDT"}
        assert len(client.get_klines(symbol="BTCUSDT", interval="4h", limit=450)) == 450
        assert client.get_ticker(symbol="BTCUSDT")["count"] > 1000
        assert len(client.get_aggregate_trades(symbol="BTCUSDT", limit=10)) == 10
    finally:
        client.close_connection()
