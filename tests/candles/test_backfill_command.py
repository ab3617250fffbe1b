"""`backfill` as a person types it: what it says, what it refuses, and that a plan alone asks nothing."""

from __future__ import annotations

import io
import time

import pytest
from django.core.management import CommandError, call_command

from candles.management import ticking
from candles.models import Candle as CandleRow
from exchanges.models import Exchange
from livermore.core import keys
from tests.support import builders
from tests.support.http_server import Answer, http_server

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # python-binance's imports
]


@pytest.fixture
def symbols(redis_state, settings):
    settings.EXCHANGE_ENDPOINTS = {"binance": {"rest": "http://127.0.0.1:9", "ws": "ws://127.0.0.1:9"}}
    at = Exchange.objects.get(pk="binance")
    return [builders.symbol(at, name, tier=1, rank=rank) for rank, name in enumerate(("BTC-USDT", "ETH-USDT"), 1)]


def said(*arguments: str) -> str:
    out = io.StringIO()
    call_command("backfill", *arguments, stdout=out)
    return out.getvalue()


def test_a_plan_says_what_is_missing_and_what_it_takes_and_asks_nothing(symbols):
    lines = said("binance", "all", "--timeframe", "1h", "--timeframe", "1d", "--plan").splitlines()
    assert [line.split()[0] for line in lines] == ["1h", "1d", "binance:"]
    assert lines[0].endswith("2,000 bars missing        2 calls")
    assert "2 symbols, 4,000 bars missing, 4 calls of weight 2 = 8; about 0:00:01" in lines[2]
    assert lines[2].endswith("with 40% of the budget of 6,000 per 60 s")


def test_from_and_to_bound_it(symbols):
    (line, _) = said(
        "binance", "btc-usdt", "--from", "2026-01-01", "--to", "2026-01-02T12:00", "--timeframe", "1h", "--plan"
    ).splitlines()
    assert "2026-01-01 00:00 – 2026-01-02 12:00" in line
    assert "36 bars missing" in line


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (["nowhere", "BTC-USDT"], r"exchange 'nowhere' does not exist; accepted: .*binance", 6),
        (["binance", "BTC-USTD"], r"no symbol 'BTC-USTD'; accepted: BASE-QUOTE or all; nearest: BTC-USDT", 2),
        (["binance", "BTC-USDT", "--from", "yesterday"], r"'yesterday' is no time; accepted: 2026-01-31", 2),
        (["binance", "BTC-USDT", "--to", "31.1.2026"], r"is no time", 2),
        (["binance", "BTC-USDT", "--from", "2999-01-01"], r"--from must lie in the past", 2),
        (["binance", "BTC-USDT", "--from", "2026-02-01", "--to", "2026-01-01"], r"before --to", 2),
        (["binance", "BTC-USDT", "--timeframe", "1m"], r"timeframe '1m' does not exist; accepted: 5m 15m", 2),
        (["binance"], r"required: SYMBOL; accepted: .*NAME SYMBOL", 2),
    ],
)
def test_wrong_input_is_one_line_that_names_what_is_accepted(symbols, arguments, message, code):
    with pytest.raises(CommandError, match=message) as refused:
        said(*arguments)
    assert refused.value.returncode == code
    assert "\n" not in str(refused.value)


def test_what_is_stored_is_told_and_indicators_follow(symbols, settings, redis_state):
    open_ms = int(time.time() * 1000) // 3_600_000 * 3_600_000 - 121 * 3_600_000
    prices = ["10", "12", "9", "11", "5"]
    rows = [[open_ms + n * 3_600_000, *prices, 0, "50", 7, "2", "20", "0"] for n in range(120)]
    with http_server(lambda asked: Answer(rows)) as server:
        settings.EXCHANGE_ENDPOINTS = {"binance": {"rest": server.url, "ws": "ws://127.0.0.1:9"}}
        text = said("binance", "BTC-USDT", "--timeframe", "1h")
    assert "binance: 120 bars stored in 1 calls" in text.splitlines()[-1]
    assert CandleRow.objects.count() == 120
    assert redis_state.exists(keys.indicator("binance", "BTC-USDT", "1h", "macdv"))


def test_an_interruption_says_how_to_go_on(symbols, settings):
    def answer(asked):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("candles.services.backfill.Backfill.run", answer)
        with pytest.raises(CommandError, match="0 of 12 calls are done and kept; the same command") as end:
            said("binance", "all")
    assert end.value.returncode == 130


class Terminal(io.StringIO):
    """A stream that is looked at."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "shown"), [(Terminal(), "\rhalf way\x1b[K"), (io.StringIO(), "half way\n")])
def test_work_is_told_while_it_goes_on(monkeypatch, stream, shown):
    monkeypatch.setattr(ticking, "ON_A_TERMINAL_S", 0.01)
    monkeypatch.setattr(ticking, "ELSEWHERE_S", 0.01)
    deadline = time.monotonic() + 5
    with ticking.ticking(stream, lambda: "half way"):
        while shown not in stream.getvalue() and time.monotonic() < deadline:
            time.sleep(0.001)
    assert stream.getvalue().startswith(shown)
