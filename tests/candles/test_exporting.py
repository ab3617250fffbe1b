"""Exports: every row once, in order, exact, in pieces; and what people are told when they ask for what cannot be."""

from __future__ import annotations

import csv
import io
import tracemalloc
from decimal import Decimal

import duckdb
import pyarrow.parquet as pq
import pytest
from django.core.management import CommandError, call_command

from candles.models import Candle
from candles.services import exporting
from exchanges.models import Exchange
from livermore.core.candle import Timeframe
from symbols.models import ExchangeSymbol
from tests.support import builders

pytestmark = pytest.mark.django_db
FIVE, T0 = Timeframe.M5, 1_790_000_100_000


@pytest.fixture
def toy():
    at = builders.exchange("toy", terms_url="https://toy.example/terms")
    for name in ("ETH-USDT", "BTC-USDT"):
        builders.symbol(at, name, tier=1)
    return at


def store(name: str, count: int, **fields) -> None:
    symbol = ExchangeSymbol.objects.get(name=name)
    numbers = {"open": "0.00000000123", "high": "2", "low": "1", "close": "1.50", "volume": "1000000000000000"}
    rows = [
        Candle(
            symbol=symbol, timeframe="5m", open_ms=T0 + n * FIVE.ms, trades=n, source="trades", quality="proven",
            **{k: Decimal(v) for k, v in numbers.items()} | fields,
        )
        for n in range(count)
    ]  # fmt: skip
    Candle.objects.bulk_create(rows)


def exported(table: exporting.Table, kind: str) -> bytes:
    return b"".join(exporting.in_format(table, kind))


def all_candles() -> exporting.Table:
    return exporting.candles(list(ExchangeSymbol.objects.all()), [FIVE])


def test_csv_holds_every_row_once_in_order_and_exact(toy):
    store("ETH-USDT", 3)
    store("BTC-USDT", 2, reason="no_trades")
    rows = list(csv.DictReader(io.StringIO(exported(all_candles(), "csv").decode())))
    assert [(r["symbol"], int(r["open_time"])) for r in rows] == [
        *(("BTC-USDT", T0 + n * FIVE.ms) for n in range(2)),
        *(("ETH-USDT", T0 + n * FIVE.ms) for n in range(3)),
    ]
    assert (rows[0]["open"], rows[0]["volume"], rows[0]["turnover"]) == ("0.00000000123", "1000000000000000", "")
    assert (rows[0]["synthetic"], rows[0]["reason"], rows[4]["synthetic"]) == ("true", "no_trades", "false")
    assert rows[0]["open_time_iso"] == "2026-09-21T14:15:00.000Z"


def test_parquet_says_the_same_and_duckdb_reads_it(toy, tmp_path):
    store("ETH-USDT", 2_500)
    path = tmp_path / "candles.parquet"
    path.write_bytes(exported(all_candles(), "parquet"))
    read = pq.read_table(path)
    rows = list(csv.DictReader(io.StringIO(exported(all_candles(), "csv").decode())))
    assert read.num_rows == len(rows) == 2_500
    assert read.column("close").to_pylist() == [r["close"] for r in rows]
    assert read.column("turnover").null_count == 2_500
    assert b"https://toy.example/terms" in read.schema.metadata[b"livermore.notice"]
    [(count, least)] = duckdb.sql(f"SELECT count(*), min(open::DECIMAL(38, 18)) FROM '{path}'").limit(1).fetchall()
    assert (count, least) == (2_500, Decimal("0.00000000123"))


def test_nothing_is_a_file_with_a_head(toy):
    assert exported(all_candles(), "csv").startswith(b"exchange,symbol,timeframe,open_time")
    assert pq.read_table(io.BytesIO(exported(all_candles(), "parquet"))).num_rows == 0


def test_it_comes_in_pieces_and_memory_does_not_grow_with_the_rows(toy):
    store("ETH-USDT", 20_000)
    tracemalloc.start()
    sizes = [len(piece) for piece in exporting.in_format(all_candles(), "csv")]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(sizes) == 11
    assert peak < sum(sizes) + 8_000_000


def test_the_command_writes_a_new_file_and_names_the_terms(toy, tmp_path, capsys):
    store("ETH-USDT", 3)
    path = tmp_path / "eth.csv"
    call_command("export", "candles", "toy", "eth-usdt", "--out", str(path))
    assert len(path.read_text().splitlines()) == 4
    assert "https://toy.example/terms" in capsys.readouterr().err
    with pytest.raises(CommandError, match="exists; name a new file") as refused:
        call_command("export", "candles", "toy", "eth-usdt", "--out", str(path))
    assert refused.value.returncode == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["candles"], "of which exchange"),
        (["candles", "nope"], "does not exist"),
        (["candles", "toy", "XRP-USDT"], "nearest: "),
        (["signals", "BTC", "ETH"], "one base at most"),
        (["candles", "toy", "--timeframe", "1m"], "1m"),
        (["orders"], "invalid choice"),
    ],
)
def test_what_cannot_be_is_one_line(toy, arguments, said):
    with pytest.raises(CommandError, match=said) as refused:
        call_command("export", *arguments)
    assert "\n" not in str(refused.value)


def test_a_span_and_a_timeframe_are_kept_to(toy):
    store("ETH-USDT", 10)
    some = exporting.candles(list(ExchangeSymbol.objects.all()), [FIVE], T0 + FIVE.ms, T0 + 3 * FIVE.ms)
    assert len(list(some.rows)) == 2
    assert list(exporting.candles(list(ExchangeSymbol.objects.all()), [Timeframe.H1]).rows) == []
    assert Exchange.objects.filter(slug="toy").exists()
