"""Faults, scenarios, playback and the command: what a simulator does besides trading."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
import websocket

from exchanges.simulation import scenario
from exchanges.simulation.playback import Playback
from exchanges.simulator import Simulation, available
from livermore.core.errors import InvalidInput
from tests.support.recordings import recorded_frames, recording
from tests.support.simulation import Running, simulated

COM, US, CB = "binance", "binance_us", "coinbase"
ROOT = Path(__file__).resolve().parents[2]


def listen(sim: Running, venue: str = COM) -> websocket.WebSocket:
    """A connection on which BTC's trades flow."""
    base = sim.endpoints[venue]["ws"]
    if venue != CB:
        ws = websocket.create_connection(base + "/stream?streams=btcusdt@aggTrade", timeout=10)
        ws.send('{"method":"LIST_SUBSCRIPTIONS","id":1}')
        until(ws, lambda text: '"result"' in text)
        return ws
    ws = websocket.create_connection(base, timeout=10)
    ws.send('{"type":"subscribe","product_ids":["BTC-USD"],"channel":"market_trades"}')
    until(ws, lambda text: '"subscriptions"' in text)
    return ws


def until(ws: websocket.WebSocket, is_it: Callable[[str], bool]) -> list[str | bytes]:
    found = [ws.recv()]
    while not (isinstance(found[-1], str) and is_it(found[-1])):
        found.append(ws.recv())
    return found


def ids(frames: list[str | bytes]) -> list[int]:
    return [json.loads(f)["data"]["a"] for f in frames if '"stream"' in str(f)]


@pytest.mark.parametrize("venue", [COM, US, CB])
def test_a_cut_sends_a_close_frame_with_its_code(venue):
    with simulated(venue) as sim:
        ws = listen(sim, venue)
        sim.fault(venue, "cut", code=1012)
        opcode, body = ws.recv_data(control_frame=True)
        while opcode != websocket.ABNF.OPCODE_CLOSE:
            opcode, body = ws.recv_data(control_frame=True)
    assert int.from_bytes(body[:2], "big") == 1012


@pytest.mark.parametrize("venue", [COM, CB])
def test_an_abort_ends_the_connection_without_a_close_frame(venue):
    with simulated(venue, is_paused=True) as sim:
        ws = listen(sim, venue)
        sim.fault(venue, "abort")
        with pytest.raises((OSError, websocket.WebSocketConnectionClosedException)):
            until(ws, lambda text: False)


def test_a_silent_connection_stays_open_and_speaks_again():
    with simulated(COM, is_paused=True) as sim:
        ws = listen(sim)
        sim.fault(COM, "silence", for_s=0.5)
        sim.call(sim.simulation.burst, 20)
        ws.settimeout(0.3)
        with pytest.raises(websocket.WebSocketTimeoutException):
            ws.recv()
        ws.settimeout(10)
        time.sleep(0.3)
        sim.call(sim.simulation.burst, 50)
        assert "aggTrade" in ws.recv()
        ws.close()


def test_frames_are_duplicated_and_dropped_on_demand():
    with simulated(COM, is_paused=True) as sim:
        ws = listen(sim)
        sim.fault(COM, "duplicate", count=2)
        sim.call(sim.simulation.burst, 100)
        sim.fault(COM, "drop")
        sim.call(sim.simulation.burst, 100)
        ws.send('{"method":"LIST_SUBSCRIPTIONS","id":2}')
        found = ids(until(ws, lambda text: '"result"' in text))
        ws.close()
    assert found[0] == found[1] < found[2] == found[3]
    steps = [b - a for a, b in itertools.pairwise(found[3:])]
    assert sorted(set(steps)) == [1, 2]
    assert steps.count(2) == 1


def test_a_dropped_frame_leaves_a_hole_in_coinbases_sequence():
    with simulated(CB, is_paused=True) as sim:
        ws = listen(sim, CB)
        sim.fault(CB, "drop")
        sim.call(sim.simulation.advance, 5.0)
        ws.send('{"type":"subscribe","channel":"heartbeats"}')
        numbers = [json.loads(f)["sequence_num"] for f in until(ws, lambda text: '"subscriptions"' in text)]
        ws.close()
    assert numbers[0] == 3, "0 was the snapshot, 1 the acknowledgement, 2 is lost"


@pytest.mark.parametrize("venue", [COM, US, CB])
@pytest.mark.parametrize("kind", ["malformed", "unknown_symbol", "huge_number", "binary"])
def test_nonsense_is_sent_to_every_connection(venue, kind):
    with simulated(venue, is_paused=True) as sim:
        ws = listen(sim, venue)
        sim.fault(venue, kind)
        opcode, body = ws.recv_data()
        ws.close()
    if kind == "binary":
        assert opcode == websocket.ABNF.OPCODE_BINARY
    elif kind == "malformed":
        with pytest.raises(ValueError):
            json.loads(body)
    elif kind == "unknown_symbol":
        assert "NOSUCH" in json.dumps(json.loads(body))
    else:
        assert '"1e400"' in json.dumps(json.loads(body))


@pytest.mark.parametrize("venue", [COM, US, CB])
def test_rest_answers_with_the_error_asked_for_and_then_recovers(venue):
    with simulated(venue) as sim:
        url = sim.endpoints[venue]["rest"] + ("/api/v3/brokerage/time" if venue == CB else "/api/v3/time")
        for status in (429, 418, 403, 451, 500, 503):
            sim.fault(venue, "rest_status", status=status)
            answer = requests.get(url, timeout=10)
            assert answer.status_code == status
            if status in (418, 429) and venue != CB:
                assert int(answer.headers["Retry-After"]) > 0
        sim.fault(venue, "rest_html")
        page = requests.get(url, timeout=10)
        assert (page.status_code, page.headers["Content-Type"].split(";")[0]) == (200, "text/html")
        sim.fault(venue, "rest_abort")
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=10)
        assert requests.get(url, timeout=10).json()


def test_a_region_is_refused_at_the_handshake():
    with simulated(COM) as sim:
        sim.fault(COM, "handshake", status=451)
        with pytest.raises(websocket.WebSocketBadStatusException) as refused:
            listen(sim)
        assert refused.value.status_code == 451
        assert json.loads(refused.value.resp_body)["code"] == 0
        listen(sim).close()


def test_a_fault_that_does_not_exist_is_named():
    with simulated(COM) as sim:
        with pytest.raises(InvalidInput, match="accepted: cut abort"):
            sim.fault(COM, "earthquake")
        with pytest.raises(InvalidInput, match="not simulated"):
            sim.fault("nowhere", "cut")
        with pytest.raises(InvalidInput, match="has no"):
            sim.fault(COM, "cut", colour="red")


# ---- scenarios -----------------------------------------------------------------------------------


def test_every_shipped_scenario_can_be_performed():
    for file in sorted(scenario.FOLDER.glob("*.json")):
        simulation = Simulation(scenario=file, is_paused=True)
        simulation.advance(600.0)
        assert not simulation._steps, file.name


def test_a_scenario_moves_prices_and_breaks_things_at_its_times():
    steps = [
        {"at_s": 0, "episodes": False},
        {"at_s": 1, "venue": COM, "fault": "malformed"},
        {"at_s": 2, "move": {"base": "ETH", "bps": 500, "over_s": 1}},
    ]
    with simulated(COM, scenario=steps, is_paused=True) as sim:
        ws = listen(sim)
        tape = sim.simulation.market.tape(COM, "ETHUSDT")
        before = tape.last_price
        sim.call(sim.simulation.advance, 1.5)
        assert '"stream"' in until_broken(ws)[-1]
        assert tape.last_price / before == pytest.approx(1.0, abs=0.002)
        sim.call(sim.simulation.advance, 1.0)
        sim.call(sim.simulation.advance, 2.0)
        assert tape.last_price / before == pytest.approx(1.05, abs=0.004)
        ws.close()


def until_broken(ws: websocket.WebSocket) -> list[str]:
    found: list[str] = []
    while not found or found[-1].endswith("}"):
        found.append(str(ws.recv()))
    return found


@pytest.mark.parametrize(
    "bad",
    [
        "nosuch",
        [{"at_s": 1}],
        [{"fault": "cut"}],
        {"at_s": 1},
        [{"at_s": 1, "move": {}, "fault": "cut"}],
        [{"at_s": 1, "fault": "earthquake"}],
        [{"at_s": 1, "fault": "drift", "field": "p"}],
        [{"at_s": 1, "fault": "cut", "code": "often"}],
        [{"at_s": 1, "skew": 3}],
        [{"at_s": 1, "delist": {"symbol": "ETH"}}],
    ],
)
def test_a_bad_scenario_is_explained(bad):
    with pytest.raises(InvalidInput):
        scenario.read(bad)


# ---- playback ------------------------------------------------------------------------------------


def test_a_recorded_session_is_played_byte_for_byte():
    file = recording("coinbase/ws_advanced_2026-08-09.jsonl.gz")
    expected = recorded_frames("coinbase/ws_advanced_2026-08-09.jsonl.gz")
    rest = recording("coinbase/rest_products_advanced_2026-08-09.jsonl.gz")
    with simulated(CB, playbacks=[Playback(CB, file, rest)]) as sim:
        ws = websocket.create_connection(sim.endpoints[CB]["ws"], timeout=20)
        ws.send('{"type":"subscribe","product_ids":["BTC-USD"],"channel":"market_trades"}')
        assert [ws.recv().encode() for _ in expected] == expected
        ws.ping()
        assert ws.recv_data(control_frame=True)[0] == websocket.ABNF.OPCODE_PONG, "the connection stays open"
        ws.close()
        products = requests.get(sim.endpoints[CB]["rest"] + "/api/v3/brokerage/market/products", timeout=10).json()
        assert products["num_products"] == 920


def test_streams_named_in_the_address_start_a_playback_and_requests_are_acknowledged():
    file = recording("binance/ws_spot_2021-10-12.jsonl.gz")
    expected = recorded_frames("binance/ws_spot_2021-10-12.jsonl.gz")
    with simulated(COM, playbacks=[Playback(COM, file)]) as sim:
        base = sim.endpoints[COM]["ws"]
        named = websocket.create_connection(base + "/stream?streams=nknusdt@aggTrade", timeout=10)
        asked = websocket.create_connection(base + "/stream", timeout=10)
        asked.send('{"method":"SUBSCRIBE","params":["nknusdt@aggTrade"],"id":7}')
        assert json.loads(asked.recv()) == {"result": None, "id": 7}
        for ws in (named, asked):
            assert [ws.recv().encode() for _ in expected] == expected
            ws.close()


def test_binary_frames_and_the_recorded_pace_are_kept(tmp_path):
    file = tmp_path / "ws_any.jsonl.gz"
    rows = [
        {"t": 100.0, "conn": "x", "dir": "in", "b64": "AAECAw=="},
        {"t": 100.0, "conn": "x", "dir": "out", "text": "ignored"},
        {"t": 104.0, "conn": "x", "dir": "in", "text": "später"},
    ]
    with gzip.open(file, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(r) + "\n" for r in rows)
    with simulated(COM, playbacks=[Playback(COM, file, speed=10.0)]) as sim:
        began_s = time.monotonic()
        ws = websocket.create_connection(sim.endpoints[COM]["ws"] + "/ws/x@trade", timeout=10)
        assert ws.recv_data() == (websocket.ABNF.OPCODE_BINARY, b"\x00\x01\x02\x03")
        assert ws.recv_data() == (websocket.ABNF.OPCODE_TEXT, "später".encode())
        ws.close()
    assert time.monotonic() - began_s >= 0.4


# ---- bursts and the command ----------------------------------------------------------------------


def test_sixty_thousand_trades_arrive_as_fast_as_the_client_reads():
    with simulated(COM, CB, is_paused=True) as sim:
        com = listen(sim, COM)
        tape = sim.simulation.market.tape(COM, "BTCUSDT")
        first = tape.next_print
        began_s = time.monotonic()
        executions = sim.call(sim.simulation.burst, 60_000, over_s=900.0)
        assert executions >= 60_000
        com.send('{"method":"LIST_SUBSCRIPTIONS","id":2}')
        found = ids(until(com, lambda text: '"result"' in text))
        com.close()
        assert found == list(range(first, tape.next_print))
        assert len(found) > 5_000
        assert time.monotonic() - began_s < 60


def start(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "manage.py", "simulate", *arguments]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_prints_its_endpoints_and_ends_on_a_signal(tmp_path, number):
    ports = tmp_path / "ports.json"
    process = start(COM, CB, "--seed", "4", "--json", "--ports-file", str(ports))
    assert process.stdout is not None
    endpoints = json.loads(process.stdout.readline())
    assert list(endpoints) == [COM, CB]
    assert json.loads(ports.read_text()) == endpoints
    assert requests.get(endpoints[COM]["rest"] + "/api/v3/ping", timeout=10).json() == {}
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize("arguments", [("nowhere",), ("--scenario", "nosuch"), ("--pace", "0"), ("--ports", "x=1")])
def test_a_wrong_argument_is_one_line_and_exit_2(arguments):
    process = start(*arguments)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("simulate: ")


def test_every_venue_with_a_simulator_is_available():
    assert {COM, US, CB} <= set(available())


# ---- the recordings as witnesses -----------------------------------------------------------------


def test_simulated_frames_have_the_fields_of_recorded_ones():
    recorded: dict[str, list[str]] = {}
    for frame in map(json.loads, recorded_frames("binance/ws_spot_2021-08-14.jsonl.gz")):
        event = frame["data"]
        recorded.setdefault(event.get("e", "bookTicker"), list(event) + sorted(event.get("k", ())))
    with simulated(COM) as sim:
        streams = "btcusdt@aggTrade/btcusdt@kline_5m/btcusdt@bookTicker"
        ws = websocket.create_connection(sim.endpoints[COM]["ws"] + "/stream?streams=" + streams, timeout=10)
        found: dict[str, list[str]] = {}
        while len(found) < 3:
            event = json.loads(ws.recv())["data"]
            found.setdefault(event.get("e", "bookTicker"), list(event) + sorted(event.get("k", ())))
        ws.close()
    assert found == {kind: recorded[kind] for kind in ("aggTrade", "kline", "bookTicker")}
