"""The registry finds every indicator by itself and keeps each to its word."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import pstdev

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import candles.indicators as package
from candles.indicators.bars import Bars
from candles.indicators.indicator import Indicator
from candles.indicators.registry import indicator, indicators
from livermore.core.candle import Reason
from livermore.core.errors import InvalidInput
from tests.candles.bars import SLOT_MS, bars, head, random_walk, silence, tail

ALL = list(indicators().values())
EACH = pytest.mark.parametrize("of", ALL, ids=lambda i: i.name)
ONE_FILE = '''
"""The middle of a bar."""
from candles.indicators.study import Study

def _lines(bars):
    return ([(high + low) / 2 for high, low in zip(bars.high, bars.low)],)

MIDDLE = Study(
    name="middle", title="Middle", columns=("middle",), lines=_lines, warm_up=lambda: 1, parameters={},
)
INDICATORS = (MIDDLE.indicator(),)
'''


def test_what_the_design_names_is_registered() -> None:
    assert indicator("macdv").warm_up_bars == 34
    names = {"macdv", "macdv-atr14", "macdv-ema-atr", "macdv-sma-atr", "macdv-hist-atr", "sma", "ema", "rma", "atr"}
    assert names | {"atr-informative", "macd", "rsi", "bollinger", "vwap", "volume-z"} <= set(indicators())


def test_a_new_indicator_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "middle.py").write_text(ONE_FILE)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    indicators.cache_clear()
    try:
        assert indicator("middle").series(bars([(1.0, 4.0, 2.0, 3.0)])) == [(0, 3.0)]
    finally:
        indicators.cache_clear()
        sys.modules.pop("candles.indicators.middle", None)


def test_an_unknown_name_lists_what_exists() -> None:
    with pytest.raises(InvalidInput, match=r"accepted: .*\bmacdv\b"):
        indicator("vibes")


@EACH
def test_every_indicator_is_ready_exactly_at_its_declared_warm_up(of: Indicator) -> None:
    walk = random_walk(1, of.load_bars)
    rows = of.series(walk)
    assert None not in rows[of.warm_up_bars - 1]
    assert of.latest(head(walk, of.warm_up_bars)).payload()["ready"] is True
    if of.warm_up_bars > 1:
        assert None in rows[of.warm_up_bars - 2]
        assert of.latest(head(walk, of.warm_up_bars - 1)).payload()["ready"] is False


@EACH
def test_every_payload_is_json_that_names_its_candle(of: Indicator) -> None:
    walk = random_walk(1, 60)
    payload = json.loads(json.dumps(of.latest(walk).payload()))
    assert payload["candle_open_time"] == 59 * SLOT_MS
    assert {"candle_version", "ready", "converged", "n_eff", "tainted", *of.columns} <= payload.keys()
    assert [payload[name] for name in of.columns] == list(of.series(walk)[-1][1:])
    assert len(of.series(walk)[0]) == 1 + len(of.columns)


@EACH
def test_no_bars_are_bad_input_and_no_rows(of: Indicator) -> None:
    none = bars([])
    assert of.series(none) == []
    with pytest.raises(InvalidInput, match="at least one candle"):
        of.latest(none)


@EACH
def test_a_market_that_never_moves_breaks_nothing(of: Indicator) -> None:
    still = bars([(5.0, 5.0, 5.0, 5.0)] * 120)
    assert len(of.series(still)) == 120
    json.dumps(of.latest(still).payload(), allow_nan=False)


@EACH
@given(seed=st.integers(0, 2**32), count=st.integers(1, 160), data=st.data())
@settings(max_examples=15, deadline=None)
def test_what_comes_later_changes_no_value(of: Indicator, seed: int, count: int, data: st.DataObject) -> None:
    """Computed bar by bar as they close, each value is the one of a full recomputation over all bars."""
    walk = _with_silence(random_walk(seed, count), data)
    known = data.draw(st.integers(1, count), "known")
    full = of.series(walk)
    part = head(walk, known)
    assert of.series(part) == full[:known]
    payload = of.latest(part).payload()
    assert [payload[name] for name in of.columns] == list(full[known - 1][1:])


def _with_silence(walk: Bars, data: st.DataObject) -> Bars:
    first = data.draw(st.integers(1, len(walk)), "silent from")
    last = data.draw(st.integers(first, len(walk)), "silent to")
    return silence(walk, range(first, last), data.draw(st.sampled_from(Reason))) if last > first else walk


@EACH
def test_once_converged_it_no_longer_shows_where_the_window_began(of: Indicator) -> None:
    walk = random_walk(3, of.load_bars + 400)
    window = tail(walk, of.load_bars)
    payload = of.latest(window).payload()
    if of.name in ("obv", "ad"):
        assert payload["converged"] is False
        return
    assert payload["converged"] is True
    full = of.series(walk)
    for at, name in enumerate(of.columns, start=1):
        column = [row[at] for row in full if row[at] is not None]
        assert payload[name] == pytest.approx(full[-1][at], abs=2e-3 * pstdev(column))  # type: ignore[type-var]


def test_parameters_have_defaults_and_may_be_changed() -> None:
    ema = indicator("ema")
    assert ema.defaults == {"length": 30}
    assert ema.with_parameters({}) is ema
    shorter = ema.with_parameters({"length": "5"})
    assert (shorter.warm_up_bars, shorter.name) == (5, "ema")
    assert shorter.series(random_walk(1, 50)) != ema.series(random_walk(1, 50))
    assert indicator("ema").with_parameters({"length": "200"}).load_bars > 1_000
    bands = indicator("bollinger").with_parameters({"width": "2.5"})
    assert bands.latest(random_walk(1, 60)).payload()["ready"]


@pytest.mark.parametrize(
    ("name", "said", "accepted"),
    [
        ("ema", {"length": "0"}, "length of ema must be a whole number from 1 to 200; it is '0'"),
        ("ema", {"length": "2.5"}, "whole number"),
        ("bollinger", {"width": "wide"}, "must be a number from 0.1 to 10.0"),
        ("bollinger", {"width": "nan"}, "must be a number"),
        ("macd", {"seed": "last"}, "seed of macd must be one of each together"),
        ("ema", {"width": "1"}, "ema has no parameter 'width'; accepted: length"),
        ("vwap", {"length": "1"}, "accepted: none"),
    ],
)
def test_parameters_that_cannot_be_are_refused_in_a_line(name: str, said: dict[str, str], accepted: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        indicator(name).with_parameters(said)
    assert accepted in str(refused.value)


def test_variants_of_macdv_differ() -> None:
    walk = random_walk(2, 300)
    variants = [of for of in ALL if of.name.startswith("macdv")]
    assert len({of.series(walk)[-1][1:] for of in variants}) == len(variants) == 5
    first = indicator("macdv").with_parameters({"seed": "first"})
    assert first.series(walk)[33] != indicator("macdv").series(walk)[33]
