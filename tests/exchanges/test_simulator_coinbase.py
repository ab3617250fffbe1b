"""The Coinbase simulator, heard by plain clients and judged by the protocol sheet."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

import pytest
import requests
import websocket

from exchanges.simulation.stage import Options
from livermore.core.gap import Cause
from tests.support.simulation import Running, simulated
from tests.support.streaming import streamed
from tests.support.waiting import until

VENUE = "coinbase"
REST = "/api/v3/brokerage/"
BUCKET_S = 300


@pytest.fixture(scope="module")
def sim() -> Iterator[Running]:
    with simulated(VENUE, seed=3, options=Options(weight_limit=1000)) as running:
        yield running


def connect(sim: Running) -> websocket.WebSocket:
    return websocket.create_connection(sim.endpoints[VENUE]["ws"], timeout=10)


def subscribe(ws: websocket.WebSocket, channel: str, *products: str, kind: str = "subscribe", **more: str) -> None:
    ws.send(json.dumps({"type": kind, "product_ids": list(products), "channel": channel, **more}))


def frames_until(ws: websocket.WebSocket, is_last: Callable[[dict], bool]) -> list[dict]:
    found = [json.loads(ws.recv())]
    while not is_last(found[-1]):
        found.append(json.loads(ws.recv()))
    return found


def is_ack(frame: dict) -> bool:
    return frame.get("channel") == "subscriptions"


def trades_of(frame: dict, kind: str | None = None) -> list[dict]:
    if frame.get("channel") != "market_trades":
        return []
    return [t for e in frame["events"] if kind in (None, e["type"]) for t in e["trades"]]


def get(sim: Running, path: str, **query: object) -> requests.Response:
    return requests.get(sim.endpoints[VENUE]["rest"] + REST + path, params=query, timeout=10)


def test_the_snapshot_comes_first_with_a_hundred_trades_newest_first(sim):
    ws = connect(sim)
    subscribe(ws, "market_trades", "BTC-USD")
    snapshot, *_, ack = frames_until(ws, is_ack)
    ws.close()
    assert snapshot["sequence_num"] == 0
    ids = [int(t["trade_id"]) for t in trades_of(snapshot, "snapshot")]
    assert ids == list(range(ids[0], ids[0] - 100, -1))
    assert ack["events"] == [{"subscriptions": {"market_trades": ["BTC-USD"]}}]


def test_updates_continue_the_snapshot_without_a_hole(sim):
    ws = connect(sim)
    subscribe(ws, "market_trades", "BTC-USD")
    frames = frames_until(ws, lambda f: len(trades_of(f, "update")) > 0)
    while len([f for f in frames if trades_of(f, "update")]) < 12:
        frames.append(json.loads(ws.recv()))
    ws.close()
    ids = sorted(int(t["trade_id"]) for f in frames for t in trades_of(f))
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    for frame in frames:
        newest_first = [int(t["trade_id"]) for t in trades_of(frame)]
        assert newest_first == sorted(newest_first, reverse=True)
        for trade in trades_of(frame, "update"):
            late = datetime.fromisoformat(frame["timestamp"]) - datetime.fromisoformat(trade["time"])
            assert -0.001 <= late.total_seconds() <= 0.6


def test_the_sequence_counts_every_frame_of_the_connection(sim):
    ws = connect(sim)
    subscribe(ws, "heartbeats")
    subscribe(ws, "market_trades", "BTC-USD", "ETH-USD")
    subscribe(ws, "ticker", "BTC-USD")
    subscribe(ws, "candles", "BTC-USD")
    deadline = time.monotonic() + 20
    frames: list[dict] = []
    while {f["channel"] for f in frames} < {"heartbeats", "market_trades", "ticker", "candles", "subscriptions"}:
        assert time.monotonic() < deadline
        frames.append(json.loads(ws.recv()))
    ws.close()
    assert [f["sequence_num"] for f in frames] == list(range(len(frames)))


def test_the_acknowledgement_is_cumulative_and_leaves_unknown_products_out(sim):
    ws = connect(sim)
    subscribe(ws, "market_trades", "NMR-USD", "NOSUCH-USD")
    first = frames_until(ws, is_ack)[-1]
    subscribe(ws, "heartbeats")
    second = frames_until(ws, is_ack)[-1]
    subscribe(ws, "market_trades", "NMR-USD", kind="unsubscribe")
    third = frames_until(ws, is_ack)[-1]
    ws.close()
    state = [f["events"][0]["subscriptions"] for f in (first, second, third)]
    assert state[0] == {"market_trades": ["NMR-USD"]}
    assert state[1] == {"market_trades": ["NMR-USD"], "heartbeats": ["heartbeats"]}
    assert state[2] == {"heartbeats": ["heartbeats"]}


def test_an_alias_is_served_under_the_name_of_the_shared_book(sim):
    ws = connect(sim)
    subscribe(ws, "market_trades", "BTC-USDC", "BTC-USD")
    frames = frames_until(ws, is_ack)
    ws.close()
    assert {t["product_id"] for f in frames for t in trades_of(f)} == {"BTC-USD"}
    assert frames[-1]["events"][0]["subscriptions"] == {"market_trades": ["BTC-USD"]}


def test_an_unknown_channel_gives_an_error_without_channel_and_sequence(sim):
    ws = connect(sim)
    subscribe(ws, "user", "BTC-USD")
    assert json.loads(ws.recv()) == {"type": "error", "message": "authentication failure"}
    ws.close()


def test_heartbeats_come_once_a_second_and_count(sim):
    ws = connect(sim)
    subscribe(ws, "heartbeats")
    frames_until(ws, is_ack)
    began_s = time.monotonic()
    beats = [json.loads(ws.recv()) for _ in range(3)]
    ws.close()
    counters = [b["events"][0]["heartbeat_counter"] for b in beats]
    assert counters == list(range(counters[0], counters[0] + 3))
    assert time.monotonic() - began_s >= 1.5


def test_the_side_is_the_makers(sim):
    listed = get(sim, "market/products/BTC-USD/ticker", limit=50).json()["trades"]
    oracle = {t.id: t for t in sim.call(sim.simulation.trades, VENUE, "BTC-USD")}
    assert {t["side"] for t in listed} == {"BUY", "SELL"}
    for trade in listed:
        assert (trade["side"] == "SELL") is oracle[int(trade["trade_id"])].is_buy


def closes_within(ws: websocket.WebSocket, limit_s: float) -> float:
    """Seconds until the close frame."""
    began_s = time.monotonic()
    ws.settimeout(limit_s)
    while ws.recv_data(control_frame=True)[0] != websocket.ABNF.OPCODE_CLOSE:
        pass
    return time.monotonic() - began_s


def test_silence_before_the_first_message_and_idling_without_heartbeats_end_a_connection():
    with simulated(VENUE, options=Options(scale=0.1)) as sim:
        sim.call(sim.simulation.halt, VENUE, "NMR")  # a trade, rare as it is, would begin the silence anew
        assert 0.4 <= closes_within(connect(sim), 5) <= 3
        idle, beating = connect(sim), connect(sim)
        subscribe(idle, "market_trades", "NMR-USD")
        subscribe(beating, "heartbeats")
        assert 6 <= closes_within(idle, 15) <= 12
        frames_until(beating, lambda f: f["channel"] == "heartbeats" and f["sequence_num"] > 5)
        beating.close()


def test_a_ninth_message_within_a_second_ends_its_connection_whichever_sent_the_others():
    with simulated(VENUE) as sim:
        one, other = connect(sim), connect(sim)
        for _ in range(8):
            subscribe(one, "heartbeats")
        subscribe(other, "heartbeats", jwt="a token is not counted")
        frames_until(other, is_ack)
        subscribe(other, "market_trades", "NMR-USD")
        assert closes_within(other, 5) < 2
        frames_until(one, lambda f: f["channel"] == "heartbeats" and f["sequence_num"] > 9)
        subscribe(one, "market_trades", "NMR-USD")  # a second has passed
        frames_until(one, lambda f: f["channel"] == "market_trades")
        one.close()


def test_our_client_keeps_below_with_many_connections_whose_symbols_change():
    """Five connections, each with its own session: what counts is the address."""
    with simulated(VENUE, is_paused=True) as sim, streamed(sim, VENUE, topics_per_connection=3) as run:
        run.until_state("streaming")
        everything = list(run.all_names)
        for size in (6, 13, 4, 13):
            run.follow(everything[:size])
            until(lambda size=size: run.stream.snapshot().acked == size and run.state == "streaming")
        assert run.stream.snapshot().errors == 0
        assert run.gaps_of(Cause.DISCONNECT) == []


def test_stream_and_rest_agree_to_the_last_digit():
    with simulated(VENUE, is_paused=True, options=Options(weight_limit=1000)) as sim:
        ws = connect(sim)
        subscribe(ws, "market_trades", "BTC-USD", "PEPE-USD")
        frames_until(ws, is_ack)
        sim.call(sim.simulation.advance, 100.0)
        subscribe(ws, "heartbeats")
        heard = [t for f in frames_until(ws, is_ack) for t in trades_of(f, "update")]
        ws.close()
        for product in ("BTC-USD", "PEPE-USD"):
            mine = sorted((t for t in heard if t["product_id"] == product), key=lambda t: -int(t["trade_id"]))
            listed = get(sim, f"market/products/{product}/ticker", limit=1000).json()["trades"][: len(mine)]
            assert len(mine) > 20
            for ours, theirs in zip(mine, listed, strict=True):
                assert {k: theirs[k] for k in ("trade_id", "price", "size", "side")} == {
                    k: ours[k] for k in ("trade_id", "price", "size", "side")
                }
                assert datetime.fromisoformat(ours["time"]) == datetime.fromisoformat(theirs["time"])


def test_candles_are_the_fold_of_the_trades_listed_newest_first():
    with simulated(VENUE, is_paused=True, options=Options(weight_limit=1000)) as sim:
        now_s = sim.call(sim.simulation.now_us) // 1_000_000
        start = now_s // BUCKET_S * BUCKET_S - BUCKET_S
        trades: dict[int, dict] = {}
        for end in range(start + 59, start + BUCKET_S, 60):
            page = get(sim, "market/products/BTC-USD/ticker", limit=1000, start=end - 59, end=end).json()["trades"]
            trades |= {int(t["trade_id"]): t for t in page}
        window = {"start": start, "end": now_s, "granularity": "FIVE_MINUTE"}
        rows = get(sim, "market/products/BTC-USD/candles", **window).json()["candles"]
        truth = sim.call(sim.simulation.truth, VENUE, "BTC-USD", start * 1000)
    assert [int(r["start"]) for r in rows] == [start + BUCKET_S, start]
    prices = [Decimal(trades[i]["price"]) for i in sorted(trades)]
    row = {k: Decimal(v) for k, v in rows[-1].items()}
    assert (row["open"], row["high"], row["low"], row["close"]) == (prices[0], max(prices), min(prices), prices[-1])
    assert row["volume"] == sum(Decimal(t["size"]) for t in trades.values()) == truth.volume


def test_idle_intervals_are_left_out():
    with simulated(VENUE, is_paused=True, options=Options(weight_limit=1000)) as sim:
        sim.call(sim.simulation.advance, 300.0)
        sim.call(sim.simulation.halt, VENUE, "ETH")
        sim.call(sim.simulation.advance, 1200.0)
        now_s = sim.call(sim.simulation.now_us) // 1_000_000
        window = {"start": now_s - 1800, "end": now_s, "granularity": "FIVE_MINUTE"}
        rows = get(sim, "market/products/ETH-USD/candles", **window).json()["candles"]
        product = get(sim, "market/products/ETH-USD").json()
    assert 1 <= len(rows) <= 4
    assert all(Decimal(r["volume"]) > 0 for r in rows)
    assert product["trading_disabled"] is True


def test_at_most_350_candles_are_served(sim):
    end = int(time.time())
    window = {"end": end, "granularity": "ONE_HOUR"}
    full = get(sim, "market/products/BTC-USD/candles", start=end - 349 * 3600, **window).json()["candles"]
    assert len(full) >= 349
    assert all(int(a["start"]) - int(b["start"]) == 3600 for a, b in pairwise(full))
    assert get(sim, "market/products/BTC-USD/candles", start=end - 400 * 3600, **window).status_code == 400


def test_products_carry_steps_volume_and_aliases(sim):
    products = {p["product_id"]: p for p in get(sim, "market/products", product_type="SPOT").json()["products"]}
    assert {"BTC-USD", "BTC-USDC", "USDT-USD", "PEPE-USD"} <= set(products)
    assert products["BTC-USDC"]["alias"] == "BTC-USD"
    assert products["BTC-USD"]["alias_to"] == ["BTC-USDC"]
    assert products["PEPE-USD"]["price_increment"] == "0.00000001"
    assert 0.999 < Decimal(products["USDT-USD"]["price"]) < Decimal("1.001")
    assert all(Decimal(p["approximate_quote_24h_volume"]) > 0 for p in products.values())


def test_errors_are_coinbases():
    with simulated(VENUE) as sim:
        missing = get(sim, "market/products/NOSUCH-USD")
        assert (missing.status_code, missing.json()["error"]) == (404, "NOT_FOUND")
        answers = [get(sim, "time") for _ in range(15)]
    refused = [a for a in answers if a.status_code == 429]
    assert refused
    assert refused[0].json() == {"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]}
