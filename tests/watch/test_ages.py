"""Histograms of ages: what they tell is near what was counted, whatever it was."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from livermore.watch import ages


@pytest.mark.parametrize("age_ms", [0, 1, 7, 48, 400, 3_000, 86_400_000, -1, -400])
def test_a_bin_is_within_five_percent_of_its_age(age_ms: float) -> None:
    assert ages.edge_ms(ages.bin_of(age_ms)) == pytest.approx(age_ms, rel=0.05, abs=0.05)


def test_quantiles_are_those_of_what_was_counted() -> None:
    dice = random.Random(30)
    drawn = sorted(dice.lognormvariate(5, 0.6) for _ in range(20_000))
    counted = Counter(map(ages.bin_of, drawn))
    for share in (0.05, 0.5, 0.95):
        assert ages.quantile_ms(counted, share) == pytest.approx(drawn[int(share * len(drawn))], rel=0.02)


def test_two_histograms_add_up_and_survive_as_text() -> None:
    one, other = Counter({70: 3, -4: 1}), Counter({70: 1, 90: 2})
    assert ages.unpacked(ages.packed(one)) + ages.unpacked(ages.packed(other)) == Counter({70: 4, 90: 2, -4: 1})
    assert ages.unpacked("") == Counter()


def test_of_nothing_nothing_is_told() -> None:
    assert ages.quantile_ms({}, 0.5) is None
