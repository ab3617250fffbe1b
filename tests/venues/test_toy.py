"""ADDING_AN_EXCHANGE.md proved: a sixth venue takes one package, one registry line and one fixture folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from exchanges.venue import Endpoint, SocketAddress
from livermore.core.candle import Kline, Timeframe
from livermore.core.trade import Trade
from tests.support.budgets import OpenBudget
from tests.support.http_server import Answer, http_server
from tests.venues.toy import VENUE

ROOT = Path(__file__).resolve().parents[2]
TOY = Path(__file__).parent / "toy"
PACKAGES = ("livermore", "exchanges", "symbols", "candles", "proto", "tests")
CONTRACT = ["tests/venues/test_contract.py", "tests/venues/test_sessions.py", "tests/exchanges/test_registry.py"]
ARCHITECTURE = "tests/test_architecture.py"
EVERY_RULE = re.compile(r"^toy +(✓ +){11}–$", re.MULTILINE)


def checked(root: Path, *arguments: str, **environment: str) -> tuple[int, str]:
    """Runs pytest there; its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=root, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """This project, and the toy as a person would add it, but for its fixtures."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.glob("[!.]*"):
        if file.is_file():
            shutil.copy(file, tmp_path)
    shutil.copytree(TOY, tmp_path / "exchanges" / "toy", ignore=shutil.ignore_patterns("__pycache__", "fixtures"))
    registry = tmp_path / "exchanges" / "registry.py"
    lines = registry.read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if re.fullmatch(r'    "\w+": "exchanges\.\w+",', line))
    registry.write_text("\n".join([*lines[:first], '    "toy": "exchanges.toy",', *lines[first:], ""]))
    return tmp_path


def test_a_package_a_registry_line_and_a_fixture_folder_are_enough(checkout: Path) -> None:
    shutil.copytree(TOY / "fixtures", checkout / "tests" / "venues" / "fixtures" / "toy")
    code, said = checked(checkout, *CONTRACT, "-k", "toy")
    assert code == 0, said
    assert EVERY_RULE.search(said), said
    code, said = checked(checkout, ARCHITECTURE)
    assert code in (0, 1), said
    assert not re.search(r"exchanges[./]toy", said), said


def test_without_its_fixtures_a_registered_venue_fails(checkout: Path) -> None:
    code, said = checked(checkout, CONTRACT[0], "-k", "toy and not fuzzed")
    assert code == 1, said
    assert "toy needs fixtures/toy/frames.jsonl" in said
    assert re.search(r"^toy +✗ ✗", re.sub(" +", " ", said), re.MULTILINE), said


def test_a_venue_of_an_installed_package_is_found_by_its_entry_point(tmp_path: Path) -> None:
    shutil.copytree(TOY, tmp_path / "acme_toy", ignore=shutil.ignore_patterns("__pycache__"))
    installed = tmp_path / "acme_toy-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-toy\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        # Names of ours are not to be had.
        "[livermore.venues]\ntoy = acme_toy:VENUE\nbinance = acme_toy:VENUE\n"
    )
    code, said = checked(ROOT, *CONTRACT, "-k", "toy", PYTHONPATH=str(tmp_path))
    assert code == 0, said
    assert EVERY_RULE.search(said), said
    asked = "from exchanges.registry import slugs, venue; print(*slugs(), venue('binance').slug, venue('toy').slug)"
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["binance", "binance_us", "coinbase", "kucoin", "mexc", "toy", "binance", "toy"]


def test_the_toys_rest_answers_in_our_terms_and_pays_the_stated_weights() -> None:
    markets = [{"name": "BTC-USD", "base": "BTC", "quote": "USD", "is_open": True, "tick": "0.01", "lot": "0.001",
                "turnover": "99.5"}]  # fmt: skip
    candle = {"ms": 300_000, "open": "1", "high": "3", "low": "0.5", "close": "2", "volume": "10", "turnover": "15"}
    match = {"market": "BTC-USD", "id": 7, "price": "1", "size": "2", "ms": 300_001, "taker": "sell"}
    answers = {"/markets": markets, "/candles": [candle], "/trades": [match], "/time": 1_790_000_000_000}
    budget = OpenBudget()
    with http_server(lambda asked: Answer(answers[asked.path])) as server:
        rest = VENUE.rest(Endpoint(server.url, "wss://toy.example"), budget)
        [instrument] = rest.instruments()
        assert (str(instrument.symbol), instrument.is_trading, instrument.tick) == ("BTC-USD", True, Decimal("0.01"))
        [kline] = rest.klines("BTC-USD", Timeframe.M5, 0, 600_000)
        assert kline == Kline(300_000, *map(Decimal, ("1", "3", "0.5", "2", "10", "15")))
        assert rest.trades("BTC-USD", "BTC-USD", 0, 600_000) == [
            Trade("BTC-USD", 300_001_000_000, 7, 1, "1", "2", False)
        ]
        assert rest.volumes() == {"BTC-USD": Decimal("99.5")}
        assert rest.time_ms() == 1_790_000_000_000
    assert budget.spent == [10, 2, 2, 10, 1]
    assert rest.socket_url(["BTC-USD"]) == SocketAddress("wss://toy.example", 20.0, 10.0)
