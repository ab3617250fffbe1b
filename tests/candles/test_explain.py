"""`explain_candle` and `reconcile` show what is stored, from the candle down to the recorded frame."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from candles import ledger, slab
from candles.ledger import Bucket
from candles.models import Candle, Gap
from candles.services.close import close
from exchanges.models import Exchange
from exchanges.recording import FORMAT, Header, Writer
from exchanges.services import rest
from exchanges.simulation.stage import Options
from livermore.core.frame import FrameBatch
from symbols import services as symbols
from symbols.models import ExchangeSymbol
from tests.candles.streaming import now_ms, past, store, streamed
from tests.support.simulation import simulated
from tests.support.trades import BUCKET_MS, Made, make

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
AT, NATIVE, NAME = "binance", "BTCUSDT", "BTC-USDT"


@pytest.fixture
def candles(redis_state) -> list[Made]:
    """Three whole buckets of Binance in two batches, and the 15m candle of them."""
    ExchangeSymbol(exchange_id=AT, native=NATIVE, base="BTC", quote="USDT", tier=1, rank=1, is_trading=True).save()
    open_ms = past(6, aligned_ms=3 * BUCKET_MS)
    streamed(redis_state, AT, since_ms=open_ms - BUCKET_MS)
    made = make(600, [NATIVE], open_ms, 3)
    store(AT, NAME, made[:300], "c0ffee:7")
    store(AT, NAME, made[300:], "c0ffee:8")
    close(AT, [Bucket(NAME, open_ms + at * BUCKET_MS) for at in range(3)])
    return made


def run(capsys, *arguments: str) -> str:
    call_command(*arguments)
    return capsys.readouterr().out


def first_ms(made: list[Made]) -> int:
    return min(one.time_ms for one in made) // BUCKET_MS * BUCKET_MS


def test_a_candle_names_its_batches_and_folds_again(candles, capsys):
    middle_ms = first_ms(candles) + BUCKET_MS
    said = json.loads(run(capsys, "explain_candle", AT, "BTCUSDT", str(middle_ms + 1_000), "--json"))
    assert said["candle"]["open_time"] == middle_ms
    inside = [one for one in candles if middle_ms <= one.time_ms < middle_ms + BUCKET_MS]
    assert {batch["batch"]: batch["trades"] for batch in said["batches"]} == {
        "c0ffee:7": sum(one in candles[:300] for one in inside),
        "c0ffee:8": sum(one in candles[300:] for one in inside),
    }
    assert said["refolds_to_itself"] is True
    row = Candle.objects.get(timeframe="5m", open_ms=middle_ms)
    assert (row.first_id, row.last_id, row.evidence) == (inside[0].id, inside[-1].id, len(inside))
    assert (said["checked_ms"], said["differs"], said["mismatch"], said["gaps"]) == (None, None, None, [])
    lines = run(capsys, "explain_candle", AT, NAME, str(middle_ms))
    assert "folded again they make this candle" in lines
    assert "not yet compared with the venue's own" in lines


def test_a_larger_candle_names_its_parts_and_a_gap_its_repair(candles, capsys):
    open_ms = first_ms(candles)
    Gap.objects.create(
        exchange_id=AT, symbol=NAME, from_ns=open_ms * 1_000_000, to_ns=(open_ms + 5) * 1_000_000,
        cause="disconnect", method="trades", proof="all of them", closed_at="2026-11-29T00:00Z",
    )  # fmt: skip
    said = json.loads(run(capsys, "explain_candle", AT, NAME, str(open_ms), "--timeframe", "15m", "--json"))
    assert [part["open_time"] for part in said["parts"]] == [open_ms + at * BUCKET_MS for at in range(3)]
    assert [(gap["method"], gap["proof"]) for gap in said["gaps"]] == [("trades", "all of them")]
    lines = run(capsys, "explain_candle", AT, NAME, str(open_ms), "--timeframe", "15m")
    assert "folded from 3 of 3 5m candles" in lines
    assert "(disconnect): closed by trades: all of them" in lines


def test_history_says_that_it_is_the_venues_own(candles, capsys):
    open_ms = first_ms(candles) - 3_600_000
    one = Decimal(1)
    Candle.objects.create(
        symbol=ExchangeSymbol.objects.get(), timeframe="5m", open_ms=open_ms, open=one, high=one, low=one, close=one,
        volume=one, source="rest", quality="proven",
    )  # fmt: skip
    lines = run(capsys, "explain_candle", AT, NAME, str(open_ms))
    assert "it is the venue's own" in lines
    assert "history: fetched as it is" in lines
    assert "not yet compared" not in lines


def test_a_recording_shows_the_frames(candles, capsys, tmp_path):
    frames = tuple(one.frame() for one in candles)
    header = Header(FORMAT, "r", 0, AT, "venue", 1, {}, ())
    writer = Writer(tmp_path / "r.zst", header)
    writer.write(FrameBatch(AT, "c0ffee", 7, 1, frames, ((len(frames), 1_700_000_000_000_000_000),)))
    writer.close()
    open_ms = first_ms(candles)
    file = str(tmp_path / "r.zst")
    said = json.loads(run(capsys, "explain_candle", AT, NAME, str(open_ms), "--recording", file, "--json"))
    inside = [at for at, one in enumerate(candles) if open_ms <= one.time_ms < open_ms + BUCKET_MS]
    assert [frame["frame"] for frame in said["frames"]] == inside
    assert f"{len(inside)} frames of the recording carry" in run(
        capsys, "explain_candle", AT, NAME, str(open_ms), "--recording", file
    )


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (("nope", NAME, "2026-01-01"), "accepted: binance", 6),
        ((AT, "BTC-USTD", "2026-01-01"), "BTC-USDT", 2),
        ((AT, NAME, "2026-01-01"), "binance has no 5m candle of BTC-USDT", 2),
        ((AT, NAME, "yesterday"), "accepted: 2026-01-31", 2),
    ],
)
def test_what_cannot_be_explained_is_said(candles, arguments, said, code):
    with pytest.raises(CommandError, match=said) as caught:
        call_command("explain_candle", *arguments)
    assert caught.value.returncode == code


def test_reconcile_compares_now_and_prints_the_rate(redis_state, settings, capsys):
    open_ms = past(4)
    patient = Options(weight_limit=1_000_000)
    with simulated(AT, start_ms=open_ms, is_paused=True, has_episodes=False, options=patient) as market:
        market.call(market.simulation.advance, 2 * 300)
        settings.EXCHANGE_ENDPOINTS = market.endpoints
        Exchange.objects.update(rest_weight=1_000_000)
        symbols.sync(AT, rest(AT))
        ExchangeSymbol.objects.filter(exchange_id=AT, name=NAME).update(tier=1, rank=1)
        streamed(redis_state, AT, since_ms=open_ms - BUCKET_MS)
        trades = list(rest(AT).trades(NATIVE, NAME, open_ms, open_ms + 2 * BUCKET_MS))
        trades[0] = trades[0]._replace(quantity="123.4")
        ledger.store(AT, "c:0", slab.group(trades, now_ms() * 1_000_000), now_ms())
        buckets = [Bucket(NAME, open_ms), Bucket(NAME, open_ms + BUCKET_MS)]
        close(AT, buckets)
        said = run(capsys, "reconcile", AT)
        assert "1 of 1 symbols, 1 of 2 candles equal, trades of 1 fetched again" in said
        assert "match rate of 5m candles: 50.0000% · volume 1, turnover 1" in said
        close(AT, buckets)  # what the workers do
        again = json.loads(run(capsys, "reconcile", AT, "BTCUSDT", "--json"))
        assert (again["checked"], again["equal"], again["repairs"]) == (2, 2, 0)
        (score,) = again["scores"]
        assert (score["match_rate"], score["standing_rate"]) == (0.5, 1.0)
        explained = run(capsys, "explain_candle", AT, NAME, str(open_ms))
        assert "differed when first compared (ours → the venue's): volume" in explained
        assert "mended by its trades" in explained
        assert "confirmed by the venue" in explained


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (("nope",), "accepted: binance", 6),
        ((AT,), "streams no symbol yet", 2),
        ((AT, "--hours", "0"), "no number of hours from 1 to", 2),
    ],
)
def test_what_cannot_be_reconciled_is_said(redis_state, arguments, said, code):
    with pytest.raises(CommandError, match=said) as caught:
        call_command("reconcile", *arguments)
    assert caught.value.returncode == code
