"""MACD-V against the golden vectors, its warm-up, its windows and its honesty about thin markets."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from candles.indicators import macdv
from candles.indicators.bars import Bars
from candles.indicators.primitives import rma
from livermore.core.candle import Reason
from livermore.core.errors import InvalidInput
from tests.candles.bars import bars, golden_a, golden_b, head, random_walk, silence, tail

Number = float | None

GOLDEN_A: list[tuple[int, Number, Number, Number, Number]] = [
    (24, None, None, None, None),
    (25, 1.7091547959, -157.9083620169, None, None),
    (26, 1.7079314612, -150.8124511936, None, None),
    (32, 1.7891227266, -46.1283175789, None, None),
    (33, 1.8039626523, -23.9213252756, -101.2691180084, 77.3477927328),
    (34, 1.8158433171, -2.0549306241, -81.4262805316, 79.3713499074),
    (45, 1.7557292127, 85.8679146780, 74.1598354548, 11.7080792232),
    (59, 1.7344280932, -53.3064993434, -38.4543140188, -14.8521853246),
]
GOLDEN_B: list[tuple[int, Number, Number, Number, Number]] = [
    (39, 1.8040931006, 84.4600525905, 14.2936675559, 70.1663850346),
    (40, 1.8040931006, 93.1368373476, 30.0623015143, 63.0745358333),
    (44, 1.8040931006, 103.6871568024, 72.8568308493, 30.8303259530),
    (45, 1.8474789160, 90.0073943353, 76.2869435465, 13.7204507887),
    (59, 1.7874112607, -53.5210694644, -38.0230248122, -15.4980446522),
]


def assert_golden(make: Callable[[], Bars], row: tuple[int, Number, Number, Number, Number]) -> None:
    i, *expected = row
    of = macdv.lines(make())
    for line, number in zip((of.atr, of.macdv, of.signal, of.hist), expected, strict=True):
        if number is None:
            assert line[i] is None
        else:
            assert line[i] == pytest.approx(number, abs=1e-8, rel=0)


@pytest.mark.parametrize("row", GOLDEN_A, ids=lambda r: f"bar{r[0]}")
def test_golden_series_a(row: tuple[int, Number, Number, Number, Number]) -> None:
    assert_golden(golden_a, row)


@pytest.mark.parametrize("row", GOLDEN_B, ids=lambda r: f"bar{r[0]}")
def test_golden_series_b_with_five_synthetic_bars(row: tuple[int, Number, Number, Number, Number]) -> None:
    assert_golden(golden_b, row)


def test_the_numbers_of_a_naive_atr_never_appear() -> None:
    silent = golden_b()
    of = macdv.lines(silent)
    atr, value, macd = of.atr[44], of.macdv[44], of.macd[44]
    assert atr is not None
    assert value is not None
    assert macd is not None
    ranges = [0.0 if r is not None else t for r, t in zip(silent.reasons, _naive_ranges(silent), strict=True)]
    naive = rma(ranges, 26)[44]
    assert naive == pytest.approx(1.4828330225, abs=1e-8)  # the trap is real
    assert 100 * macd / naive == pytest.approx(126.1512802652, abs=1e-8)
    assert atr != pytest.approx(1.4828330225, abs=1e-3)
    assert value != pytest.approx(126.1512802652, abs=1e-3)


def _naive_ranges(of: Bars) -> list[float]:
    before = (None, *of.close[:-1])
    return [
        h - low if c is None else max(h - low, abs(h - c), abs(low - c))
        for h, low, c in zip(of.high, of.low, before, strict=True)
    ]


def test_metadata_of_series_b() -> None:
    of = macdv.snapshot(golden_b())
    assert (of.n_eff, of.span_bars, of.seed_index, of.seeded) == (55, 60, 25, True)
    assert of.gap_ratio == pytest.approx(5 / 60)
    assert of.zero_range_ratio == 0
    assert of.liquidity is macdv.Liquidity.HIGH
    assert not of.tainted
    assert not of.low_confidence


def test_silence_before_the_seed_moves_the_seed_index() -> None:
    of = macdv.snapshot(silence(golden_a(), range(10, 15)))
    assert of.seed_index == 30


@pytest.mark.parametrize(
    ("count", "has_macdv", "is_ready"), [(25, False, False), (26, True, False), (33, True, False), (34, True, True)]
)
def test_warm_up_counts(count: int, has_macdv: bool, is_ready: bool) -> None:
    of = macdv.snapshot(golden_a(count))
    assert (of.macdv is not None) is has_macdv
    assert (of.hist is not None, of.ready, of.stage is not None) == (is_ready, is_ready, is_ready)


def test_first_values_of_the_averages() -> None:
    of = macdv.lines(golden_a())
    first = [next(i for i, v in enumerate(line) if v is not None) for line in (of.ema12, of.ema26, of.atr)]
    assert first == [11, 25, 25]


@pytest.mark.parametrize(("count", "is_converged"), [(249, False), (250, True)])
def test_converged_from_250_observed_bars(count: int, is_converged: bool) -> None:
    assert macdv.snapshot(random_walk(1, count)).converged is is_converged


def test_synthetic_bars_do_not_count_towards_convergence() -> None:
    walk = random_walk(2, 260)
    assert macdv.snapshot(silence(walk, range(100, 110))).converged
    assert not macdv.snapshot(silence(walk, range(100, 111))).converged


def test_fewer_than_26_observed_bars_give_a_reason_and_no_number() -> None:
    of = macdv.snapshot(silence(golden_a(), range(20, 56)))
    assert of.n_eff == 24
    assert of.reason == "Low trading activity"
    assert (of.macdv, of.signal, of.hist, of.atr, of.stage, of.zone, of.bias) == (None,) * 7
    assert of.ema12 is not None  # averages of price do see the filled closes


def test_null_never_becomes_zero() -> None:
    payload = json.loads(json.dumps(macdv.snapshot(golden_a(30)).payload()))
    assert payload["macdv"] is not None
    assert payload["signal"] is None
    assert payload["hist"] is None
    assert payload["crossover"] == "none"
    assert all(v is None for row in macdv.series(golden_a(20)) for v in row[1:])


def test_a_market_that_never_moves_has_no_value_but_a_reason() -> None:
    of = macdv.snapshot(bars([(5.0, 5.0, 5.0, 5.0)] * 40))
    assert (of.atr, of.macdv, of.ready) == (0.0, None, False)
    assert of.reason == "No price movement"
    assert of.zero_range_ratio == 1.0


def test_an_outage_in_the_window_taints_and_silence_does_not() -> None:
    walk = random_walk(3, 300)
    assert macdv.snapshot(silence(walk, range(50, 52), Reason.OUTAGE)).tainted
    assert not macdv.snapshot(silence(walk, range(50, 52))).tainted


@pytest.mark.parametrize(
    ("silent", "liquidity"), [(39, "high"), (40, "medium"), (99, "medium"), (100, "low"), (150, "low")]
)
def test_liquidity_by_share_of_silent_slots(silent: int, liquidity: str) -> None:
    assert macdv.snapshot(silence(random_walk(4, 200), range(1, 1 + silent))).liquidity == liquidity


def test_low_confidence_below_half_of_the_span() -> None:
    walk = random_walk(5, 200)
    assert not macdv.snapshot(silence(walk, range(50, 150))).low_confidence
    assert macdv.snapshot(silence(walk, range(50, 151))).low_confidence


def test_a_window_of_300_bars_is_as_good_as_all_history() -> None:
    differences = []
    for seed in range(20):
        walk = random_walk(seed, 1_500)
        full = macdv.lines(walk).macdv
        for end in range(1_500, 500, -50):
            windowed = macdv.lines(tail(head(walk, end), 300)).macdv[-1]
            expected = full[end - 1]
            assert windowed is not None
            assert expected is not None
            differences.append(abs(windowed - expected))
    differences.sort()
    assert differences[int(0.95 * len(differences))] <= 0.01


def test_the_snapshot_is_the_last_row_of_the_series() -> None:
    walk = random_walk(6, 300)
    of = macdv.snapshot(walk)
    assert macdv.series(walk)[-1] == (of.candle_open_time, of.macdv, of.signal, of.hist)


def test_the_series_of_a_prefix_is_a_prefix_of_the_series() -> None:
    walk = random_walk(7, 200)
    assert macdv.series(head(walk, 120)) == macdv.series(walk)[:120]


def test_seeding_with_the_first_value_agrees_after_the_warm_up() -> None:
    pine = macdv.Variant("pine", "as charted elsewhere", seeds_first=True)
    walk = random_walk(8, 400)
    ours, theirs = macdv.lines(walk), macdv.lines(walk, pine)
    assert ours.ema26[25] != theirs.ema26[25]
    assert ours.macdv[-1] == pytest.approx(theirs.macdv[-1], abs=1e-6)


def test_the_payload_names_its_candle_and_keeps_every_digit() -> None:
    of = macdv.snapshot(golden_a())
    payload = json.loads(json.dumps(of.payload()))
    assert payload["candle_open_time"] == 59 * 300_000
    assert payload["candle_version"] == 0
    assert payload["macdv"] == of.macdv
    assert payload["stage"] == "reversing"


def test_no_bars_is_bad_input() -> None:
    with pytest.raises(InvalidInput, match="at least one candle"):
        macdv.snapshot(bars([]))
