"""Frames recorded from the simulators and replayed into two fresh deployments: the same candles, to the byte."""

from __future__ import annotations

import json
import re
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import zstandard

from candles import slab
from candles.fold import Folded, fold
from exchanges import registry
from exchanges.recorded import Recording
from livermore.core.symbol import SymbolBook
from tests.candles.streaming import streamed
from tests.support.recordings import recording
from tests.support.simulation import Running, simulated
from tests.support.stack import Stack, stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

VENUES = ("binance", "kucoin", "mexc")
REPLAYED = ("binance", "mexc")  # consecutive ids and text; opaque ids and binary frames
BUCKET_MS = 300_000
ADVANCES, ADVANCE_S = 45, 20
SLOWLY = "0.25"
FIELDS = ("open", "high", "low", "close", "volume", "turnover", "taker_buy_volume", "trades")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A quarter of an hour of three simulated venues, recorded in some seconds."""
    folder = tmp_path_factory.mktemp("recorded")
    files = {slug: folder / f"{slug}.zst" for slug in VENUES}
    quarter_ms = 3 * BUCKET_MS
    start_ms = (int(time.time() * 1000) // quarter_ms - 2) * quarter_ms + 100_000
    with (
        simulated(*VENUES, seed=3, start_ms=start_ms, is_paused=True) as simulation,
        stack(folder, {"EXCHANGE_ENDPOINTS": json.dumps(simulation.endpoints)}) as running,
    ):
        recorders = []
        for slug, file in files.items():
            running.manage("sync_symbols", slug)
            running.manage("refresh_tier1", slug)
            recorders.append(running.start(slug, "manage.py", "record", slug, "--out", str(file)))
        running.wait("all subscribed", lambda: all("stream.streaming" in running.log(slug) for slug in VENUES))
        for _ in range(ADVANCES):
            simulation.call(simulation.simulation.advance, ADVANCE_S)
            simulation.drained()
        running.wait("all recorded", lambda: all(is_whole(simulation, slug, files[slug]) for slug in VENUES))
        for recorder in recorders:
            recorder.terminate()
        assert [recorder.wait(timeout=20) for recorder in recorders] == [0] * len(VENUES)
        left = {key.decode().split(":")[0] for key in running.state.scan_iter("*")}
        assert left <= {"limit"}, "recording spends of the venue's limits and touches nothing else"
    return files


def is_whole(simulation: Running, slug: str, file: Path) -> bool:
    """Does the recording reach the newest trade of every followed symbol?"""
    names = {one.native: one.symbol for one in Recording(file).header.symbols}

    def newest() -> dict[str, int]:
        tapes = {symbol: simulation.simulation.market.tape(slug, native) for native, symbol in names.items()}
        return {symbol: tape.prints[-1].time_us // 1000 for symbol, tape in tapes.items() if tape.prints}

    wanted, found = simulation.call(newest), trades_of(file)
    return all(symbol in found and found[symbol][-1].time_ns // 10**6 >= wanted[symbol] for symbol in wanted)


def trades_of(file: Path) -> dict[str, list[Any]]:
    """The recorded trades by canonical symbol, mapped frame by frame."""
    read = Recording(file)
    slug = read.header.exchange
    book = SymbolBook(slug, {one.native: one.symbol for one in read.header.symbols}, 1)
    frames = [frame.payload for frame in read.frames()]
    found: dict[str, list[Any]] = {}
    for trade in registry.venue(slug).mapper(frames, book).trades:
        found.setdefault(trade.symbol, []).append(trade)
    return found


def folded(file: Path) -> dict[tuple[str, int], Folded]:
    """The candles of a recording, folded from its frames without any pipeline."""
    steps = {
        one.symbol: Decimal(1).scaleb(-one.quote_precision)
        for one in Recording(file).header.symbols
        if one.quote_precision is not None and registry.venue(Recording(file).header.exchange).turnover_cut
    }
    trades = [trade for some in trades_of(file).values() for trade in some]
    return {
        place: fold({"all": columns}, turnover_step=steps.get(place[0]))
        for place, columns in slab.group(trades, 1).items()
    }


def replayed(running: Stack, file: Path, speed: str, *arguments: str) -> dict[str, Any]:
    done = running.manage("replay", str(file), "--speed", speed, "--json", *arguments, timeout_s=120)
    return json.loads(done.stdout)


@pytest.fixture
def bare(tmp_path: Path):
    """An empty deployment in which nothing runs."""
    with stack(tmp_path / "bare", {"LIVERMORE_REGION": "US"}) as running:
        yield running


@pytest.fixture
def fresh(tmp_path: Path):
    """Two empty deployments with workers and no venue."""
    with stack(tmp_path / "first") as first, stack(tmp_path / "second") as second:
        for running in (first, second):
            work(running)
        yield first, second


def work(running: Stack) -> None:
    running.worker("all", ["candles", *(f"ticks.{slug}.0" for slug in (*VENUES, "coinbase"))])
    running.beat()


def test_two_replays_give_the_same_bytes_and_the_candles_of_the_frames(recorded, fresh):
    for slug in REPLAYED:
        file = recorded[slug]
        # The second is slow enough for the sweeper to fold buckets that are still growing.
        speeds = zip(fresh, ("0", SLOWLY), strict=True)
        told = [replayed(running, file, speed, "--symbols", str(file)) for running, speed in speeds]
        assert told[0] == told[1]
        expected = folded(file)
        assert told[0]["trades"] == sum(map(len, trades_of(file).values()))
        assert told[0]["candles"]["5m"] == len(expected) > 30
        assert told[0]["candles"]["15m"] >= 10
        assert told[0]["unknown"] == {}
        for running in fresh:
            assert candles(running, slug) == {place: fields(one) for place, one in expected.items()}
    assert replayed(fresh[0], file, "0") == told[0], "once more in the same place changes nothing"


def candles(running: Stack, slug: str) -> dict[tuple[str, int], dict[str, Any]]:
    """Every closed 5m candle, in the fields that trades decide."""
    found = {}
    for key in running.state.scan_iter(f"candles:{slug}:*:5m"):
        for candle in map(json.loads, running.state.zrange(key, 0, -1)):
            found[candle["symbol"], candle["open_time"]] = {name: Decimal(candle[name]) for name in FIELDS}
    return found


def fields(candle: Folded) -> dict[str, Any]:
    return {name: getattr(candle, name) for name in FIELDS}


def test_a_recording_holds_no_secret(recorded):
    for file in recorded.values():
        text = zstandard.ZstdDecompressor().decompressobj().decompress(file.read_bytes())
        assert len(text) > 100_000
        assert not re.search(rb"token|connectId|apiKey|secret|signature", text, re.IGNORECASE)


def test_wrong_input_is_one_line_that_says_what_to_do(recorded, bare, tmp_path):
    file, nonsense = recorded["kucoin"], tmp_path / "nonsense.zst"
    nonsense.write_text("nothing")
    for arguments, code, words in [
        (("replay", str(file)), 2, "--symbols"),
        (("replay", str(nonsense)), 2, "no recording"),
        (("replay", str(tmp_path / "absent")), 2, "No such file"),
        (("replay", str(file), "--exchange", "mexc"), 2, "kucoin"),
        (("replay", str(file), "--speed", "fast"), 2, "speed"),
        (("record", "nowhere", "--out", str(tmp_path / "new.zst")), 6, "kucoin"),
        (("record", "kucoin"), 2, "--out"),
        (("record", "kucoin", "--out", str(tmp_path / "new.zst")), 3, "KuCoin"),
    ]:
        done = bare.manage(*arguments, check=False)
        assert (done.returncode, len(done.stderr.strip().splitlines())) == (code, 1), done.stderr
        assert words in done.stderr
    assert not (tmp_path / "new.zst").exists()


def test_nothing_is_replayed_among_live_trades(recorded, bare):
    streamed(bare.state, "kucoin", since_ms=1)
    done = bare.manage("replay", str(recorded["kucoin"]), check=False)
    assert done.returncode == 4
    assert done.stderr.strip().splitlines() == [
        "CommandError: kucoin streams now; stop_exchange kucoin first, or replay in a deployment of its own"
    ]


def test_frames_of_another_recorder_are_replayed_too(bare, tmp_path):
    file = recording("coinbase/ws_advanced_2026-08-09.jsonl.gz")
    names = tmp_path / "names.json"
    names.write_text('{"BTC-USD": "BTC-USD", "ETH-USD": "ETH-USD"}')
    work(bare)
    told = replayed(bare, file, "0", "--exchange", "coinbase", "--symbols", str(names))
    assert (told["frames"], told["trades"], told["candles"]["5m"]) == (1030, 279, 4)
