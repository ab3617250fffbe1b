"""Every number has exactly one stage, zone, crossover and bias."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candles.indicators import reading
from candles.indicators.reading import Bias, Crossover, Direction, Divergence, Stage, Zone

heights = st.one_of(
    st.sampled_from([-150.0, -50.0, 50.0, 150.0, 0.0]), st.floats(allow_nan=False, allow_infinity=False)
)


def table(m: float, d: Direction, is_ranging: bool) -> list[Stage]:
    """Every row of the stage table whose condition holds, in the order of the table."""
    up, down = d is Direction.UP, d is Direction.DOWN
    rows = [
        (m < -150, Stage.OVERSOLD),
        (is_ranging, Stage.RANGING),
        (m > 150 and up, Stage.OVERBOUGHT),
        (50 <= m <= 150 and up, Stage.RALLYING),
        (-150 <= m < 50 and up, Stage.REBOUNDING),
        (-150 <= m <= -50 and down, Stage.REVERSING),
        (m > -50 and down, Stage.RETRACING),
    ]
    return [stage for holds, stage in rows if holds]


@given(heights, st.sampled_from(Direction), st.booleans())
def test_every_height_and_direction_has_the_stage_of_the_table(m: float, d: Direction, ranges: bool) -> None:
    matching = table(m, d, ranges)
    assert reading.stage(m, d, is_ranging=ranges) is matching[0]
    if not ranges:
        assert len(matching) == 1


@pytest.mark.parametrize(
    ("m", "up", "down"),
    [
        (-150.01, Stage.OVERSOLD, Stage.OVERSOLD),
        (-150, Stage.REBOUNDING, Stage.REVERSING),
        (-50, Stage.REBOUNDING, Stage.REVERSING),
        (-49.99, Stage.REBOUNDING, Stage.RETRACING),
        (50, Stage.RALLYING, Stage.RETRACING),
        (150, Stage.RALLYING, Stage.RETRACING),
        (150.01, Stage.OVERBOUGHT, Stage.RETRACING),
    ],
)
def test_stages_at_the_borders(m: float, up: Stage, down: Stage) -> None:
    assert reading.stage(m, Direction.UP) is up
    assert reading.stage(m, Direction.DOWN) is down


def test_ranging_needs_twenty_bars_within_fifty() -> None:
    assert reading.is_ranging([50.0, -50.0] * 10)
    assert reading.is_ranging([300.0] + [1.0] * 20)
    assert not reading.is_ranging([1.0] * 19)
    assert not reading.is_ranging([1.0] * 19 + [50.01])
    assert not reading.is_ranging([None] + [1.0] * 19)


def test_direction_on_equality_is_the_previous_one_and_first_is_up() -> None:
    assert reading.direction([1.0, 3.0], [2.0, 2.0]) is Direction.UP
    assert reading.direction([1.0, 2.0, 2.0], [2.0, 2.0, 2.0]) is Direction.DOWN
    assert reading.direction([None, 2.0], [None, 2.0]) is Direction.UP


@pytest.mark.parametrize(
    ("m", "zone"),
    [
        (-500, "oversold"), (-120, "oversold"), (-119.9, "deep_negative"), (-100, "deep_negative"),
        (-99.9, "negative"), (-30.1, "negative"), (-30, "neutral"), (0, "neutral"), (30, "neutral"),
        (30.1, "positive"), (79.9, "positive"), (80, "elevated"), (99.9, "elevated"),
        (100, "deep_positive"), (119.9, "deep_positive"), (120, "overbought"), (500, "overbought"),
    ],
)  # fmt: skip
def test_zones(m: float, zone: str) -> None:
    assert reading.zone(m) == zone


def test_the_compatible_zone_is_elevated_up_to_120() -> None:
    assert reading.zone(110, is_compatible=True) is Zone.ELEVATED
    assert reading.zone(120, is_compatible=True) is Zone.OVERBOUGHT


@pytest.mark.parametrize(
    ("hist", "previous", "crossover"),
    [
        (1, None, Crossover.NONE),
        (None, 1, Crossover.NONE),
        (0, 1, Crossover.NONE),
        (1, 0, Crossover.FRESH_BULLISH),
        (1, -1, Crossover.FRESH_BULLISH),
        (1, 1, Crossover.BULLISH),
        (-1, 0, Crossover.FRESH_BEARISH),
        (-1, 1, Crossover.FRESH_BEARISH),
        (-1, -1, Crossover.BEARISH),
    ],
)
def test_crossovers(hist: float | None, previous: float | None, crossover: Crossover) -> None:
    assert reading.crossover(hist, previous) is crossover


LONG = {
    "deep_negative": "strong_long", "negative": "long", "neutral": "weak_long", "positive": "long",
    "elevated": "weak_long", "deep_positive": "weak_long",
}  # fmt: skip
SHORT = {
    "deep_positive": "strong_short", "positive": "short", "elevated": "short", "neutral": "weak_short",
    "negative": "short", "deep_negative": "weak_short",
}  # fmt: skip


@given(st.sampled_from(Zone), st.sampled_from(Stage), st.sampled_from([-1.0, 0.0, 1.0]))
def test_the_scalping_bias_is_total(zone: Zone, stage: Stage, hist: float) -> None:
    expected = "neutral"
    if zone in ("oversold", "overbought"):
        expected = "caution"
    elif stage in ("rebounding", "rallying") and hist > 0:
        expected = LONG[zone]
    elif stage in ("retracing", "reversing") and hist < 0:
        expected = SHORT[zone]
    assert reading.scalping_bias(zone, stage, hist) is Bias(expected)


def test_divergence_compares_relative_changes() -> None:
    assert reading.divergence((100, 130), (1.0, 1.1)) is Divergence.DIVERGING
    assert reading.divergence((100, 100), (1.0, 1.2)) is Divergence.CONVERGING
    assert reading.divergence((100, 110), (1.0, 1.1)) is Divergence.ALIGNED
    assert reading.divergence((-100, -70), (-1.0, -1.0)) is Divergence.DIVERGING
    assert reading.divergence((0, 130), (1.0, 1.1)) is Divergence.ALIGNED
    assert reading.divergence((100, 130), (0, 1.1)) is Divergence.ALIGNED
