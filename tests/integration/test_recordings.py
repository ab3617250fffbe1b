"""Real frames through simulator, socket, Celery and Redis: the exchange's own candles are rebuilt exactly."""

from __future__ import annotations

import csv
import gzip
import json
from collections import defaultdict
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from candles.fold import fold
from candles.slab import Slab, decode
from exchanges.simulation.playback import Playback
from livermore.core import keys
from tests.support.recordings import recorded_rows, recording
from tests.support.simulation import simulated
from tests.support.stack import Stack, stack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

LIST_SYMBOLS = """
from symbols.models import ExchangeSymbol
for native, base, quote, precision in {rows}:
    ExchangeSymbol.objects.get_or_create(exchange_id="{exchange}", native=native, defaults=dict(
        base=base, quote=quote, name=f"{{base}}-{{quote}}", tier=1, quote_precision=precision))
"""


class Stored(NamedTuple):
    """One trade as it lies in a slab."""

    id: int
    executions: int
    time_ns: int
    price: Decimal
    quantity: Decimal
    is_buy: bool


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory):
    with stack(tmp_path_factory.mktemp("stack")) as started:
        venues = ("binance", "binance_us", "coinbase")
        started.worker("ticks", [f"ticks.{slug}.0" for slug in venues])
        started.worker("candles", ["candles"])
        started.beat()
        yield started


@contextmanager
def played(running: Stack, exchange: str, ws_file: Path, rows: list[tuple[str, str, str, int]], trades: int):
    """The recording has gone through the whole pipeline, to the last of its `trades`."""
    running.manage("shell", "--no-imports", "-c", LIST_SYMBOLS.format(exchange=exchange, rows=rows))
    with simulated(exchange, playbacks=[Playback(exchange, ws_file)]) as simulation:
        name = f"host-{ws_file.stem}"
        host = running.start(
            name, "manage.py", "stream_host", "--name", name, "--autostart", exchange,
            EXCHANGE_ENDPOINTS=json.dumps(simulation.endpoints),
        )  # fmt: skip
        try:
            names = [f"{base}-{quote}" for _, base, quote, _ in rows]
            yield running.wait(
                f"{trades} trades of {ws_file.name}",
                lambda: len(found := stored(running, exchange, names)) == trades and found,
            )
        finally:
            host.terminate()
            host.wait(timeout=20)


def stored(running: Stack, exchange: str, names: list[str]) -> dict[tuple[str, int], Stored]:
    """Every distinct streamed trade in the slabs, by (symbol, id)."""
    found = {}
    for name in names:
        for key in running.state.scan_iter(keys.trades(exchange, name, 0)[:-1] + "*"):
            for slab in map(decode, running.state.hgetall(key).values()):
                columns = (slab.ids, slab.executions, slab.times_ns, slab.prices, slab.quantities, slab.buys)
                for id_, executions, time_ns, price, quantity, is_buy in zip(*columns, strict=True):
                    found[name, id_] = Stored(id_, executions, time_ns, Decimal(price), Decimal(quantity), is_buy)
    return found


def candle_of(trades: list[Stored], precision: int) -> dict[str, Any]:
    """What the project's fold makes of some trades, in the venue's words: o h l c v n q V."""
    rows = ((t.time_ns, t.id, t.executions, f"{t.price:f}", f"{t.quantity:f}", t.is_buy) for t in trades)
    columns = zip(*rows, strict=True)
    times, ids, executions, prices, quantities, buys = map(list, columns)
    slab = Slab(0, ids, executions, times, prices, quantities, buys)
    folded = fold({"all": slab}, turnover_step=Decimal(1).scaleb(-precision))
    assert folded is not None
    return {
        "o": folded.open, "c": folded.close, "h": folded.high, "l": folded.low, "v": folded.volume,
        "n": folded.trades, "q": folded.turnover, "V": folded.taker_buy_volume,
    }  # fmt: skip


def test_coinbase_candle_frames_are_rebuilt_exactly(running: Stack):
    file = recording("coinbase/ws_advanced_2026-08-09.jsonl.gz")
    rows = [("BTC-USD", "BTC", "USD", 2), ("ETH-USD", "ETH", "USD", 2)]
    with played(running, "coinbase", file, rows, trades=147 + 132) as trades:
        frames = [json.loads(row["text"]) for row in recorded_rows("coinbase/ws_advanced_2026-08-09.jsonl.gz")
                  if row["dir"] == "in" and '"channel":"candles"' in row["text"][:40]]  # fmt: skip
        # A snapshot holds a hundred past candles; the running one, 21:05, is the first of each.
        running_opens = {max(int(c["start"]) for e in f["events"] for c in e["candles"]) for f in frames}
        (open_s,) = running_opens
        told = [c for f in frames for e in f["events"] for c in e["candles"] if int(c["start"]) == open_s]
        exact = 0
        for candle in told:
            bucket = sorted(
                (t for (name, _), t in trades.items()
                 if name == candle["product_id"] and t.time_ns // 1_000_000_000 // 300 * 300 == open_s),
                key=lambda t: t.id,
            )  # fmt: skip
            wanted = {k[0]: Decimal(candle[k]) for k in ("open", "high", "low", "close", "volume")}
            # The channel lags its trades, so a frame tells of the bucket up to some trade.
            exact += any(
                {k: v for k, v in candle_of(bucket[:count], 8).items() if k in wanted} == wanted
                for count in range(1, len(bucket) + 1)
            )
        print(f"coinbase 2026-08-09: {exact} of {len(told)} candle frames rebuilt exactly")
        assert (exact, len(told)) == (6, 6)
        for name in ("BTC-USD", "ETH-USD"):
            ids = sorted(id_ for symbol, id_ in trades if symbol == name)
            assert ids == list(range(ids[0], ids[-1] + 1))


SPOT = {
    "NKNUSDT": ("NKN", "USDT", 8), "BLZETH": ("BLZ", "ETH", 8), "LRCBTC": ("LRC", "BTC", 8),
    "RUNEEUR": ("RUNE", "EUR", 8), "FTMUSDT": ("FTM", "USDT", 8), "SXPBTC": ("SXP", "BTC", 8),
    "BADGERBTC": ("BADGER", "BTC", 8), "XMRBTC": ("XMR", "BTC", 8), "CRVUSDT": ("CRV", "USDT", 8),
    "COMPUSDT": ("COMP", "USDT", 8), "OMGBUSD": ("OMG", "BUSD", 8), "ZRXUSDT": ("ZRX", "USDT", 8),
    "BATUSD": ("BAT", "USD", 4), "HNTUSD": ("HNT", "USD", 4), "ZRXUSD": ("ZRX", "USD", 4),
    "MANAUSD": ("MANA", "USD", 4),
}  # fmt: skip


@pytest.mark.parametrize(
    ("exchange", "day", "aggregates", "whole", "increments"),
    [
        ("binance", "2021-10-12", 2, 1, 0),
        ("binance", "2021-08-14", 28, 2, 10),
        ("binance_us", "2021-10-12", 11, 1, 2),
        ("binance_us", "2021-08-14", 3, 0, 1),
    ],
)
def test_binance_klines_are_rebuilt_exactly(running: Stack, exchange, day, aggregates, whole, increments):
    file = recording(f"{exchange}/ws_spot_{day}.jsonl.gz")
    frames = [json.loads(row["text"]) for row in recorded_rows(f"{exchange}/ws_spot_{day}.jsonl.gz")
              if row["dir"] == "in"]  # fmt: skip
    natives = sorted({f["data"]["s"] for f in frames if f["data"].get("e") in ("aggTrade", "kline")})
    rows = [(native, *SPOT[native]) for native in natives]
    with played(running, exchange, file, rows, trades=aggregates) as trades:
        klines: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for frame in frames:
            if frame["data"].get("e") == "kline" and frame["data"]["k"]["n"]:
                klines[frame["data"]["s"]].append(frame["data"]["k"])
        result = defaultdict(int)
        for native, sequence in klines.items():
            base, quote, precision = SPOT[native]
            mine = [t for (name, _), t in trades.items() if name == f"{base}-{quote}"]
            rebuild(sequence, mine, precision, result)
        print(f"{exchange} {day}: {dict(result)}")
        assert (result["whole"], result["whole_equal"]) == (whole, whole)
        assert (result["steps"], result["steps_equal"]) == (increments, increments)


def rebuild(sequence, trades, precision, result) -> None:
    """Whole klines, and the steps between two frames of one kline, against the trades with their ids."""
    for number, kline in enumerate(sequence):
        inside = between(trades, kline["f"], kline["L"])
        if inside:
            built = candle_of(inside, precision)
            result["whole"] += 1
            result["whole_equal"] += all(built[k] == Decimal(str(kline[k])) for k in "ohlcvnqV")
        earlier = sequence[number - 1]
        if number and earlier["t"] == kline["t"] and earlier["L"] < kline["L"]:
            added = between(trades, earlier["L"] + 1, kline["L"])
            if added:
                built = candle_of(added, precision)
                result["steps"] += 1
                result["steps_equal"] += all(
                    built[k] == Decimal(str(kline[k])) - Decimal(str(earlier[k])) for k in "vnqV"
                )


def between(trades: list[Stored], first: int, last: int) -> list[Stored]:
    """The trades with these ids, if all are there."""
    inside = [t for t in trades if first <= t.id and t.id + t.executions - 1 <= last]
    return inside if sum(t.executions for t in inside) == last - first + 1 else []


PUBLISH = """
import json
from candles.tasks import publish_batch
from livermore.core.frame import FrameBatch
from tests.integration.test_recordings import xrpeth_frames
frames = xrpeth_frames()
for number in range(0, len(frames), 100):
    part = tuple(frames[number : number + 100])
    publish_batch(FrameBatch("binance", "xrpeth", number // 100, 1, part, ((len(part), 1),)))
print(json.dumps(len(frames)))
"""


def xrpeth_frames() -> list[bytes]:
    """Recorded REST trades in the shape of the stream's frames."""
    with gzip.open(recording("binance/aggtrades_XRPETH_2019-10-11_part1.csv.gz"), "rt") as file:
        rows = list(csv.DictReader(file))
    frames = []
    for row in rows:
        is_buyer_maker = row["is_buyer_maker"].lower() in ("true", "1")
        data = {
            "e": "aggTrade", "E": int(row["time_ms"]), "s": "XRPETH", "a": int(row["agg_trade_id"]), "p": row["price"],
            "q": row["qty"], "f": int(row["first_trade_id"]), "l": int(row["last_trade_id"]),
            "T": int(row["time_ms"]), "m": is_buyer_maker, "M": True,
        }  # fmt: skip
        frames.append(json.dumps({"stream": "xrpeth@aggTrade", "data": data}).encode())
    return frames


def test_xrpeth_trades_give_every_reference_candle(running: Stack):
    with gzip.open(recording("binance/refcandles_XRPETH_5m_2019-10-11_part1.csv.gz"), "rt") as file:
        reference = {int(row["open_time_ms"]): row for row in csv.DictReader(file)}
    rows = [("XRPETH", "XRP", "ETH", 8)]
    running.manage("shell", "--no-imports", "-c", LIST_SYMBOLS.format(exchange="binance", rows=rows))
    published = running.python(PUBLISH)
    key = keys.candles("binance", "XRP-ETH", "5m")
    running.wait("all candles", lambda: running.state.zcard(key) == len(reference))
    fields = ("open", "high", "low", "close", "volume")
    found = {c["open_time"]: c for c in map(json.loads, running.state.zrange(key, 0, -1))}
    exact = sum(
        all(Decimal(found[open_ms][f]) == Decimal(row[f]) for f in fields)
        for open_ms, row in reference.items()
        if open_ms in found
    )
    print(f"XRPETH: {published} trades, {exact} of {len(reference)} candles equal in five fields")
    assert (published, exact, len(reference)) == (7_913, 429, 429)
